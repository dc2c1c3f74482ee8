// The outline of a layer: its tar, in which every file has its size and the SHA-256 of its content in place of the
// content. By the rules of flattening that is all that the rootfs digest needs from a layer, so outlines that are taken
// while layers are unpacked one by one, all at once and in any order, spare a pass over all layers of the image.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/flatten.h"

namespace gantry::image {

// Takes the entries of one layer as its archive has them. Content that nobody hands on counts as absent: of a whiteout
// it does not matter.
class OutlineWriter : public EntrySink {
 public:
  explicit OutlineWriter(Sink& into) : archive_(into) {}  // borrowed

  // kUnsupported for what ArchiveWriter cannot hold.
  void Add(const Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override { content_.Update(bytes); }
  void WriteZeros(uint64_t count) override { content_.UpdateZeros(count); }

  // After the last entry. Does not finish the sink.
  void Finish();

 private:
  void EndFile();

  ArchiveWriter archive_;
  Hasher content_;
  bool in_file_ = false;
  uint64_t size_ = 0;
};

// The rootfs digest of an image by the outlines of its layers, which `open` opens as a Flattener asks for them.
Digest RootfsOfOutlines(size_t layers, const std::function<std::unique_ptr<Source>(size_t layer)>& open);

}  // namespace gantry::image
