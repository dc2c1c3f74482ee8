#include "libimage/base/percent.h"

#include <gtest/gtest.h>

namespace gantry {
namespace {

using namespace std::string_literals;

TEST(Percent, EveryByteComesBack) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  const std::string encoded = PercentEncoded(all);
  EXPECT_EQ(encoded.find_first_of("/:,= \n\0"s), std::string::npos);
  EXPECT_EQ(PercentDecoded(encoded), all);
  EXPECT_EQ(PercentEncoded("a-b._~9/%"), "a-b._~9%2F%25");
}

TEST(Percent, DecodesNothingThatIsCutOff) {
  EXPECT_EQ(PercentDecoded("a%2fb%2F"), "a/b/");
  EXPECT_EQ(PercentDecoded(""), "");
  for (const char* bad : {"%", "%2", "a%", "%zz", "%2x", "% 2", "%+2", "%%41"})
    EXPECT_FALSE(PercentDecoded(bad)) << bad;
}

}  // namespace
}  // namespace gantry
