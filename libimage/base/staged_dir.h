// A directory that is filled under a hidden name, to get its own once it is whole or to go away. Whoever fills one
// holds its lock (flock(2)), so one without a lock was left by a process that was killed: whoever stages beside it
// under the same prefix next removes it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "libimage/base/dir.h"

namespace gantry {

class StagedDir {
 public:
  // Creates "PREFIX" and a name that nobody has in `parent`, and removes leftovers there, as far as it may.
  StagedDir(Dir parent, std::string prefix, mode_t mode = 0777);
  StagedDir(const StagedDir&) = delete;
  StagedDir& operator=(const StagedDir&) = delete;
  // With all that is in it, unless it was renamed.
  ~StagedDir();

  const Dir& dir() const { return *dir_; }

  // Syncs the directory and gives it its name in the parent; kFailed when there is something of that name.
  void Rename(const std::string& to);

 private:
  void RemoveLeftovers() const;

  const Dir parent_;
  const std::string prefix_;
  std::string name_;  // empty once renamed
  std::optional<Dir> dir_;
};

}  // namespace gantry
