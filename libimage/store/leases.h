// Who is in the store: short locks, and leases that end with their process.
//
// Two lock files in the root, both flock(2)ed and never removed. `gc.lock`: shared by whoever adds, exclusive while a
// collector decides; `index.lock`: exclusive while index.json or evidence changes. Whoever needs both takes gc.lock
// first. Both are held for moments only: hashing, downloading and deleting happen outside.
//
// A lease is a file tmp/lease-ID, locked by its owner as long as it lives, that lists digests, one a line. The kernel
// drops the lock when the owner dies, however it dies; then the file means nothing and collection removes it. Trees and
// files on their way out or in carry the ID of a lease in their names and belong to it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/store/store.h"

namespace gantry::image {

constexpr std::string_view kCollectLock = "gc.lock";
constexpr std::string_view kIndexLock = "index.lock";
constexpr size_t kMaxLeaseBytes = 64 * 1024 * 1024;

enum class LockMode { kShared, kExclusive };

// One flock, held until this is destroyed. Waits for it.
class FileLock {
 public:
  FileLock(const Dir& root, std::string_view name, LockMode mode);

  // Without creating the file and without waiting; false when it is not there or not to be had.
  static bool IsFree(const Dir& dir, const RelPath& name);

 private:
  UniqueFd fd_;
};

// Thread-safe.
class LeaseFile final : public Lease {
 public:
  // `root` is the store's and is shared, so that a lease may outlive the Store it came from.
  explicit LeaseFile(std::shared_ptr<const Dir> root);
  LeaseFile(const LeaseFile&) = delete;
  LeaseFile& operator=(const LeaseFile&) = delete;
  ~LeaseFile() override;

  void Add(const std::vector<Digest>& digests) override;

  // Unique among processes, without '.'.
  const std::string& id() const { return id_; }

  // WriteFull of what comes in under it, which remembers that the disk is full: what has come in part, of whichever
  // blob, would keep it so.
  void Write(int fd, std::span<const std::byte> bytes, std::string_view what);
  bool full_disk() const { return full_disk_; }

 private:
  std::shared_ptr<const Dir> root_;
  std::string id_;
  std::mutex mutex_;
  UniqueFd file_;
  std::set<Digest> listed_;
  std::atomic<bool> full_disk_ = false;
};

// The IDs of leases whose owners live, and what these leases list, but for the lease `except`. Call it under gc.lock.
struct LiveLeases {
  std::set<std::string> ids;
  std::set<Digest> digests;
};
LiveLeases ReadLeases(const Dir& root, std::string_view except = {});

// The digests in a file of one a line. Lines that are none are passed over: a writer died in the middle of them.
std::set<Digest> ReadDigestLines(const Dir& root, const RelPath& path);

}  // namespace gantry::image
