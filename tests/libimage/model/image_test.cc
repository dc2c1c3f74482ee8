#include "libimage/model/image.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

static_assert(!std::is_constructible_v<VerifiedImage, FetchedImage, std::string>, "trust cannot be forged");
static_assert(!std::is_default_constructible_v<VerifiedImage>, "trust cannot be forged");

std::string ConfigText(size_t layers) {
  json::Array ids;
  for (size_t i = 0; i < layers; ++i) ids.push_back(Digest::Of(std::to_string(i)).str());
  return json::Print(json::Object{{"architecture", "amd64"},
                                  {"os", "linux"},
                                  {"rootfs", json::Object{{"type", "layers"}, {"diff_ids", std::move(ids)}}}});
}

Manifest ManifestFor(const std::string& config, size_t layers) {
  Manifest out{
      .media_type = std::string(kOciManifestType),
      .config = {.media_type = std::string(kOciConfigType), .digest = Digest::Of(config), .size = config.size()}};
  for (size_t i = 0; i < layers; ++i)
    out.layers.push_back({.media_type = std::string(kOciLayerGzipType), .digest = Digest::Of("layer"), .size = 5});
  return out;
}

Error Problem(const Manifest& manifest, const std::string& config) {
  return CaughtError([&] { Image::FromBytes(manifest.ToJson(), {}, config); });
}

TEST(ImageTest, IsMadeOfItsBytes) {
  const std::string config = ConfigText(2);
  const std::string manifest = ManifestFor(config, 2).ToJson();
  const Image image = Image::FromBytes(manifest, kOciManifestType, config);
  EXPECT_EQ(image.descriptor.digest, Digest::Of(manifest));
  EXPECT_EQ(image.descriptor.size, manifest.size());
  EXPECT_EQ(image.descriptor.media_type, kOciManifestType);
  EXPECT_EQ(image.manifest_bytes, manifest);
  EXPECT_EQ(image.config_bytes, config);
  EXPECT_EQ(image.config.diff_ids.size(), 2u);
}

TEST(ImageTest, AnImageWithoutLayersIsOne) {
  const std::string config = ConfigText(0);
  EXPECT_TRUE(Image::FromBytes(ManifestFor(config, 0).ToJson(), {}, config).manifest.layers.empty());
}

TEST(ImageTest, RefusesAConfigurationOfAnotherDigestOrSize) {
  const std::string config = ConfigText(1);
  Manifest other = ManifestFor(config, 1);
  other.config.digest = Digest::Of("other");
  EXPECT_EQ(Problem(other, config).kind(), ErrorKind::kCorrupt);
  EXPECT_NE(Problem(other, config).message().find("has digest"), std::string::npos);
  Manifest longer = ManifestFor(config, 1);
  ++longer.config.size;
  EXPECT_NE(Problem(longer, config).message().find("bytes, the manifest says"), std::string::npos);
}

TEST(ImageTest, ChecksASha512Configuration) {
  const std::string config = ConfigText(0);
  Manifest manifest = ManifestFor(config, 0);
  manifest.config.digest = Digest::Of(config, HashAlgorithm::kSha512);
  EXPECT_NO_THROW(Image::FromBytes(manifest.ToJson(), {}, config));
  manifest.config.digest = Digest::Of("other", HashAlgorithm::kSha512);
  EXPECT_EQ(Problem(manifest, config).kind(), ErrorKind::kCorrupt);
}

TEST(ImageTest, RefusesAnotherCountOfDiffIds) {
  const std::string config = ConfigText(2);
  for (const size_t layers : {0u, 1u, 3u}) {
    const Error error = Problem(ManifestFor(config, layers), config);
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_NE(error.message().find("diff_ids"), std::string::npos);
  }
}

TEST(ImageTest, SaysWhatAnArtifactIs) {
  const std::string config = "{}";
  Manifest manifest = ManifestFor(config, 1);
  manifest.config.media_type = kOciEmptyType;
  manifest.artifact_type = "application/vnd.example.sbom";
  const Error error = Problem(manifest, config);
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_NE(error.message().find("'application/vnd.example.sbom'"), std::string::npos);
  EXPECT_FALSE(error.hint().empty());
}

TEST(ImageTest, AnArtifactIsMadeOfNothingElse) {
  Manifest manifest = ManifestFor("{}", 1);
  EXPECT_EQ(CaughtError([&] { Artifact::FromBytes(manifest.ToJson(), {}); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([] { Artifact::FromBytes(R"({"schemaVersion":2,"manifests":[]})", {}); }).kind(),
            ErrorKind::kCorrupt);
  manifest.config.media_type = "application/vnd.example.config";
  const Artifact artifact = Artifact::FromBytes(manifest.ToJson(), kOciManifestType);
  EXPECT_EQ(artifact.descriptor.digest, Digest::Of(manifest.ToJson()));
  EXPECT_EQ(artifact.manifest, manifest);
}

TEST(ImageTest, RefusesLayersThatAreNoTar) {
  const std::string config = ConfigText(2);
  Manifest manifest = ManifestFor(config, 2);
  manifest.layers[1].media_type = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
  const Error error = Problem(manifest, config);
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_NE(error.message().find("layer 2"), std::string::npos);
  EXPECT_NE(error.hint().find("decrypt"), std::string::npos);
}

TEST(ImageTest, RefusesAnIndex) {
  const Error error = CaughtError([] { Image::FromBytes(R"({"schemaVersion":2,"manifests":[]})", {}, ConfigText(0)); });
  EXPECT_NE(error.message().find("an index"), std::string::npos);
}

}  // namespace
}  // namespace gantry::image
