#include "libimage/model/version_range.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

bool Contains(const std::string& range, const std::string& version) {
  return VersionRange::Parse(range).Contains(Version::Parse(version).value());
}

TEST(Version, IsReadAsTagsHaveIt) {
  EXPECT_EQ(Version::Parse("v1.2"), (Version{1, 2, 0}));
  EXPECT_EQ(Version::Parse("3"), (Version{3, 0, 0}));
  EXPECT_EQ(Version::Parse("1.2.3-rc.1+build.7")->pre, "rc.1");
  for (const char* none : {"", "latest", "1.2.3.4", "1..2", "1.", "1.2-", "1.x", "-1", "1.2.3-a..b", "1.2.3+",
                           "99999999999999999999", "1.2.3 ", "1.2.3-\xc3\xa4"})
    EXPECT_EQ(Version::Parse(none), std::nullopt) << none;
}

// The order of semver.org, section 11.
TEST(Version, IsOrderedByPrecedence) {
  const std::vector<std::string> rising = {"1.0.0-alpha",  "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
                                           "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",       "1.0.0",
                                           "1.0.1",        "1.10",          "2.0.0-x",          "2"};
  for (size_t i = 0; i + 1 < rising.size(); ++i)
    EXPECT_LT(*Version::Parse(rising[i]), *Version::Parse(rising[i + 1])) << rising[i];
  EXPECT_EQ(*Version::Parse("1.0.0+a"), *Version::Parse("1.0.0+b"));
}

// Cases of the tables in the documentation of Masterminds/semver.
TEST(VersionRange, MeansWhatSkopeosMean) {
  const struct {
    const char* range;
    std::vector<const char*> in, out;
  } cases[] = {
      {">= 3.12.0", {"3.12.0", "3.13", "10"}, {"3.11.9", "3.12.0-rc1", "4.0.0-beta"}},
      {">= 1.2, < 3.0.0 || >= 4.2.3", {"1.2", "2.9.9", "4.2.3", "5"}, {"1.1", "3.0.0", "4.2.2"}},
      {">=1.2 <2", {"1.2", "1.9"}, {"2.0", "1.1"}},
      {"1.2 - 1.4.5", {"1.2.0", "1.4.5"}, {"1.1.9", "1.4.6"}},
      {"1.2.x", {"1.2.0", "1.2.9"}, {"1.3.0", "1.1.0"}},
      {"1.2", {"1.2.7"}, {"1.3.0"}},
      {"=1.2.3", {"1.2.3", "v1.2.3"}, {"1.2.4"}},
      {">= 1.2.x", {"1.2.0", "2"}, {"1.1"}},
      {"<= 2.x", {"2.9.9", "1"}, {"3"}},
      {"> 1.2", {"1.3.0", "2"}, {"1.2.9", "1.2.0"}},
      {"> 1", {"2.0"}, {"1.9"}},
      {"*", {"0.0.1", "7.8.9"}, {"1.0.0-rc1"}},
      {"~1.2.3", {"1.2.3", "1.2.9"}, {"1.3.0", "1.2.2"}},
      {"~1", {"1.0", "1.9"}, {"2.0"}},
      {"~1.x", {"1.9"}, {"2"}},
      {"^1.2.3", {"1.2.3", "1.9"}, {"2", "1.2.2"}},
      {"^0.2.3", {"0.2.3", "0.2.9"}, {"0.3.0", "1.0"}},
      {"^0.0.3", {"0.0.3"}, {"0.0.4", "0.1.0"}},
      {"^0.0", {"0.0.9"}, {"0.1.0"}},
      {"^0", {"0.9.9"}, {"1.0"}},
      {"!=1.2.3", {"1.2.4"}, {"1.2.3"}},
      {"!=1.2.x", {"1.3"}, {"1.2.9"}},
      {">= 1.2.3-beta", {"1.2.3-rc", "1.2.3", "2.0.0-x"}, {"1.2.3-alpha"}},
  };
  for (const auto& [range, in, out] : cases) {
    for (const char* version : in) EXPECT_TRUE(Contains(range, version)) << range << " has " << version;
    for (const char* version : out) EXPECT_FALSE(Contains(range, version)) << range << " has not " << version;
  }
}

TEST(VersionRange, RefusesWhatIsNone) {
  for (const std::string& bad :
       {std::string(), std::string("||"), std::string("1.2 ||"), std::string(">"), std::string("latest"),
        std::string(">> 1"), std::string("1.2.3.4"), std::string("1 - "), std::string(kMaxRangeBytes + 1, ' ')})
    EXPECT_EQ(testing::CaughtError([&] { VersionRange::Parse(bad); }).kind(), ErrorKind::kUsage) << bad;
}

}  // namespace
}  // namespace gantry::image
