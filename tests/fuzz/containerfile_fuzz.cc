#include "libimage/build/containerfile.h"
#include "libimage/build/patterns.h"
#include "libimage/build/words.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::image;
  const std::string_view text = gantry::fuzz::Text(data, size);
  Accepts([&] { IgnoredPaths::Parse(text).Has("a/b/c.txt"); });
  Containerfile file;
  if (!Accepts([&] { file = Containerfile::Parse(text); }))
    return 0;
  Require(!file.stages.empty());
  const WordRules rules{.escape = file.escape,
                        .variable = [](std::string_view name) { return std::optional(std::string(name)); }};
  for (const BuildStage& stage : file.stages) {
    for (const Instruction& step : stage.steps) {
      Accepts([&] { SplitWords(step.text, rules); });
      // In its one spelling it is the same instruction, unless a here-document is in it.
      const bool one_line = !step.text.empty() && step.text.find_first_of("\r\n") == std::string::npos;
      if (file.escape == '\\' && one_line && step.text.back() != '\\') {
        const std::string again = "FROM a\n" + step.ToString() + "\n";
        Containerfile other;
        Require(Accepts([&] { other = Containerfile::Parse(again); }));
        Require(other.stages.at(0).steps.at(0).ToString() == step.ToString());
      }
    }
  }
  return 0;
}
