#include "tools/table.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::tools {
namespace {

TEST(TableTest, ColumnsLineUpByCharactersAndNotByBytes) {
  Table table({"NAME", "SIZE"});
  table.Add({"\xC3\xA4\xC3\xB6", "1"});
  table.Add({"longer", "22"});
  EXPECT_EQ(table.ToString(), "NAME    SIZE\n\xC3\xA4\xC3\xB6      1\nlonger  22\n");
}

TEST(TableTest, ControlCharactersAreShownAndNotObeyed) {
  EXPECT_EQ(Printable("a\x1b[2J\n\x7f\xC2\x9B\xC3\xA9"), "a\\x1b[2J\\x0a\\x7f\\x9b\xC3\xA9");
  Table table({"A"});
  table.Add({"\x1b"});
  EXPECT_EQ(table.ToString(), "A\n\\x1b\n");
}

TEST(TableTest, ParsesTimes) {
  EXPECT_EQ(ParseSeconds("90"), 90U);
  EXPECT_EQ(ParseSeconds("90s"), 90U);
  EXPECT_EQ(ParseSeconds("10m"), 600U);
  EXPECT_EQ(ParseSeconds("12h"), 43200U);
  EXPECT_EQ(ParseSeconds("7d"), 604800U);
  for (const char* bad : {"", "h", "-1", "1w", "1.5h", "1234567890", "5 m"})
    EXPECT_EQ(gantry::testing::CaughtError([&] { ParseSeconds(bad); }).kind(), ErrorKind::kUsage) << bad;
}

}  // namespace
}  // namespace gantry::tools
