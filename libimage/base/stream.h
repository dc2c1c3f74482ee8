// Streams of bytes: pull from a Source, push into a Sink.
//
// A chain of sources is pulled from its end; every stage owns its blocks, and blocks are shared by reference count, so
// that a block crosses threads and stages without being copied. A source that verifies (digest, size, diff ID) fails
// at the end of the stream: effects stay in a staging place until the end was reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/fd.h"

namespace gantry {

// The size that stages aim for. Smaller blocks come at ends and from the network.
constexpr size_t kBlockBytes = 256 * 1024;

// Immutable bytes and a share in what holds them.
class Block {
 public:
  Block() = default;
  // `bytes` lie in what `owner` keeps alive; a null owner means static storage or a caller that outlives the stream.
  Block(std::shared_ptr<const void> owner, std::span<const std::byte> bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  std::span<const std::byte> bytes() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  size_t size() const { return bytes_.size(); }

  // The first `n` bytes, and the rest; `n` at most size().
  Block First(size_t n) const { return {owner_, bytes_.first(n)}; }
  Block Skip(size_t n) const { return {owner_, bytes_.subspan(n)}; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

// Buffers that go round instead of being allocated anew. Thread-safe; buffers may outlive the pool.
class BlockPool {
 public:
  explicit BlockPool(size_t block_bytes = kBlockBytes);

  // A writable buffer of block_bytes; it returns to the pool when the last Block that shares it is gone.
  std::shared_ptr<std::byte[]> Take();
  size_t block_bytes() const { return block_bytes_; }

 private:
  struct Free;
  size_t block_bytes_;
  std::shared_ptr<Free> free_;
};

// A part of a file that can be read at any place.
struct FileRange {
  std::shared_ptr<const UniqueFd> fd;
  uint64_t offset = 0;
  uint64_t size = 0;
};

class Source {
 public:
  virtual ~Source() = default;

  // The next block; an empty one at the end, and again after it. Throws what went wrong; then the source is dead.
  virtual Block Next() = 0;

  // For who can do better than have the bytes pass: where they lie, as Next would return them all, before its first
  // call. A source that verifies has not done so. Whoever takes them from there says by Took how many. nullopt when
  // they lie in no file, or its descriptor could write there. Who has that descriptor can read the whole file.
  virtual std::optional<FileRange> File() const { return std::nullopt; }
  virtual void Took(uint64_t /*bytes*/) {}
};

class Sink {
 public:
  virtual ~Sink() = default;

  virtual void Write(std::span<const std::byte> bytes) = 0;

  // The last call: flushes and reports deferred errors. A sink destroyed without it has no effect that counts.
  virtual void Finish() = 0;
};

// Bytes in memory. The caller keeps them alive, or gives the string away.
std::unique_ptr<Source> MemorySource(std::span<const std::byte> bytes);
std::unique_ptr<Source> StringSource(std::string text);

// The bytes of `fd` from its current position. Owns the descriptor. `what` names it in errors.
std::unique_ptr<Source> FdSource(UniqueFd fd, std::string what);

// The `size` bytes of a seekable `fd` from `offset` on, whatever its position: several sources may share a descriptor.
// kCorrupt when the file ends before them.
std::unique_ptr<Source> FdRangeSource(std::shared_ptr<const UniqueFd> fd, uint64_t offset, uint64_t size,
                                      std::string what);

// Runs `inner` in a thread of its own, at most `depth` blocks ahead. The destructor stops and joins it.
std::unique_ptr<Source> Prefetch(std::unique_ptr<Source> inner, size_t depth = 16);

// Calls `seen` with every block that passes.
std::unique_ptr<Source> Tap(std::unique_ptr<Source> inner, std::function<void(std::span<const std::byte>)> seen);

// Writes to a borrowed descriptor; Finish does not close or sync it.
std::unique_ptr<Sink> FdSink(int fd, std::string what);

// Appends to a borrowed string.
std::unique_ptr<Sink> StringSink(std::string& out);

// Forwards to a borrowed sink and calls `seen` with every write.
std::unique_ptr<Sink> TapSink(Sink& inner, std::function<void(std::span<const std::byte>)> seen);

// Reads the source to its end; kCorrupt when it is longer than `max_bytes`.
std::string Drain(Source& source, size_t max_bytes, std::string_view what);

// Moves everything; returns the count. Does not finish the sink.
uint64_t Copy(Source& from, Sink& to);

}  // namespace gantry
