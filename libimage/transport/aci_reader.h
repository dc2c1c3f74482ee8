// The entries of an ACI's tar, for aci_file.cc: what is below rootfs, and the manifest apart.
#pragma once

#include <memory>
#include <string>

#include "libimage/layer/archive.h"

namespace gantry::image {

class AciReader {
 public:
  // `what` names the ACI in errors.
  AciReader(std::unique_ptr<Source> tar, std::string what) : archive_(std::move(tar), what), what_(std::move(what)) {}

  // The next entry below rootfs into `entry`, or rootfs itself, whose name is empty: names and targets of hard links
  // are relative paths in one spelling. False at the end. kCorrupt for everything that an ACI must not hold, but paths
  // may come twice; kUnsupported for whiteouts.
  bool Next(Entry& entry);
  bool ReadPiece(uint64_t& offset, std::span<const std::byte>& bytes) { return archive_.ReadPiece(offset, bytes); }

  // Reads no more than one entry: whether it is the manifest.
  bool ReadManifestFirst();

  // The bytes of the manifest; complete once Next has returned false.
  const std::string& manifest() const { return manifest_; }
  bool manifest_is_last() const { return manifest_at_ == number_; }

  // kCorrupt about the entry that Next returned last.
  [[noreturn]] void Refuse(std::string_view why) const;

 private:
  bool Advance();
  void TakeManifest();
  void TakeRelative(Entry& entry, std::string_view below) const;

  ArchiveReader archive_;
  std::string what_;
  Entry raw_;
  std::string manifest_;
  uint64_t number_ = 0;       // of the entry, from 1
  uint64_t manifest_at_ = 0;  // its number; 0 until it came
  uint64_t first_ = 0;        // the number of the first entry below rootfs
  bool has_rootfs_ = false;
};

}  // namespace gantry::image
