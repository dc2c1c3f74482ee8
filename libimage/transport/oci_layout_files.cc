#include "libimage/transport/oci_layout_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "libimage/base/error.h"
#include "libimage/base/json.h"

namespace gantry::image {

RelPath BlobPath(const Digest& digest) {
  return RelPath::Parse("blobs/" + std::string(Name(digest.algorithm())) + "/" + digest.hex());
}

namespace {

// From the outermost on, for below a symbolic link nothing can be looked at.
void RefuseOddParents(const Dir& dir, const std::optional<RelPath>& path) {
  if (!path)
    return;
  RefuseOddParents(dir, path->Parent());
  const std::optional<struct stat> status = dir.Stat(*path);
  if (status && !S_ISDIR(status->st_mode)) {
    throw Error(ErrorKind::kCorrupt, Quoted(path->str()) + " in " + Quoted(dir.name()) + " is not a directory",
                "symbolic links in a layout are not followed; copy the directories themselves");
  }
}

}  // namespace

std::optional<UniqueFd> OpenLayoutFile(const Dir& dir, const RelPath& path) {
  RefuseOddParents(dir, path.Parent());
  const std::optional<struct stat> status = dir.Stat(path);
  if (!status)
    return std::nullopt;
  if (!S_ISREG(status->st_mode)) {
    throw Error(ErrorKind::kCorrupt, Quoted(path.str()) + " in " + Quoted(dir.name()) + " is not a regular file",
                "symbolic links in a layout are not followed; copy the files themselves");
  }
  return dir.TryOpenBeneath(path, O_RDONLY | O_NONBLOCK);
}

std::string ReadLayoutFile(const Dir& dir, const std::string& name, size_t max_bytes) {
  const std::string what = Quoted(name) + " in " + Quoted(dir.name());
  const std::optional<UniqueFd> fd = OpenLayoutFile(dir, RelPath::Parse(name));
  if (!fd)
    throw Error(ErrorKind::kCorrupt, "the layout " + Quoted(dir.name()) + " has no " + Quoted(name));
  return ReadAll(fd->get(), max_bytes, what);
}

bool CheckLayoutVersion(const Dir& dir) {
  constexpr size_t kMaxBytes = 64 * 1024;
  if (!dir.Exists(RelPath::Parse("oci-layout")))
    return false;
  const std::string what = "'oci-layout' in " + Quoted(dir.name());
  const json::Value value = json::Parse(ReadLayoutFile(dir, "oci-layout", kMaxBytes), what);
  const std::string version = json::Cursor(value, what).At("imageLayoutVersion").String();
  if (!version.starts_with("1.0."))
    throw Error(ErrorKind::kUnsupported, what + " tells version " + Quoted(version) + ", not 1.0.0");
  return true;
}

}  // namespace gantry::image
