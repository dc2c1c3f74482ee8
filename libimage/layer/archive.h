// Tar archives: read through libarchive, written here.
//
// Reading takes every dialect that libarchive knows (v7, ustar, GNU with long names and sparse files, pax with global
// headers, SCHILY and LIBARCHIVE extended attributes) and hands on entries with names as raw bytes, whatever the
// locale. Nothing is extracted here, and names are not yet safe: layer.h makes paths of them. Writing is reproducible,
// and independent of the version of a library: ustar, with pax records only where ustar cannot hold a value, no user or
// group names, no access times, and an end marker of exactly 1024 zeros.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/stream.h"

namespace gantry::image {

constexpr size_t kMaxEntryNameBytes = 4096 + 16;  // a path of PATH_MAX, and "./" or "rootfs/" before it
constexpr size_t kMaxEntries = 20'000'000;        // in one archive
constexpr size_t kMaxXattrs = 256;                // of one entry
constexpr size_t kMaxXattrNameBytes = 255;        // the kernel's bounds
constexpr size_t kMaxXattrBytes = 64 * 1024;
// All headers of one entry with its long names, pax records and sparse map, which libarchive holds in memory.
constexpr size_t kMaxHeaderBytes = 4 * 1024 * 1024;
constexpr int64_t kMaxTimeSeconds = int64_t{1} << 40;  // either way from 1970; what lies beyond is moved there

enum class EntryType { kFile, kHardLink, kSymlink, kDirectory, kCharDevice, kBlockDevice, kFifo };

struct Time {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  friend bool operator==(const Time&, const Time&) = default;
};

struct Entry {
  std::string name;  // raw, as in the archive
  EntryType type = EntryType::kFile;
  uint32_t mode = 0;  // permission bits with setuid, setgid and sticky: 07777
  uint64_t uid = 0, gid = 0;
  uint64_t size = 0;  // of a file; 0 for all else
  Time mtime;
  std::string link;  // target of a symbolic or hard link, raw
  uint32_t device_major = 0, device_minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;  // sorted by name, values are bytes

  friend bool operator==(const Entry&, const Entry&) = default;
};

class ArchiveReader {
 public:
  // Reads a tar stream. `what` names it in errors. An empty stream and one of zero blocks are archives with no entries.
  ArchiveReader(std::unique_ptr<Source> from, std::string what);
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;
  ~ArchiveReader();

  // The next entry into `entry`; false at the end. Skips what is left of the one before. At the end it reads the
  // source to its end, so that digest checks below see every byte; bytes after the end marker are allowed and ignored.
  // kCorrupt (with the entry's number and name) for anything malformed or over the bounds: those above, kMaxBlobBytes
  // for the sizes of all files together, ids and device numbers over 32 bits. Data of links and directories is skipped.
  // So are two values of one extended attribute, in SCHILY and LIBARCHIVE records or in one kind: readers know but one
  // of them, or take the first or the last. Errors of the source pass through.
  bool Next(Entry& entry);

  // The next piece of the current file: `bytes` at `offset`, after the piece before and within entry.size; what lies
  // between pieces, and after the last one up to entry.size, is zero (a hole). False at the end. `bytes` is valid until
  // the next call.
  bool ReadPiece(uint64_t& offset, std::span<const std::byte>& bytes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class ArchiveWriter {
 public:
  // Writes a tar stream into a borrowed sink.
  explicit ArchiveWriter(Sink& into);
  ArchiveWriter(const ArchiveWriter&) = delete;
  ArchiveWriter& operator=(const ArchiveWriter&) = delete;
  ~ArchiveWriter();

  // Starts an entry. For a file exactly entry.size bytes of Write must follow. A directory's name gets a final slash.
  // kUnsupported for what tar cannot hold: a NUL in a name, '=' in the name of an extended attribute.
  void Add(const Entry& entry);
  void Write(std::span<const std::byte> bytes);
  void WriteZeros(uint64_t count);

  // The end marker. Does not finish the sink.
  void Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gantry::image
