#include "libimage/model/manifest.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/model/letter_case.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxTypeBytes = 255;

// Every name that some manifest format gives a meaning.
constexpr std::array<std::string_view, 12> kNames = {"schemaVersion", "mediaType", "artifactType", "config",
                                                     "layers",        "manifests", "subject",      "annotations",
                                                     "fsLayers",      "history",   "signatures",   "blobs"};

[[noreturn]] void FailSchema1() {
  throw Error(ErrorKind::kUnsupported, "manifest: Docker's schema 1, which is obsolete and has no verifiable layers",
              "have the image pushed again by a current tool, or copy it with: skopeo copy --format v2s2");
}

void RefuseOtherLetterCase(const json::Cursor& root) {
  for (const auto& [name, member] : root.Members(kMaxAnnotations)) {
    const std::string folded = FoldedName(name);
    for (const std::string_view known : kNames) {
      if (name != known && folded == FoldedName(known))
        member.Fail("differs from " + Quoted(known) + " only in letter case, so tools disagree on what it means");
    }
  }
}

void RefuseMembers(const json::Cursor& root, std::string_view kind, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const auto member = root.Find(name))
      member->Fail("does not belong in " + std::string(kind) + ", so tools disagree on what the document is");
  }
}

// The document's own word on its type; empty when it says nothing.
std::string OwnType(const json::Cursor& root) {
  const auto member = root.Find("mediaType");
  if (!member)
    return {};
  std::string type = Essence(member->String(kMaxTypeBytes));
  switch (KindOf(type)) {
    case TypeKind::kManifest:
    case TypeKind::kIndex:
    case TypeKind::kSchema1:
      return type;
    default:
      throw Error(ErrorKind::kUnsupported, "manifest: media type " + Quoted(type) + " is not one of an image",
                  "only OCI and Docker (schema 2) manifests and indexes can be read");
  }
}

std::string ShapeType(const json::Cursor& root) {
  if (root.Find("manifests"))
    return std::string(kOciIndexType);
  if (const auto config = root.Find("config")) {
    const bool docker = Essence(config->At("mediaType").String(kMaxTypeBytes)) == kDockerConfigType;
    return std::string(docker ? kDockerManifestType : kOciManifestType);
  }
  root.Fail("neither an image manifest (no 'config') nor an index (no 'manifests')");
}

std::string TypeOf(const json::Cursor& root, std::string_view content_type) {
  std::string own = OwnType(root);
  std::string given = Essence(content_type);
  const TypeKind kind = KindOf(given);
  if (kind != TypeKind::kManifest && kind != TypeKind::kIndex && kind != TypeKind::kSchema1)
    given.clear();
  if (!own.empty() && !given.empty() && own != given)
    root.At("mediaType").Fail(Quoted(own) + " contradicts the type it was sent with, " + Quoted(given));
  if (!own.empty())
    return own;
  return given.empty() ? ShapeType(root) : given;
}

// What manifest and index have in common.
template <typename Document>
void ParseCommon(const json::Cursor& root, Document& out) {
  if (const auto annotations = root.Find("annotations"))
    out.annotations = annotations->StringMap(kMaxAnnotations);
  if (const auto type = root.Find("artifactType"))
    out.artifact_type = ParseArtifactType(*type);
  if (const auto subject = root.Find("subject"))
    out.subject = Descriptor::Parse(*subject);
}

template <typename Document>
void PrintCommon(const Document& document, json::Object& out) {
  if (document.subject)
    out.Append("subject", document.subject->ToJson());
  if (!document.annotations.empty())
    out.Append("annotations", document.annotations);
}

// Go prints a list of nothing as null.
std::vector<Descriptor> ParseDescriptors(const json::Cursor& list, size_t max_count) {
  std::vector<Descriptor> out;
  if (list.value().is_null())
    return out;
  for (const json::Cursor& element : list.Elements(max_count)) out.push_back(Descriptor::Parse(element));
  return out;
}

json::Array PrintDescriptors(const std::vector<Descriptor>& descriptors) {
  json::Array out;
  for (const Descriptor& descriptor : descriptors) out.push_back(descriptor.ToJson());
  return out;
}

bool IsFileSystem(const Descriptor& layer) {
  constexpr std::string_view kEncrypted = "+encrypted";
  std::string type = Essence(layer.media_type);
  if (type.ends_with(kEncrypted))
    type.resize(type.size() - kEncrypted.size());
  return KindOf(type) == TypeKind::kLayer;
}

// "v7" is 700, "v8.2" 802; nullopt for what is no such version.
std::optional<int> VariantLevel(std::string_view variant) {
  if (!variant.starts_with('v') || variant.size() > 6)
    return std::nullopt;
  const char* const end = variant.data() + variant.size();
  int major = 0;
  int minor = 0;
  auto [at, problem] = std::from_chars(variant.data() + 1, end, major);
  if (problem != std::errc() || major < 0)
    return std::nullopt;
  if (at != end) {
    if (*at != '.')
      return std::nullopt;
    const auto [last, minor_problem] = std::from_chars(at + 1, end, minor);
    if (minor_problem != std::errc() || last != end || minor < 0 || minor > 99)
      return std::nullopt;
  }
  return major * 100 + minor;
}

// What an architecture without a variant stands for.
std::optional<int> BaselineLevel(std::string_view architecture) {
  if (architecture == "arm")
    return 700;
  if (architecture == "arm64")
    return 800;
  if (architecture == "amd64")
    return 100;
  return std::nullopt;
}

// How well `wanted` can execute `offered`; 0 is not at all.
int Fitness(const Platform& wanted, const Platform& offered) {
  constexpr int kExact = 1'000'000;
  if (wanted.os != offered.os || wanted.architecture != offered.architecture)
    return 0;
  if (wanted.variant == offered.variant)
    return kExact;
  if (offered.variant.empty())
    return 1;
  const auto can = wanted.variant.empty() ? BaselineLevel(wanted.architecture) : VariantLevel(wanted.variant);
  const auto needs = VariantLevel(offered.variant);
  return can && needs && *needs <= *can ? 2 + *needs : 0;
}

bool CanBeChosen(const Descriptor& entry) {
  const TypeKind kind = KindOf(entry.media_type);
  const bool unknown =
      entry.platform && (entry.platform->os == kNoPlatform || entry.platform->architecture == kNoPlatform);
  return (kind == TypeKind::kManifest || kind == TypeKind::kIndex) && entry.artifact_type.empty() && !unknown &&
         !entry.annotations.contains("vnd.docker.reference.type");
}

}  // namespace

bool Manifest::IsArtifact() const {
  return !artifact_type.empty() || KindOf(config.media_type) != TypeKind::kConfig ||
         (!layers.empty() && std::none_of(layers.begin(), layers.end(), IsFileSystem));
}

bool IsArtifact(const ManifestOrIndex& document) {
  const auto* const manifest = std::get_if<Manifest>(&document);
  return manifest != nullptr && manifest->IsArtifact();
}

const std::string& Manifest::ArtifactType() const {
  if (!artifact_type.empty())
    return artifact_type;
  return KindOf(config.media_type) != TypeKind::kConfig || layers.empty() ? config.media_type
                                                                          : layers.front().media_type;
}

std::vector<Descriptor> Manifest::Blobs() const {
  std::vector<Descriptor> blobs;
  if (!config.media_type.empty())
    blobs.push_back(config);
  blobs.insert(blobs.end(), layers.begin(), layers.end());
  return blobs;
}

std::string Manifest::ToJson() const {
  if (media_type == kOciArtifactManifestType) {
    json::Object out{{"mediaType", media_type}, {"artifactType", artifact_type}};
    out.Append("blobs", PrintDescriptors(layers));
    PrintCommon(*this, out);
    return json::Print(out);
  }
  json::Object out{{"schemaVersion", 2}, {"mediaType", media_type}};
  if (!artifact_type.empty())
    out.Append("artifactType", artifact_type);
  out.Append("config", config.ToJson());
  out.Append("layers", PrintDescriptors(layers));
  PrintCommon(*this, out);
  return json::Print(out);
}

std::string Index::ToJson() const {
  json::Object out{{"schemaVersion", 2}, {"mediaType", media_type}};
  if (!artifact_type.empty())
    out.Append("artifactType", artifact_type);
  out.Append("manifests", PrintDescriptors(manifests));
  PrintCommon(*this, out);
  return json::Print(out);
}

const Descriptor* Index::Choose(const Platform& wanted) const {
  const Descriptor* best = nullptr;
  int best_fitness = 0;
  const Descriptor* unnamed = nullptr;
  for (const Descriptor& entry : manifests) {
    if (!CanBeChosen(entry))
      continue;
    if (!entry.platform) {
      if (unnamed == nullptr)
        unnamed = &entry;
      continue;
    }
    const int fitness = Fitness(wanted, *entry.platform);
    if (fitness > best_fitness) {
      best = &entry;
      best_fitness = fitness;
    }
  }
  return best != nullptr ? best : unnamed;
}

Index::Choice Index::Choose(const Platform& wanted, const std::function<bool(const Descriptor&)>& is_artifact) const {
  const Descriptor* const chosen = Choose(wanted);
  if (chosen == nullptr || chosen->platform)
    return {.entry = chosen};
  Choice none;
  for (const Descriptor& entry : manifests) {
    if (entry.platform || !CanBeChosen(entry))
      continue;
    if (none.artifacts.size() == kMaxAsked) {
      throw Error(
          ErrorKind::kUnsupported,
          "index: more than " + std::to_string(kMaxAsked) + " artifacts before an image for " + wanted.ToString(),
          "name what is meant by its digest");
    }
    if (!is_artifact(entry))
      return {.entry = &entry};
    none.artifacts.push_back(&entry);
  }
  if (TellsPlatforms())
    return {};
  return none.artifacts.size() == 1 ? Choice{.entry = none.artifacts.front()} : none;
}

bool Index::TellsPlatforms() const {
  return std::any_of(manifests.begin(), manifests.end(), [](const Descriptor& entry) {
    return entry.platform && entry.platform->os != kNoPlatform && entry.platform->architecture != kNoPlatform;
  });
}

namespace {

// It has no schema version, for it came after those.
Manifest ParseArtifactManifest(const json::Cursor& root) {
  RefuseMembers(root, "an artifact manifest",
                {"schemaVersion", "config", "layers", "manifests", "fsLayers", "history", "signatures"});
  Manifest out{.media_type = std::string(kOciArtifactManifestType),
               .config = {.media_type = {}, .digest = Digest::Of(""), .size = 0}};
  if (const auto blobs = root.Find("blobs"))
    out.layers = ParseDescriptors(*blobs, kMaxLayers);
  ParseCommon(root, out);
  if (out.artifact_type.empty())
    root.At("artifactType").Fail("an artifact manifest tells of what type it is");
  return out;
}

}  // namespace

ManifestOrIndex ParseManifest(std::string_view bytes, std::string_view content_type) {
  if (bytes.size() > kMaxManifestBytes)
    throw Error(ErrorKind::kCorrupt, "manifest: larger than " + std::to_string(kMaxManifestBytes) + " bytes");
  const json::Value document = json::Parse(bytes, "manifest");
  const json::Cursor root(document, "manifest");
  RefuseOtherLetterCase(root);
  // With neither a version nor a shape of its own it has to say itself what it is.
  if (OwnType(root) == kOciArtifactManifestType || Essence(content_type) == kOciArtifactManifestType) {
    root.At("mediaType");
    TypeOf(root, content_type);
    return ParseArtifactManifest(root);
  }
  if (root.At("schemaVersion").Unsigned(2) == 1)
    FailSchema1();
  if (root.At("schemaVersion").Unsigned(2) != 2)
    root.At("schemaVersion").Fail("expected 2");
  RefuseMembers(root, "a manifest of schema 2", {"fsLayers", "history", "signatures", "blobs"});

  const std::string type = TypeOf(root, content_type);
  switch (KindOf(type)) {
    case TypeKind::kManifest: {
      RefuseMembers(root, "an image manifest", {"manifests"});
      Manifest out{.media_type = type, .config = Descriptor::Parse(root.At("config"))};
      out.layers = ParseDescriptors(root.At("layers"), kMaxLayers);
      ParseCommon(root, out);
      return out;
    }
    case TypeKind::kIndex: {
      RefuseMembers(root, "an index", {"config", "layers"});
      Index out{.media_type = type};
      out.manifests = ParseDescriptors(root.At("manifests"), kMaxIndexEntries);
      ParseCommon(root, out);
      return out;
    }
    default:
      root.At("schemaVersion").Fail("2, but the media type is one of schema 1");
  }
}

}  // namespace gantry::image
