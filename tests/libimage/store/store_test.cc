#include "libimage/store/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/model/media_type.h"
#include "tests/libimage/store/store_fixture.h"

namespace gantry::image {
namespace {

using gantry::testing::AddBlobs;
using gantry::testing::AddBytes;
using gantry::testing::AddImage;
using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::ImageOf;
using gantry::testing::Problems;
using gantry::testing::StoreTest;
using gantry::testing::Vouched;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kAlpine = "docker.io/library/alpine:latest";

Descriptor DescriptorOf(const std::string& bytes) {
  return {.media_type = "application/octet-stream", .digest = Digest::Of(bytes), .size = bytes.size()};
}

void WriteIndex(const Dir& root, const std::string& manifests) {
  root.WriteFileAtomically(RelPath::Parse("index.json"), R"({"schemaVersion":2,"manifests":[)" + manifests + "]}");
}

std::string Entry(const std::string& name, const std::string& digest = Digest::Of("x").str()) {
  return R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" + digest +
         R"(","size":1,"annotations":{"org.opencontainers.image.ref.name":")" + name + R"("}})";
}

TEST_F(StoreTest, NewStoreIsASoundAndEmptyLayoutThatOthersCannotEnter) {
  const auto store = Open();
  EXPECT_EQ(Problems(*store), "");
  EXPECT_TRUE(store->List().empty());
  EXPECT_EQ(RootDir().ReadFile(RelPath::Parse("oci-layout"), 100), R"({"imageLayoutVersion":"1.0.0"})");
  for (const char* closed : {"layers", "pods", "tmp"})
    EXPECT_EQ(RootDir().Stat(RelPath::Parse(closed))->st_mode & 07777, 0700U) << closed;
}

TEST_F(StoreTest, BlobComesBackAsItWentIn) {
  const auto store = Open();
  const std::string bytes(20'000'000, 'b');
  EXPECT_FALSE(store->HasBlob(Digest::Of(bytes)));
  AddBytes(*store, bytes);
  EXPECT_TRUE(store->HasBlob(Digest::Of(bytes)));
  const auto source = static_cast<const Blobs&>(*store).Open(DescriptorOf(bytes), "blob");
  EXPECT_EQ(Drain(*source, bytes.size(), "blob"), bytes);
  EXPECT_EQ(store->ReadBlob(Digest::Of(bytes), bytes.size()), bytes);
}

TEST_F(StoreTest, Sha512BlobHasItsOwnDirectory) {
  const auto store = Open();
  const Digest digest = Digest::Of("text", HashAlgorithm::kSha512);
  const auto blob = store->AddBlob(digest, 4);
  blob->Write(AsBytes("text"));
  blob->Finish();
  EXPECT_EQ(store->ReadBlob(digest, 4), "text");
  EXPECT_TRUE(RootDir().Exists(RelPath::Parse("blobs/sha512/" + digest.hex())));
}

TEST_F(StoreTest, BlobWithoutFinishOrWithWrongBytesLeavesNothing) {
  const auto store = Open();
  const Digest digest = Digest::Of("right");
  store->AddBlob(digest, 5)->Write(AsBytes("right"));
  const auto wrong = store->AddBlob(digest, 5);
  wrong->Write(AsBytes("wrong"));
  EXPECT_EQ(CaughtError([&] { wrong->Finish(); }).kind(), ErrorKind::kCorrupt);
  const auto small = store->AddBlob(digest, 5);
  small->Write(AsBytes("righ"));
  EXPECT_EQ(CaughtError([&] { small->Finish(); }).kind(), ErrorKind::kCorrupt);
  const auto large = store->AddBlob(digest, 5);
  EXPECT_EQ(CaughtError([&] { large->Write(AsBytes("right?")); }).kind(), ErrorKind::kCorrupt);
  EXPECT_FALSE(store->HasBlob(digest));
  EXPECT_TRUE(store->dir().OpenDir(RelPath::Parse("blobs/sha256")).List().empty());
}

TEST_F(StoreTest, BlobOfAnotherSizeThanTheDescriptorSaysIsCorrupt) {
  const auto store = Open();
  AddBytes(*store, "four");
  Descriptor descriptor = DescriptorOf("four");
  descriptor.size = 5;
  EXPECT_EQ(CaughtError([&] { store->Open(descriptor, "x"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { store->Open(DescriptorOf("absent"), "x"); }).kind(), ErrorKind::kNotFound);
}

TEST_F(StoreTest, ReadBlobChecksTheDigestOnceMore) {
  const auto store = Open();
  AddBytes(*store, "honest");
  RootDir().WriteFileAtomically(RelPath::Parse("blobs/sha256/" + Digest::Of("honest").hex()), "forged");
  EXPECT_EQ(CaughtError([&] { store->ReadBlob(Digest::Of("honest"), 100); }).kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(Problems(*store), HasSubstr("has the digest " + Digest::Of("forged").str()));
}

TEST_F(StoreTest, NameNeedsEveryBlob) {
  const ImageBuilder builder = ImageOf("layer");
  for (const auto& [missing, ignored] : builder.Blobs()) {
    const auto store = Open();
    for (const auto& [digest, bytes] : builder.Blobs()) {
      if (digest != missing)
        AddBytes(*store, bytes);
    }
    const Error error = CaughtError([&] { store->SetName(kAlpine, Vouched(builder)); });
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_THAT(error.message(), HasSubstr(missing.str()));
    EXPECT_TRUE(store->List().empty());
    temp_.dir().RemoveTree(RelPath::Parse("store"));
  }
}

TEST_F(StoreTest, NamedImageIsListedAndLoaded) {
  const auto store = Open();
  const ImageBuilder builder = ImageOf("layer", true);
  AddImage(*store, kAlpine, builder);
  const auto names = store->List();
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(names[0].name, kAlpine);
  EXPECT_EQ(names[0].descriptor.platform, builder.Build().config.platform);
  EXPECT_EQ(names[0].descriptor.annotations.at("gantry.vouched-by"), "test");
  const FetchedImage loaded = store->Load(names[0]);
  EXPECT_EQ(loaded.image().manifest_bytes, builder.ManifestBytes());
  EXPECT_EQ(loaded.image().config_bytes, builder.ConfigBytes());
  EXPECT_EQ(loaded.name()->ToString(), kAlpine);
  EXPECT_EQ(Problems(*store), "");
}

TEST_F(StoreTest, NameMovesToAnotherImageAndGoes) {
  const auto store = Open();
  AddImage(*store, kAlpine, ImageOf("one"));
  AddImage(*store, kAlpine, ImageOf("two"));
  ASSERT_EQ(store->List().size(), 1U);
  EXPECT_EQ(store->List()[0].descriptor.digest, Digest::Of(ImageOf("two").ManifestBytes()));
  EXPECT_TRUE(store->RemoveName(kAlpine));
  EXPECT_FALSE(store->RemoveName(kAlpine));
  EXPECT_FALSE(store->RemoveName(""));
  EXPECT_TRUE(store->List().empty());
}

TEST_F(StoreTest, NamesThatWouldConfusePeopleAreRefused) {
  const auto store = Open();
  AddBlobs(*store, ImageOf("layer"));
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a\nb"), std::string(1025, 'a')})
    EXPECT_EQ(CaughtError([&] { store->SetName(name, Vouched(ImageOf("layer"))); }).kind(), ErrorKind::kUsage) << name;
}

TEST_F(StoreTest, ResolvesShortNamesPinnedNamesAndDigests) {
  const auto store = Open();
  AddImage(*store, kAlpine, ImageOf("one"));
  AddImage(*store, "127.0.0.1:5000/a/b:v1", ImageOf("two"));
  const Digest one = Digest::Of(ImageOf("one").ManifestBytes());
  const Digest two = Digest::Of(ImageOf("two").ManifestBytes());
  for (const std::string& text :
       {std::string(kAlpine), std::string("alpine"), "alpine@" + one.str(), std::string(kAlpine) + "@" + one.str(),
        one.str(), one.hex(), one.hex().substr(0, 12), "sha256:" + one.hex().substr(0, 12)}) {
    const auto found = store->Resolve(text);
    ASSERT_TRUE(found) << text;
    EXPECT_EQ(found->name, kAlpine) << text;
  }
  for (const std::string& text :
       {std::string("alpine:3"), "alpine@" + two.str(), one.hex().substr(0, 11), "sha512:" + one.hex().substr(0, 12),
        std::string("a/b:v1"), std::string("..."), std::string()}) {
    EXPECT_FALSE(store->Resolve(text)) << text;
  }
}

TEST_F(StoreTest, PrefixOfTwoDigestsIsAmbiguous) {
  const auto store = Open();
  const std::string tail(51, '0');
  WriteIndex(RootDir(), Entry("a", "sha256:0123456789ab0" + tail) + "," + Entry("b", "sha256:0123456789ab1" + tail));
  EXPECT_EQ(CaughtError([&] { store->Resolve("0123456789ab"); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(store->Resolve("0123456789ab1")->name, "b");
}

TEST_F(StoreTest, IndexOfAnotherToolIsReadForThisMachine) {
  const auto store = Open();
  const ImageBuilder builder = ImageOf("layer");
  AddBlobs(*store, builder);
  Index index{.media_type = std::string(kOciIndexType), .manifests = {builder.Build().descriptor}};
  index.manifests[0].platform = Platform::Host();
  const std::string bytes = index.ToJson();
  AddBytes(*store, bytes);
  WriteIndex(RootDir(), R"({"mediaType":"application/vnd.oci.image.index.v1+json","digest":")" +
                            Digest::Of(bytes).str() + R"(","size":)" + std::to_string(bytes.size()) +
                            R"(,"annotations":{"org.opencontainers.image.ref.name":"multi"}})");
  const FetchedImage loaded = store->Load(store->Resolve("multi").value());
  EXPECT_EQ(loaded.image().manifest_bytes, builder.ManifestBytes());
  EXPECT_EQ(loaded.index(), Digest::Of(bytes));
  EXPECT_EQ(Problems(*store), "");
  EXPECT_EQ(Open()->Collect({}).blobs, 0U);
}

TEST_F(StoreTest, WhatOthersPutIntoTheIndexStays) {
  const auto store = Open();
  const std::string index = R"({"schemaVersion":2,"x":{"y":1},"manifests":[{"mediaType":"a/b","digest":")" +
                            Digest::Of("x").str() + R"(","size":1,"z":[2]}],"annotations":{"k":"v"}})";
  RootDir().WriteFileAtomically(RelPath::Parse("index.json"), index);
  AddImage(*store, kAlpine, ImageOf("layer"));
  store->RemoveName(kAlpine);
  EXPECT_EQ(RootDir().ReadFile(RelPath::Parse("index.json"), 10000), index);
}

TEST_F(StoreTest, HostileIndexIsCorruptAndSaysWhere) {
  const auto store = Open();
  const auto expect = [&](const std::string& manifests, const std::string& pointer) {
    WriteIndex(RootDir(), manifests);
    for (const Error& error : {CaughtError([&] { store->List(); }), CaughtError([&] { store->Collect({}); })}) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << manifests;
      EXPECT_THAT(error.message(), HasSubstr(pointer));
    }
    EXPECT_THAT(Problems(*store), HasSubstr(pointer));
  };
  expect(Entry("a") + "," + Entry("a"), "/manifests/1/annotations/org.opencontainers.image.ref.name");
  expect(Entry("a\\u001b[2J"), "/manifests/0/annotations/org.opencontainers.image.ref.name");
  expect(Entry("a", "sha256:../../../../etc/passwd"), "/manifests/0/digest");
  expect("7", "/manifests/0");
  RootDir().RemoveFile(RelPath::Parse("index.json"));
  EXPECT_EQ(CaughtError([&] { store->List(); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Open()->List(); }).kind(), ErrorKind::kCorrupt) << "a lost index is not made anew";
}

TEST_F(StoreTest, SignaturesAreKeptInOrderAndOnce) {
  const auto store = Open();
  const Digest manifest = Digest::Of("manifest");
  EXPECT_TRUE(store->Signatures(manifest).empty());
  store->AddSignature(manifest, "one");
  store->AddSignature(manifest, "two");
  store->AddSignature(manifest, "one");
  EXPECT_THAT(store->Signatures(manifest), ElementsAre("one", "two"));
  EXPECT_EQ(RootDir().ReadFile(RelPath::Parse("signatures/sha256-" + manifest.hex() + "/signature-2"), 10), "two");
  EXPECT_EQ(Problems(*store), "");
}

TEST_F(StoreTest, SignaturesHaveBounds) {
  const auto store = Open();
  const Digest manifest = Digest::Of("manifest");
  EXPECT_EQ(CaughtError([&] { store->AddSignature(manifest, ""); }).kind(), ErrorKind::kCorrupt);
  const std::string large(kMaxSignatureBytes + 1, 's');
  EXPECT_EQ(CaughtError([&] { store->AddSignature(manifest, large); }).kind(), ErrorKind::kCorrupt);
  for (size_t i = 0; i < kMaxSignatures; ++i) store->AddSignature(manifest, std::to_string(i));
  EXPECT_EQ(CaughtError([&] { store->AddSignature(manifest, "more"); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(store->Signatures(manifest).size(), kMaxSignatures);
}

TEST_F(StoreTest, ReadOnlyStoreIsAbsentBeforeThereIsOne) {
  EXPECT_EQ(OpenReadOnly(), nullptr);
  Dir::Create(Root());
  EXPECT_EQ(OpenReadOnly(), nullptr);
  EXPECT_TRUE(RootDir().List().empty());
}

TEST_F(StoreTest, ReadOnlyStoreWritesNothing) {
  AddImage(*Open(), kAlpine, ImageOf("layer"));
  const auto listing = [&] {
    std::string out;
    for (const char* path : {".", "blobs/sha256", "layers", "tmp", "signatures", "pods"}) {
      const Dir dir = Dir::Open(Root() + "/" + path);
      struct stat status {};
      fstat(dir.fd(), &status);
      out += std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec) + " ";
      for (const std::string& name : dir.List()) out += name + " ";
    }
    return out;
  };
  const std::string before = listing();
  const auto store = OpenReadOnly();
  ASSERT_NE(store, nullptr);
  store->Load(store->Resolve("alpine").value());
  EXPECT_EQ(Problems(*store), "");
  EXPECT_TRUE(store->Leftovers().empty());
  EXPECT_FALSE(store->RenderedLayer(Digest::Of("x"), ""));
  const Digest digest = Digest::Of("x");
  EXPECT_EQ(CaughtError([&] { store->AddBlob(digest, 1); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { store->AddLayer(digest, ""); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { store->AddSignature(digest, "s"); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { store->SetName("x", Vouched(ImageOf("layer"))); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { store->RemoveName(kAlpine); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { store->NewLease(); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { store->Collect({.dry_run = true}); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(listing(), before);
}

TEST_F(StoreTest, DirectoryOfSomethingElseIsLeftAlone) {
  Dir::Create(Root()).WriteFileAtomically(RelPath::Parse("thesis.txt"), "years of work");
  const Error error = CaughtError([&] { Open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.message(), HasSubstr("thesis.txt"));
  EXPECT_EQ(RootDir().List().size(), 1U);
}

TEST_F(StoreTest, OtherLayoutVersionIsUnsupported) {
  Open();
  RootDir().WriteFileAtomically(RelPath::Parse("oci-layout"), R"({"imageLayoutVersion":"2.0.0"})");
  EXPECT_EQ(CaughtError([&] { Open(); }).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(CaughtError([&] { OpenReadOnly(); }).kind(), ErrorKind::kUnsupported);
}

TEST_F(StoreTest, StoreThatOthersCanWriteIsReadWithSuspicion) {
  AddImage(*Open(), kAlpine, ImageOf("layer"));
  ASSERT_EQ(chmod(Root().c_str(), 0777), 0);
  const Error error = CaughtError([&] { Open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.hint(), HasSubstr("chmod go-w"));
  RootDir().WriteFileAtomically(RelPath::Parse("blobs/sha256/" + Digest::Of("layer").hex()), "LAYER");
  const auto store = OpenReadOnly();
  const auto source = static_cast<const Blobs&>(*store).Open(DescriptorOf("layer"), "layer 1");
  EXPECT_EQ(CaughtError([&] { Drain(*source, 100, "layer 1"); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(StoreTest, StoreOfAnotherUserCanOnlyBeRead) {
  if (geteuid() != 0)
    GTEST_SKIP() << "only root can give a directory away";
  AddImage(*Open(), kAlpine, ImageOf("layer"));
  ASSERT_EQ(chown(Root().c_str(), 65534, 65534), 0);
  const Error error = CaughtError([&] { Open(); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.message(), HasSubstr("belongs to user 65534"));
  EXPECT_EQ(OpenReadOnly()->List().size(), 1U);
}

TEST_F(StoreTest, LinksInTheStoreAreNotFollowed) {
  const auto store = Open();
  const std::string secret = temp_.path() + "/secret";
  temp_.dir().WriteFileAtomically(RelPath::Parse("secret"), "secret");
  const Digest digest = Digest::Of("secret");
  ASSERT_EQ(symlink(secret.c_str(), (Root() + "/blobs/sha256/" + digest.hex()).c_str()), 0);
  EXPECT_FALSE(store->HasBlob(digest));
  EXPECT_ANY_THROW(store->ReadBlob(digest, 100));
  EXPECT_THAT(Problems(*store), HasSubstr("is no blob"));
}

TEST_F(StoreTest, KeepsArtifactsByName) {
  const auto store = Open();
  const Manifest manifest{.media_type = std::string(kOciManifestType),
                          .config = DescriptorOf("{}"),
                          .layers = {DescriptorOf("content")},
                          .artifact_type = "application/vnd.example"};
  const VerifiedArtifact artifact =
      sign::Verifier::ForTest(FetchedArtifact{Artifact::FromBytes(manifest.ToJson(), {}), std::nullopt});
  for (const std::string& bytes : {manifest.ToJson(), std::string("{}")}) AddBytes(*store, bytes);
  EXPECT_EQ(CaughtError([&] { store->SetName(kAlpine, artifact); }).kind(), ErrorKind::kNotFound);
  AddBytes(*store, "content");
  store->SetName(kAlpine, artifact);
  const StoredName found = store->Resolve("alpine").value();
  EXPECT_EQ(found.descriptor.artifact_type, "application/vnd.example");
  EXPECT_FALSE(found.descriptor.platform);
  const Fetched loaded = store->LoadAny(found);
  EXPECT_EQ(std::get<FetchedArtifact>(loaded).artifact.manifest, manifest);
  const Error error = CaughtError([&] { store->Load(found); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.message(), HasSubstr("'application/vnd.example'"));
  store->Collect({});
  EXPECT_TRUE(store->HasBlob(Digest::Of("content")));
  EXPECT_EQ(Problems(*store), "");
}

}  // namespace
}  // namespace gantry::image
