#include "libimage/store/leases.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

constexpr std::string_view kLeasePrefix = "lease-";

// Never fails for another reason than a lock that is held, with LOCK_NB.
bool Flock(int fd, int operation, std::string_view what) {
  while (flock(fd, operation) < 0) {
    if (errno == EWOULDBLOCK)
      return false;
    if (errno != EINTR)
      ThrowErrno("lock " + Quoted(what));
  }
  return true;
}

std::string NewId() {
  static std::atomic<uint64_t> counter{0};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::to_string(getpid()) + "-" + std::to_string(now.tv_sec) + "-" + std::to_string(now.tv_nsec) + "-" +
         std::to_string(counter.fetch_add(1));
}

RelPath LeasePath(const std::string& id) { return RelPath::Parse("tmp/" + std::string(kLeasePrefix) + id); }

}  // namespace

FileLock::FileLock(const Dir& root, std::string_view name, LockMode mode)
    : fd_(root.OpenBeneath(RelPath::Parse(name), O_RDWR | O_CREAT | O_NOFOLLOW, 0600)) {
  Flock(fd_.get(), mode == LockMode::kShared ? LOCK_SH : LOCK_EX, name);
}

bool FileLock::IsFree(const Dir& dir, const RelPath& name) {
  const std::optional<UniqueFd> fd = dir.TryOpenBeneath(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  return fd && Flock(fd->get(), LOCK_EX | LOCK_NB, name.str());
}

LeaseFile::LeaseFile(std::shared_ptr<const Dir> root) : root_(std::move(root)), id_(NewId()) {
  // Under gc.lock, for a file that is there and not yet locked would look like that of a dead process.
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  file_ = root_->OpenBeneath(LeasePath(id_), O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
  Flock(file_.get(), LOCK_EX, id_);
}

LeaseFile::~LeaseFile() { unlinkat(root_->fd(), LeasePath(id_).c_str(), 0); }

void LeaseFile::Add(const std::vector<Digest>& digests) {
  const std::lock_guard guard(mutex_);
  // The empty line ends what an earlier write left when the disk was full.
  std::string lines = "\n";
  for (const Digest& digest : digests) {
    if (!listed_.contains(digest))
      lines += digest.str() + "\n";
  }
  if (lines.size() == 1)
    return;
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  WriteFull(file_.get(), AsBytes(lines), "a lease in " + Quoted(root_->name()));
  listed_.insert(digests.begin(), digests.end());
}

void LeaseFile::Write(int fd, std::span<const std::byte> bytes, std::string_view what) {
  try {
    WriteFull(fd, bytes, what);
  } catch (const Error&) {
    if (errno == ENOSPC || errno == EDQUOT)
      full_disk_ = true;
    throw;
  }
}

std::set<Digest> ReadDigestLines(const Dir& root, const RelPath& path) {
  std::set<Digest> out;
  const std::optional<UniqueFd> fd = root.TryOpenBeneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd)
    return out;
  const std::string text = ReadAll(fd->get(), kMaxLeaseBytes, Quoted(path.str()) + " in " + Quoted(root.name()));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (const auto digest = Digest::TryParse(std::string_view(text).substr(begin, end - begin)))
      out.insert(*digest);
    begin = end + 1;
  }
  return out;
}

LiveLeases ReadLeases(const Dir& root, std::string_view except) {
  LiveLeases out;
  for (const std::string& name : root.OpenDir(RelPath::Parse("tmp")).List()) {
    if (!name.starts_with(kLeasePrefix))
      continue;
    const RelPath path = RelPath::Parse("tmp/" + name);
    if (FileLock::IsFree(root, path) || !root.Exists(path))
      continue;
    out.ids.insert(name.substr(kLeasePrefix.size()));
    if (name.substr(kLeasePrefix.size()) != except)
      out.digests.merge(ReadDigestLines(root, path));
  }
  return out;
}

}  // namespace gantry::image
