// Regular expressions in RE2's syntax, which is Go's too, and in time that grows with the text alone. Owns RE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace re2 {
class RE2;
}

namespace gantry {

constexpr size_t kMaxPatternBytes = 4096;

class TextPattern {
 public:
  // kUsage, with what is wrong, for what is no such expression, or a very long or costly one.
  explicit TextPattern(const std::string& expression);

  // Whether a part of `text` matches that is not empty.
  bool Matches(std::string_view text) const;

 private:
  std::shared_ptr<const re2::RE2> compiled_;
};

}  // namespace gantry
