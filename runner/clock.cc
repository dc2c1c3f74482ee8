#include "runner/clock.h"

#include <time.h>

#include <array>
#include <cstdio>

namespace gantry::runner {

std::string Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  std::array<char, 64> text{};
  const size_t size = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%09ldZ", now.tv_nsec);
  return std::string(text.data(), size) + fraction.data();
}

}  // namespace gantry::runner
