#include "libimage/base/staged_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "libimage/base/error.h"

namespace gantry {
namespace {

void Lock(const Dir& dir) {
  while (flock(dir.fd(), LOCK_EX) < 0) {
    if (errno != EINTR)
      ThrowErrno("lock " + Quoted(dir.name()));
  }
}

}  // namespace

StagedDir::StagedDir(Dir parent, std::string prefix, mode_t mode)
    : parent_(std::move(parent)), prefix_(std::move(prefix)) {
  RemoveLeftovers();
  static std::atomic<unsigned> counter{0};
  for (;;) {
    name_ = prefix_ + std::to_string(getpid()) + "-" + std::to_string(counter.fetch_add(1));
    if (mkdirat(parent_.fd(), name_.c_str(), mode) < 0) {
      if (errno == EEXIST)
        continue;
      ThrowErrno("create a directory in " + Quoted(parent_.name()));
    }
    dir_.emplace(parent_.OpenDir(RelPath::Parse(name_)));
    Lock(*dir_);
    // Another process may have taken it for a leftover before it was locked.
    struct stat status {};
    if (fstat(dir_->fd(), &status) == 0 && status.st_nlink > 0)
      return;
  }
}

StagedDir::~StagedDir() {
  if (name_.empty())
    return;
  try {
    parent_.RemoveTree(RelPath::Parse(name_));
  } catch (const Error&) {
    // The next one removes it.
  }
}

void StagedDir::Rename(const std::string& to) {
  dir_->Sync();
  if (renameat2(parent_.fd(), name_.c_str(), parent_.fd(), to.c_str(), RENAME_NOREPLACE) < 0) {
    if (errno == EEXIST)
      throw Error(ErrorKind::kFailed, Quoted(to) + " was made by someone else meanwhile", "run the command again");
    ThrowErrno("give the name " + Quoted(to) + " in " + Quoted(parent_.name()));
  }
  name_.clear();
  parent_.Sync();
}

void StagedDir::RemoveLeftovers() const {
  for (const std::string& name : parent_.List()) {
    if (!name.starts_with(prefix_))
      continue;
    const RelPath path = RelPath::Parse(name);
    try {
      const std::optional<UniqueFd> fd = parent_.TryOpenBeneath(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (fd && flock(fd->get(), LOCK_EX | LOCK_NB) == 0)
        parent_.RemoveTree(path);
    } catch (const Error&) {
      // Another user's, who will do it.
    }
  }
}

}  // namespace gantry
