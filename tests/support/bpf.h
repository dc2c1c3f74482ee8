// What the kernel would decide: an interpreter for the instructions that seccomp allows and that filters of ours and of
// libseccomp use.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <span>

namespace gantry::testing {

// The program's answer about `data`; fails the test for a program that the kernel would not load.
uint32_t Decide(std::span<const sock_filter> program, const seccomp_data& data);

}  // namespace gantry::testing
