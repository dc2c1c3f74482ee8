#include <set>

#include "libimage/convert/artifact_files.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

using namespace gantry::image;

void Check(std::string_view text, std::string_view content_type) {
  ManifestOrIndex document = Index{};
  if (!Accepts([&] { document = ParseManifest(text, content_type); }))
    return;
  const std::string printed = std::visit([](const auto& part) { return part.ToJson(); }, document);
  Require(ParseManifest(printed, content_type) == document);
  if (const auto* index = std::get_if<Index>(&document)) {
    const Platform platform{"linux", "arm", "v7", ""};
    const Descriptor* chosen = index->Choose(platform);
    Require(chosen == nullptr || KindOf(chosen->media_type) != TypeKind::kOther);
    Index::Choice choice;
    Accepts([&] { choice = index->Choose(platform, [](const Descriptor& entry) { return entry.size % 2 == 0; }); });
    Require(choice.entry == nullptr || (chosen != nullptr && choice.artifacts.empty()));
    Require(choice.artifacts.empty() || !index->TellsPlatforms());
    return;
  }
  const auto& manifest = std::get<Manifest>(document);
  if (!manifest.IsArtifact())
    return;
  Require(!manifest.ArtifactType().empty());
  std::vector<ArtifactFile> files;
  if (!Accepts([&] { files = FilesOf(manifest); }))
    return;
  std::set<std::string> names;
  for (const ArtifactFile& file : files) Require(names.insert(file.path.str()).second && file.path.str()[0] != '/');
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const std::string_view type : {std::string_view(), kDockerManifestType, kDockerListType})
    Check(gantry::fuzz::Text(data, size), type);
  return 0;
}
