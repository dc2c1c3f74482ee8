// Bytes as a file that has no name and no disk.
#pragma once

#include <sys/mman.h>

#include <string_view>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/transport/plain_file.h"

namespace gantry::testing {

inline image::PlainFile MemoryFile(std::string_view bytes) {
  image::PlainFile file{UniqueFd(memfd_create("gantry-test", MFD_CLOEXEC)), bytes.size()};
  if (!file.fd)
    ThrowErrno("make a file in memory");
  WriteFull(file.fd.get(), AsBytes(bytes), "a file in memory");
  return file;
}

}  // namespace gantry::testing
