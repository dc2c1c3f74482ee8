#include "libimage/transport/docker_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "tests/support/image_builder.h"
#include "tests/support/memory_file.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryFile;
using gantry::testing::TarBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const std::string kBase = TarBuilder().File("etc/text", "one").Build();
const std::string kTop = TarBuilder().File("etc/more", "two").Build();
const std::string kBaseHex = Digest::Of(kBase).hex();
const std::string kTopHex = Digest::Of(kTop).hex();

// base, top, base again.
ImageBuilder Image3(Compression compression = Compression::kNone) {
  ImageBuilder image;
  return image.Layer(kBase, compression).Layer(kTop, compression).Layer(kBase, compression);
}

std::string Hex(const std::string& bytes) { return Digest::Of(bytes).hex(); }

std::string List(const std::string& config, const std::vector<std::string>& layers,
                 const std::vector<std::string>& names = {"busybox:1"}) {
  return json::Print(json::Array{json::Object{{"Config", config}, {"RepoTags", names}, {"Layers", layers}}});
}

// As Docker 1.10 to 24 write it.
TarBuilder OldDocker(const ImageBuilder& image) {
  const std::string config = image.ConfigBytes();
  TarBuilder tar;
  tar.Dir("aa").File("aa/VERSION", "1.0").File("aa/json", "{}").File("aa/layer.tar", kBase);
  tar.Dir("bb").File("bb/VERSION", "1.0").File("bb/json", "{}").File("bb/layer.tar", kTop);
  tar.Dir("cc").File("cc/VERSION", "1.0").File("cc/json", "{}").Symlink("cc/layer.tar", "../aa/layer.tar");
  tar.File(Hex(config) + ".json", config);
  tar.File("manifest.json", List(Hex(config) + ".json", {"aa/layer.tar", "bb/layer.tar", "cc/layer.tar"}));
  return tar.File("repositories", R"({"busybox":{"1":"cc"}})");
}

// As skopeo and podman do.
TarBuilder Flat(const ImageBuilder& image) {
  const std::string config = image.ConfigBytes();
  TarBuilder tar;
  tar.File(kBaseHex + ".tar", kBase).File(kTopHex + ".tar", kTop).File(Hex(config) + ".json", config);
  return tar.File("manifest.json",
                  List(Hex(config) + ".json", {kBaseHex + ".tar", kTopHex + ".tar", kBaseHex + ".tar"}));
}

json::Object Entry(const std::string& document, std::string_view type = kOciManifestType) {
  return {{"mediaType", type}, {"digest", Digest::Of(document).str()}, {"size", uint64_t{document.size()}}};
}

std::string IndexOf(json::Array entries) {
  return json::Print(
      json::Object{{"schemaVersion", 2}, {"mediaType", kOciIndexType}, {"manifests", std::move(entries)}});
}

std::string BlobName(const std::string& bytes) { return "blobs/sha256/" + Hex(bytes); }

// As Docker since 25 does: the list over an image layout.
TarBuilder WithLayout(const ImageBuilder& image, const std::string& index, std::vector<std::string> layers = {}) {
  TarBuilder tar;
  tar.Dir("blobs").Dir("blobs/sha256");
  const Image built = image.Build();
  std::map<Digest, std::string> blobs;
  for (const auto& [digest, bytes] : image.Blobs()) blobs.emplace(digest, bytes);
  for (const auto& [digest, bytes] : blobs) tar.File("blobs/sha256/" + digest.hex(), bytes);
  if (layers.empty()) {
    for (const Descriptor& layer : built.manifest.layers) layers.push_back("blobs/sha256/" + layer.digest.hex());
  }
  tar.File("index.json", index).File("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  return tar.File("manifest.json", List(BlobName(image.ConfigBytes()), layers));
}

DockerArchive Open(const TarBuilder& tar) { return DockerArchive(TarFile(MemoryFile(tar.Build()), "x.tar")); }

// Everything of it is read.
FetchedImage ReadWhole(DockerArchive& archive, const std::string& ref = {}) {
  FetchedImage image = archive.Load(archive.Find(ref));
  Drain(*archive.Open(image.image().descriptor, "manifest"), 1 << 20, "manifest");
  for (size_t i = 0; i < image.image().manifest.layers.size(); ++i)
    Drain(*OpenLayer(archive, image.image(), i, false), 1 << 20, "layer");
  return image;
}

Error Refusal(const TarBuilder& tar, const std::string& ref = {}) {
  return CaughtError([&] {
    DockerArchive archive = Open(tar);
    ReadWhole(archive, ref);
  });
}

TEST(DockerArchiveTest, OldAndFlatOnesAreOneImage) {
  std::vector<std::string> manifests;
  for (const TarBuilder& tar : {OldDocker(Image3()), Flat(Image3())}) {
    DockerArchive archive = Open(tar);
    const Image image = ReadWhole(archive).image();
    EXPECT_EQ(image.config_bytes, Image3().ConfigBytes());
    EXPECT_EQ(image.manifest.media_type, kDockerManifestType);
    ASSERT_THAT(image.manifest.layers, SizeIs(3));
    EXPECT_EQ(image.manifest.layers[1].digest, Digest::Of(kTop));
    EXPECT_EQ(image.manifest.layers[1].media_type, kDockerLayerType);
    EXPECT_THAT(archive.images().at(0).names, ElementsAre("docker.io/library/busybox:1"));
    manifests.push_back(image.manifest_bytes);
  }
  EXPECT_EQ(manifests[0], manifests[1]);
}

TEST(DockerArchiveTest, LayoutInsideTellsTheManifest) {
  for (const Compression compression : {Compression::kNone, Compression::kGzip}) {
    const ImageBuilder image = Image3(compression);
    DockerArchive archive = Open(WithLayout(image, IndexOf({Entry(image.ManifestBytes())})));
    EXPECT_EQ(ReadWhole(archive).image().manifest_bytes, image.ManifestBytes());
  }
}

TEST(DockerArchiveTest, ManifestIsFoundWithinNestedIndexes) {
  const ImageBuilder image = Image3();
  // The other platform is listed and not here, as docker save leaves it.
  const std::string inner = IndexOf({Entry("absent"), Entry(image.ManifestBytes())});
  TarBuilder tar = WithLayout(image, IndexOf({Entry(inner, kOciIndexType)}));
  tar.File(BlobName(inner), inner);
  DockerArchive archive = Open(tar);
  EXPECT_EQ(ReadWhole(archive).image().manifest_bytes, image.ManifestBytes());
}

TEST(DockerArchiveTest, CompressedLayersKeepTheirBytes) {
  for (const Compression compression : {Compression::kGzip, Compression::kZstd}) {
    const ImageBuilder image = Image3(compression);
    TarBuilder tar;
    std::vector<std::string> layers;
    for (const Descriptor& layer : image.Build().manifest.layers) layers.push_back(layer.digest.hex() + ".tar.gz");
    std::map<Digest, std::string> blobs;
    for (const auto& [digest, bytes] : image.Blobs()) blobs.emplace(digest, bytes);
    for (const auto& [digest, bytes] : blobs) tar.File(digest.hex() + ".tar.gz", bytes);
    tar.File("sha256:" + Hex(image.ConfigBytes()), image.ConfigBytes());
    tar.File("manifest.json", List("sha256:" + Hex(image.ConfigBytes()), layers));
    DockerArchive archive = Open(tar);
    const Image read = ReadWhole(archive).image();
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(read.manifest.layers[i].digest, image.Build().manifest.layers[i].digest);
  }
}

TEST(DockerArchiveTest, NamesSelectAsDockerReadsThem) {
  const ImageBuilder one = Image3();
  const ImageBuilder two = ImageBuilder().Layer(kTop, Compression::kNone);
  const auto config = [](const ImageBuilder& image) { return Hex(image.ConfigBytes()) + ".json"; };
  const auto entry = [&](const ImageBuilder& image, json::Value names, const std::vector<std::string>& layers) {
    return json::Object{{"Config", config(image)}, {"RepoTags", std::move(names)}, {"Layers", layers}};
  };
  const json::Array list{
      entry(one, std::vector<std::string>{"busybox:latest", "example.com/a/b:2"}, {"base", "top", "base"}),
      entry(two, nullptr, {"top"})};
  TarBuilder tar;
  tar.File("base", kBase).File("top", kTop).File(config(one), one.ConfigBytes()).File(config(two), two.ConfigBytes());
  tar.File("manifest.json", json::Print(list));
  DockerArchive archive = Open(tar);
  for (const char* ref : {"busybox", "docker.io/library/busybox:latest", "example.com/a/b:2", "@0"})
    EXPECT_EQ(ReadWhole(archive, ref).image().config_bytes, one.ConfigBytes()) << ref;
  EXPECT_EQ(ReadWhole(archive, "@1").image().config_bytes, two.ConfigBytes());
  EXPECT_EQ(Refusal(tar, "busybox:1").kind(), ErrorKind::kNotFound);
  EXPECT_EQ(Refusal(tar, "@2").kind(), ErrorKind::kNotFound);
  const Error several = Refusal(tar);
  EXPECT_EQ(several.kind(), ErrorKind::kUsage);
  EXPECT_THAT(several.hint(), HasSubstr("'example.com/a/b:2', '@1'"));
}

TEST(DockerArchiveTest, OneNameForTwoImagesIsCorrupt) {
  const std::string config = Image3().ConfigBytes();
  const json::Object entry{{"Config", "a"}, {"RepoTags", std::vector<std::string>{"x:1"}}, {"Layers", nullptr}};
  json::Object other = entry;
  other.Set("Config", "b");
  TarBuilder tar;
  tar.File("a", config).File("b", config).File("manifest.json", json::Print(json::Array{entry, other}));
  EXPECT_THAT(Refusal(tar, "x:1").message(), HasSubstr("two images"));
}

TEST(DockerArchiveTest, OtherArchivesAreTold) {
  EXPECT_EQ(Refusal(TarBuilder().File("repositories", "{}")).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(Refusal(TarBuilder().File("a", "b")).kind(), ErrorKind::kNotFound);
  EXPECT_THAT(Refusal(TarBuilder().File("index.json", "{}")).hint(), HasSubstr("oci-archive:"));
  EXPECT_EQ(Refusal(TarBuilder().File("manifest.json", "[]")).kind(), ErrorKind::kNotFound);
}

// Each is an archive in which two parts contradict each other, or a part is missing.
TEST(DockerArchiveTest, DisagreementIsCorrupt) {
  const ImageBuilder image = Image3();
  const ImageBuilder other = ImageBuilder().Layer(kTop, Compression::kNone);
  const std::string config = image.ConfigBytes();
  const auto flat = [&](const std::string& list) {
    TarBuilder tar;
    tar.File("base", kBase).File("top", kTop).File("c.json", config).File(std::string(64, 'a') + ".json", config);
    return tar.File("manifest.json", list);
  };
  json::Object elsewhere = Entry(image.ManifestBytes());
  elsewhere.Set("annotations", json::Object{{"io.containerd.image.name", "docker.io/library/else:1"}});
  json::Object stolen = Entry(other.ManifestBytes());
  stolen.Set("annotations", json::Object{{"io.containerd.image.name", "docker.io/library/busybox:1"}});
  const std::pair<const char*, TarBuilder> cases[] = {
      {"no configuration", flat(List("absent.json", {"base", "top", "base"}))},
      {"no layer", flat(List("c.json", {"base", "absent", "base"}))},
      {"too few layers", flat(List("c.json", {"base", "top"}))},
      {"other layer", flat(List("c.json", {"base", "base", "base"}))},
      {"digest of the configuration", flat(List(std::string(64, 'a') + ".json", {"base", "top", "base"}))},
      {"two members of a name", Flat(image).File(kTopHex + ".tar", kTop)},
      {"a link out of it", flat(List("c.json", {"base", "link", "base"})).Symlink("link", "../../etc/passwd")},
      {"a name out of it", flat(List("../c.json", {"base", "top", "base"}))},
      {"no list", flat("{}")},
      {"a letter case", flat(R"([{"Config":"c.json","config":"c.json","Layers":["base","top","base"]}])")},
      {"a member twice", flat(R"([{"Config":"c.json","Config":"c.json","Layers":["base","top","base"]}])")},
      {"not in the index", WithLayout(image, IndexOf({}))},
      {"another image in the index", WithLayout(image, IndexOf({Entry(other.ManifestBytes())}))},
      {"the name is another's",
       WithLayout(image, IndexOf({elsewhere, stolen})).File(BlobName(other.ManifestBytes()), other.ManifestBytes())},
      {"other layers than the index",
       WithLayout(image, IndexOf({Entry(image.ManifestBytes())}), {BlobName(kBase), BlobName(kBase), BlobName(kBase)})},
  };
  for (const auto& [what, tar] : cases) EXPECT_EQ(Refusal(tar).kind(), ErrorKind::kCorrupt) << what;
}

TEST(DockerArchiveTest, EveryTruncationIsCorrupt) {
  const ImageBuilder image = Image3();
  for (const TarBuilder& tar : {OldDocker(image), WithLayout(image, IndexOf({Entry(image.ManifestBytes())}))}) {
    const std::string whole = tar.Build();
    for (size_t size = 0; size < whole.size(); size += 37) {
      const Error error = CaughtError([&] {
        DockerArchive archive(TarFile(MemoryFile(std::string_view(whole).substr(0, size)), "x.tar"));
        ReadWhole(archive);
      });
      ASSERT_EQ(error.kind(), ErrorKind::kCorrupt) << size << ": " << error.message();
    }
  }
}

TEST(DockerArchiveTest, EveryChangedLayerByteIsCorrupt) {
  std::string whole = Flat(Image3()).Build();
  whole[whole.find(kTop) + 600] ^= 1;
  EXPECT_EQ(CaughtError([&] {
              DockerArchive archive(TarFile(MemoryFile(whole), "x.tar"));
              ReadWhole(archive);
            }).kind(),
            ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
