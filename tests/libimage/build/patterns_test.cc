#include "libimage/build/patterns.h"

#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;

TEST(PatternsTest, AStarStopsAtASlashAndTwoDoNot) {
  EXPECT_TRUE(Matches("*.go", "main.go"));
  EXPECT_FALSE(Matches("*.go", "cmd/main.go"));
  EXPECT_TRUE(Matches("**/*.go", "cmd/main.go"));
  EXPECT_TRUE(Matches("**/*.go", "main.go"));
  EXPECT_TRUE(Matches("a/**", "a/b/c"));
  EXPECT_FALSE(Matches("**/b", "ab"));
}

TEST(PatternsTest, ClassesAndEscapes) {
  EXPECT_TRUE(Matches("[a-c]?[^x]", "bzy"));
  EXPECT_FALSE(Matches("[a-c]?[^x]", "bzx"));
  EXPECT_TRUE(Matches("\\*", "*"));
  EXPECT_FALSE(Matches("\\*", "a"));
  for (const char* bad : {"[a", "a\\"})
    EXPECT_EQ(CaughtError([&] { Matches(bad, "a"); }).kind(), ErrorKind::kCorrupt) << bad;
}

TEST(PatternsTest, ManyStarsTakeNoLongerThanFew) {
  std::string pattern;
  for (int i = 0; i < 500; ++i) pattern += "*a";
  EXPECT_FALSE(Matches(pattern + "b", std::string(1000, 'a')));
}

TEST(IgnoredPathsTest, TheLastPatternDecides) {
  const auto ignored = IgnoredPaths::Parse("# comment\n*.log\n/build/\n!build/keep\n**/tmp\n");
  EXPECT_TRUE(ignored.Has("a.log"));
  EXPECT_FALSE(ignored.Has("x/a.log"));
  EXPECT_TRUE(ignored.Has("build/x/y"));
  EXPECT_FALSE(ignored.Has("build/keep"));
  EXPECT_TRUE(ignored.Has("a/b/tmp/c"));
  EXPECT_TRUE(ignored.has_exceptions());
}

}  // namespace
}  // namespace gantry::image
