#include "runner/vm/guest_init.h"

// GANTRY_GUEST_FILE is the built program; the assembler takes it in.
asm(".pushsection .rodata\n"
    ".balign 16\n"
    "gantry_guest_begin:\n"
    ".incbin \"" GANTRY_GUEST_FILE
    "\"\n"
    "gantry_guest_end:\n"
    ".popsection\n");

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): assembler labels
extern const std::byte gantry_guest_begin[] __attribute__((visibility("hidden")));
extern const std::byte gantry_guest_end[] __attribute__((visibility("hidden")));
// NOLINTEND(readability-identifier-naming)
}

namespace gantry::runner::vm {

std::span<const std::byte> GuestInit() { return {gantry_guest_begin, gantry_guest_end}; }

}  // namespace gantry::runner::vm
