#include "libimage/layer/unpack.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/layer/layer.h"
#include "tests/libimage/layer/unpack_fixture.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TarBuilder;
using gantry::testing::TempDir;
using std::string_literals::operator""s;

using Names = std::vector<std::string>;

TEST_F(UnpackTest, EntriesBecomeWhatTheyAre) {
  TarBuilder tar;
  tar.Entry({.name = "./", .type = '5', .mode = 0711, .uid = 1, .gid = 2, .mtime = 5});
  tar.Dir("etc", 01777).File("etc/file", "content", 0640, 1000, 1001).Symlink("etc/link", "/nowhere/at/all");
  tar.CharDevice("null", 1, 3).Fifo("fifo").HardLink("other", "etc/file");
  const UnpackResult result = Unpack(tar);
  EXPECT_EQ(result.entries, 7u);
  EXPECT_EQ(result.bytes, 7u);
  EXPECT_TRUE(result.pending.empty());
  EXPECT_EQ(Paths(), (Names{"etc", "etc/file", "etc/link", "fifo", "null", "other"}));
  EXPECT_EQ(Stat(".").st_mode & 07777, 0711u);
  EXPECT_EQ(Stat(".").st_uid, 1u);
  EXPECT_EQ(Stat(".").st_mtim.tv_sec, 5);
  EXPECT_EQ(Stat("etc").st_mode & 07777, 01777u);
  EXPECT_EQ(Content("etc/file"), "content");
  EXPECT_EQ(Stat("etc/file").st_mode & 07777, 0640u);
  EXPECT_EQ(Stat("etc/file").st_uid, 1000u);
  EXPECT_EQ(Stat("etc/file").st_gid, 1001u);
  EXPECT_EQ(Stat("etc/file").st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(LinkOf("etc/link"), "/nowhere/at/all");
  EXPECT_EQ(Stat("null").st_rdev, makedev(1, 3));
  EXPECT_TRUE(S_ISFIFO(Stat("fifo").st_mode));
  EXPECT_EQ(Stat("other").st_ino, Stat("etc/file").st_ino);
}

TEST_F(UnpackTest, TimesOfDirectoriesAreThoseOfTheArchive) {
  TarBuilder tar;
  tar.Pax({{"mtime", "1500000000.123456789"}}).Dir("a").Dir("a/b").File("a/b/f", "f").File("a/late", "x");
  Unpack(tar);
  EXPECT_EQ(Stat("a").st_mtim.tv_sec, 1'500'000'000);
  EXPECT_EQ(Stat("a").st_mtim.tv_nsec, 123'456'789);
  EXPECT_EQ(Stat("a/b").st_mtim.tv_sec, 1'000'000'000);
}

TEST_F(UnpackTest, DirectoriesThatNobodyMayEnterAreFilled) {
  TarBuilder tar;
  tar.Dir("closed", 0).Dir("closed/inner", 0500).File("closed/inner/f", "f");
  Unpack(tar);
  EXPECT_EQ(Stat("closed").st_mode & 07777, 0u);
  EXPECT_EQ(Stat("closed/inner").st_mode & 07777, 0500u);
}

TEST_F(UnpackTest, SetuidSurvivesTheChangeOfOwner) {
  Unpack(TarBuilder().File("su", "x", 04755, 10, 20).File("sg", "x", 02755, 10, 20));
  EXPECT_EQ(Stat("su").st_mode & 07777, 04755u);
  EXPECT_EQ(Stat("sg").st_mode & 07777, 02755u);
}

TEST_F(UnpackTest, NothingIsInheritedFromTheDirectory) {
  ASSERT_EQ(chown(layer_.c_str(), 0, 33), 0);
  ASSERT_EQ(chmod(layer_.c_str(), 02777), 0);
  Unpack(TarBuilder().Dir("d").File("d/f", "x").File("f", "x"));
  EXPECT_EQ(Stat("f").st_gid, 0u);
  EXPECT_EQ(Stat("d").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat("d/f").st_gid, 0u);
}

TEST_F(UnpackTest, TheUmaskDoesNotCount) {
  const mode_t before = umask(0077);
  Unpack(TarBuilder().File("f", "x", 0666).Dir("d", 0777));
  umask(before);
  EXPECT_EQ(Stat("f").st_mode & 07777, 0666u);
  EXPECT_EQ(Stat("d").st_mode & 07777, 0777u);
}

TEST_F(UnpackTest, HolesStayHoles) {
  TarBuilder tar;
  tar.Pax({{"GNU.sparse.size", "50000000"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", "0,4,40000000,4"}});
  tar.Entry({.name = "sparse", .size = 8}, "headtail");
  Unpack(tar);
  EXPECT_EQ(Stat("sparse").st_size, 50'000'000);
  EXPECT_LT(Stat("sparse").st_blocks * 512, 1'000'000);
  const UniqueFd fd = OpenFile(layer_ + "/sparse", O_RDONLY);
  char piece[6] = {};
  EXPECT_EQ(pread(fd.get(), piece, 5, 39'999'999), 5);
  EXPECT_EQ(std::string(piece, 5), "\0tail"s);
}

TEST_F(UnpackTest, ExtendedAttributesAreSetOnFilesAndDirectories) {
  TarBuilder tar;
  tar.Pax({{"SCHILY.xattr.user.k", "v\0w"s},
           {"SCHILY.xattr.security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"s}});
  tar.File("f", "x", 0755, 5, 5).Pax({{"SCHILY.xattr.trusted.k", "d"}}).Dir("d");
  const UnpackResult result = Unpack(tar);
  EXPECT_EQ(result.skipped_xattrs, 0u);
  EXPECT_EQ(Xattr("f", "user.k"), "v\0w"s);
  EXPECT_EQ(Xattr("f", "security.capability").size(), 20u);
  EXPECT_EQ(Xattr("d", "trusted.k"), "d");
}

TEST_F(UnpackTest, ExtendedAttributesOfTheMachineAreSkipped) {
  TarBuilder tar;
  tar.Pax({{"SCHILY.xattr.security.selinux", "system_u:object_r:bin_t:s0"}, {"SCHILY.xattr.nonsense.k", "v"}});
  EXPECT_EQ(Unpack(tar.File("f", "x")).skipped_xattrs, 2u);
  EXPECT_EQ(Xattr("f", "security.selinux"), "(none)");
}

TEST_F(UnpackTest, TheImageCannotSpeakToOverlayfs) {
  TarBuilder tar;
  tar.Pax({{"SCHILY.xattr.trusted.overlay.opaque", "y"}, {"SCHILY.xattr.trusted.overlay.redirect", "/etc"}}).Dir("d");
  tar.Pax({{"SCHILY.xattr.trusted.overlay.overlay.opaque", "y"}}).Dir("twice");
  Unpack(tar);
  EXPECT_FALSE(IsOpaque("d"));
  EXPECT_EQ(Xattr("d", "trusted.overlay.redirect"), "(none)");
  EXPECT_EQ(Xattr("d", "trusted.overlay.overlay.opaque"), "y");
  EXPECT_EQ(Xattr("d", "trusted.overlay.overlay.redirect"), "/etc");
  EXPECT_EQ(Xattr("twice", "trusted.overlay.overlay.overlay.opaque"), "y");

  NewLayer("user");
  options_.whiteouts = UnpackOptions::Whiteouts::kOverlayUser;
  Unpack(TarBuilder().Pax({{"SCHILY.xattr.user.overlay.opaque", "y"}}).Dir("d").Dir("o").Opaque("o"));
  EXPECT_EQ(Xattr("d", "user.overlay.opaque"), "(none)");
  EXPECT_EQ(Xattr("d", "user.overlay.overlay.opaque"), "y");
  EXPECT_EQ(Xattr("o", "user.overlay.opaque"), "y");
}

TEST_F(UnpackTest, ImpliedDirectoriesAreMadeAndTold) {
  const UnpackResult result = Unpack(TarBuilder().File("a/b/c/f", "x").Dir("a/b"));
  EXPECT_EQ(result.pending.implied, (Names{"", "a", "a/b/c"}));
  EXPECT_EQ(Stat("a").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat("a").st_mtim.tv_sec, 0);
  EXPECT_EQ(Stat("a/b").st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(Stat(".").st_mode & 07777, 0755u);
}

TEST_F(UnpackTest, LaterEntriesWin) {
  TarBuilder tar;
  tar.File("f", "old and long").File("f", "new").Symlink("l", "f").File("l", "file").File("d", "file").Dir("d");
  tar.Dir("t").File("t/x", "x").Dir("t/y").File("t", "no more directory").Fifo("p").File("p", "no more fifo");
  Unpack(tar);
  EXPECT_EQ(Content("f"), "new");
  EXPECT_EQ(Content("l"), "file");
  EXPECT_TRUE(S_ISDIR(Stat("d").st_mode));
  EXPECT_EQ(Content("t"), "no more directory");
  EXPECT_EQ(Content("p"), "no more fifo");
}

TEST_F(UnpackTest, ADirectoryOverADirectoryOnlyChangesItsAttributes) {
  TarBuilder tar;
  tar.Pax({{"SCHILY.xattr.user.old", "1"}}).Dir("d", 0700).File("d/f", "f").Pax({{"SCHILY.xattr.user.new", "1"}});
  Unpack(tar.Dir("d", 0750));
  EXPECT_EQ(Content("d/f"), "f");
  EXPECT_EQ(Stat("d").st_mode & 07777, 0750u);
  EXPECT_EQ(Xattr("d", "user.old"), "(none)");
  EXPECT_EQ(Xattr("d", "user.new"), "1");
}

TEST_F(UnpackTest, ANewFileBreaksAHardLinkAndIsNotWrittenThroughIt) {
  Unpack(TarBuilder().File("a", "one").HardLink("b", "a").File("b", "two"));
  EXPECT_EQ(Content("a"), "one");
  EXPECT_EQ(Content("b"), "two");
}

TEST_F(UnpackTest, HardLinksReplaceAndMayNameThemselves) {
  Unpack(TarBuilder().File("a", "one").File("b", "two").HardLink("b", "a").HardLink("a", "./a").HardLink("a", "b"));
  EXPECT_EQ(Content("b"), "one");
  EXPECT_EQ(Stat("a").st_ino, Stat("b").st_ino);
}

TEST_F(UnpackTest, HardLinksGoAcrossDirectoriesAndThroughLinks) {
  Unpack(TarBuilder().File("usr/lib/f", "f").Symlink("lib", "/usr/lib").HardLink("bin/g", "/lib/f"));
  EXPECT_EQ(Stat("bin/g").st_ino, Stat("usr/lib/f").st_ino);
}

TEST_F(UnpackTest, AHardLinkToALinkIsTheLink) {
  Unpack(TarBuilder().Symlink("s", "/etc/passwd").HardLink("h", "s"));
  EXPECT_EQ(LinkOf("h"), "/etc/passwd");
  EXPECT_EQ(Stat("h").st_ino, Stat("s").st_ino);
}

TEST_F(UnpackTest, LinksOnTheWayAreFollowedInsideTheLayer) {
  TarBuilder tar;
  tar.Dir("usr/lib").Symlink("lib", "usr/lib").Symlink("abs", "/usr/lib").Symlink("up", "../../../usr/lib");
  tar.File("lib/a", "a").File("abs/b", "b").File("up/c", "c").Symlink("later", "var/x").File("later/d/e", "e");
  Unpack(tar);
  EXPECT_EQ(Content("usr/lib/a"), "a");
  EXPECT_EQ(Content("usr/lib/b"), "b");
  EXPECT_EQ(Content("usr/lib/c"), "c");
  EXPECT_EQ(Content("var/x/d/e"), "e");
  EXPECT_EQ(LinkOf("lib"), "usr/lib");
}

TEST_F(UnpackTest, WhiteoutsAreMarked) {
  const UnpackResult result = Unpack(TarBuilder().Dir("etc").Whiteout("etc", "gone").Whiteout("var/lib", "gone too"));
  EXPECT_EQ(Paths(), (Names{"etc", "etc/gone", "var", "var/lib", "var/lib/gone too"}));
  EXPECT_TRUE(IsWhiteout("etc/gone"));
  EXPECT_TRUE(IsWhiteout("var/lib/gone too"));
  EXPECT_EQ(result.whiteouts, 2u);
}

TEST_F(UnpackTest, WhiteoutsDoNotTouchWhatTheLayerHasItself) {
  TarBuilder tar;
  tar.File("before", "b").Entry({.name = ".wh.before"}).Entry({.name = ".wh.after"}).File("after", "a");
  tar.Dir("d").File("d/f", "f").Entry({.name = ".wh.d"}).Entry({.name = ".wh.e"}).Dir("e").File("e/f", "f");
  tar.Entry({.name = ".wh.i"}).File("i/f", "f").Symlink("s", "d").Entry({.name = ".wh.s"});
  Unpack(tar);
  EXPECT_EQ(Content("before"), "b");
  EXPECT_EQ(Content("after"), "a");
  for (const std::string& dir : {"d"s, "e"s, "i"s}) {
    EXPECT_EQ(Content(dir + "/f"), "f");
    EXPECT_TRUE(IsOpaque(dir)) << dir;
  }
  EXPECT_EQ(LinkOf("s"), "d");
  EXPECT_FALSE(IsOpaque("."));
}

TEST_F(UnpackTest, OpaqueMarkersCountWhereverTheyStand) {
  const UnpackResult result = Unpack(
      TarBuilder().File("a/f", "f").Opaque("a").Opaque("b").File("b/f", "f").Dir("b", 0700).Dir("c").Opaque("c"));
  for (const std::string& dir : {"a"s, "b"s, "c"s}) EXPECT_TRUE(IsOpaque(dir)) << dir;
  EXPECT_EQ(Stat("b").st_mode & 07777, 0700u);
  EXPECT_FALSE(result.opaque_root);
  EXPECT_FALSE(HidesAllBelow(LayerDir(), options_.whiteouts));
}

TEST_F(UnpackTest, AnOpaqueRootIsTold) {
  EXPECT_TRUE(Unpack(TarBuilder().Entry({.name = ".wh..wh..opq"}).File("f", "f")).opaque_root);
  EXPECT_TRUE(HidesAllBelow(LayerDir(), options_.whiteouts));
}

TEST_F(UnpackTest, AufsBookkeepingLeavesNothing) {
  Unpack(TarBuilder().File(".wh..wh.aufs", "").Dir(".wh..wh.plnk").File(".wh..wh.plnk/12.34", "x").File("f", "f"));
  EXPECT_EQ(Paths(), Names{"f"});
}

TEST_F(UnpackTest, DeepTreesNeedFewDescriptors) {
  std::string path;
  TarBuilder tar;
  for (int i = 0; i < 300; ++i) path += "d/";
  tar.Pax({{"path", path + "f"}}).File("x", "deep").Pax({{"path", path + "up"}}).Symlink("x", "../../x");
  tar.Pax({{"path", path + "up/g"}}).File("x", "g").Pax({{"path", path + "h"}}).File("x", "h");
  const UnpackResult result = Unpack(tar);
  EXPECT_EQ(result.pending.implied.size(), 302u);
  EXPECT_EQ(Content(path + "f"), "deep");
  EXPECT_EQ(Content(path + "h"), "h");
  EXPECT_EQ(Content(path.substr(0, 596) + "x/g"), "g");
}

TEST_F(UnpackTest, HardLinksToLowerLayersAreCompletedLater) {
  Unpack(TarBuilder().Pax({{"SCHILY.xattr.user.k", "v"}}).File("dir/f", "content", 04755, 3, 4).Symlink("s", "x"));
  const Dir base = LayerDir();
  NewLayer("middle");
  Unpack(TarBuilder().Whiteout("", "s"));
  const Dir middle = LayerDir();
  NewLayer("top");
  const UnpackResult result = Unpack(
      TarBuilder().Dir("./").Dir("d").HardLink("d/one", "dir/f").HardLink("two", "d/one").HardLink("three", "dir/f"));
  EXPECT_EQ(Paths(), Names{"d"});
  EXPECT_TRUE(CompleteLayer(LayerDir(), result.pending, {&middle, &base}, options_, "layer 3"));
  EXPECT_EQ(Paths(), (Names{"d", "d/one", "three", "two"}));
  EXPECT_EQ(Content("d/one"), "content");
  EXPECT_EQ(Stat("d/one").st_mode & 07777, 04755u);
  EXPECT_EQ(Stat("d/one").st_uid, 3u);
  EXPECT_EQ(Stat("d/one").st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(Xattr("d/one", "user.k"), "v");
  EXPECT_EQ(Stat("two").st_ino, Stat("d/one").st_ino);
  EXPECT_EQ(Stat("three").st_ino, Stat("d/one").st_ino);
  EXPECT_EQ(Stat("d").st_mtim.tv_sec, 1'000'000'000);

  NewLayer("bad");
  for (const std::string& target : {"s"s, "dir"s, "nowhere"s, "dir/f/x"s}) {
    const Pending pending{.links = {{"link", target}}, .implied = {}};
    EXPECT_EQ(CaughtError([&] {
                CompleteLayer(LayerDir(), pending, {&middle, &base}, options_, "layer 3");
              }).kind(),
              ErrorKind::kCorrupt)
        << target;
  }
}

TEST_F(UnpackTest, LaterEntriesAndWhiteoutsKnowPendingLinks) {
  const UnpackResult result = Unpack(TarBuilder()
                                         .HardLink("a", "below")
                                         .File("a", "own")
                                         .HardLink("b", "below")
                                         .Entry({.name = ".wh.b"})
                                         .HardLink("d/c", "below")
                                         .File("d", "no directory"));
  ASSERT_EQ(result.pending.links.size(), 1u);
  EXPECT_EQ(result.pending.links[0].path, "b");
  EXPECT_FALSE(Exists("b"));
  EXPECT_EQ(Content("a"), "own");
}

TEST_F(UnpackTest, ImpliedDirectoriesTakeTheirAttributesFromBelow) {
  Unpack(TarBuilder().Entry({.name = "./", .type = '5', .mode = 0711}).Dir("secret", 0700).Dir("plain").Dir("o", 0700));
  const Dir base = LayerDir();
  NewLayer("top");
  const UnpackResult result =
      Unpack(TarBuilder().File("secret/f", "f").File("plain/f", "f").Opaque("o").File("new/f", "f"));
  EXPECT_TRUE(CompleteLayer(LayerDir(), result.pending, {&base}, options_, "layer 2"));
  EXPECT_EQ(Stat(".").st_mode & 07777, 0711u);
  EXPECT_EQ(Stat("secret").st_mode & 07777, 0700u);
  EXPECT_EQ(Stat("secret").st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(Stat("new").st_mode & 07777, 0755u);
}

TEST_F(UnpackTest, ALayerThatTookNothingFromBelowSaysSo) {
  Unpack(TarBuilder().Dir("./").Dir("etc"));
  const Dir base = LayerDir();
  NewLayer("top");
  const UnpackResult result = Unpack(TarBuilder().File("etc/f", "f"));
  EXPECT_FALSE(CompleteLayer(LayerDir(), result.pending, {&base}, options_, "layer 2"));
}

TEST_F(UnpackTest, TwiceTheSameIsTheSame) {
  TarBuilder tar;
  tar.Dir("d", 0750).File("d/f", "content", 0600, 1, 1).Symlink("s", "d").HardLink("h", "d/f").Whiteout("d", "gone");
  const auto listing = [&] {
    Unpack(tar);
    // A whiteout has the time at which it was made.
    EXPECT_TRUE(IsWhiteout("d/gone"));
    const std::vector<std::string> tar_all = {"tar", "-C", layer_, "--sort=name", "--format=gnu", "--exclude=gone",
                                              "-cf", "-",  "."};
    return RunCaptured(tar_all, "", 1 << 20).output;
  };
  const std::string first = listing();
  NewLayer("again");
  EXPECT_TRUE(first == listing());
}

TEST_F(UnpackTest, AnotherIsToldAllEntriesWithTheirContent) {
  struct Recorder : EntrySink {
    void Add(const Entry& entry) override { text += "|" + entry.name + ":"; }
    void Write(std::span<const std::byte> bytes) override {
      text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    void WriteZeros(uint64_t count) override { text.append(count, '0'); }
    std::string text;
  } recorder;
  options_.also = &recorder;
  TarBuilder tar;
  tar.Dir("./d").File("d/a", "once").File("d/a", "twice").Whiteout("d", "x").HardLink("b", "d/a");
  tar.Pax({{"GNU.sparse.size", "6"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", "1,1,3,1"}});
  tar.File("sparse", "xy");
  Unpack(tar);
  EXPECT_EQ(recorder.text, "|./d/:|d/a:once|d/a:twice|d/.wh.x:|b:|sparse:0x0y00");
}

}  // namespace
}  // namespace gantry::image
