// Manifests and indexes: Docker image manifest v2 schema 2, its manifest list, OCI image manifest and index 1.1, and
// the artifact manifest of a draft of 1.1.
//
// A parsed manifest keeps the exact bytes it came from: their digest is its name, and nothing ever prints it anew to
// compute one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "libimage/model/descriptor.h"

namespace gantry::image {

constexpr size_t kMaxManifestBytes = 4 * 1024 * 1024;  // what distribution-spec asks every client to take
constexpr size_t kMaxLayers = 1000;
constexpr size_t kMaxIndexEntries = 10'000;
constexpr size_t kMaxIndexDepth = 4;  // indexes that lead to one image; whoever follows Choose() counts
constexpr size_t kMaxAsked = 16;      // documents that Choose() asks for in one index

constexpr std::string_view kNoPlatform = "unknown";  // BuildKit's, of both os and architecture

struct Manifest {
  std::string media_type;  // kOciManifestType or kDockerManifestType, also where the document leaves it out; or
                           // kOciArtifactManifestType, whose blobs are the layers
  Descriptor config;       // its media_type is empty where there is none: kOciArtifactManifestType
  std::vector<Descriptor> layers = {};  // base first
  std::map<std::string, std::string> annotations = {};
  std::string artifact_type = {};          // empty when absent
  std::optional<Descriptor> subject = {};  // what this one refers to

  // A manifest that is not an image: an attestation, a signature, a chart. Told by artifactType, by a configuration of
  // another type, or by layers of which none is a file system (BuildKit's attestations have an image's configuration).
  bool IsArtifact() const;
  // What kind of artifact it is: artifactType, else the media type by which it was told.
  const std::string& ArtifactType() const;
  // What it names: the configuration, if it has one, and the layers.
  std::vector<Descriptor> Blobs() const;

  // Compact JSON, members in the order of the specification.
  std::string ToJson() const;
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

struct Index {
  std::string media_type;  // kOciIndexType or kDockerListType
  std::vector<Descriptor> manifests = {};
  std::map<std::string, std::string> annotations = {};
  std::string artifact_type = {};
  std::optional<Descriptor> subject = {};

  std::string ToJson() const;

  // The entry for `wanted`, or null: same os and architecture, the best variant that `wanted` can execute (arm v8 down
  // to v5, then none; arm alone is v7), an entry without platform only when no other fits, the first of equals.
  // Attestation entries (platform unknown/unknown), artifacts and what is neither manifest nor index are never chosen.
  const Descriptor* Choose(const Platform& wanted) const;

  // The same where documents can be asked: of entries that tell no platform the first that leads to no artifact. An
  // artifact only where it is the only entry that could be meant, and no other tells of an image. kUnsupported where
  // more than kMaxAsked would have to be asked.
  struct Choice {
    const Descriptor* entry = nullptr;
    std::vector<const Descriptor*> artifacts = {};  // which of these is meant nobody said; no entry then
  };
  Choice Choose(const Platform& wanted, const std::function<bool(const Descriptor&)>& is_artifact) const;

  // Whether any entry is said to be for some platform.
  bool TellsPlatforms() const;

  friend bool operator==(const Index&, const Index&) = default;
};

using ManifestOrIndex = std::variant<Manifest, Index>;

bool IsArtifact(const ManifestOrIndex& document);

// Parses `bytes` by, in this order: its own mediaType; `content_type` if known (a registry's header; may be empty,
// parameters ignored); the shape (config.mediaType, "manifests", "layers"). Refuses kCorrupt: a mediaType that
// contradicts the shape or a known `content_type`, a document that is manifest and index at once in any letter case
// (CVE-2021-41190), schema versions other than 2, more than kMaxLayers or kMaxIndexEntries. Schema 1, and a mediaType
// that is none of the five, are kUnsupported.
ManifestOrIndex ParseManifest(std::string_view bytes, std::string_view content_type = {});

}  // namespace gantry::image
