#include "libimage/base/ascii.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace gantry {
namespace {

TEST(Ascii, LowersTheLettersOfAsciiOnly) {
  EXPECT_EQ(LowerAscii("AZ az @[ \xc3\x84\x8a"), "az az @[ \xc3\x84\x8a");
  EXPECT_EQ(LowerAscii(""), "");
}

TEST(Ascii, TrimsBlanksAroundAndNotWithin) {
  EXPECT_EQ(Trimmed(" \t a\tb \r\n"), "a\tb");
  EXPECT_EQ(Trimmed("a"), "a");
  EXPECT_EQ(Trimmed(" \r\n"), "");
  EXPECT_EQ(Trimmed(""), "");
}

TEST(Ascii, ReadsDigitsUpToTheLargestNumber) {
  EXPECT_EQ(ParseDecimal<uint32_t>("0"), 0u);
  EXPECT_EQ(ParseDecimal<uint32_t>("007"), 7u);
  EXPECT_EQ(ParseDecimal<uint32_t>("4294967295"), 4294967295u);
  EXPECT_EQ(ParseDecimal<uint32_t>("4294967296"), std::nullopt);
  EXPECT_EQ(ParseDecimal<int>("2147483647"), 2147483647);
  EXPECT_EQ(ParseDecimal<int>("2147483648"), std::nullopt);
}

TEST(Ascii, RefusesWhatIsNoNumber) {
  for (const char* text : {"", " ", "-1", "-0", "+1", " 1", "1 ", "0x1", "1e3", "1.0", "a"}) {
    EXPECT_EQ(ParseDecimal<int>(text), std::nullopt) << text;
    EXPECT_EQ(ParseDecimal<uint64_t>(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace gantry
