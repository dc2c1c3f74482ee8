#include "libimage/convert/copy_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "tests/libimage/convert/memory_sink.h"
#include "tests/libimage/convert/trusted_image.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::MemorySink;
using gantry::testing::TarBuilder;
using gantry::testing::Trusted;
using gantry::testing::TrustedArtifact;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const Platform kAmd{"linux", "amd64", "", ""};
const Platform kArm{"linux", "arm64", "", ""};

ImageBuilder ImageFor(const Platform& platform, bool docker = false) {
  ImageBuilder image(docker);
  return image.Platform(platform).Layer(TarBuilder().File("arch", platform.architecture).Build());
}

// An index with what it leads to, in memory.
class Place {
 public:
  explicit Place(bool docker = false)
      : docker_(docker), index_{.media_type = std::string(docker ? kDockerListType : kOciIndexType)} {}

  Place& Add(const Platform& platform) {
    const ImageBuilder image = ImageFor(platform, docker_);
    for (const auto& [digest, bytes] : image.Blobs()) blobs_.Put(bytes);
    Descriptor listed = image.Build().descriptor;
    listed.platform = platform;
    index_.manifests.push_back(listed);
    return *this;
  }
  // What BuildKit says about the last image.
  Place& AddAttestation() {
    const std::string statement = R"({"_type":"https://in-toto.io/Statement/v0.1"})" + std::to_string(++attestations_);
    Manifest manifest{.media_type = std::string(kOciManifestType), .config = Put("{}", kOciConfigType)};
    manifest.layers = {Put(statement, "application/vnd.in-toto+json")};
    Descriptor listed = Put(manifest.ToJson(), kOciManifestType);
    listed.platform = Platform{"unknown", "unknown", "", ""};
    listed.annotations = {{"vnd.docker.reference.type", "attestation-manifest"},
                          {std::string(kAboutAnnotation), index_.manifests.back().digest.str()}};
    index_.manifests.push_back(listed);
    return *this;
  }
  Place& AddArtifact(const std::string& content) {
    const Descriptor layer = Put(content, "text/plain");
    const Manifest manifest{.media_type = std::string(kOciManifestType),
                            .config = Put("{}", kOciEmptyType),
                            .layers = {layer},
                            .artifact_type = "application/vnd.example"};
    index_.manifests.push_back(Put(manifest.ToJson(), kOciManifestType));
    return *this;
  }
  // One that runs wherever artifactType is not looked at.
  Place& AddDisguised(const Platform& platform) {
    const ImageBuilder image = ImageFor(kArm);
    for (const auto& [digest, bytes] : image.Blobs()) blobs_.Put(bytes);
    Manifest manifest = image.Build().manifest;
    manifest.artifact_type = "application/vnd.example";
    Descriptor listed = Put(manifest.ToJson(), kOciManifestType);
    listed.platform = platform;
    index_.manifests.push_back(listed);
    return *this;
  }
  Place& AddIndex(const Place& inner) {
    blobs_ = inner.blobs_;
    index_.manifests.push_back(Put(inner.index_.ToJson(), kOciIndexType));
    return *this;
  }

  Index& index() { return index_; }
  MemoryBlobs& blobs() { return blobs_; }
  std::string Bytes() const { return index_.ToJson(); }
  Descriptor Top() { return Put(Bytes(), index_.media_type); }
  ImageTree Load(const std::vector<Platform>& platforms = {}) {
    return LoadTree(
        blobs_, Top(), platforms, std::nullopt, [](const FetchedImage& image) { return Trusted(image.image()); },
        TrustedArtifact);
  }

 private:
  Descriptor Put(const std::string& bytes, std::string_view type) {
    blobs_.Put(bytes);
    return {.media_type = std::string(type), .digest = Digest::Of(bytes), .size = bytes.size()};
  }

  bool docker_;
  Index index_;
  MemoryBlobs blobs_;
  int attestations_ = 0;
};

Descriptor Copied(Place& place, MemorySink& sink, const CopyOptions& options = {},
                  const std::vector<Platform>& platforms = {}) {
  return CopyTree(place.Load(platforms), place.blobs(), sink, options,
                  [&](const VerifiedImage& image) { return Conversion::Copy(image, place.blobs(), sink, options); });
}

Index IndexIn(const MemorySink& sink, const Descriptor& top) {
  return std::get<Index>(ParseManifest(sink.blobs.Get(top.digest), top.media_type));
}

// Everything below it is there.
void ExpectSound(const MemorySink& sink, const Descriptor& top) {
  LoadTree(
      sink.blobs, top, {}, std::nullopt, [](const FetchedImage& image) { return Trusted(image.image()); },
      TrustedArtifact);
}

TEST(CopyTreeTest, WholeIndexKeepsItsBytes) {
  for (const bool docker : {false, true}) {
    Place place(docker);
    place.Add(kAmd).Add(kArm);
    if (!docker)
      place.AddAttestation();
    place.index().manifests[0].annotations["org.example.a"] = "b";
    MemorySink sink;
    const Descriptor top = Copied(place, sink, {.preserve_digests = true});
    EXPECT_EQ(sink.blobs.Get(top.digest), place.Bytes());
    EXPECT_EQ(sink.order.back(), top.digest) << "the index is last";
    EXPECT_THAT(sink.vouched, SizeIs(2));
    ExpectSound(sink, top);
  }
}

TEST(CopyTreeTest, SomePlatformsMakeANewIndexWithWhatIsAboutThem) {
  Place place;
  place.Add(kAmd).AddAttestation().Add(kArm).AddAttestation().Add({"linux", "s390x", "", ""});
  MemorySink sink;
  const Descriptor top = Copied(place, sink, {}, {kArm, kAmd});
  const Index index = IndexIn(sink, top);
  ASSERT_THAT(index.manifests, SizeIs(4));
  EXPECT_EQ(index.manifests[0], place.index().manifests[0]) << "in the order of the index";
  EXPECT_EQ(index.manifests[3], place.index().manifests[3]);
  ExpectSound(sink, top);
  MemorySink one;
  EXPECT_THAT(IndexIn(one, Copied(place, one, {}, {kArm})).manifests, SizeIs(2));
  EXPECT_EQ(CaughtError([&] { Copied(place, one, {.preserve_digests = true}, {kArm}); }).kind(),
            ErrorKind::kUnsupported);
  const Error absent = CaughtError([&] { Copied(place, one, {}, {kArm, {"linux", "386", "", ""}}); });
  EXPECT_EQ(absent.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(absent.hint(), HasSubstr("linux/s390x"));
}

TEST(CopyTreeTest, DockerListBecomesAnIndexAndBack) {
  Place place(true);
  place.Add(kAmd).Add(kArm);
  CopyOptions options;
  options.manifest_type = kOciManifestType;
  MemorySink oci;
  const Descriptor top = Copied(place, oci, options);
  EXPECT_EQ(top.media_type, kOciIndexType);
  const Index index = IndexIn(oci, top);
  EXPECT_EQ(index.manifests[1].media_type, kOciManifestType);
  EXPECT_EQ(index.manifests[1].platform, kArm);
  ExpectSound(oci, top);
  options.manifest_type = kDockerManifestType;
  MemorySink back;
  const ImageTree tree = LoadTree(
      oci.blobs, top, {}, std::nullopt, [](const FetchedImage& image) { return Trusted(image.image()); },
      TrustedArtifact);
  const Descriptor docker = CopyTree(tree, oci.blobs, back, options, [&](const VerifiedImage& image) {
    return Conversion::Copy(image, oci.blobs, back, options);
  });
  EXPECT_EQ(docker.media_type, kDockerListType);
  EXPECT_EQ(IndexIn(back, docker), place.index());
}

TEST(CopyTreeTest, DockerListHoldsNothingButImages) {
  Place place;
  place.Add(kAmd).AddAttestation();
  place.index().annotations["a"] = "b";
  std::vector<std::string> notes;
  CopyOptions options;
  options.manifest_type = kDockerManifestType;
  options.note = [&](std::string_view note) { notes.emplace_back(note); };
  MemorySink sink;
  const Index list = IndexIn(sink, Copied(place, sink, options));
  EXPECT_THAT(list.manifests, SizeIs(1));
  EXPECT_TRUE(list.annotations.empty());
  EXPECT_THAT(notes, ElementsAre(HasSubstr("left out"), HasSubstr("annotations")));
}

TEST(CopyTreeTest, WhatIsAboutAnImageThatChangedIsLeftOut) {
  Place place;
  place.Add(kAmd).AddAttestation();
  std::swap(place.index().manifests[0], place.index().manifests[1]);
  std::vector<std::string> notes;
  CopyOptions options;
  options.compression = Compression::kZstd;
  options.note = [&](std::string_view note) { notes.emplace_back(note); };
  MemorySink sink;
  const Descriptor top = Copied(place, sink, options);
  const Index index = IndexIn(sink, top);
  ASSERT_THAT(index.manifests, SizeIs(1));
  EXPECT_NE(index.manifests[0].digest, place.index().manifests[1].digest);
  EXPECT_EQ(index.manifests[0].platform, kAmd);
  EXPECT_THAT(notes, SizeIs(1));
  ExpectSound(sink, top);
  options.preserve_digests = true;
  EXPECT_EQ(CaughtError([&] { Copied(place, sink, options); }).kind(), ErrorKind::kUnsupported);
}

TEST(CopyTreeTest, NestedIndexesStayAndAreBounded) {
  Place place;
  place.Add(kAmd).Add(kArm);
  for (size_t depth = 0; depth <= kMaxIndexDepth; ++depth) {
    MemorySink sink;
    EXPECT_EQ(sink.blobs.Get(Copied(place, sink).digest), place.Bytes());
    const Place inner = place;
    place = Place();
    place.AddIndex(inner);
    MemorySink one;
    if (depth < kMaxIndexDepth) {
      EXPECT_THAT(IndexIn(one, Copied(place, one, {}, {kArm})).manifests, SizeIs(1));
    }
  }
  MemorySink sink;
  EXPECT_THAT(CaughtError([&] { Copied(place, sink); }).message(), HasSubstr("nested"));
}

TEST(CopyTreeTest, EveryImageMustBeAllowed) {
  Place place;
  place.Add(kAmd).Add(kArm);
  const Digest refused = place.index().manifests[1].digest;
  const Descriptor top{
      .media_type = std::string(kOciIndexType), .digest = Digest::Of(place.Bytes()), .size = place.Bytes().size()};
  place.Load();
  const auto verify = [&](const FetchedImage& image) {
    EXPECT_EQ(image.index(), top.digest);
    if (image.image().descriptor.digest == refused)
      throw Error(ErrorKind::kRefused, "refused");
    return Trusted(image.image());
  };
  EXPECT_EQ(CaughtError([&] { LoadTree(place.blobs(), top, {}, std::nullopt, verify, TrustedArtifact); }).kind(),
            ErrorKind::kRefused);
  EXPECT_THAT(ImagesOf(LoadTree(place.blobs(), top, {kAmd}, std::nullopt, verify, TrustedArtifact)), SizeIs(1));
}

// Two artifacts, listed without a platform.
Place Artifacts() {
  Place place;
  place.AddArtifact("one").AddArtifact("two");
  return place;
}

TEST(CopyTreeTest, ArtifactsAloneAreAskedAboutOneByOne) {
  Place place = Artifacts();
  const auto image = [](const FetchedImage& fetched) { return Trusted(fetched.image()); };
  std::vector<Digest> asked;
  const auto load = [&] {
    return LoadTree(place.blobs(), place.Top(), {}, std::nullopt, image, [&](FetchedArtifact artifact) {
      EXPECT_EQ(artifact.index, place.Top().digest);
      asked.push_back(artifact.artifact.descriptor.digest);
      if (asked.size() == 4)
        throw Error(ErrorKind::kRefused, "refused");
      return TrustedArtifact(std::move(artifact));
    });
  };
  EXPECT_THAT(ArtifactsOf(load()), SizeIs(2));
  EXPECT_THAT(asked, ElementsAre(place.index().manifests[0].digest, place.index().manifests[1].digest));
  EXPECT_EQ(CaughtError(load).kind(), ErrorKind::kRefused);
}

// The artifacts of all of `place` that somebody is asked about.
std::vector<Digest> AskedAbout(Place& place) {
  std::vector<Digest> asked;
  const ImageTree tree = LoadTree(
      place.blobs(), place.Top(), {}, std::nullopt,
      [](const FetchedImage& fetched) { return Trusted(fetched.image()); },
      [&](FetchedArtifact artifact) {
        asked.push_back(artifact.artifact.descriptor.digest);
        return TrustedArtifact(std::move(artifact));
      });
  EXPECT_THAT(ArtifactsOf(tree), SizeIs(asked.size()));
  return asked;
}

TEST(CopyTreeTest, AttestationsGoWithTheirImage) {
  Place place;
  place.Add(kAmd).AddAttestation().Add(kArm).AddAttestation();
  EXPECT_THAT(AskedAbout(place), SizeIs(0));
  EXPECT_NE(place.Load().children[1].artifact(), nullptr);
  place.index().manifests.erase(place.index().manifests.begin());
  place.index().manifests.erase(place.index().manifests.begin() + 1);
  EXPECT_THAT(AskedAbout(place), SizeIs(2)) << "no image is there that they could go with";
}

TEST(CopyTreeTest, OtherArtifactsBesideAnImageAreAskedAbout) {
  Place place = Artifacts();
  place.Add(kAmd);
  const std::vector<Descriptor> listed = place.index().manifests;
  EXPECT_THAT(AskedAbout(place), ElementsAre(listed[0].digest, listed[1].digest));
  // Whatever the index says of them that other programs do not look at.
  place.index().manifests[0].artifact_type = "application/vnd.example";
  place.index().manifests[1].annotations = {{"vnd.docker.reference.type", "attestation-manifest"},
                                            {std::string(kAboutAnnotation), listed[2].digest.str()}};
  EXPECT_THAT(AskedAbout(place), SizeIs(2));
  place.index().manifests[0].platform = Platform{"linux", "s390x", "", ""};
  place.index().manifests[1].platform = Platform{"linux", "unknown", "", ""};
  EXPECT_THAT(AskedAbout(place), SizeIs(2));
  place.index().manifests[0].platform = Platform{"unknown", "unknown", "", ""};
  EXPECT_THAT(AskedAbout(place), ElementsAre(listed[1].digest));
}

TEST(CopyTreeTest, AnImageThatCallsItselfAnArtifactIsAskedAbout) {
  for (const Platform& platform : {kArm, Platform{"unknown", "unknown", "", ""}}) {
    Place place;
    place.Add(kAmd).AddDisguised(platform);
    const Digest disguised = place.index().manifests[1].digest;
    EXPECT_THAT(AskedAbout(place), ElementsAre(disguised)) << platform.ToString();
    Place outer;
    outer.AddIndex(place).Add(kAmd);
    EXPECT_THAT(AskedAbout(outer), ElementsAre(disguised)) << platform.ToString();
  }
}

TEST(CopyTreeTest, VouchedArtifactsBesideAnImageKeepTheirBytes) {
  Place place = Artifacts();
  place.Add(kAmd);
  MemorySink sink;
  CopyOptions options{.compression = Compression::kZstd};
  const Index index = IndexIn(sink, Copied(place, sink, options));
  ASSERT_THAT(index.manifests, SizeIs(3));
  EXPECT_EQ(index.manifests[0], place.index().manifests[0]);
  EXPECT_NE(index.manifests[2].digest, place.index().manifests[2].digest);
}

TEST(CopyTreeTest, PlatformsDoNotCountForArtifactsAlone) {
  Place place = Artifacts();
  for (const bool typed : {false, true}) {
    place.index().manifests[0].artifact_type = typed ? "application/vnd.example" : "";
    place.index().manifests[1].artifact_type = place.index().manifests[0].artifact_type;
    MemorySink sink;
    EXPECT_EQ(Copied(place, sink, {}, {kAmd, kArm}).digest, place.Top().digest);
    EXPECT_TRUE(place.Load({kAmd}).whole);
  }
}

TEST(CopyTreeTest, APlatformChoosesNoArtifactWhereAnImageIs) {
  Place place = Artifacts();
  place.Add(kAmd).AddAttestation().AddArtifact("three");
  place.index().manifests[2].platform.reset();
  MemorySink sink;
  const Index index = IndexIn(sink, Copied(place, sink, {}, {kAmd}));
  ASSERT_THAT(index.manifests, SizeIs(2)) << "the image and what is about it";
  EXPECT_EQ(index.manifests[0].digest, place.index().manifests[2].digest);
  EXPECT_EQ(index.manifests[1].digest, place.index().manifests[3].digest);
  place.index().manifests[2].platform = kAmd;
  EXPECT_EQ(CaughtError([&] { Copied(place, sink, {}, {kAmd, kArm}); }).kind(), ErrorKind::kNotFound);
}

TEST(CopyTreeTest, ADockerListOfArtifactsKeepsItsBytes) {
  Place place(true);
  place.AddArtifact("one").AddArtifact("two");
  for (const bool image : {false, true}) {
    if (image)
      place.Add(kAmd);
    MemorySink sink;
    const Descriptor top = Copied(place, sink, {.preserve_digests = true});
    EXPECT_EQ(sink.blobs.Get(top.digest), place.Bytes());
    ExpectSound(sink, top);
  }
}

TEST(CopyTreeTest, ArtifactsKeepTheirBytes) {
  Place place = Artifacts();
  MemorySink sink;
  const Descriptor top = Copied(place, sink);
  EXPECT_EQ(top.digest, place.Top().digest);
  ExpectSound(sink, top);
  EXPECT_EQ(sink.blobs.Get(Digest::Of("one")), "one");
  EXPECT_EQ(sink.blobs.Get(Digest::Of("{}")), "{}");
}

TEST(CopyTreeTest, ArtifactsTakeNoOtherForm) {
  Place place = Artifacts();
  MemorySink docker({.manifest_type = std::string(kDockerManifestType)});
  EXPECT_THAT(CaughtError([&] { Copied(place, docker); }).message(), HasSubstr("'application/vnd.example'"));
  MemorySink sink;
  CopyOptions options{.compression = Compression::kZstd};
  EXPECT_EQ(CaughtError([&] { Copied(place, sink, options); }).kind(), ErrorKind::kUnsupported);
  options = {.manifest_type = std::string(kDockerManifestType)};
  EXPECT_EQ(CaughtError([&] { Copied(place, sink, options); }).kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(sink.order, SizeIs(0));
}

TEST(CopyTreeTest, IndexThatLiesAboutAPlatformIsCorrupt) {
  Place place;
  place.Add(kAmd).Add(kArm);
  std::swap(place.index().manifests[0].platform, place.index().manifests[1].platform);
  const Error error = CaughtError([&] { place.Load(); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(error.message(), HasSubstr("linux/arm64"));
}

TEST(CopyTreeTest, MissingPartsAreNotFound) {
  Place place;
  place.Add(kAmd).Add(kArm);
  place.blobs().Remove(place.index().manifests[1].digest);
  EXPECT_EQ(CaughtError([&] { place.Load(); }).kind(), ErrorKind::kNotFound);
  place.Load({kAmd});
}

TEST(CopyTreeTest, SinkThatTakesNoIndexRefuses) {
  Place place;
  place.Add(kAmd).Add(kArm);
  MemorySink sink({.indexes = false});
  EXPECT_EQ(CaughtError([&] { Copied(place, sink); }).kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(sink.order, SizeIs(0));
}

}  // namespace
}  // namespace gantry::image
