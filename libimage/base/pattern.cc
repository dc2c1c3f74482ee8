#include "libimage/base/pattern.h"

#include <re2/re2.h>

#include "libimage/base/error.h"

namespace gantry {
namespace {

constexpr int64_t kMaxPatternMemory = 8 * 1024 * 1024;

std::shared_ptr<const re2::RE2> Compile(const std::string& expression) {
  if (expression.size() > kMaxPatternBytes) {
    throw Error(ErrorKind::kUsage, "a regular expression of more than " + std::to_string(kMaxPatternBytes) + " bytes");
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxPatternMemory);
  // In a group, so that there is a part to look at; "a)(b" is an expression only there.
  const re2::RE2 alone(expression, options);
  auto compiled = std::make_shared<re2::RE2>("(" + expression + ")", options);
  if (!alone.ok() || !compiled->ok()) {
    throw Error(ErrorKind::kUsage,
                Quoted(expression) + " is no regular expression: " + Quoted((alone.ok() ? *compiled : alone).error()),
                "they are written as in RE2 and Go");
  }
  return compiled;
}

}  // namespace

TextPattern::TextPattern(const std::string& expression) : compiled_(Compile(expression)) {}

bool TextPattern::Matches(std::string_view text) const {
  re2::StringPiece found;
  return re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *compiled_, &found) && !found.empty();
}

}  // namespace gantry
