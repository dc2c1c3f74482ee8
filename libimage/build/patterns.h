// Patterns of paths: those that COPY takes and those of a .dockerignore.
//
// "*" and "?" stop at a slash, "**" does not, "[a-z]" and "[^a-z]" are one character, "\" takes the meaning from the
// next (Go's filepath.Match, and "**" as Docker has it).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxIgnoreBytes = 1024 * 1024;
constexpr size_t kMaxIgnorePatterns = 10'000;
constexpr size_t kMaxPatternBytes = 4096;

bool HasPattern(std::string_view text);

// kCorrupt for a pattern that is none.
bool Matches(std::string_view pattern, std::string_view path);

class IgnoredPaths {
 public:
  IgnoredPaths() = default;
  // A pattern a line; "#" begins a comment, "!" an exception from what stands before. The last that matches a path, or
  // a directory above it, decides.
  static IgnoredPaths Parse(std::string_view text);

  bool Has(std::string_view path) const;
  // Whether something below an ignored directory may be an exception.
  bool has_exceptions() const { return has_exceptions_; }

 private:
  struct Pattern {
    std::string text;
    bool exception;
  };
  std::vector<Pattern> patterns_;
  bool has_exceptions_ = false;
};

}  // namespace gantry::image
