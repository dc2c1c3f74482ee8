// The guest's init (runner/guest), carried in this binary.
#pragma once

#include <cstddef>
#include <span>

namespace gantry::runner::vm {

std::span<const std::byte> GuestInit();

}  // namespace gantry::runner::vm
