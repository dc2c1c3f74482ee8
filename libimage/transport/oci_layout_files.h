// The files of an OCI image layout, in a directory or in one tar, for its reader and its writer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"
#include "libimage/base/stream.h"
#include "libimage/transport/tar_file.h"

namespace gantry::image {

// What the file oci-layout says.
constexpr std::string_view kLayoutBytes = R"({"imageLayoutVersion":"1.0.0"})";

// blobs/ALGORITHM/HEX.
RelPath BlobPath(const Digest& digest);

// Where they are.
class LayoutRoot {
 public:
  virtual ~LayoutRoot() = default;

  // One of them, unchecked; null when it is absent, kCorrupt when something else than a regular file has the name.
  // `what` names it in errors. Thread-safe; the source may outlive this.
  virtual std::unique_ptr<Source> Open(const RelPath& path, const std::string& what) const = 0;

  // As the user named it, for messages; and with its transport: "oci:DIR".
  virtual const std::string& name() const = 0;
  virtual std::string FullName() const = 0;

  // The whole of a file; nullopt when it is absent, kCorrupt when it is longer.
  std::optional<std::string> Read(const std::string& path, size_t max_bytes) const;

  // False when there is no oci-layout file; kUnsupported when it tells another version than 1.0.
  bool CheckVersion() const;
};

// No symbolic link below the directory is followed. Needs `dir` no longer than this call.
std::unique_ptr<LayoutRoot> LayoutIn(const Dir& dir);
std::unique_ptr<LayoutRoot> LayoutIn(TarFile tar);

}  // namespace gantry::image
