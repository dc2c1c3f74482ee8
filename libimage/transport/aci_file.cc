#include "libimage/transport/aci_file.h"

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

void PutBelowRootfs(const std::string& path, std::string& into) {
  into = "rootfs";
  if (!path.empty())
    into.append("/").append(path);
}

}  // namespace

void AciWriter::AddManifest(std::string_view manifest) {
  Entry entry;
  entry.name = "manifest";
  entry.mode = 0644;
  entry.size = manifest.size();
  entry.mtime = mtime_;
  archive_.Add(entry);
  archive_.Write(AsBytes(manifest));
}

void AciWriter::Add(const Entry& entry) {
  named_ = entry;
  PutBelowRootfs(entry.name, named_.name);
  if (entry.type == EntryType::kHardLink)
    PutBelowRootfs(entry.link, named_.link);
  archive_.Add(named_);
}

PathWhitelist::PathWhitelist(const std::vector<std::string>& paths) {
  paths_.reserve(paths.size());
  for (const std::string& path : paths) {
    const size_t begin = std::min(path.find_first_not_of('/'), path.size());
    const size_t end = path.find_last_not_of('/');
    paths_.push_back(end == std::string::npos ? std::string() : path.substr(begin, end + 1 - begin));
  }
  std::ranges::sort(paths_);
}

bool PathWhitelist::Allows(std::string_view path, bool is_directory) const {
  if (path.empty() || std::binary_search(paths_.begin(), paths_.end(), path, std::less<>()))
    return true;
  if (!is_directory)
    return false;
  const std::string inside = std::string(path) + "/";
  const auto next = std::ranges::lower_bound(paths_, inside);
  return next != paths_.end() && next->starts_with(inside);
}

}  // namespace gantry::image
