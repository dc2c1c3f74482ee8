// TOML, as a document of the same values as JSON has, so that one Cursor reads both. Owns toml++.
#pragma once

#include <string_view>

#include "libimage/base/json.h"

namespace gantry {

constexpr size_t kMaxTomlBytes = 4 * 1024 * 1024;

// Tables become objects with their keys sorted; dates and times, which have no place in a configuration of ours, and
// numbers with a fraction are refused. kCorrupt, with the line, for what is no TOML 1.0, for a key that is there twice,
// and over kMaxTomlBytes, json::kMaxDepth or json::kMaxValues. `what` names the document in errors.
json::Value ParseToml(std::string_view text, std::string_view what);

}  // namespace gantry
