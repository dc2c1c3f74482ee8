#include "libimage/base/pattern.h"

#include <gtest/gtest.h>

#include <string>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

TEST(TextPattern, MatchesAPartThatIsNotEmpty) {
  EXPECT_TRUE(TextPattern("^1\\.2[0-9]-alpine$").Matches("1.25-alpine"));
  EXPECT_FALSE(TextPattern("^1\\.2[0-9]-alpine$").Matches("1.25-alpine3"));
  EXPECT_TRUE(TextPattern("b+").Matches("abc"));
  EXPECT_TRUE(TextPattern("(?i)LATEST|v1").Matches("latest"));
  EXPECT_FALSE(TextPattern("x*").Matches("abc"));
  EXPECT_FALSE(TextPattern("").Matches("abc"));
}

// It takes no longer for a text that was made to take long.
TEST(TextPattern, IsLinear) { EXPECT_FALSE(TextPattern("^(a+)+$").Matches(std::string(100'000, 'a') + "b")); }

TEST(TextPattern, RefusesWhatIsNone) {
  for (const std::string& bad : {std::string("("), std::string("a)(b"), std::string("[z-a]"), std::string("(?=x)"),
                                 std::string("a{1000}{1000}"), std::string(kMaxPatternBytes + 1, 'a')})
    EXPECT_EQ(testing::CaughtError([&] { TextPattern{bad}; }).kind(), ErrorKind::kUsage) << bad.substr(0, 20);
}

}  // namespace
}  // namespace gantry
