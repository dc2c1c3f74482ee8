// Layers made to harm: every escape known from other tools, and what exhausts. Each ends in kCorrupt or stays inside;
// the fixture looks after the canaries next to the layer.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "tests/libimage/layer/unpack_fixture.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TarBuilder;
using std::string_literals::operator""s;

class HostileLayerTest : public UnpackTest {
 protected:
  void ExpectCorrupt(const TarBuilder& tar) {
    const Error error = UnpackError(tar);
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.message();
    EXPECT_NE(error.message().find("layer 1"), std::string::npos) << error.message();
    EXPECT_FALSE(error.hint().empty()) << error.message();
  }

  // A name of ours beside the layer, as the image would reach it from a root that it escaped from.
  std::string Outside() const { return temp_.path() + "/outside"; }
};

// CVE-2014-9356 (Docker), CVE-2018-1002207 and its kin: ".." in names.
TEST_F(HostileLayerTest, DotDotInNames) {
  for (const std::string& name : {"../canary"s, "a/../../canary"s, "/../canary"s, "./../outside/x"s, "a/.."s, ".."s}) {
    ExpectCorrupt(TarBuilder().Dir("a").File(name, "changed"));
  }
  ExpectCorrupt(TarBuilder().Symlink("../outside/link", "x"));
  ExpectCorrupt(TarBuilder().Entry({.name = "../outside/dir/", .type = '5'}));
}

TEST_F(HostileLayerTest, AbsoluteNamesAreBelowTheRoot) {
  Unpack(TarBuilder().Pax({{"path", Outside() + "/file"}}).File("x", "inside").File("//double", "inside"));
  EXPECT_EQ(Content(Outside().substr(1) + "/file"), "inside");
  EXPECT_EQ(Content("double"), "inside");
}

// CVE-2021-29136 (umoci): the root itself as a link re-roots what follows.
TEST_F(HostileLayerTest, TheRootAsALink) {
  for (const std::string& name : {"/."s, "."s, "./"s, "/"s, "//."s}) {
    ExpectCorrupt(TarBuilder().Symlink(name, Outside()).File("canary", "changed"));
    ExpectCorrupt(TarBuilder().File(name, "no directory"));
    ExpectCorrupt(TarBuilder().Fifo(name));
  }
  EXPECT_TRUE(S_ISDIR(Stat(".").st_mode));
}

// CVE-2014-6407 (Docker): write through a link that the layer made before.
TEST_F(HostileLayerTest, WritingThroughALinkStaysInside) {
  TarBuilder tar;
  tar.Symlink("abs", Outside()).File("abs/canary", "inside").Symlink("rel", "../outside").File("rel/canary", "inside");
  tar.Symlink("far", "../../../../../../../../.." + Outside()).File("far/other", "inside");
  Unpack(tar);
  EXPECT_EQ(Content(Outside().substr(1) + "/canary"), "inside");
  EXPECT_EQ(Content("outside/canary"), "inside");
  EXPECT_EQ(Content(Outside().substr(1) + "/other"), "inside");
}

TEST_F(HostileLayerTest, ALinkIsReplacedAndNotWrittenThrough) {
  Unpack(TarBuilder()
             .Symlink("a", Outside() + "/canary")
             .File("a", "mine")
             .Symlink("d", Outside())
             .Dir("d")
             .File("d/f", "f"));
  EXPECT_TRUE(S_ISREG(Stat("a").st_mode));
  EXPECT_TRUE(S_ISDIR(Stat("d").st_mode));
  EXPECT_EQ(Content("d/f"), "f");
}

TEST_F(HostileLayerTest, AttributesAreNotSetThroughALink) {
  const std::string canary = Outside() + "/canary";
  ASSERT_EQ(chmod(canary.c_str(), 0600), 0);
  TarBuilder tar;
  tar.Pax({{"SCHILY.xattr.trusted.k", "v"}, {"mtime", "5"}});
  tar.Entry({.name = "a", .type = '2', .mode = 0777, .uid = 9, .gid = 9, .link = canary});
  Unpack(tar);
  struct stat status {};
  ASSERT_EQ(lstat(canary.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(status.st_uid, 0u);
  EXPECT_NE(status.st_mtim.tv_sec, 5);
  EXPECT_LT(lgetxattr(canary.c_str(), "trusted.k", nullptr, 0), 0);
  EXPECT_EQ(Stat("a").st_uid, 9u);
  EXPECT_EQ(Xattr("a", "trusted.k"), "v");
}

TEST_F(HostileLayerTest, LoopsOfLinks) {
  ExpectCorrupt(TarBuilder().Symlink("a", "b").Symlink("b", "a").File("a/f", "x"));
  ExpectCorrupt(TarBuilder().Symlink("a", "a").HardLink("h", "a/f"));
  TarBuilder chain;
  chain.Dir("l0");
  for (int i = 1; i < 100; ++i) chain.Symlink("l" + std::to_string(i), "l" + std::to_string(i - 1));
  ExpectCorrupt(chain.File("l99/f", "x"));
}

// CVE-2014-9357 (Docker): hard links out of the root.
TEST_F(HostileLayerTest, HardLinksToTheOutside) {
  ExpectCorrupt(TarBuilder().HardLink("a", "../canary"));
  ExpectCorrupt(TarBuilder().HardLink("a", "x/../../canary"));
  const UnpackResult absolute = Unpack(TarBuilder().HardLink("a", Outside() + "/canary"));
  EXPECT_FALSE(Exists("a"));
  EXPECT_EQ(CaughtError([&] { CompleteLayer(LayerDir(), absolute.pending, {}, options_, "layer 1"); }).kind(),
            ErrorKind::kCorrupt);
  NewLayer("second");
  const UnpackResult through = Unpack(
      TarBuilder().Symlink("d", "..").Symlink("e", Outside()).HardLink("a", "d/canary").HardLink("b", "e/canary"));
  EXPECT_EQ(through.pending.links.size(), 2u);
  EXPECT_FALSE(Exists("a"));
  EXPECT_FALSE(Exists("b"));
}

TEST_F(HostileLayerTest, AHardLinkToALinkIsNotFollowedAndNotWrittenThrough) {
  Unpack(TarBuilder().Symlink("s", Outside() + "/canary").HardLink("h", "s").File("h", "mine"));
  EXPECT_TRUE(S_ISLNK(Stat("s").st_mode));
  EXPECT_EQ(Content("h"), "mine");
}

TEST_F(HostileLayerTest, PendingHardLinksDoNotFollowLinksOfLowerLayers) {
  ASSERT_EQ(symlink(Outside().c_str(), (layer_ + "/d").c_str()), 0);
  ASSERT_EQ(symlink((Outside() + "/canary").c_str(), (layer_ + "/s").c_str()), 0);
  const Dir base = LayerDir();
  NewLayer("top");
  EXPECT_EQ(CaughtError([&] {
              CompleteLayer(LayerDir(), {.links = {{"a", "d/canary"}}, .implied = {}}, {&base}, options_, "layer 2");
            }).kind(),
            ErrorKind::kCorrupt);
  CompleteLayer(LayerDir(), {.links = {{"b", "s"}}, .implied = {}}, {&base}, options_, "layer 2");
  EXPECT_EQ(LinkOf("b"), Outside() + "/canary");
}

TEST_F(HostileLayerTest, HardLinksToDirectories) { ExpectCorrupt(TarBuilder().Dir("d").HardLink("h", "d")); }

TEST_F(HostileLayerTest, AHardLinkCannotBecomeAWhiteout) {
  for (const bool first : {true, false}) {
    NewLayer(first ? "first" : "last");
    TarBuilder tar;
    if (first)
      tar.Whiteout("", "gone");
    tar.HardLink("h", "gone");
    if (!first)
      tar.Whiteout("", "gone");
    const UnpackResult result = Unpack(tar);
    EXPECT_EQ(Paths(), std::vector<std::string>{"gone"});
    EXPECT_TRUE(IsWhiteout("gone"));
    EXPECT_EQ(result.pending.links.size(), 1u);  // the file is one of the layers below
  }
}

TEST_F(HostileLayerTest, AFileAsADirectory) {
  ExpectCorrupt(TarBuilder().File("f", "x").File("f/g", "y"));
  NewLayer("fifo");
  ExpectCorrupt(TarBuilder().Fifo("p").File("p/g", "y"));
}

TEST_F(HostileLayerTest, WhiteoutsOfTheOutside) {
  for (const std::string& name : {".wh..."s, "a/.wh..."s, ".wh.."s, ".wh."s, "../.wh.canary"s, "a/../../.wh.canary"s}) {
    ExpectCorrupt(TarBuilder().Dir("a").File(name, ""));
  }
}

TEST_F(HostileLayerTest, WhiteoutsThroughALinkStayInside) {
  Unpack(TarBuilder().Symlink("d", Outside()).Whiteout("d", "canary"));
  EXPECT_TRUE(IsWhiteout(Outside().substr(1) + "/canary"));
  NewLayer("opaque");
  Unpack(TarBuilder().Symlink("d", Outside()).Symlink("up", "..").Opaque("up").Opaque("d"));
  EXPECT_TRUE(IsOpaque("."));  // ".." of the root is the root
  EXPECT_LT(lgetxattr(Outside().c_str(), "trusted.overlay.opaque", nullptr, 0), 0);
}

TEST_F(HostileLayerTest, FilesInsideAWhiteout) { ExpectCorrupt(TarBuilder().Dir(".wh.a").File(".wh.a/b", "x")); }

TEST_F(HostileLayerTest, DevicesThatMeanSomethingElse) {
  ExpectCorrupt(TarBuilder().CharDevice("looks-like-a-whiteout", 0, 0));
  ExpectCorrupt(TarBuilder().CharDevice("d", 4096, 0));
  ExpectCorrupt(TarBuilder().CharDevice("d", 1, 1 << 20));
}

TEST_F(HostileLayerTest, FifosAndDevicesAreNeverOpened) {
  // Opening the fifo for writing would hang, the tape would rewind.
  TarBuilder tar;
  tar.Fifo("p").File("p", "file").CharDevice("tape", 9, 0).File("tape", "file").File("f", "x").Fifo("f");
  tar.Fifo("q").Entry({.name = ".wh.q"});
  Unpack(tar);
  EXPECT_EQ(Content("p"), "file");
  EXPECT_EQ(Content("tape"), "file");
  EXPECT_TRUE(S_ISFIFO(Stat("f").st_mode));
  EXPECT_TRUE(S_ISFIFO(Stat("q").st_mode));
}

TEST_F(HostileLayerTest, NamesWithANulAreCutAndStayInside) {
  Unpack(TarBuilder().Pax({{"path", "good\0/../../canary"s}}).File("x", "f"));
  EXPECT_EQ(Paths(), std::vector<std::string>{"good"});
}

TEST_F(HostileLayerTest, LongNames) {
  ExpectCorrupt(TarBuilder().Pax({{"path", std::string(4097, 'n')}}).File("x", ""));
  ExpectCorrupt(TarBuilder().Pax({{"path", std::string(256, 'n')}}).File("x", ""));
  ExpectCorrupt(TarBuilder().Pax({{"linkpath", std::string(4096, 'n')}}).Symlink("x", "y"));
  ExpectCorrupt(TarBuilder().Symlink("x", ""));
}

TEST_F(HostileLayerTest, DeepPaths) {
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "d/";
  ExpectCorrupt(TarBuilder().Pax({{"path", deep + "f"}}).File("x", ""));
  ExpectCorrupt(TarBuilder().Pax({{"path", deep.substr(0, 2 * 600)}}).Dir("x"));
  // Deeper by links than any name is.
  TarBuilder tar;
  const std::string half = deep.substr(0, 2 * 400 - 1);
  tar.Pax({{"path", half}}).Dir("x").Pax({{"linkpath", half}}).Symlink("s", "x").Pax({{"path", "s/" + half}}).Dir("x");
  ExpectCorrupt(tar);
}

TEST_F(HostileLayerTest, SparseBombs) {
  TarBuilder tar;
  tar.Pax({{"GNU.sparse.size", "1099511627776"}, {"GNU.sparse.numblocks", "0"}, {"GNU.sparse.map", ""}});
  tar.Entry({.name = "a"});
  tar.Pax({{"GNU.sparse.size", "1099511627776"}, {"GNU.sparse.numblocks", "0"}, {"GNU.sparse.map", ""}});
  ExpectCorrupt(tar.Entry({.name = "b"}));
  std::string map = "0,1";
  for (int i = 0; i < 100'000; ++i) map += ",0,1";
  ExpectCorrupt(TarBuilder()
                    .Pax({{"GNU.sparse.size", "10"}, {"GNU.sparse.numblocks", "100001"}, {"GNU.sparse.map", map}})
                    .File("c", "0123456789"));
}

TEST_F(HostileLayerTest, XattrBombs) {
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 10'000; ++i) many.emplace_back("SCHILY.xattr.user." + std::to_string(i), "x");
  ExpectCorrupt(TarBuilder().Pax(many).File("x", ""));
  ExpectCorrupt(TarBuilder().Pax({{"SCHILY.xattr.user.k", std::string(1'000'000, 'v')}}).File("x", ""));
  ExpectCorrupt(TarBuilder().Pax({{"SCHILY.xattr.user.k", std::string(5'000'000, 'v')}}).File("x", ""));
}

TEST_F(HostileLayerTest, SizesThatLie) {
  for (const uint64_t size : {uint64_t{2000}, uint64_t{1} << 32}) {
    ExpectCorrupt(TarBuilder().Entry({.name = "f", .size = size}, "short"));
    ExpectCorrupt(
        TarBuilder().File("good", "x").Pax({{"size", std::to_string(size)}}).Entry({.name = "f", .size = 5}, "short"));
  }
  ExpectCorrupt(TarBuilder().Pax({{"size", "-1"}}).Entry({.name = "f", .size = 5}, "short"));
}

TEST_F(HostileLayerTest, GzipBombs) {
  std::string bomb;
  const auto out = StringSink(bomb);
  const auto sink = Compress(*out, {.level = 3});
  const std::string header = TarBuilder().Entry({.name = "big", .size = uint64_t{8} << 30}).bytes();
  sink->Write(AsBytes(header));
  const std::string zeros(1 << 20, '\0');
  for (int i = 0; i < 200; ++i) sink->Write(AsBytes(zeros));
  sink->Finish();
  const InflateLimits limits{.max_ratio = 100, .ratio_free_bytes = 1 << 20};
  const Error error = CaughtError(
      [&] { UnpackLayer(DecompressAny(StringSource(bomb), "layer 1", limits), LayerDir(), options_, "layer 1"); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_NE(error.message().find("times"), std::string::npos) << error.message();
  EXPECT_LT(Stat("big").st_size, 100 << 20);
}

// CVE-2021-41103 (containerd): setuid files in a directory that everybody may enter.
TEST_F(HostileLayerTest, SetuidFilesAppearInAPrivateDirectory) {
  ASSERT_EQ(chmod(layer_.c_str(), 0777), 0);
  class Looking : public Source {
   public:
    Looking(std::string tar, std::string dir) : tar_(std::move(tar)), dir_(std::move(dir)) {}
    Block Next() override {
      if (at_ == 0) {
        at_ = tar_.size() - 1024;
        return {nullptr, AsBytes(tar_).first(at_)};
      }
      // The file above is there before the end of the archive comes.
      struct stat status {};
      while (!seen_ && stat((dir_ + "/su").c_str(), &status) < 0) usleep(1000);
      seen_ = true;
      EXPECT_EQ(stat(dir_.c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 0777, 0700u);
      Block block(nullptr, AsBytes(tar_).subspan(at_));
      at_ = tar_.size();
      return block;
    }

   private:
    std::string tar_, dir_;
    size_t at_ = 0;
    bool seen_ = false;
  };
  UnpackLayer(std::make_unique<Looking>(TarBuilder().File("su", "x", 04755).File("z", "z").Build(), layer_), LayerDir(),
              options_, "layer 1");
  EXPECT_EQ(Stat("su").st_mode & 07777, 04755u);
}

TEST_F(HostileLayerTest, ErrorsOfTheSourceEndTheUnpackingAsTheyAre) {
  class Failing : public Source {
   public:
    explicit Failing(std::string tar) : tar_(std::move(tar)) {}
    Block Next() override {
      if (std::exchange(done_, true))
        throw Error(ErrorKind::kNetwork, "connection reset");
      return {nullptr, AsBytes(tar_)};
    }

   private:
    std::string tar_;
    bool done_ = false;
  };
  const std::string part = TarBuilder().File("f", std::string(3000, 'x')).Build().substr(0, 2000);
  const Error error =
      CaughtError([&] { UnpackLayer(std::make_unique<Failing>(part), LayerDir(), options_, "layer 1"); });
  EXPECT_EQ(error.message(), "connection reset");
  EXPECT_EQ(error.kind(), ErrorKind::kNetwork);
}

// As an ordinary user, in no namespace: owners and devices are counted, and a setuid bit does not end up on our own.
TEST_F(HostileLayerTest, WithoutPrivilegesNothingIsGainedFromSetuidBits) {
  const std::string tar =
      TarBuilder().File("su", "x", 06755, 0, 0).CharDevice("null", 1, 3).File("f", "f", 0644, 7, 7).Build();
  ASSERT_EQ(chmod(temp_.path().c_str(), 0755), 0);
  ASSERT_EQ(chown(layer_.c_str(), 65534, 65534), 0);
  Process child = Process::Fork([&] {
    if (setgid(65534) != 0 || setuid(65534) != 0)
      return 2;
    const UnpackResult result =
        UnpackLayer(StringSource(tar), Dir::Open(layer_),
                    {.whiteouts = UnpackOptions::Whiteouts::kOverlayUser, .keep_owners = false}, "layer 1");
    return result.skipped_devices == 1 && result.skipped_owners == 3 ? 0 : 3;
  });
  EXPECT_EQ(child.Wait().code, 0);
  EXPECT_EQ(Stat("su").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat("su").st_uid, 65534u);
  EXPECT_FALSE(Exists("null"));
}

}  // namespace
}  // namespace gantry::image
