// Documents in the shapes of the world, in testdata/: what is read out of them, and how they are refused.
#include <gtest/gtest.h>

#include <functional>

#include "libimage/model/aci_manifest.h"
#include "libimage/model/config.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "tests/support/source_dir.h"
#include "tests/support/temp_dir.h"
#include "tests/support/testdata.h"

namespace gantry::image {
namespace {

using gantry::testing::Cases;
using gantry::testing::CaughtError;
using gantry::testing::ExpectAsInFile;
using gantry::testing::ReadText;

std::string Short(const Digest& digest) { return digest.hex().substr(0, 12); }

std::string DescribeLayer(const Descriptor& layer) {
  constexpr std::string_view kNames[] = {"none", "gzip", "zstd", "xz", "bzip2"};
  const auto compression = LayerCompression(layer.media_type);
  return "layer: " + Short(layer.digest) + " " + std::to_string(layer.size) + " " +
         (compression ? std::string(kNames[static_cast<size_t>(*compression)]) : "of type " + layer.media_type) +
         (IsForeignLayer(layer.media_type) ? " foreign" : "") + (layer.urls.empty() ? "" : " " + layer.urls[0]) + "\n";
}

std::string DescribeDocument(const Manifest& manifest) {
  std::string out = "manifest: " + manifest.media_type + "\n";
  out += "config: " + manifest.config.media_type + " " + Short(manifest.config.digest) + "\n";
  for (const Descriptor& layer : manifest.layers) out += DescribeLayer(layer);
  for (const auto& [key, value] : manifest.annotations) out += "annotation: " + key + "=" + value + "\n";
  if (manifest.subject)
    out += "subject: " + Short(manifest.subject->digest) + "\n";
  return out + (manifest.IsArtifact() ? "an artifact " + manifest.artifact_type + "\n" : "an image\n");
}

std::string DescribeDocument(const Index& index) {
  std::string out = "index: " + index.media_type + "\n";
  for (const Descriptor& entry : index.manifests) {
    out += "entry: " + Short(entry.digest) + " " + (entry.platform ? entry.platform->ToString() : "any platform");
    const auto name = entry.annotations.find("org.opencontainers.image.ref.name");
    out += (name == entry.annotations.end() ? "" : " called " + name->second) + "\n";
  }
  for (const char* platform :
       {"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/riscv64", "windows/amd64"}) {
    const Descriptor* chosen = index.Choose(Platform::Parse(platform));
    out += "for " + std::string(platform) + ": " + (chosen == nullptr ? "none" : Short(chosen->digest)) + "\n";
  }
  return out;
}

TEST(GoldenTest, Manifests) {
  for (const auto& place : Cases("golden/manifest", 11)) {
    const ManifestOrIndex document = ParseManifest(ReadText(place / "manifest.json"));
    ExpectAsInFile(std::visit([](const auto& part) { return DescribeDocument(part); }, document), place / "expected");
    const std::string printed = std::visit([](const auto& part) { return part.ToJson(); }, document);
    EXPECT_EQ(ParseManifest(printed), document) << place;
  }
}

std::string Joined(std::string_view name, const std::vector<std::string>& texts) {
  std::string out = std::string(name) + ":";
  for (const std::string& text : texts) out += " " + Quoted(text);
  return out + "\n";
}

std::string DescribeConfig(const ImageConfig& config) {
  std::string out = "platform: " + config.platform.ToString() + "\ncreated: " + config.created + "\n";
  out += "user: " + config.user + "\nworking directory: " + config.working_dir + "\nstop: " + config.stop_signal + "\n";
  out += Joined("environment", config.env) + Joined("entrypoint", config.entrypoint) + Joined("command", config.cmd) +
         Joined("volumes", config.volumes) + Joined("ports", config.exposed_ports);
  for (const auto& [key, value] : config.labels) out += "label: " + key + "=" + value + "\n";
  if (config.health_check)
    out += Joined("health", config.health_check->test) + "every " +
           std::to_string(config.health_check->interval_ns / 1'000'000'000) + " s\n";
  for (const HistoryEntry& entry : config.history)
    out += "history: " + entry.created_by + (entry.empty_layer ? " (empty)" : "") + "\n";
  return out + std::to_string(config.diff_ids.size()) + " layers\n";
}

TEST(GoldenTest, Configurations) {
  for (const auto& place : Cases("golden/config", 4))
    ExpectAsInFile(DescribeConfig(ImageConfig::Parse(ReadText(place / "config.json"))), place / "expected");
}

TEST(GoldenTest, AciManifests) {
  for (const auto& place : Cases("golden/aci_manifest", 2)) {
    const AciManifest manifest = AciManifest::Parse(ReadText(place / "manifest.json"));
    ExpectAsInFile(manifest.ToJson() + "\n", place / "expected");
    EXPECT_EQ(AciManifest::Parse(manifest.ToJson()).ToJson(), manifest.ToJson());
  }
}

void ExpectRefusals(const std::string& module, size_t at_least, const std::function<void(const std::string&)>& parse) {
  for (const auto& file : Cases("reject/" + module, at_least, ".json")) {
    SCOPED_TRACE(file.string());
    const Error error = CaughtError([&] { parse(ReadText(file)); });
    ExpectAsInFile(gantry::testing::Describe(error), std::filesystem::path(file).replace_extension(".expected"));
  }
}

TEST(RejectTest, Manifests) {
  ExpectRefusals("manifest", 25, [](const std::string& text) { ParseManifest(text); });
}

TEST(RejectTest, Configurations) {
  ExpectRefusals("config", 8, [](const std::string& text) { ImageConfig::Parse(text); });
}

TEST(RejectTest, AciManifests) {
  ExpectRefusals("aci_manifest", 10, [](const std::string& text) { AciManifest::Parse(text); });
}

// A document cut off anywhere, or with one byte changed, is read or refused, and nothing else.
TEST(RejectTest, DamagedDocuments) {
  const auto damage = [](const std::filesystem::path& file, const std::function<void(const std::string&)>& parse) {
    const std::string whole = ReadText(file);
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string cut = whole.substr(0, at);
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 7)));
      EXPECT_THROW(parse(cut), Error) << file << " cut at " << at;
      try {
        parse(changed);
      } catch (const Error& error) {
        EXPECT_TRUE(error.kind() == ErrorKind::kCorrupt || error.kind() == ErrorKind::kUnsupported) << error.message();
      }
    }
  };
  const auto place = std::filesystem::path(testing::SourceDir()) / "testdata/golden";
  damage(place / "manifest/docker_windows/manifest.json", [](const std::string& text) { ParseManifest(text); });
  damage(place / "config/buildkit_healthcheck/config.json", [](const std::string& text) { ImageConfig::Parse(text); });
  damage(place / "aci_manifest/specification_example/manifest.json",
         [](const std::string& text) { AciManifest::Parse(text); });
}

}  // namespace
}  // namespace gantry::image
