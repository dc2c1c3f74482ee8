#include "libimage/base/digest.h"

#include <gtest/gtest.h>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

using gantry::testing::CaughtError;

// FIPS 180-4 test vectors.
const char* const kSha256OfAbc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const char* const kSha512OfAbc =
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

TEST(DigestTest, HashesAsFips180Says) {
  EXPECT_EQ(Digest::Of("abc").str(), kSha256OfAbc);
  EXPECT_EQ(Digest::Of("abc", HashAlgorithm::kSha512).str(), kSha512OfAbc);
}

TEST(HasherTest, ACopyGoesOnByItself) {
  for (const HashAlgorithm algorithm : {HashAlgorithm::kSha256, HashAlgorithm::kSha512}) {
    Hasher hasher(algorithm);
    hasher.Update(AsBytes("a"));
    Hasher copy(hasher);
    copy.Update(AsBytes("b"));
    EXPECT_EQ(hasher.Finish(), Digest::Of("a", algorithm));
    hasher = copy;
    EXPECT_EQ(hasher.Finish(), Digest::Of("ab", algorithm));
    EXPECT_EQ(copy.Finish(), Digest::Of("ab", algorithm));
  }
}

TEST(DigestTest, ParsesWhatItPrints) {
  EXPECT_EQ(Digest::Parse(kSha256OfAbc).str(), kSha256OfAbc);
  EXPECT_EQ(Digest::Parse(kSha512OfAbc).str(), kSha512OfAbc);
}

TEST(DigestTest, RejectsUppercaseHex) {
  std::string text = kSha256OfAbc;
  text[10] = 'F';
  EXPECT_EQ(CaughtError([&] { Digest::Parse(text); }).kind(), ErrorKind::kCorrupt);
}

TEST(DigestTest, RejectsWrongLengthAndOtherAlgorithmsAndPaths) {
  const std::string good = kSha256OfAbc;
  for (const std::string& text : {good.substr(0, 70), good + "0", std::string("md5:") + std::string(32, '0'),
                                  "sha256:../../../../etc/passwd" + std::string(42, 'a'), std::string(), good + "\n"}) {
    EXPECT_FALSE(Digest::TryParse(text).has_value()) << text;
  }
}

TEST(DigestTest, Blake3IsUnsupportedRatherThanCorrupt) {
  EXPECT_EQ(CaughtError([] { Digest::Parse("blake3:" + std::string(64, '0')); }).kind(), ErrorKind::kUnsupported);
}

TEST(VerifyingSourceTest, PassesTheRightBytes) {
  auto source = VerifyingSource(StringSource("abc"), Digest::Parse(kSha256OfAbc), 3, "blob");
  EXPECT_EQ(Drain(*source, 10, "blob"), "abc");
}

TEST(VerifyingSourceTest, FailsAtTheFirstByteTooMany) {
  auto source = VerifyingSource(StringSource("abcd"), Digest::Parse(kSha256OfAbc), 3, "blob");
  EXPECT_EQ(CaughtError([&] { Drain(*source, 10, "blob"); }).message(),
            "blob is longer than its descriptor says (3 bytes)");
}

TEST(VerifyingSourceTest, FailsAtTheEndOfShortOrChangedBytes) {
  auto brief = VerifyingSource(StringSource("ab"), Digest::Parse(kSha256OfAbc), 3, "blob");
  EXPECT_EQ(CaughtError([&] { Drain(*brief, 10, "blob"); }).message(),
            "blob ends after 2 bytes, its descriptor says 3");
  auto changed = VerifyingSource(StringSource("abd"), Digest::Parse(kSha256OfAbc), 3, "blob");
  EXPECT_EQ(CaughtError([&] { Drain(*changed, 10, "blob"); }).kind(), ErrorKind::kCorrupt);
}

// RFC 4231, test case 2.
TEST(HmacSha512Test, IsThatOfTheStandard) {
  EXPECT_EQ(
      HexOf(HmacSha512("Jefe", "what do ya want for nothing?")),
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b"
      "636e070a38bce737");
}

}  // namespace
}  // namespace gantry
