#include "libimage/transport/tar_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

std::string_view DirectoryOf(std::string_view name) {
  const size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

// `path`, followed from the directory `from`, in one spelling; ".." climbs if `climb`, but never out. nullopt where it
// must not go; empty for the root itself.
std::optional<std::string> Followed(std::string_view from, std::string_view path, bool climb) {
  std::string out(from);
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".")
      continue;
    if (name != "..") {
      out.append(out.empty() ? "" : "/").append(name);
    } else if (climb && !out.empty()) {
      out.resize(DirectoryOf(out).size());
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace

TarFile TarFile::Open(const std::string& path) { return TarFile(OpenPlainFile(path), path); }

TarFile::TarFile(PlainFile file, std::string name)
    : fd_(std::make_shared<const UniqueFd>(std::move(file.fd))), name_(std::move(name)) {
  if (file.size == 0)
    throw Error(ErrorKind::kCorrupt, Quoted(name_) + " is empty, not an archive");
  TarHeaders headers(fd_->get(), file.size, Quoted(name_));
  size_t name_bytes = 0;
  for (size_t count = 0; const auto member = headers.Next();) {
    if (++count > kMaxTarMembers)
      headers.Corrupt("more than " + std::to_string(kMaxTarMembers) + " members");
    Add(*member, headers, name_bytes);
  }
}

void TarFile::Add(const TarMember& member, const TarHeaders& headers, size_t& name_bytes) {
  std::optional<std::string> name = Followed("", member.name, false);
  if (!name)
    headers.Corrupt("a name with '..'");
  if (member.type == EntryType::kDirectory)
    return;
  Place place{member.type, member.offset, member.size, {}};
  if (member.type != EntryType::kFile) {
    const bool symbolic = member.type == EntryType::kSymlink;
    const bool absolute = symbolic && member.link.starts_with('/');
    std::optional<std::string> target = Followed(symbolic ? DirectoryOf(*name) : "", member.link, symbolic);
    if (!target || target->empty() || absolute)
      headers.Corrupt("a link out of the archive, to " + Quoted(member.link));
    place.target = std::move(*target);
  }
  name_bytes += name->size() + place.target.size();
  if (name->empty() || name_bytes > kMaxTarNameBytes)
    headers.Corrupt(name->empty() ? "no name" : "all names together are too long");
  if (!members_.emplace(std::move(*name), std::move(place)).second)
    headers.Corrupt("the second member of this name");
}

const TarFile::Place* TarFile::Find(std::string_view name) const {
  const auto refuse = [&](std::string_view why) {
    throw Error(ErrorKind::kCorrupt, Quoted(name_) + ": " + Quoted(name) + " " + std::string(why));
  };
  const std::optional<std::string> path = Followed("", name, false);
  if (!path)
    refuse("leads out of the archive");
  auto found = members_.find(*path);
  if (found == members_.end())
    return nullptr;
  for (size_t links = 0; found->second.type != EntryType::kFile; ++links) {
    if (links == kMaxTarLinks)
      refuse("is a link that leads round in a circle, or over more than " + std::to_string(kMaxTarLinks) + " others");
    found = members_.find(found->second.target);
    if (found == members_.end())
      refuse("is a link to what is not in the archive");
  }
  return &found->second;
}

std::optional<uint64_t> TarFile::Size(std::string_view name) const {
  const Place* const place = Find(name);
  return place == nullptr ? std::nullopt : std::optional(place->size);
}

bool TarFile::AreSame(std::string_view name, std::string_view other) const {
  const Place* const place = Find(name);
  return place != nullptr && place == Find(other);
}

std::unique_ptr<Source> TarFile::OpenMember(std::string_view name, std::string what) const {
  const Place* const place = Find(name);
  return place == nullptr ? nullptr : FdRangeSource(fd_, place->offset, place->size, std::move(what));
}

std::optional<std::string> TarFile::ReadMember(std::string_view name, size_t max_bytes) const {
  const std::string what = Quoted(name) + " in " + Quoted(name_);
  const auto source = OpenMember(name, what);
  return source ? std::optional(Drain(*source, max_bytes, what)) : std::nullopt;
}

}  // namespace gantry::image
