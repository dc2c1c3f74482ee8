// Containerfiles, the subset that gantry-build(1) states; anything else is kUnsupported, with its line.
//
// Parsing does no I/O and puts in no variables: what they are is known only while the file is executed.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxContainerfileBytes = 1024 * 1024;
constexpr size_t kMaxInstructions = 10'000;
constexpr size_t kMaxStages = 100;

// The JSON form, ["a", "b"]; nullopt for anything else, which is the other form, as for Docker.
std::optional<std::vector<std::string>> JsonWords(std::string_view text);

struct Instruction {
  size_t line;                                             // from 1
  std::string name;                                        // "RUN"
  std::vector<std::pair<std::string, std::string>> flags;  // "from", "builder"; the value is empty without "="
  std::string text;                                        // what follows, as written; here-documents of RUN put in
  std::optional<std::vector<std::string>> words;           // of the JSON form, ["a", "b"]

  std::string ToString() const;  // in one spelling, for history and cache
};

struct BuildStage {
  Instruction from;  // its text is the base, without "AS name"
  std::string name;  // in lower case; empty when it has none
  std::vector<Instruction> steps;
};

struct Containerfile {
  char escape = '\\';
  std::vector<Instruction> arguments;  // ARG before the first FROM
  std::vector<BuildStage> stages;      // at least one

  static Containerfile Parse(std::string_view text);
};

}  // namespace gantry::image
