// The rootfs digest of gantry-identity(5): what a flattened tree is, whatever it was packed in.
//
// An EntrySink that hashes as entries pass: file content at once, the rest into about 60 bytes and its path each, which
// are sorted and hashed at the end. The order in which entries come does not matter, nor do modification times.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/layer/flatten.h"

namespace gantry::image {

class RootfsDigest : public EntrySink {
 public:
  RootfsDigest();
  ~RootfsDigest() override;

  void Add(const Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override;
  void WriteZeros(uint64_t count) override;

  // The last call. Parents that were never added count as directories 0755 0:0. kCorrupt when a hard link names
  // nothing that was added.
  Digest Finish();

  // For tests and for people who compare: calls `line` with every line that Finish hashes, in order, without its
  // newline.
  Digest Finish(const std::function<void(std::string_view)>& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gantry::image
