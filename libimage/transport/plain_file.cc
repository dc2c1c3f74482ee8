#include "libimage/transport/plain_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/stream.h"
#include "libimage/layer/compression.h"

namespace gantry::image {
namespace {

struct stat StatusOf(const UniqueFd& fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd.get(), &status) < 0)
    ThrowErrno("stat " + Quoted(path));
  return status;
}

bool IsPlain(const UniqueFd& fd, const std::string& path) {
  std::array<std::byte, 16> magic{};
  const size_t n = ReadFullAt(fd.get(), 0, magic, Quoted(path));
  return DetectCompression(std::span(magic).first(n)) == Compression::kNone;
}

// The descriptor outlives the StagedFile, which then removes the name where it had to make one.
UniqueFd MakeNamelessFile(const std::string& directory) {
  const Dir dir = Dir::Open(directory);
  const StagedFile file(dir, 0600);
  UniqueFd fd(fcntl(file.fd(), F_DUPFD_CLOEXEC, 0));
  if (!fd)
    ThrowErrno("keep a file in " + Quoted(directory));
  return fd;
}

PlainFile Spool(UniqueFd from, const std::string& path) {
  const std::string directory = LargeTemporaryDirectory();
  const UniqueFd written = MakeNamelessFile(directory);
  const auto source = DecompressAny(FdSource(std::move(from), Quoted(path)), Quoted(path));
  const auto sink = FdSink(written.get(), "the plain bytes of " + Quoted(path) + " to " + Quoted(directory));
  const uint64_t size = Copy(*source, *sink);
  sink->Finish();
  return {OpenFile("/proc/self/fd/" + std::to_string(written.get()), O_RDONLY), size};
}

}  // namespace

PlainFile OpenPlainFile(const std::string& path) {
  UniqueFd fd = OpenFile(path, O_RDONLY | O_NOCTTY);
  const struct stat status = StatusOf(fd, path);
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::kFailed, Quoted(path) + " is a directory, not an archive",
                "an OCI image layout in a directory is named oci:" + path);
  }
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))
    return Spool(std::move(fd), path);
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorKind::kFailed, Quoted(path) + " is a device, not an archive");
  if (!IsPlain(fd, path))
    return Spool(std::move(fd), path);
  return {std::move(fd), static_cast<uint64_t>(status.st_size)};
}

std::string LargeTemporaryDirectory() {
  const char* const chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen == '/' ? chosen : "/var/tmp";
}

}  // namespace gantry::image
