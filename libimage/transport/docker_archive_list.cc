#include "libimage/transport/docker_archive_list.h"

#include <array>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/layer/archive.h"
#include "libimage/model/letter_case.h"
#include "libimage/model/manifest.h"
#include "libimage/model/reference.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxMembers = 100;  // of one entry; Docker writes five
constexpr std::array<std::string_view, 3> kNames = {"Config", "RepoTags", "Layers"};

void RefuseOtherLetterCase(const json::Cursor& entry) {
  for (const auto& [name, member] : entry.Members(kMaxMembers)) {
    for (const std::string_view known : kNames) {
      if (name != known && FoldedName(name) == FoldedName(known))
        member.Fail("differs from " + Quoted(known) + " only in letter case, so tools disagree on what it means");
    }
  }
}

// Go prints a list of nothing as null.
std::vector<std::string> Texts(const json::Cursor& entry, std::string_view name, size_t max_count) {
  const auto list = entry.Find(name);
  return list ? list->Strings(max_count) : std::vector<std::string>();
}

ArchivedImage ParseEntry(const json::Cursor& entry) {
  RefuseOtherLetterCase(entry);
  ArchivedImage image;
  image.config = entry.At("Config").String(kMaxEntryNameBytes);
  image.layers = Texts(entry, "Layers", kMaxLayers);
  for (const std::string& name : Texts(entry, "RepoTags", kMaxArchiveNames))
    image.names.push_back(NormalisedName(name));
  return image;
}

}  // namespace

std::string NormalisedName(const std::string& name) {
  try {
    return DockerReference::Parse(name).WithDefaultTag().ToString();
  } catch (const Error&) {
    return name;
  }
}

std::vector<ArchivedImage> ParseArchiveList(std::string_view bytes, const std::string& what) {
  const json::Value document = json::Parse(bytes, what);
  std::vector<ArchivedImage> images;
  for (const json::Cursor& entry : json::Cursor(document, what).Elements(kMaxArchiveImages))
    images.push_back(ParseEntry(entry));
  return images;
}

}  // namespace gantry::image
