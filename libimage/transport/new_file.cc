#include "libimage/transport/new_file.h"

#include <sys/stat.h>

#include "libimage/base/error.h"
#include "libimage/base/path_text.h"

namespace gantry::image {

NewFile::NewFile(const std::string& path, bool overwrite)
    : path_(path),
      dir_(Dir::Open(DirectoryOf(path))),
      name_(RelPath::Parse(path.substr(path.rfind('/') + 1))),
      overwrite_(overwrite) {
  RefuseExisting();
}

int NewFile::fd() {
  if (!file_)
    file_.emplace(dir_);
  return file_->fd();
}

void NewFile::Commit() {
  fd();
  RefuseExisting();
  file_->Commit(name_);
}

void NewFile::RefuseExisting() const {
  const auto status = dir_.Stat(name_);
  if (status && S_ISDIR(status->st_mode))
    throw Error(ErrorKind::kFailed, Quoted(name_.str()) + " in " + Quoted(dir_.name()) + " is a directory");
  if (status && !overwrite_) {
    throw Error(ErrorKind::kFailed, Quoted(name_.str()) + " in " + Quoted(dir_.name()) + " exists already",
                "give --overwrite to replace it");
  }
}

}  // namespace gantry::image
