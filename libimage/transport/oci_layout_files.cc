#include "libimage/transport/oci_layout_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

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

class InDirectory : public LayoutRoot {
 public:
  explicit InDirectory(const Dir& dir) : dir_(UniqueFd(fcntl(dir.fd(), F_DUPFD_CLOEXEC, 0)), dir.name()) {
    if (dir_.fd() < 0)
      ThrowErrno("keep " + Quoted(dir.name()) + " open");
  }

  std::unique_ptr<Source> Open(const RelPath& path, const std::string& what) const override {
    RefuseOddParents(dir_, path.Parent());
    const std::optional<struct stat> status = dir_.Stat(path);
    if (!status)
      return nullptr;
    if (!S_ISREG(status->st_mode)) {
      throw Error(ErrorKind::kCorrupt, Quoted(path.str()) + " in " + Quoted(name()) + " is not a regular file",
                  "symbolic links in a layout are not followed; copy the files themselves");
    }
    std::optional<UniqueFd> fd = dir_.TryOpenBeneath(path, O_RDONLY | O_NONBLOCK);
    return fd ? FdSource(std::move(*fd), what) : nullptr;
  }
  const std::string& name() const override { return dir_.name(); }
  std::string FullName() const override { return "oci:" + name(); }

 private:
  Dir dir_;
};

class InTar : public LayoutRoot {
 public:
  explicit InTar(TarFile tar) : tar_(std::move(tar)) {}

  std::unique_ptr<Source> Open(const RelPath& path, const std::string& what) const override {
    return tar_.OpenMember(path.str(), what);
  }
  const std::string& name() const override { return tar_.name(); }
  std::string FullName() const override { return "oci-archive:" + name(); }

 private:
  TarFile tar_;
};

}  // namespace

std::unique_ptr<LayoutRoot> LayoutIn(const Dir& dir) { return std::make_unique<InDirectory>(dir); }
std::unique_ptr<LayoutRoot> LayoutIn(TarFile tar) { return std::make_unique<InTar>(std::move(tar)); }

std::optional<std::string> LayoutRoot::Read(const std::string& path, size_t max_bytes) const {
  const std::string what = Quoted(path) + " in " + Quoted(name());
  const std::unique_ptr<Source> source = Open(RelPath::Parse(path), what);
  return source ? std::optional(Drain(*source, max_bytes, what)) : std::nullopt;
}

bool LayoutRoot::CheckVersion() const {
  constexpr size_t kMaxBytes = 64 * 1024;
  const std::optional<std::string> bytes = Read("oci-layout", kMaxBytes);
  if (!bytes)
    return false;
  const std::string what = "'oci-layout' in " + Quoted(name());
  const json::Value value = json::Parse(*bytes, what);
  const std::string version = json::Cursor(value, what).At("imageLayoutVersion").String();
  if (!version.starts_with("1.0."))
    throw Error(ErrorKind::kUnsupported, what + " tells version " + Quoted(version) + ", not 1.0.0");
  return true;
}

}  // namespace gantry::image
