#include "libimage/base/yaml.h"

#include <gtest/gtest.h>

#include <string>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

using testing::CaughtError;

TEST(Yaml, BecomesTheValuesOfJsonWithTextAsItIs) {
  const json::Value read = ParseYaml("a: [1.20, 'x', no]\nb: {c: ~, d: }\ne: \"\"\n", "test");
  EXPECT_EQ(json::Print(read), R"({"a":["1.20","x","no"],"b":{"c":null,"d":null},"e":""})");
  EXPECT_TRUE(ParseYaml("", "test").is_null());
}

TEST(Yaml, RefusesWhatIsNoneWithItsLine) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) bomb += "," + before;
    bomb += "]\n";
  }
  const struct {
    std::string text, says;
  } bad[] = {
      {"a: 1\na: 2\n", "line 2: 'a' is there twice"},
      {"a: [1\n", "line 2"},
      {"? [a]\n: b\n", "plain keys"},
      {"a: 1\n---\nb: 2\n", "second document"},
      {std::string(100, '[') + std::string(100, ']'), "nested too deeply"},
      {std::string(100'000, '['), "line 1"},
      {bomb, "too many values"},
      {std::string(kMaxYamlBytes + 1, '#'), "over"},
  };
  for (const auto& [text, says] : bad) {
    const Error error = CaughtError([&text = text] { ParseYaml(text, "f.yaml"); });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << text.substr(0, 40);
    EXPECT_NE(error.message().find(says), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace gantry
