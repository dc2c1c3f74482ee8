// The kernel of a guest, found among the host's, and the modules that a guest needs.
//
// A kernel is a bzImage (Documentation/arch/x86/boot.rst); its version stands in it, and by that its modules are found:
// for DIR/boot/vmlinuz-V or any other file in DIR they lie in DIR/../lib/modules/V, else in /lib/modules/V.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::runner::vm {

constexpr size_t kMaxModules = 64;                    // that one guest loads
constexpr size_t kMaxModuleBytes = 32 * 1024 * 1024;  // of one, decompressed
constexpr size_t kMaxModuleIndex = 16 * 1024 * 1024;  // of modules.dep
constexpr size_t kMaxKernelBytes = 256 * 1024 * 1024;

struct GuestKernel {
  std::string file;
  std::string version;  // "6.1.0-26-cloud-amd64"
  std::string modules;  // directory; empty when there is none: all must be built in
};

// `given`, or with an empty one the newest kernel in /boot that has modules; one made for virtual machines ("-cloud-")
// comes before others. kNotFound when there is none, kUnsupported for a file that is not a bzImage.
GuestKernel FindKernel(const std::string& given);

// The version in the first bytes of a bzImage; nullopt when that is not what they are.
std::optional<std::string> KernelVersion(std::string_view head);

// Whether version `a` is older than `b`, as people count.
bool OlderKernel(const std::string& a, const std::string& b);

// Files, below the directory of the index, that give `names` ("virtio_blk") and all they depend on, in an order in
// which they can be loaded. `dep` and `builtin` are the texts of modules.dep and modules.builtin (depmod(8)). A name
// that is built in needs no file; one that is in neither is in `missing`.
struct ModuleOrder {
  std::vector<std::string> files;
  std::vector<std::string> missing;
};
ModuleOrder OrderModules(std::string_view dep, std::string_view builtin, const std::vector<std::string>& names);

// The same out of the kernel's directory; kUnsupported when one is missing.
std::vector<std::string> ModuleFiles(const GuestKernel& kernel, const std::vector<std::string>& names);

}  // namespace gantry::runner::vm
