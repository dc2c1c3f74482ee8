// YAML, as a document of the same values as JSON has, so that one Cursor reads both. Owns yaml-cpp.
#pragma once

#include <string_view>

#include "libimage/base/json.h"

namespace gantry {

constexpr size_t kMaxYamlBytes = 4 * 1024 * 1024;

// Maps become objects, lists arrays, and every scalar a string, for what "1.20" or "no" is only its reader knows;
// nothing and "~" are null. kCorrupt, with the line, for what is no YAML, for keys that are no scalars or are there
// twice, for several documents, and over kMaxYamlBytes, json::kMaxDepth or json::kMaxValues (which aliases reach
// quickly). `what` names the document in errors.
json::Value ParseYaml(std::string_view text, std::string_view what);

}  // namespace gantry
