// Ranges of semantic versions (semver.org 2.0), as the configuration files of skopeo have them: the grammar and the
// meaning of the Go library Masterminds/semver, version 3.
//
//   RANGE  = AND *("||" AND)          one of them
//   AND    = TERM *((","|" ") TERM)   all of them;  "1.2 - 1.4" is ">=1.2 <=1.4"
//   TERM   = [= != > < >= <= ~ ^] VERSION, in which x, X, * or nothing stand for any number
//
// A version with a pre-release part ("1.2-rc1") fits only terms that have one themselves.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxRangeBytes = 1024;
constexpr size_t kMaxVersionBytes = 256;

// "[v]MAJOR[.MINOR[.PATCH]][-PRE][+BUILD]"; what is left out is 0.
struct Version {
  uint64_t major = 0, minor = 0, patch = 0;
  std::string pre = {};  // empty when there is none

  // nullopt for what is no version.
  static std::optional<Version> Parse(std::string_view text);
  // By precedence: a pre-release comes before its version; the build does not count.
  friend std::strong_ordering operator<=>(const Version& a, const Version& b);
  friend bool operator==(const Version& a, const Version& b) { return (a <=> b) == 0; }
};

class VersionRange {
 public:
  // kUsage for what is no range.
  static VersionRange Parse(std::string_view text);

  bool Contains(const Version& version) const;

 private:
  enum class Op { kEqual, kNot, kGreater, kLess, kAtLeast, kAtMost, kTilde, kCaret };
  struct Term {
    Op op;
    Version version;
    bool any_major = false, any_minor = false,
         any_patch = false;  // each implies those behind it, but does not set them
    bool open() const { return any_major || any_minor || any_patch; }
    bool Fits(const Version& is) const;
    bool FitsTilde(const Version& is) const;
    bool FitsCaret(const Version& is) const;
    bool FitsNot(const Version& is) const;
    bool FitsGreater(const Version& is) const;
    bool FitsAtMost(const Version& is) const;
  };
  static Term ParseTerm(std::string_view text, std::string_view whole);
  static std::vector<Term> ParseAll(std::string_view text, std::string_view whole);

  std::vector<std::vector<Term>> alternatives_;
};

}  // namespace gantry::image
