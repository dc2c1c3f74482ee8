#include "libimage/model/signature_manifest.h"

#include <gtest/gtest.h>

#include "libimage/model/media_type.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;

const Digest kManifest = Digest::Of("a manifest");

Attachment Payload(const std::string& text) {
  return {std::string(kSimpleSigningType), text, {{std::string(kSignatureAnnotation), "AAAA"}}};
}

TEST(Attachment, IsStoredAsTheContainersToolsDo) {
  const Attachment attachment = Payload("{}");
  const std::string stored = attachment.ToStored();
  EXPECT_EQ(stored, std::string("\0sigstore-json\n", 15) +
                        R"({"mimeType":"application/vnd.dev.cosign.simplesigning.v1+json","payload":"e30=",)"
                        R"("annotations":{"dev.cosignproject.cosign/signature":"AAAA"}})");
  EXPECT_EQ(Attachment::FromStored(stored), attachment);
  EXPECT_EQ(Attachment::FromStored("\xa3"), std::nullopt);
  for (const std::string& broken : {stored + "x", stored.substr(0, stored.size() - 1), stored.substr(0, 15)}) {
    EXPECT_EQ(CaughtError([&] { Attachment::FromStored(broken); }).kind(), ErrorKind::kCorrupt);
  }
}

TEST(SignatureManifest, TagsAreThoseOfCosignAndTheSpecification) {
  EXPECT_EQ(SignatureTag(kManifest), "sha256-" + kManifest.hex() + ".sig");
  EXPECT_EQ(AttestationTag(kManifest), "sha256-" + kManifest.hex() + ".att");
  EXPECT_EQ(ReferrersTag(kManifest), "sha256-" + kManifest.hex());
}

TEST(SignatureManifest, AppendsAndNeverTwice) {
  const SignatureManifest one = WithSignature("", Payload("one")).value();
  const SignatureManifest two = WithSignature(one.bytes, Payload("two")).value();
  EXPECT_FALSE(WithSignature(two.bytes, Payload("one")));
  const auto layers = SignatureLayers(two.bytes);
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[0].digest, Digest::Of("one"));
  EXPECT_EQ(layers[1].annotations.at(std::string(kSignatureAnnotation)), "AAAA");
  EXPECT_EQ(two.descriptor.digest, Digest::Of(two.bytes));
  ASSERT_EQ(two.blobs.size(), 2U);
  EXPECT_EQ(two.blobs[0].bytes, "two");
}

TEST(SignatureManifest, RefusesTheFirstThatDoesNotFit) {
  std::string bytes;
  for (size_t i = 0; i < kMaxSignatureLayers; ++i) {
    bytes = WithSignature(bytes, Payload(std::to_string(i))).value().bytes;
  }
  EXPECT_EQ(CaughtError([&] { WithSignature(bytes, Payload("more")); }).kind(), ErrorKind::kFailed);
}

TEST(SignatureManifest, AReferrerNamesItsSubjectAndCountsForNoOther) {
  const Descriptor subject{.media_type = std::string(kOciManifestType), .digest = kManifest, .size = 10};
  const SignatureManifest made = MakeReferrer(subject, {std::string(kBundleType), "{\"x\":1}"}, {{"a", "b"}});
  EXPECT_EQ(ReferrerLayers(made.bytes, kManifest).size(), 1U);
  EXPECT_TRUE(ReferrerLayers(made.bytes, Digest::Of("another")).empty());
  const auto parsed = std::get<Manifest>(ParseManifest(made.bytes));
  EXPECT_EQ(parsed.artifact_type, kBundleType);
  EXPECT_EQ(parsed.subject, subject);
  EXPECT_TRUE(parsed.IsArtifact());
}

TEST(SignatureManifest, TheIndexOfReferrersGrowsByOneEntryEach) {
  const Descriptor subject{.media_type = std::string(kOciManifestType), .digest = kManifest, .size = 10};
  const SignatureManifest one = MakeReferrer(subject, {std::string(kBundleType), "1"}, {});
  const SignatureManifest two = MakeReferrer(subject, {std::string(kBundleType), "2"}, {{"a", "b"}});
  const std::string index = WithReferrer(WithReferrer("", one.bytes).value(), two.bytes).value();
  EXPECT_FALSE(WithReferrer(index, one.bytes));
  const Index parsed = std::get<Index>(ParseManifest(index));
  ASSERT_EQ(parsed.manifests.size(), 2U);
  EXPECT_EQ(parsed.manifests[1].artifact_type, kBundleType);
  EXPECT_EQ(parsed.manifests[1].annotations, (std::map<std::string, std::string>{{"a", "b"}}));
  EXPECT_EQ(CaughtError([&] { WithReferrer(one.bytes, two.bytes); }).kind(), ErrorKind::kCorrupt);
}

TEST(SignatureManifest, LeavesOutWhatIsNoSignature) {
  Manifest manifest{.media_type = std::string(kOciManifestType),
                    .config = {.media_type = std::string(kOciConfigType), .digest = kManifest, .size = 2}};
  manifest.layers.push_back({.media_type = std::string(kOciLayerType), .digest = kManifest, .size = 2});
  manifest.layers.push_back(
      {.media_type = std::string(kBundleType), .digest = kManifest, .size = kMaxAttachmentBytes + 1});
  EXPECT_TRUE(SignatureLayers(manifest.ToJson()).empty());
}

}  // namespace
}  // namespace gantry::image
