// Compression of layers, both ways: gzip by ISA-L, zstd by libzstd; xz and bzip2 (ACIs only) are read, by liblzma and
// libbz2.
//
// What a blob is is decided by its first bytes, never by its media type alone: the two must agree where the caller has
// both. Decompression has bounds of its own against bombs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "libimage/base/stream.h"
#include "libimage/model/media_type.h"

namespace gantry::image {

// What a decompressor accepts before it throws kCorrupt.
struct InflateLimits {
  uint64_t max_bytes = uint64_t{1} << 40;  // output in all
  // Output may be this many times the input; 0 is what the format itself can do with constant bytes, which honest
  // sparse layers reach: 1100 for deflate, 33,000 for zstd (a block of 128 KiB in four bytes), 8000 for xz. bzip2,
  // which would do a million, gets as much as zstd. The byte bound and the disk are what stops the rest ...
  uint64_t max_ratio = 0;
  uint64_t ratio_free_bytes = uint64_t{64} << 20;  // ... once there is more output than this
  uint64_t max_window = uint64_t{128} << 20;       // of zstd, and the memory of an xz decoder
};

// By the magic number; kNone when nothing matches.
Compression DetectCompression(std::span<const std::byte> first_bytes);

// As above for a stream, whose first bytes are read to see. The source that is returned has all of them again.
std::unique_ptr<Source> DetectCompression(std::unique_ptr<Source> from, Compression& found);

// The decompressed stream. gzip: RFC 1952, several members, CRC and length checked; bytes after the last member that
// are not zero are kCorrupt. zstd: RFC 8878, several and skippable frames. A stream that ends early is kCorrupt. `what`
// names it in errors. At its own end the stream has read `inner` to its end too, so that a digest check below saw every
// byte.
std::unique_ptr<Source> Decompress(std::unique_ptr<Source> inner, Compression compression, std::string_view what,
                                   const InflateLimits& limits = {});

// As above, with the kind found from the first bytes.
std::unique_ptr<Source> DecompressAny(std::unique_ptr<Source> inner, std::string_view what,
                                      const InflateLimits& limits = {});

// Compresses into a borrowed sink; Finish finishes that sink too. The output is the same for every `threads` >= 1 and
// on every run: gzip in independent 1 MiB chunks that share one member (no name, time 0, OS 255), zstd with fixed jobs.
// (Between processor generations the gzip bytes may differ: ISA-L has several searches for matches.)
// No more threads are used than 40 MiB of memory have room for, one at least: it takes more from zstd's level 10 on.
// Writes to `into` only on the caller's thread. `level` 0 is the default of the kind: gzip 1 (of ISA-L's 1 to 3), zstd
// 3 (of 1 to 19); another is kUsage.
struct CompressOptions {
  Compression compression = Compression::kGzip;  // kXz and kBzip2 are kUnsupported
  int level = 0;
  size_t threads = 1;
};
std::unique_ptr<Sink> Compress(Sink& into, const CompressOptions& options);

// The same kUsage, for those who want to know before there is a sink.
void RequireLevel(Compression compression, int level);

}  // namespace gantry::image
