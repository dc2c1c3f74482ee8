// The file system that a guest begins with: our init, the container's init, and the kernel's modules that are needed,
// as a cpio archive (newc; Documentation/driver-api/early-userspace/buffer-format.rst).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"
#include "runner/vm/kernel.h"

namespace gantry::runner::vm {

struct CpioEntry {
  std::string name;
  uint32_t mode = 0;  // with the type
  std::string_view data = {};
  uint32_t major = 0, minor = 0;  // of a device
};

// The same bytes for the same entries, always.
std::string MakeCpio(const std::vector<CpioEntry>& entries);

// A module and what was appended to it to vouch for it: the guest gives that to a kernel which insists only, for to
// check it takes longer than to load the module.
struct SignedModule {
  std::string module;
  std::string signature;  // with its trailer; empty: none was there
};
SignedModule SplitSignature(std::string module);

// The path of the archive for `kernel` with the modules `names`, in `cache`; made when it is not there. The name in the
// cache tells all that it was made of, down to the versions of its parts.
std::string CachedInitramfs(const Dir& cache, const GuestKernel& kernel, const std::vector<std::string>& names);

}  // namespace gantry::runner::vm
