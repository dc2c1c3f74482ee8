#include "serve/access.h"

#include <gtest/gtest.h>

#include "libimage/base/base64.h"
#include "tests/support/temp_dir.h"

namespace gantry::serve {
namespace {

using ::gantry::testing::CaughtError;

// Made by htpasswd -nbB -C 4 anna secret (apache2-utils 2.4), and by openssl passwd -6 -salt ab secret.
constexpr const char* kPasswords =
    "# "
    "people\nanna:$2y$04$jI/tKTcXkQN0JG9chdnPZe4/2FH4mgTrtsC14.P9f51dSUisLTVtm\n\nbob:$6$ab$2lDVylRMp48hlYZZFOCx/"
    "xnhJEsGPynJ17rt2um9Gb8wX6ygI4uDxg3Bg43pp/Hv397hwWfT8mciHws9eE4sR/\n";

std::string Basic(const std::string& both) { return "Basic " + EncodeBase64(both); }

TEST(Access, IsOpenWithoutFiles) { EXPECT_TRUE(Access({}, {}).open()); }

TEST(Access, KnowsWhoHasAPassword) {
  Access access(kPasswords, {});
  EXPECT_FALSE(access.open());
  for (int twice = 0; twice < 2; ++twice) {
    EXPECT_EQ(access.WhoIs(Basic("anna:secret")), "anna");
    EXPECT_EQ(access.WhoIs(Basic("bob:secret")), "bob");
    for (const char* bad : {"anna:wrong", "anna:", "bob:anna", "carl:secret", "anna", ":", ""})
      EXPECT_FALSE(access.WhoIs(Basic(bad))) << bad;
  }
  EXPECT_FALSE(access.WhoIs(Basic(std::string("anna:secret\0x", 13))));
  EXPECT_FALSE(access.WhoIs(Basic("anna:" + std::string(5000, 'x'))));
  for (const char* bad : {"", "Basic", "Basic !!", "Bearer anna", "Digest x"}) EXPECT_FALSE(access.WhoIs(bad)) << bad;
}

TEST(Access, KnowsWhoHasAToken) {
  Access access({}, "ci:0123456789abcdef\nfedcba9876543210\n");
  EXPECT_EQ(access.WhoIs("Bearer 0123456789abcdef"), "ci");
  EXPECT_EQ(access.WhoIs("bearer  fedcba9876543210"), "token");
  EXPECT_FALSE(access.WhoIs("Bearer 0123456789abcde"));
  EXPECT_FALSE(access.WhoIs(Basic("ci:0123456789abcdef")));
  EXPECT_EQ(access.Challenge(), "Bearer realm=\"gantry\"");
}

TEST(Access, AnEmptyFileLetsNobodyIn) {
  Access access("", {});
  EXPECT_FALSE(access.open());
  EXPECT_FALSE(access.WhoIs(Basic(":")));
}

TEST(Access, RefusesFilesThatAreNone) {
  for (const char* bad : {"anna", ":x", "anna:"})
    EXPECT_EQ(CaughtError([&] { Access(bad, {}); }).kind(), ErrorKind::kCorrupt) << bad;
  EXPECT_EQ(CaughtError([] { Access({}, "ok-this-is-a-long-one\nshort\n"); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::serve
