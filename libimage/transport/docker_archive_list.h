// The manifest.json of what docker save writes: which images an archive holds, under which names, in which members.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxArchiveListBytes = 16 * 1024 * 1024;
constexpr size_t kMaxArchiveImages = 1000;
constexpr size_t kMaxArchiveNames = 1000;  // of one image

// One image of the list. Config and layers are names of members, as written.
struct ArchivedImage {
  std::string config;
  std::vector<std::string> layers;  // base first
  std::vector<std::string> names;   // with host and tag where they are registry names, else as written
  friend bool operator==(const ArchivedImage&, const ArchivedImage&) = default;
};

// "docker.io/library/busybox:latest" for "busybox"; `name` itself where it is no registry name.
std::string NormalisedName(const std::string& name);

// kCorrupt, with the JSON pointer, for what is no such list or over the bounds. A member whose name differs from a
// known one in letter case alone is refused, too: Docker would take it. Members that are unknown are ignored.
std::vector<ArchivedImage> ParseArchiveList(std::string_view bytes, const std::string& what);

}  // namespace gantry::image
