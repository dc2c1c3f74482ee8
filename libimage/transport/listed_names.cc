#include "libimage/transport/listed_names.h"

#include <algorithm>

#include "libimage/base/error.h"

namespace gantry::image {

std::string ListedNames(const std::vector<std::string>& names) {
  constexpr size_t kMost = 10;
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) out += (i == 0 ? "" : ", ") + Quoted(names[i]);
  if (names.size() > kMost)
    out += " and " + std::to_string(names.size() - kMost) + " more";
  return out;
}

}  // namespace gantry::image
