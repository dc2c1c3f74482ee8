#include "libimage/model/manifest.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

const std::string kDigestText = "sha256:" + std::string(64, 'a');

std::string DescriptorText(std::string_view type, std::string_view more = "") {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + kDigestText + R"(","size":9)" +
         std::string(more) + "}";
}

std::string ImageText(std::string_view own_type, std::string_view config_type = kOciConfigType,
                      std::string_view layers = "[]", std::string_view more = "") {
  const std::string own = own_type.empty() ? "" : R"("mediaType":")" + std::string(own_type) + "\",";
  return R"({"schemaVersion":2,)" + own + R"("config":)" + DescriptorText(config_type) + R"(,"layers":)" +
         std::string(layers) + std::string(more) + "}";
}

std::string IndexText(std::string_view manifests, std::string_view more = "") {
  return R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":)" +
         std::string(manifests) + std::string(more) + "}";
}

Error Problem(std::string_view text, std::string_view content_type = {}) {
  return CaughtError([&] { ParseManifest(text, content_type); });
}

void ExpectCorrupt(std::string_view text, std::string_view part, std::string_view content_type = {}) {
  const Error error = Problem(text, content_type);
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << text;
  EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
}

Manifest ParsedImage(std::string_view text, std::string_view content_type = {}) {
  return std::get<Manifest>(ParseManifest(text, content_type));
}

// --- What kind of document it is

TEST(ManifestTest, OwnMediaTypeDecides) {
  EXPECT_EQ(ParsedImage(ImageText(kDockerManifestType, kDockerConfigType)).media_type, kDockerManifestType);
  EXPECT_EQ(ParsedImage(ImageText(kOciManifestType)).media_type, kOciManifestType);
}

TEST(ManifestTest, ContentTypeDecidesWhereTheDocumentIsSilent) {
  EXPECT_EQ(
      ParsedImage(ImageText(""), "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8").media_type,
      kDockerManifestType);
}

TEST(ManifestTest, ShapeDecidesWhereNothingElseDoes) {
  for (const char* type : {"", "application/json", "text/plain", "application/octet-stream"}) {
    EXPECT_EQ(ParsedImage(ImageText(""), type).media_type, kOciManifestType);
    EXPECT_EQ(ParsedImage(ImageText("", kDockerConfigType), type).media_type, kDockerManifestType);
    const auto index = ParseManifest(R"({"schemaVersion":2,"manifests":[]})", type);
    EXPECT_EQ(std::get<Index>(index).media_type, kOciIndexType);
  }
}

TEST(ManifestTest, RefusesAContentTypeThatContradictsTheDocument) {
  ExpectCorrupt(ImageText(kOciManifestType), "contradicts", kDockerManifestType);
  ExpectCorrupt(ImageText(kOciManifestType), "contradicts", kOciIndexType);
  ExpectCorrupt(ImageText(""), "'/config': does not belong in an index", kDockerListType);
  ExpectCorrupt(ImageText(""), "schema 1", kDockerSchema1Type);
}

TEST(ManifestTest, RefusesAMediaTypeThatContradictsTheShape) {
  ExpectCorrupt(ImageText(kOciIndexType), "'/config'");
  ExpectCorrupt(R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]})",
                "'/manifests'");
}

// CVE-2021-41190: one document that some readers take for a manifest and others for an index.
TEST(ManifestTest, RefusesADocumentThatIsManifestAndIndexAtOnce) {
  for (const std::string_view type : {kOciManifestType, kDockerManifestType, std::string_view()}) {
    ExpectCorrupt(ImageText(type, kOciConfigType, "[]", R"(,"manifests":[])"), "tools disagree");
    for (const char* name : {"Manifests", "MANIFESTS", "manifest\xc5\xbf"}) {
      ExpectCorrupt(ImageText(type, kOciConfigType, "[]", ",\"" + std::string(name) + "\":[]"), "letter case");
    }
  }
  ExpectCorrupt(IndexText("[]", R"(,"layers":[])"), "tools disagree");
  ExpectCorrupt(IndexText("[]", R"(,"config":{})"), "tools disagree");
  ExpectCorrupt(IndexText("[]", R"(,"Layers":[])"), "letter case");
  ExpectCorrupt(IndexText("[]", R"(,"MediaType":"application/vnd.oci.image.manifest.v1+json")"), "letter case");
}

TEST(ManifestTest, RefusesMembersOfSchema1InSchema2) {
  for (const char* member : {R"(,"fsLayers":[])", R"(,"history":[])", R"(,"signatures":[])"}) {
    ExpectCorrupt(ImageText(kOciManifestType, kOciConfigType, "[]", member), "tools disagree");
    ExpectCorrupt(IndexText("[]", member), "tools disagree");
  }
}

TEST(ManifestTest, Schema1IsUnsupported) {
  const Error error = Problem(R"({"schemaVersion":1,"name":"x","tag":"y","fsLayers":[],"history":[]})");
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_FALSE(error.hint().empty());
}

TEST(ManifestTest, OtherMediaTypesAreUnsupported) {
  EXPECT_EQ(Problem(ImageText("application/vnd.example.v1+json")).kind(), ErrorKind::kUnsupported);
}

TEST(ManifestTest, RefusesOtherSchemaVersions) {
  ExpectCorrupt(R"({"manifests":[]})", "'schemaVersion' is missing");
  for (const char* version : {"0", "3", "-2", "2.0", "\"2\"", "null"})
    ExpectCorrupt(R"({"manifests":[],"schemaVersion":)" + std::string(version) + "}", "'/schemaVersion'");
}

TEST(ManifestTest, RefusesWhatIsNoManifest) {
  ExpectCorrupt("", "not JSON");
  ExpectCorrupt("[]", "expected an object");
  ExpectCorrupt(R"({"schemaVersion":2})", "neither an image manifest");
  ExpectCorrupt(R"({"schemaVersion":2,"config":{}})", "'/config': member 'mediaType' is missing");
  ExpectCorrupt(R"({"schemaVersion":2,"schemaVersion":2,"manifests":[]})", "a second member");
  ExpectCorrupt(ImageText(kOciManifestType) + " x", "not JSON at byte");
}

// --- Bounds

TEST(ManifestTest, BoundsItsSize) {
  ExpectCorrupt(ImageText(kOciManifestType) + std::string(kMaxManifestBytes, ' '), "larger than");
}

std::string ListOf(size_t count, const std::string& element) {
  std::string out = "[";
  for (size_t i = 0; i < count; ++i) out += (i > 0 ? "," : "") + element;
  return out + "]";
}

TEST(ManifestTest, BoundsItsLayers) {
  const std::string layer = DescriptorText(kOciLayerGzipType);
  EXPECT_EQ(ParsedImage(ImageText("", kOciConfigType, ListOf(kMaxLayers, layer))).layers.size(), kMaxLayers);
  ExpectCorrupt(ImageText("", kOciConfigType, ListOf(kMaxLayers + 1, layer)), "'/layers': more than 1000");
}

TEST(ManifestTest, BoundsItsEntries) {
  const std::string entry = DescriptorText(kOciManifestType);
  ExpectCorrupt(IndexText(ListOf(kMaxIndexEntries + 1, entry)), "'/manifests': more than 10000");
}

TEST(ManifestTest, SaysWhichLayerIsWrong) {
  const std::string good = DescriptorText(kOciLayerGzipType);
  ExpectCorrupt(ImageText("", kOciConfigType, "[" + good + R"(,{"mediaType":"a/b","digest":"sha256:00","size":1}])"),
                "manifest: '/layers/1/digest': ");
}

// --- Printing

TEST(ManifestTest, PrintsInTheOrderOfTheSpecification) {
  const std::string text =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x","config":)" +
      DescriptorText(kOciEmptyType) + R"(,"layers":[)" + DescriptorText(kOciLayerGzipType) + R"(],"subject":)" +
      DescriptorText(kOciManifestType) + R"(,"annotations":{"k":"v"}})";
  EXPECT_EQ(ParsedImage(text).ToJson(), text);
  const std::string index =
      IndexText("[" + DescriptorText(kOciManifestType, R"(,"platform":{"architecture":"arm64","os":"linux"})") + "]",
                R"(,"annotations":{"k":"v"})");
  EXPECT_EQ(std::get<Index>(ParseManifest(index)).ToJson(), index);
}

TEST(ManifestTest, ANullListIsEmpty) { EXPECT_TRUE(ParsedImage(ImageText("", kOciConfigType, "null")).layers.empty()); }

// --- Artifacts

TEST(ManifestTest, ReadsTheArtifactManifestOfADraft) {
  const std::string head = R"({"mediaType":"application/vnd.oci.artifact.manifest.v1+json")";
  const std::string type = R"(,"artifactType":"application/x")";
  const std::string blobs = R"(,"blobs":[)" + DescriptorText("text/plain") + "]";
  const std::string text = head + type + blobs + R"(,"subject":)" + DescriptorText(kOciManifestType) + "}";
  const Manifest manifest = ParsedImage(text, kOciArtifactManifestType);
  EXPECT_TRUE(manifest.IsArtifact());
  EXPECT_EQ(manifest.ArtifactType(), "application/x");
  ASSERT_EQ(manifest.Blobs().size(), 1u);
  EXPECT_EQ(manifest.Blobs()[0].media_type, "text/plain");
  EXPECT_TRUE(manifest.subject);
  EXPECT_EQ(ParsedImage(manifest.ToJson()), manifest);
  EXPECT_TRUE(ParsedImage(head + type + "}").Blobs().empty());
  ExpectCorrupt(head + blobs + "}", "artifactType");
  ExpectCorrupt(text, "contradicts", kOciManifestType);
  ExpectCorrupt("{" + type.substr(1) + "}", "mediaType", kOciArtifactManifestType);
  // What it was sent with does not make one of an image.
  ExpectCorrupt(ImageText("", kOciConfigType, "[]"), "mediaType", kOciArtifactManifestType);
  ExpectCorrupt(ImageText(kOciManifestType, kOciConfigType, "[]"), "contradicts", kOciArtifactManifestType);
  for (const char* member : {R"(,"schemaVersion":2)", R"(,"config":{})", R"(,"layers":[])", R"(,"manifests":[])"})
    ExpectCorrupt(head + type + member + "}", "tools disagree");
  ExpectCorrupt(ImageText(kOciManifestType, kOciConfigType, "[]", R"(,"blobs":[])"), "tools disagree");
}

TEST(ManifestTest, AnArtifactNamesItsConfigurationAndLayers) {
  const std::string layer = "[" + DescriptorText("text/plain") + "]";
  const Manifest chart = ParsedImage(ImageText(kOciManifestType, "application/vnd.example.config", layer));
  EXPECT_EQ(chart.ArtifactType(), "application/vnd.example.config");
  EXPECT_EQ(chart.Blobs().size(), 2u);
  EXPECT_EQ(ParsedImage(ImageText(kOciManifestType, kOciConfigType, layer)).ArtifactType(), "text/plain");
}

TEST(ManifestTest, AnArtifactTypeIsPrintableText) {
  const auto with_type = [](const std::string& type) {
    return ImageText(kOciManifestType, kOciEmptyType, "[]", R"(,"artifactType":")" + type + "\"");
  };
  EXPECT_EQ(ParsedImage(with_type("sbom")).artifact_type, "sbom");
  ExpectCorrupt(with_type(R"(a\u001b[31m)"), "'/artifactType'");
  ExpectCorrupt(with_type(std::string(256, 'a')), "'/artifactType'");
}

TEST(ManifestTest, TellsArtifactsFromImages) {
  const auto is_artifact = [](std::string_view config, std::string_view layers, std::string_view more = "") {
    return ParsedImage(ImageText(kOciManifestType, config, layers, more)).IsArtifact();
  };
  const std::string layer = "[" + DescriptorText(kOciLayerGzipType) + "]";
  const std::string attestation = "[" + DescriptorText("application/vnd.in-toto+json") + "]";
  const std::string encrypted = "[" + DescriptorText("application/vnd.oci.image.layer.v1.tar+gzip+encrypted") + "]";
  EXPECT_FALSE(is_artifact(kOciConfigType, layer));
  EXPECT_FALSE(is_artifact(kOciConfigType, "[]"));
  EXPECT_FALSE(is_artifact(kOciConfigType, encrypted));
  EXPECT_TRUE(is_artifact(kOciConfigType, attestation));
  EXPECT_TRUE(is_artifact(kOciEmptyType, layer));
  EXPECT_TRUE(is_artifact("application/vnd.cncf.helm.config.v1+json", layer));
  EXPECT_TRUE(is_artifact(kOciConfigType, layer, R"(,"artifactType":"application/x")"));
}

// --- The choice of a platform

Index IndexOf(const std::vector<std::string_view>& platforms) {
  Index out{.media_type = std::string(kOciIndexType)};
  uint64_t size = 1;
  for (const std::string_view text : platforms) {
    Descriptor entry{.media_type = std::string(kOciManifestType), .digest = Digest::Of("x"), .size = size++};
    if (text == "unknown/unknown") {
      entry.platform = Platform{"unknown", "unknown", "", ""};
    } else if (!text.empty()) {
      entry.platform = Platform::Parse(text);
    }
    out.manifests.push_back(entry);
  }
  return out;
}

// The place of the entry that is chosen, from 1; 0 when none is.
uint64_t Chosen(const Index& index, std::string_view wanted) {
  const Descriptor* entry = index.Choose(Platform::Parse(wanted));
  return entry == nullptr ? 0 : entry->size;
}

TEST(IndexTest, ChoosesTheSamePlatform) {
  const Index index = IndexOf({"linux/amd64", "unknown/unknown", "linux/arm64/v8", "windows/amd64"});
  EXPECT_EQ(Chosen(index, "linux/amd64"), 1u);
  EXPECT_EQ(Chosen(index, "linux/arm64"), 3u);
  EXPECT_EQ(Chosen(index, "windows/amd64"), 4u);
  EXPECT_EQ(Chosen(index, "linux/riscv64"), 0u);
  EXPECT_EQ(Chosen(index, "unknown/unknown"), 0u);
}

TEST(IndexTest, ChoosesTheBestVariantThatTheMachineExecutes) {
  const Index index = IndexOf({"linux/arm/v5", "linux/arm/v8", "linux/arm/v6", "linux/arm/v7", "linux/arm"});
  EXPECT_EQ(Chosen(index, "linux/arm/v8"), 2u);
  EXPECT_EQ(Chosen(index, "linux/arm/v7"), 4u);
  EXPECT_EQ(Chosen(index, "linux/arm/v6"), 3u);
  EXPECT_EQ(Chosen(index, "linux/arm/v5"), 1u);
  EXPECT_EQ(Chosen(index, "linux/arm"), 5u);
  EXPECT_EQ(Chosen(IndexOf({"linux/arm/v5", "linux/arm/v7", "linux/arm/v8"}), "linux/arm"), 2u);
  EXPECT_EQ(Chosen(IndexOf({"linux/arm", "linux/arm/v6"}), "linux/arm/v7"), 2u);
  EXPECT_EQ(Chosen(IndexOf({"linux/arm/v8"}), "linux/arm/v7"), 0u);
}

TEST(IndexTest, NeverChoosesAVariantThatTheMachineMayNotExecute) {
  EXPECT_EQ(Chosen(IndexOf({"linux/amd64/v3"}), "linux/amd64"), 0u);
  EXPECT_EQ(Chosen(IndexOf({"linux/amd64/v3", "linux/amd64"}), "linux/amd64"), 2u);
  EXPECT_EQ(Chosen(IndexOf({"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}), "linux/amd64/v3"), 2u);
  EXPECT_EQ(Chosen(IndexOf({"linux/arm64/v9"}), "linux/arm64"), 0u);
  EXPECT_EQ(Chosen(IndexOf({"linux/arm64/v8.2"}), "linux/arm64/v8"), 0u);
  EXPECT_EQ(Chosen(IndexOf({"linux/riscv64/rva23u64"}), "linux/riscv64"), 0u);
  EXPECT_EQ(Chosen(IndexOf({"linux/riscv64/rva23u64"}), "linux/riscv64/rva23u64"), 1u);
}

TEST(IndexTest, FallsBackToAnEntryWithoutPlatform) {
  const Index index = IndexOf({"", "linux/amd64", ""});
  EXPECT_EQ(Chosen(index, "linux/amd64"), 2u);
  EXPECT_EQ(Chosen(index, "linux/s390x"), 1u);
}

TEST(IndexTest, TheFirstOfEqualsWins) { EXPECT_EQ(Chosen(IndexOf({"amd64", "amd64"}), "amd64"), 1u); }

TEST(IndexTest, NeverChoosesWhatIsNoImage) {
  Index index = IndexOf({"linux/amd64", "linux/amd64", "linux/amd64", ""});
  index.manifests[0].annotations["vnd.docker.reference.type"] = "attestation-manifest";
  index.manifests[1].artifact_type = "application/x";
  index.manifests[2].media_type = "application/vnd.example";
  index.manifests[3].artifact_type = "application/x";
  EXPECT_EQ(Chosen(index, "linux/amd64"), 0u);
}

TEST(IndexTest, OfEntriesWithoutPlatformsTheFirstImageIsMeant) {
  std::vector<uint64_t> asked;
  const auto choose = [&](const Index& index, std::set<uint64_t> artifacts) {
    asked.clear();
    return index.Choose(Platform::Parse("linux/amd64"), [&](const Descriptor& entry) {
      asked.push_back(entry.size);
      return artifacts.contains(entry.size);
    });
  };
  Index index = IndexOf({"", "unknown/unknown", "", "", ""});
  index.manifests[2].artifact_type = "application/x";
  EXPECT_EQ(choose(index, {1}).entry, &index.manifests[3]);
  EXPECT_EQ(asked, (std::vector<uint64_t>{1, 4}));
  EXPECT_EQ(choose(index, {}).entry, &index.manifests[0]);
  const Index::Choice several = choose(index, {1, 4, 5});
  EXPECT_EQ(several.entry, nullptr);
  EXPECT_EQ(several.artifacts,
            (std::vector<const Descriptor*>{&index.manifests[0], &index.manifests[3], &index.manifests[4]}));

  const Index alone = IndexOf({"", "unknown/unknown"});
  EXPECT_EQ(choose(alone, {1}).entry, &alone.manifests[0]);
  const Index beside_another = IndexOf({"", "linux/s390x", ""});
  EXPECT_EQ(choose(beside_another, {1, 3}).entry, nullptr);
  EXPECT_TRUE(choose(beside_another, {1, 3}).artifacts.empty());
  EXPECT_EQ(choose(beside_another, {1}).entry, &beside_another.manifests[2]);
  const Index told = IndexOf({"", "linux/amd64"});
  EXPECT_EQ(choose(told, {}).entry, &told.manifests[1]);
  EXPECT_TRUE(asked.empty());
}

TEST(IndexTest, AsksForNoMoreThanSomeDocuments) {
  const Index index = IndexOf(std::vector<std::string_view>(kMaxIndexEntries));
  size_t asked = 0;
  const auto choose = [&](size_t artifacts) {
    asked = 0;
    return index.Choose(Platform::Parse("linux/amd64"), [&](const Descriptor&) { return asked++ < artifacts; });
  };
  EXPECT_EQ(choose(kMaxAsked - 1).entry, &index.manifests[kMaxAsked - 1]);
  EXPECT_EQ(CaughtError([&] { choose(kMaxIndexEntries); }).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(asked, kMaxAsked);
}

}  // namespace
}  // namespace gantry::image
