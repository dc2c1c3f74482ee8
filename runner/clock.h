// The time of day, as records of containers and logs have it.
#pragma once

#include <string>

namespace gantry::runner {

// Of this moment: RFC 3339 in UTC, with nanoseconds.
std::string Now();

}  // namespace gantry::runner
