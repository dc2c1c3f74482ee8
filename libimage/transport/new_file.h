// A file that is to appear whole: until Commit it has no name, and after a failure or a kill it leaves none.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/dir.h"

namespace gantry::image {

class NewFile {
 public:
  // Opens the directory of `path`. kFailed when `path` exists and not `overwrite`, or is a directory.
  NewFile(const std::string& path, bool overwrite);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  const std::string& path() const { return path_; }
  // The empty file, which can be read and written at any place. Made at the first call.
  int fd();

  // The last call: syncs, and gives the file its name, in place of what has it. Refuses as the constructor does.
  void Commit();

 private:
  void RefuseExisting() const;

  std::string path_;
  Dir dir_;
  RelPath name_;
  bool overwrite_;
  std::optional<StagedFile> file_;
};

}  // namespace gantry::image
