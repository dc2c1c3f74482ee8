// App Container Image files (appc spec 0.8.11, aci.md): a tar of `manifest` and of everything below `rootfs/`.
#pragma once

#include <string>
#include <string_view>

#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/flatten.h"

namespace gantry::image {

// Writes the uncompressed tar of one ACI: `manifest` first, then `rootfs` entries as they come. The same entries make
// the same bytes.
class AciWriter : public EntrySink {
 public:
  // `into` is borrowed. The entry of the manifest has mode 0644, owner 0:0 and `mtime`.
  AciWriter(Sink& into, std::string_view manifest, Time mtime);

  void Add(const Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override { archive_.Write(bytes); }
  void WriteZeros(uint64_t count) override { archive_.WriteZeros(count); }

  // The end of the archive; does not finish `into`.
  void Finish() { archive_.Finish(); }

 private:
  ArchiveWriter archive_;
  Entry named_;
};

}  // namespace gantry::image
