// What stands for the functions of one shared library; compiled for each. GANTRY_LAZY_NAMES is what cmake/lazy_names.sh
// wrote: LIBRARY(its name) and FUNCTION(one) for each that our code calls.
//
// Each is a jump through a table, which at first leads on to GantryLoadLibrary and, when that has filled it, to the
// library. The table lies with what the dynamic linker makes read-only before the program begins.
#include "libimage/base/lazy_library.h"

#define LIBRARY(name)
#define FUNCTION(name) "address_of_" #name ": .quad load_for_" #name "\n"
asm(".pushsection .data.rel.ro, \"aw\"\n"
    ".balign 8\n"
    "addresses_of_functions:\n"
#include GANTRY_LAZY_NAMES
    ".popsection\n");
#undef FUNCTION

// clang-format off
#define FUNCTION(name)                 \
  ".globl " #name "\n"                 \
  ".hidden " #name "\n"                \
  ".type " #name ", @function\n"       \
  #name ": endbr64\n"                  \
  "jmp *address_of_" #name "(%rip)\n"  \
  "load_for_" #name ": endbr64\n"      \
  "lea address_of_" #name "(%rip), %r11\n" \
  "jmp load_and_go_on\n"
// clang-format on
// All that arguments are passed in is kept, with the number of those in vector registers.
asm(".pushsection .text\n"
    "load_and_go_on:\n"
    "push %rdi; push %rsi; push %rdx; push %rcx; push %r8; push %r9; push %rax; push %r11\n"
    "sub $136, %rsp\n"
    "movups %xmm0, (%rsp); movups %xmm1, 16(%rsp); movups %xmm2, 32(%rsp); movups %xmm3, 48(%rsp)\n"
    "movups %xmm4, 64(%rsp); movups %xmm5, 80(%rsp); movups %xmm6, 96(%rsp); movups %xmm7, 112(%rsp)\n"
    "lea lazy_library(%rip), %rdi\n"
    "call GantryLoadLibrary\n"
    "movups (%rsp), %xmm0; movups 16(%rsp), %xmm1; movups 32(%rsp), %xmm2; movups 48(%rsp), %xmm3\n"
    "movups 64(%rsp), %xmm4; movups 80(%rsp), %xmm5; movups 96(%rsp), %xmm6; movups 112(%rsp), %xmm7\n"
    "add $136, %rsp\n"
    "pop %r11; pop %rax; pop %r9; pop %r8; pop %rcx; pop %rdx; pop %rsi; pop %rdi\n"
    "jmp *(%r11)\n"
#include GANTRY_LAZY_NAMES
    ".popsection\n");
#undef FUNCTION
#undef LIBRARY

namespace {

#define LIBRARY(name)
#define FUNCTION(name) #name,
constexpr const char* kFunctions[] = {
#include GANTRY_LAZY_NAMES
};
#undef FUNCTION
#undef LIBRARY

#define LIBRARY(name) name
#define FUNCTION(name)
constexpr const char* kName =
#include GANTRY_LAZY_NAMES
    ;
#undef FUNCTION
#undef LIBRARY

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): assembler labels
extern "C" void* addresses_of_functions[] __attribute__((visibility("hidden")));
[[gnu::used]] static const gantry::LazyLibrary library asm("lazy_library") = {
    kName, kFunctions, {addresses_of_functions, std::size(kFunctions)}};
// NOLINTEND(readability-identifier-naming)
