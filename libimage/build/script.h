// acbuild's scripts: one command a line, as it would be typed (gantry-build(1), "Scripts").
//
// "#" begins a comment line, "\" at the end of a line joins the next to it, quotes and escapes are those of words.h.
// The first word counts in any letter case.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxScriptBytes = 1024 * 1024;
constexpr size_t kMaxScriptCommands = 10'000;

struct ScriptCommand {
  size_t line;  // from 1
  std::vector<std::string> words;
};

// kCorrupt, with the line, for what has no words.
std::vector<ScriptCommand> ParseScript(std::string_view text);

}  // namespace gantry::image
