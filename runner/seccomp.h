// The default system call filter, compiled when gantry was built (seccomp_profile.h says what it allows).
#pragma once

#include <linux/filter.h>

#include <span>

namespace gantry::runner {

// Lives for ever. For SECCOMP_SET_MODE_FILTER; needs no_new_privs or CAP_SYS_ADMIN.
std::span<const sock_filter> DefaultFilter();

}  // namespace gantry::runner
