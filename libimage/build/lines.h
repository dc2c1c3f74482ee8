// Lines as scripts and Containerfiles have them: comments left out, continued ones joined.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

struct LogicalLine {
  size_t number;  // where it begins, from 1
  std::string text;
};

// A line whose first character beside spaces is "#" is a comment, also between continued lines; empty lines are none.
// kCorrupt for more than `max_bytes` and for a NUL byte.
std::vector<LogicalLine> JoinLines(std::string_view text, char escape, size_t max_bytes);

}  // namespace gantry::image
