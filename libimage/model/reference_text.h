// Inside the parser of references: a piece of what the user wrote, whose errors point into the whole of it.
#pragma once

#include <string>
#include <string_view>

#include "libimage/model/reference.h"

namespace gantry::image {

class ReferenceText {
 public:
  explicit ReferenceText(std::string_view whole) : whole_(whole), piece_(whole) {}

  std::string_view view() const { return piece_; }
  bool empty() const { return piece_.empty(); }
  size_t size() const { return piece_.size(); }
  char operator[](size_t at) const { return piece_[at]; }

  ReferenceText First(size_t count) const { return {whole_, piece_.substr(0, count)}; }
  ReferenceText Skip(size_t count) const { return {whole_, piece_.substr(count)}; }

  // kUsage: quotes the whole; the hint begins "at character N: ", N counting code points from 1, for byte `at` of this
  // piece.
  [[noreturn]] void Fail(size_t at, std::string_view problem) const;

  // Fails on the character at `at`, or on the end of the piece: "'X' cannot be in WHERE", "WHERE ends too early".
  [[noreturn]] void FailCharacter(size_t at, std::string_view where) const;

 private:
  ReferenceText(std::string_view whole, std::string_view piece) : whole_(whole), piece_(piece) {}
  std::string_view whole_;
  std::string_view piece_;
};

// What follows "docker://".
DockerReference ParseDocker(const ReferenceText& text);

}  // namespace gantry::image
