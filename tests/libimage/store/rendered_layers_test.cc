#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/base/process.h"
#include "tests/libimage/store/store_fixture.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::Problems;
using gantry::testing::StoreTest;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Digest& DiffId() {
  static const Digest kDigest = Digest::Of("diff");
  return kDigest;
}

class RenderedLayerTest : public StoreTest {
 protected:
  std::vector<std::string> Names() const { return RootDir().OpenDir(RelPath::Parse("layers")).List(); }
  static void Render(Store& store, std::string_view variant, const std::string& content) {
    const auto layer = store.AddLayer(DiffId(), variant);
    layer->dir().WriteFileAtomically(RelPath::Parse("file"), content);
    layer->Commit();
  }
  static std::string Content(const Store& store, std::string_view variant) {
    const auto layer = store.RenderedLayer(DiffId(), variant);
    return layer ? layer->ReadFile(RelPath::Parse("file"), 100) : "(absent)";
  }
};

TEST_F(RenderedLayerTest, AppearsWholeAtCommit) {
  const auto store = Open();
  EXPECT_EQ(Content(*store, ""), "(absent)");
  const auto layer = store->AddLayer(DiffId(), "");
  layer->dir().WriteFileAtomically(RelPath::Parse("file"), "root's");
  EXPECT_EQ(Content(*store, ""), "(absent)");
  layer->Commit();
  EXPECT_EQ(Content(*store, ""), "root's");
  EXPECT_EQ(Problems(*store), "");
}

TEST_F(RenderedLayerTest, VariantsDoNotMix) {
  const auto store = Open();
  Render(*store, "", "root's");
  Render(*store, "u1000", "a user's");
  EXPECT_EQ(Content(*store, ""), "root's");
  EXPECT_EQ(Content(*store, "u1000"), "a user's");
  EXPECT_EQ(Content(*store, "u1001"), "(absent)");
  for (const char* bad : {"../x", "U1", "a.b", "a~b", "123456789012345678901234567890123"})
    EXPECT_EQ(CaughtError([&] { store->AddLayer(DiffId(), bad); }).kind(), ErrorKind::kFailed) << bad;
}

TEST_F(RenderedLayerTest, TheFirstOfTwoIsKept) {
  const auto store = Open();
  const auto loser = store->AddLayer(DiffId(), "");
  loser->dir().WriteFileAtomically(RelPath::Parse("file"), "loser");
  Render(*store, "", "winner");
  loser->Commit();
  EXPECT_EQ(Content(*store, ""), "winner");
  store->SyncLayers();
  Render(*store, "", "late");
  EXPECT_EQ(Content(*store, ""), "winner");
  EXPECT_THAT(Names(), SizeIs(1));
}

TEST_F(RenderedLayerTest, WithoutCommitNothingStays) {
  const auto store = Open();
  {
    const auto layer = store->AddLayer(DiffId(), "");
    const Dir closed = layer->dir().MakeDirs(RelPath::Parse("a/b"));
    fchmod(closed.fd(), 0);
    fchmod(layer->dir().fd(), 0555);
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(RenderedLayerTest, ModeOfTheRootIsThatOfTheLayer) {
  const auto store = Open();
  const auto layer = store->AddLayer(DiffId(), "");
  struct stat status {};
  fstat(layer->dir().fd(), &status);
  EXPECT_EQ(status.st_mode & 07777, 0755U);
  fchmod(layer->dir().fd(), 0555);
  layer->Commit();
  fstat(store->RenderedLayer(DiffId(), "")->fd(), &status);
  EXPECT_EQ(status.st_mode & 07777, 0555U);
}

// An ordinary user may not move such a directory to another parent.
TEST_F(RenderedLayerTest, UserCanCommitSyncAndCollectALayerWhoseRootIsReadOnly) {
  if (geteuid() != 0)
    GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(chmod(temp_.path().c_str(), 0777), 0);
  Process child = Process::Fork([&] {
    if (setgid(65534) < 0 || setuid(65534) < 0)
      return 2;
    {
      const auto store = Open();
      const auto layer = store->AddLayer(DiffId(), "u65534");
      layer->dir().MakeDirs(RelPath::Parse("a"));
      fchmod(layer->dir().fd(), 0555);
      layer->Commit();
      if (store->SyncLayers() != 1 || !store->RenderedLayer(DiffId(), "u65534"))
        return 3;
    }
    return Open()->Collect({}).layers == 1 && Names().empty() ? 0 : 4;
  });
  EXPECT_EQ(child.Wait().code, 0);
}

TEST_F(RenderedLayerTest, SyncMakesItOutliveTheBoot) {
  const auto store = Open();
  Render(*store, "", "x");
  ASSERT_THAT(Names(), SizeIs(1));
  EXPECT_NE(Names()[0].find('~'), std::string::npos) << "tied to this boot";
  const auto before = store->RenderedLayer(DiffId(), "");
  EXPECT_EQ(store->SyncLayers(), 1U);
  EXPECT_EQ(Names()[0], "sha256-" + DiffId().hex());
  EXPECT_EQ(Content(*store, ""), "x");
  EXPECT_EQ(before->ReadFile(RelPath::Parse("file"), 10), "x");
  EXPECT_EQ(store->SyncLayers(), 0U);
}

TEST_F(RenderedLayerTest, SyncDoesNotRenameWhatOthersAreAboutToMount) {
  Render(*Open(), "", "x");
  const auto runner = Open();
  auto lease = runner->NewLease();
  lease->Add({DiffId()});
  EXPECT_EQ(Open()->SyncLayers(), 0U);
  EXPECT_NE(Names().at(0).find('~'), std::string::npos);
  lease.reset();
  EXPECT_EQ(Open()->SyncLayers(), 1U);
}

TEST_F(RenderedLayerTest, ChildThatRendersLeavesNoLeaseBehind) {
  {
    const auto store = Open();
    const auto lease = store->NewLease();
    Process child = Process::Fork([&] {
      Render(*store, "", "by a child");
      return 0;
    });
    ASSERT_EQ(child.Wait().code, 0);
    EXPECT_EQ(Content(*store, ""), "by a child");
  }
  EXPECT_THAT(RootDir().OpenDir(RelPath::Parse("tmp")).List(), IsEmpty());
}

TEST_F(RenderedLayerTest, OtherUsersCannotReachIt) {
  const auto store = Open();
  Render(*store, "", "x");
  EXPECT_EQ(RootDir().Stat(RelPath::Parse("layers"))->st_mode & 0077, 0U);
  ASSERT_EQ(chmod((Root() + "/layers").c_str(), 0755), 0);
  Open();
  EXPECT_EQ(RootDir().Stat(RelPath::Parse("layers"))->st_mode & 0077, 0U) << "closed again";
}

}  // namespace
}  // namespace gantry::image
