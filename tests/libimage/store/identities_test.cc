// Identities that the store keeps: found once, believed only where nobody else can write, and proved by Check.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "libimage/layer/layer.h"
#include "tests/libimage/store/store_fixture.h"
#include "tests/support/tar_builder.h"

namespace gantry::image {
namespace {

using gantry::testing::AddImage;
using gantry::testing::ImageBuilder;
using gantry::testing::ImageOf;
using gantry::testing::MemoryBlobs;
using gantry::testing::Problems;
using gantry::testing::StoreTest;
using gantry::testing::TarBuilder;
using ::testing::HasSubstr;

class IdentitiesTest : public StoreTest {
 protected:
  IdentitiesTest() {
    builder_.Layer(TarBuilder().Dir("etc", 0700).File("etc/a", "a").Build());
    builder_.Layer(TarBuilder().File("b", "b").Build());
    AddImage(*Open(), "app:1", builder_);
  }
  Image image() const { return builder_.Build(); }
  const Digest manifest() const { return image().descriptor.digest; }
  RelPath File() const { return RelPath::Parse("identities/sha256-" + manifest().hex()); }

  ImageBuilder builder_;
};

// Opens no blob.
class NoBlobs : public Blobs {
 public:
  std::unique_ptr<Source> Open(const Descriptor&, std::string_view) const override {
    throw Error(ErrorKind::kFailed, "nobody reads a layer");
  }
};

TEST_F(IdentitiesTest, IsFoundByOnePassAndThenKnown) {
  const auto store = Open();
  EXPECT_EQ(store->RootfsOf(manifest()), std::nullopt);
  const Identity found = FindIdentity(image(), *store, store.get());
  EXPECT_EQ(found.digest, Identity::Compute(image(), MemoryBlobs(builder_)).digest);
  EXPECT_EQ(store->RootfsOf(manifest()), found.rootfs);
  const Identity known = FindIdentity(image(), NoBlobs(), store.get());
  EXPECT_EQ(known.digest, found.digest);
  EXPECT_EQ(known.document, found.document);
  EXPECT_EQ(FindIdentity(image(), NoBlobs(), OpenReadOnly().get()).digest, found.digest);
  EXPECT_EQ(RootDir().ReadFile(File(), 1000), "identity/1 " + found.rootfs.str() + "\n");
  EXPECT_EQ(Problems(*store), "");
}

TEST_F(IdentitiesTest, StoreOpenForReadingKeepsNothing) {
  const auto store = OpenReadOnly();
  FindIdentity(image(), *store, store.get());
  EXPECT_EQ(Open()->RootfsOf(manifest()), std::nullopt);
}

TEST_F(IdentitiesTest, WhatOthersCouldHaveWrittenIsNotBelieved) {
  Open()->KeepRootfs(manifest(), Digest::Of("evil"));
  EXPECT_EQ(OpenReadOnly()->RootfsOf(manifest()), Digest::Of("evil"));
  ASSERT_EQ(chmod(Root().c_str(), 0777), 0);
  const auto store = OpenReadOnly();
  EXPECT_EQ(store->RootfsOf(manifest()), std::nullopt);
  EXPECT_EQ(FindIdentity(image(), *store, store.get()).digest,
            Identity::Compute(image(), MemoryBlobs(builder_)).digest);
}

TEST_F(IdentitiesTest, OtherFilesAndVersionsAreNoIdentity) {
  const auto store = Open();
  const std::string digest = Digest::Of("").str();
  for (const std::string& text : {std::string(), digest + "\n", "identity/2 " + digest + "\n", "identity/1 " + digest,
                                  "identity/1 " + digest + "\n\n", std::string("identity/1 sha256:12\n")}) {
    RootDir().WriteFileAtomically(File(), text);
    EXPECT_EQ(store->RootfsOf(manifest()), std::nullopt) << text;
    EXPECT_THAT(Problems(*store), HasSubstr("is no identity")) << text;
  }
}

TEST_F(IdentitiesTest, CheckFindsEachOneAgain) {
  const auto store = Open();
  store->KeepRootfs(manifest(), Digest::Of("another tree"));
  EXPECT_THAT(Problems(*store), HasSubstr("identities/sha256-" + manifest().hex() + ": says " +
                                          Digest::Of("another tree").str() + ", and the layers amount to"));
  store->KeepRootfs(manifest(), Identity::Compute(image(), *store).rootfs);
  EXPECT_EQ(Problems(*store), "");
  RootDir().WriteFileAtomically(RelPath::Parse("identities/any"), "");
  EXPECT_THAT(Problems(*store), HasSubstr("is not named by a digest"));
}

TEST_F(IdentitiesTest, IsCollectedWithTheManifest) {
  {
    const auto store = Open();
    FindIdentity(image(), *store, store.get());
    EXPECT_EQ(Open()->Collect({}).identities, 0U);
    store->RemoveName("app:1");
  }
  const auto store = Open();
  EXPECT_EQ(store->Collect({.keep_seconds = 3600}).identities, 0U);
  EXPECT_EQ(store->Collect({}).identities, 1U);
  EXPECT_FALSE(RootDir().Exists(File()));
  EXPECT_EQ(Problems(*store), "");
}

}  // namespace
}  // namespace gantry::image
