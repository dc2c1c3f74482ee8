// Several processes, killed processes, and a full disk.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <random>

#include "libimage/base/process.h"
#include "tests/libimage/store/store_fixture.h"

namespace gantry::image {
namespace {

using gantry::testing::AddBytes;
using gantry::testing::AddImage;
using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::ImageOf;
using gantry::testing::Problems;
using gantry::testing::StoreTest;
using ::testing::IsEmpty;

class CrashTest : public StoreTest {
 protected:
  // One pass of a writer that does everything a writer does.
  void WriteOnce(const std::string& salt) const {
    const auto store = Open();
    const ImageBuilder builder = ImageOf(salt + std::string(300'000, 'x'));
    const Image image = builder.Build();
    const auto lease = store->NewLease();
    const std::set<Digest> blobs = BlobsOf(image);
    lease->Add({blobs.begin(), blobs.end()});
    for (const auto& [digest, bytes] : builder.Blobs()) {
      if (!store->HasBlob(digest))
        AddBytes(*store, bytes);
    }
    store->AddSignature(image.descriptor.digest, "signature");
    const auto layer = store->AddLayer(image.config.diff_ids[0], "");
    layer->dir().MakeDirs(RelPath::Parse("usr/bin")).WriteFileAtomically(RelPath::Parse("tool"), "x");
    layer->Commit();
    store->SetName("image:" + salt, sign::Verifier::ForTest(image));
    store->RemoveName("image:" + salt);
    store->SetName("image", sign::Verifier::ForTest(image));
  }
};

TEST_F(CrashTest, WriterKilledAtAnyMomentLeavesASoundStore) {
  std::mt19937 random(42);
  std::uniform_int_distribution<int> microseconds(0, 25'000);
  size_t leftovers = 0;
  for (int kill = 0; kill < 60; ++kill) {
    Process writer = Process::Fork([&] {
      for (int i = 0;; ++i) WriteOnce(std::to_string(kill) + "-" + std::to_string(i));
      return 0;
    });
    usleep(static_cast<useconds_t>(microseconds(random)));
    writer.Signal(SIGKILL);
    ASSERT_EQ(writer.Wait().code, 128 + SIGKILL);
    const auto store = OpenReadOnly();
    if (store == nullptr)
      continue;  // killed before there was one
    ASSERT_EQ(Problems(*store), "") << "after kill " << kill;
    leftovers += store->Leftovers().size();
    if (kill % 10 == 9) {
      Open()->Collect({});
      ASSERT_EQ(Problems(*Open()), "");
      ASSERT_THAT(Open()->Leftovers(), IsEmpty());
    }
  }
  EXPECT_GT(leftovers, 0U) << "no kill came in the middle";
  WriteOnce("after-all");
  EXPECT_TRUE(Open()->Resolve("image"));
}

TEST_F(CrashTest, CollectorKilledAtAnyMomentLosesNothingThatIsNeeded) {
  AddImage(*Open(), "keep", ImageOf("kept"));
  std::mt19937 random(7);
  std::uniform_int_distribution<int> microseconds(0, 4'000);
  for (int kill = 0; kill < 50; ++kill) {
    {
      const auto store = Open();
      for (int i = 0; i < 5; ++i) AddBytes(*store, std::to_string(kill) + "." + std::to_string(i));
      store->AddLayer(Digest::Of(std::to_string(kill)), "")->Commit();
    }
    Process collector = Process::Fork([&] {
      Open()->Collect({});
      pause();
      return 0;
    });
    usleep(static_cast<useconds_t>(microseconds(random)));
    collector.Signal(SIGKILL);
    collector.Wait();
    ASSERT_EQ(Problems(*Open()), "") << "after kill " << kill;
  }
  Open()->Collect({});
  EXPECT_THAT(Open()->Leftovers(), IsEmpty());
  EXPECT_EQ(RootDir().OpenDir(RelPath::Parse("blobs/sha256")).List().size(), 3U);
  EXPECT_THAT(RootDir().OpenDir(RelPath::Parse("layers")).List(), IsEmpty());
}

TEST_F(CrashTest, WritersAndCollectorsAtOnceLoseNothing) {
  Open();
  std::vector<Process> children;
  for (int writer = 0; writer < 3; ++writer) {
    children.push_back(Process::Fork([this, writer] {
      for (int i = 0; i < 40; ++i) {
        // The same few images over and over: blobs are found, kept, and collected under the writers' hands.
        WriteOnce(std::to_string((writer + i) % 4));
      }
      return 0;
    }));
  }
  children.push_back(Process::Fork([this] {
    for (int i = 0; i < 150; ++i) Open()->Collect({});
    return 0;
  }));
  for (Process& child : children) EXPECT_EQ(child.Wait().code, 0);
  EXPECT_EQ(Problems(*Open()), "");
  const auto store = Open();
  const FetchedImage image = store->Load(store->Resolve("image").value());
  for (const Descriptor& layer : image.image().manifest.layers) EXPECT_TRUE(store->HasBlob(layer.digest));
}

TEST_F(CrashTest, NamesOfParallelWritersAllArrive) {
  std::vector<Process> children;
  for (int writer = 0; writer < 4; ++writer) {
    children.push_back(Process::Fork([this, writer] {
      const auto store = Open();
      for (int i = 0; i < 15; ++i)
        AddImage(*store, "w" + std::to_string(writer) + ":" + std::to_string(i), ImageOf("l"));
      return 0;
    }));
  }
  for (Process& child : children) EXPECT_EQ(child.Wait().code, 0);
  EXPECT_EQ(Open()->List().size(), 60U);
}

// What `body` returns in a child whose `path` is a tmpfs of 3 MiB; 99 where none can be mounted.
int InSmallDisk(const std::string& path, const std::function<int()>& body) {
  Process child = Process::Fork([&] {
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
        mount("tmpfs", path.c_str(), "tmpfs", 0, "size=3m,mode=0755") < 0)
      return 99;
    return body();
  });
  return child.Wait().code;
}

TEST_F(CrashTest, FullDiskIsAnErrorWithAHintAndLeavesTheStoreSound) {
  const int code = InSmallDisk(temp_.path(), [&] {
    const auto store = Open();
    AddImage(*store, "small", ImageOf("small"));
    const std::string large(8 << 20, 'x');
    const Error error = CaughtError([&] { AddBytes(*store, large); });
    if (error.kind() != ErrorKind::kFailed || error.hint().find("free some space") == std::string::npos)
      return 1;
    // To the last block, where even a lease or index.json has no room.
    const UniqueFd filler = OpenFile(Root() + "/tmp/filler", O_WRONLY | O_CREAT);
    try {
      WriteFull(filler.get(), AsBytes(large), "filler");
    } catch (const Error&) {
    }
    if (CaughtError([&] { AddImage(*Open(), "other", ImageOf("other")); }).kind() != ErrorKind::kFailed)
      return 2;
    if (!Problems(*store).empty() || store->List().size() != 1 || store->List()[0].name != "small")
      return 3;
    if (!store->RemoveName("none") && ftruncate(filler.get(), 0) == 0)
      AddImage(*store, "other", ImageOf("other"));
    return store->List().size() == 2 && Problems(*store).empty() ? 0 : 4;
  });
  if (code == 99)
    GTEST_SKIP() << "no right to mount a tmpfs";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace gantry::image
