#include "libimage/transport/aci_reader.h"

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/layer.h"
#include "libimage/model/aci_manifest.h"

namespace gantry::image {
namespace {

constexpr std::string_view kManifest = "manifest";
constexpr std::string_view kRootfs = "rootfs";
constexpr std::string_view kHint = "an ACI holds 'manifest', first or last, and 'rootfs' with what is below it";

// "./manifest" and "manifest" are one.
std::string_view WithoutDots(std::string_view name) {
  while (name.starts_with("./")) {
    name.remove_prefix(2);
    name.remove_prefix(std::min(name.find_first_not_of('/'), name.size()));
  }
  return name == "." ? std::string_view() : name;
}

// The first component, and what follows it.
std::pair<std::string_view, std::string_view> SplitTop(std::string_view name) {
  const size_t slash = std::min(name.find('/'), name.size());
  return {name.substr(0, slash), name.substr(std::min(slash + 1, name.size()))};
}

}  // namespace

void AciReader::Refuse(std::string_view why) const {
  throw Error(ErrorKind::kCorrupt,
              what_ + ": entry " + std::to_string(number_) + " " + Quoted(raw_.name) + ": " + std::string(why),
              std::string(kHint));
}

bool AciReader::Advance() {
  if (archive_.Next(raw_)) {
    ++number_;
    return true;
  }
  if (manifest_at_ == 0)
    throw Error(ErrorKind::kCorrupt, what_ + " is no ACI: it has no 'manifest'", std::string(kHint));
  if (!has_rootfs_)
    throw Error(ErrorKind::kCorrupt, what_ + " is no ACI: it has no 'rootfs'", std::string(kHint));
  return false;
}

void AciReader::TakeManifest() {
  if (raw_.type != EntryType::kFile)
    Refuse("the manifest is not a regular file");
  if (std::exchange(manifest_at_, number_) != 0)
    Refuse("a second manifest");
  if (raw_.size > kMaxAciManifestBytes)
    Refuse("the manifest is larger than " + std::to_string(kMaxAciManifestBytes) + " bytes");
  manifest_.assign(raw_.size, '\0');
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  while (archive_.ReadPiece(offset, bytes)) manifest_.replace(offset, bytes.size(), AsText(bytes));
}

// The entry with the name `below`, the rest of its own behind "rootfs/".
void AciReader::TakeRelative(Entry& entry, std::string_view below) const {
  entry = raw_;
  entry.name = below.empty() ? "./" : below;
  const LayerEntry meant = Classify(entry);
  if (meant.kind != LayerEntry::Kind::kPath) {
    throw Error(ErrorKind::kUnsupported,
                what_ + ": entry " + std::to_string(number_) + " " + Quoted(raw_.name) +
                    ": a file of this name cannot be in an image of layers, where it hides another",
                "rename it in the image");
  }
  entry.name = meant.path ? meant.path->str() : std::string();
  if (entry.type != EntryType::kHardLink)
    return;
  const auto [top, target] = SplitTop(WithoutDots(raw_.link));
  if (top != kRootfs || target.empty())
    Refuse("a hard link to " + Quoted(raw_.link) + ", which is not below 'rootfs'");
  entry.link = HardLinkTarget(target).str();
}

bool AciReader::ReadManifestFirst() {
  do {
    if (!archive_.Next(raw_))
      return false;
    ++number_;
  } while (WithoutDots(raw_.name).empty() && raw_.type == EntryType::kDirectory);
  if (WithoutDots(raw_.name) != kManifest)
    return false;
  TakeManifest();
  return true;
}

bool AciReader::Next(Entry& entry) {
  while (Advance()) {
    const std::string_view name = WithoutDots(raw_.name);
    if (name.empty() && raw_.type == EntryType::kDirectory)
      continue;
    const auto [top, below] = SplitTop(name);
    if (name == kManifest) {
      TakeManifest();
      continue;
    }
    if (top != kRootfs)
      Refuse("neither 'manifest' nor below 'rootfs'");
    if (manifest_at_ != 0 && first_ != 0 && manifest_at_ > first_)
      Refuse("the manifest before it is neither the first entry nor the last");
    if (first_ == 0)
      first_ = number_;
    try {
      TakeRelative(entry, below);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCorrupt)
        Refuse(error.message());
      throw;
    }
    has_rootfs_ |= entry.name.empty();
    return true;
  }
  return false;
}

}  // namespace gantry::image
