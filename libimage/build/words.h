// Words of a line of a build script or a Containerfile: quotes, escapes and variables, without a shell.
//
// Single quotes keep everything, double quotes all but the escape and variables; outside of both the escape character
// takes the meaning from the next one. Where a lookup is given, $NAME, ${NAME}, ${NAME:-otherwise}, ${NAME:+instead}
// and
// ${NAME:?message} are variables; without the colon, an empty value counts. What is left unclosed is kCorrupt, a value
// that is required by "?" and missing kFailed.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxWords = 10'000;           // of one line
constexpr size_t kMaxLineBytes = 1024 * 1024;  // after variables were put in
constexpr size_t kMaxVariableDepth = 16;       // of ${A:-${B:-...}}

struct WordRules {
  char escape = '\\';
  // nullopt for what is not set; empty: no variables.
  std::function<std::optional<std::string>(std::string_view name)> variable = {};
  bool keep_quotes = false;  // only variables are put in, quotes and escapes stay for somebody else
};

std::vector<std::string> SplitWords(std::string_view text, const WordRules& rules);

// The whole as one word.
std::string ExpandText(std::string_view text, const WordRules& rules);

}  // namespace gantry::image
