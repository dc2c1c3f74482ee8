#include "runner/seccomp.h"

namespace gantry::runner {
namespace {

constexpr sock_filter kDefaultFilter[] = {
#include "default_filter.inc"
};

}  // namespace

std::span<const sock_filter> DefaultFilter() { return kDefaultFilter; }

}  // namespace gantry::runner
