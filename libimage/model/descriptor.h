// Descriptors and platforms (OCI image-spec, descriptor.md and image-index.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/json.h"

namespace gantry::image {

constexpr uint64_t kMaxBlobBytes = uint64_t{1} << 40;  // 1 TiB: a larger size in a descriptor is refused
constexpr size_t kMaxAnnotations = 1000;

// os/architecture[/variant] in Go's spelling ("linux", "arm", "v7").
struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;     // empty when none
  std::string os_version;  // empty when none

  // "linux/arm/v7", "arm64" (os linux); kUsage otherwise. Names are normalised: x86_64 is amd64, aarch64 arm64.
  static Platform Parse(std::string_view text);
  // The machine this runs on.
  static Platform Host();
  // The same platform in the spelling that all of its names have in common: lower case, Go's names of the architecture,
  // no variant for amd64's v1 and arm64's v8, "v7" for "7" and for arm alone.
  Platform Canonical() const;
  std::string ToString() const;
  friend bool operator==(const Platform&, const Platform&) = default;
};

// A digest in a document; its errors say where.
Digest ParseDigest(const json::Cursor& from);

// An artifactType, empty where the document has an empty one. It should be a media type, but tools let people write
// anything: any printable text passes.
std::string ParseArtifactType(const json::Cursor& from);

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::vector<std::string> urls = {};
  std::map<std::string, std::string> annotations = {};
  std::optional<Platform> platform = {};
  std::string artifact_type = {};  // empty when absent

  // Members that the specification does not name are ignored. A size over kMaxBlobBytes is kCorrupt, and so is zero
  // but for the digest of nothing under a type that is none of an image's: the file of an artifact may be empty.
  static Descriptor Parse(const json::Cursor& from);
  // mediaType, digest, size, then what is there.
  json::Value ToJson() const;
  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

}  // namespace gantry::image
