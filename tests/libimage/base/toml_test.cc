#include "libimage/base/toml.h"

#include <gtest/gtest.h>

#include <string>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

using testing::CaughtError;

TEST(Toml, BecomesTheValuesOfJson) {
  const json::Value read = ParseToml("b = true\nn = 7\n[t]\nx = ['1', \"2\"]\n[[a]]\nk = 'v'\n[[a]]\n", "test");
  EXPECT_EQ(json::Print(read), R"({"a":[{"k":"v"},{}],"b":true,"n":7,"t":{"x":["1","2"]}})");
}

TEST(Toml, RefusesWhatIsNoneWithItsLine) {
  const struct {
    std::string text, says;
  } bad[] = {
      {"a = 1\nb = \n", "line 2"},
      {"a = 1\na = 2\n", "line 2"},
      {"x = 1979-05-27\n", "line 1: expected text"},
      {"x = 1.5\n", "expected text"},
      {"[t]\n[t]\n", "line 2"},
      {"x = '\x01'\n", "line 1"},
      {"x = \"\xff\"\n", "line 1"},
      {"x = " + std::string(200, '[') + std::string(200, ']'), "line 1"},
      {std::string(kMaxTomlBytes + 1, '#'), "over"},
      {"[[#a]]\nx = 1\n", "f.conf"},  // the library asserts that this cannot be
  };
  for (const auto& [text, says] : bad) {
    const Error error = CaughtError([&text = text] { ParseToml(text, "f.conf"); });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << text.substr(0, 40);
    EXPECT_NE(error.message().find(says), std::string::npos) << error.message();
    EXPECT_TRUE(error.message().starts_with("f.conf")) << error.message();
  }
}

}  // namespace
}  // namespace gantry
