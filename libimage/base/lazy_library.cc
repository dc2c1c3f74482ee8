#include "libimage/base/lazy_library.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>

namespace gantry {
namespace {

constexpr int kNotLoaded = 127;

struct Root {
  dev_t device = 0;
  ino_t inode = 0;

  static Root Current() {
    struct stat status {};
    if (stat("/", &status) < 0)
      return {};
    return {status.st_dev, status.st_ino};
  }
  bool operator==(const Root&) const = default;
};

const Root kRootAtStart = Root::Current();

[[noreturn]] void Refuse(const LazyLibrary& library, const char* why) {
  dprintf(STDERR_FILENO, "%s: cannot load %s: %s\n", program_invocation_short_name, library.name, why);
  _exit(kNotLoaded);
}

void Protect(std::span<void*> addresses, int protection) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(addresses.data()) & ~(page - 1);
  const auto end = reinterpret_cast<uintptr_t>(addresses.data() + addresses.size());
  mprotect(reinterpret_cast<void*>(begin), end - begin, protection);
}

// What was read of a library to find its functions, and of the program until now, is megabytes, which go out of memory.
// What is still needed comes back from the page cache. Nothing that is written to goes.
void ForgetPages(void* handle) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
    return;
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(map->l_addr);
  const std::span segments(reinterpret_cast<const ElfW(Phdr)*>(map->l_addr + header->e_phoff), header->e_phnum);
  for (const ElfW(Phdr) & segment : segments) {
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) == 0)
      madvise(reinterpret_cast<void*>(map->l_addr + segment.p_vaddr), segment.p_memsz, MADV_DONTNEED);
  }
}

void Load(const LazyLibrary& library) {
  if (Root::Current() != kRootAtStart)
    Refuse(library, "this process has entered another root");
  ForgetPages(dlopen(nullptr, RTLD_LAZY));
  void* const handle = dlopen(library.name, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    Refuse(library, dlerror());
  Protect(library.addresses, PROT_READ | PROT_WRITE);
  for (size_t i = 0; i < library.functions.size(); ++i) {
    void* const found = dlsym(handle, library.functions[i]);
    if (found == nullptr)
      Refuse(library, dlerror());
    // Others may call already.
    std::atomic_ref(library.addresses[i]).store(found, std::memory_order_release);
  }
  Protect(library.addresses, PROT_READ);
  ForgetPages(handle);
}

}  // namespace
}  // namespace gantry

// Who comes second while the first still loads it finds the same again.
extern "C" void GantryLoadLibrary(const gantry::LazyLibrary& library) {
  static std::mutex loading;
  const std::lock_guard lock(loading);
  gantry::Load(library);
}
