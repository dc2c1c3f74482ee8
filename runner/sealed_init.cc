#include "runner/sealed_init.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "libimage/base/error.h"

// GANTRY_INIT_FILE is the built program; the assembler takes it in.
asm(".pushsection .rodata\n"
    ".balign 16\n"
    "gantry_init_begin:\n"
    ".incbin \"" GANTRY_INIT_FILE
    "\"\n"
    "gantry_init_end:\n"
    ".popsection\n");

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): assembler labels
extern const std::byte gantry_init_begin[] __attribute__((visibility("hidden")));
extern const std::byte gantry_init_end[] __attribute__((visibility("hidden")));
// NOLINTEND(readability-identifier-naming)
}

namespace gantry::runner {

std::span<const std::byte> InitProgram() { return {gantry_init_begin, gantry_init_end}; }

UniqueFd SealedInit() {
  UniqueFd fd(memfd_create("gantry-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd)
    ThrowErrno("make a memory file");
  WriteFull(fd.get(), InitProgram(), "gantry-init");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    ThrowErrno("seal a memory file");
  return fd;
}

}  // namespace gantry::runner
