#include "libsign/gpg_verify.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "libimage/base/error.h"
#include "tests/support/gpg_home.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

const std::string kKey = "0123456789ABCDEF0123456789ABCDEF01234567";
const std::string kPrimary = "76543210FEDCBA9876543210FEDCBA9876543210";
const std::string kValid = "[GNUPG:] VALIDSIG " + kKey + " 2026-11-25 1795600000 0 4 0 22 8 00 " + kPrimary + "\n";
const std::string kGood = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 89ABCDEF01234567 A signer <a@b>\n" + kValid;

TEST(GpgStatus, SaysWhoSignedAndWhen) {
  const GpgVerdict verdict = ParseGpgStatus("[GNUPG:] PLAINTEXT 62 0 \n" + kGood + "[GNUPG:] TRUST_FULLY 0 shell\n");
  EXPECT_EQ(verdict.plaintexts, 1);
  EXPECT_EQ(verdict.signatures, 1);
  EXPECT_EQ(verdict.outcomes, 1);
  EXPECT_EQ(verdict.valid, 1);
  EXPECT_EQ(verdict.outcome, "GOODSIG");
  EXPECT_EQ(verdict.key, kKey);
  EXPECT_EQ(verdict.primary, kPrimary);
  EXPECT_EQ(verdict.created, 1795600000);
  EXPECT_EQ(verdict.hash, 8U);
}

TEST(GpgStatus, CountsEverySignatureAndNothingElse) {
  EXPECT_EQ(ParseGpgStatus(kGood + kGood).outcomes, 2);
  EXPECT_EQ(ParseGpgStatus(kGood + kGood).valid, 2);
  // SigSpoof, CVE-2018-12020: what looks like status within another line is none.
  EXPECT_EQ(ParseGpgStatus("[GNUPG:] PLAINTEXT 62 0 x%0A[GNUPG:]%20GOODSIG\ngpg: " + kGood.substr(16)).outcomes, 0);
  EXPECT_EQ(ParseGpgStatus("[GNUPG:] NOTATION_DATA " + kValid).valid, 0);
  EXPECT_EQ(ParseGpgStatus("x" + kValid).valid, 0);
}

TEST(GpgStatus, WhatIsCutShortIsNotValid) {
  for (size_t size = 0; size + 2 < kValid.size() - kPrimary.size(); ++size)
    EXPECT_EQ(ParseGpgStatus(kValid.substr(0, size)).valid, 0) << size;
  EXPECT_EQ(ParseGpgStatus("[GNUPG:] ERRSIG 89ABCDEF01234567 22 8 00 1795600000 9 " + kKey + "\n").key, kKey);
  EXPECT_TRUE(ParseGpgStatus("[GNUPG:] ERRSIG 89ABCDEF01234567 22 8 00 1795600000 9 -\n").no_key);
  EXPECT_FALSE(ParseGpgStatus("[GNUPG:] ERRSIG 89ABCDEF01234567 22 8 00 1795600000 4 -\n").no_key);
  EXPECT_FALSE(ParseGpgStatus("[GNUPG:] ERRSIG\n").no_key);
  EXPECT_TRUE(ParseGpgStatus("[GNUPG:] ERRSIG 89ABCDEF01234567 22 1 00 1795600000 5 -\n").bad_hash);
}

TEST(GpgVerify, WithoutGpgItSaysWhatToInstall) {
  const std::string before = getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  const Error error = testing::CaughtError([] { VerifyWithGpg("/nonexistent", "message", 100); });
  setenv("PATH", before.c_str(), 1);
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_NE(error.hint().find("gpg"), std::string::npos);
}

// More than a pipe holds, so that whoever writes it notices that nobody reads.
const std::string kLarge(4'000'000, 'x');

// SIGPIPE with its default action, as in a program that does not ignore it, and not blocked.
class PipeSignal {
 public:
  PipeSignal() : before_(signal(SIGPIPE, SIG_DFL)) {}
  PipeSignal(const PipeSignal&) = delete;
  PipeSignal& operator=(const PipeSignal&) = delete;
  ~PipeSignal() { signal(SIGPIPE, before_); }

  static bool IsPending() {
    sigset_t pending{};
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
  }

 private:
  void (*before_)(int);
};

TEST(GpgVerify, NotesThatGpgEndedBeforeItHadReadAll) {
  const PipeSignal would_kill;
  for (const int status : {0, 2}) {
    const testing::FakeGpg fake("printf '" + kGood + "' >&3\nexit " + std::to_string(status) + "\n");
    const GpgVerdict verdict = VerifyDetachedWithGpg("/nonexistent", "signature", *StringSource(kLarge));
    EXPECT_EQ(verdict.valid, 1);
    EXPECT_TRUE(verdict.unread);
    EXPECT_EQ(verdict.failed, status != 0);
    EXPECT_FALSE(PipeSignal::IsPending());
  }
}

TEST(GpgVerify, ReadsWhatAnotherGpgSaysThatReadsAll) {
  const PipeSignal would_kill;
  for (const int status : {0, 2}) {
    const testing::FakeGpg fake("wc -c >/dev/null\nprintf '" + kGood + "' >&3\nexit " + std::to_string(status) + "\n");
    const GpgVerdict verdict = VerifyDetachedWithGpg("/nonexistent", "signature", *StringSource(kLarge));
    EXPECT_EQ(verdict.valid, 1);
    EXPECT_FALSE(verdict.unread);
    EXPECT_EQ(verdict.failed, status != 0);
  }
}

}  // namespace
}  // namespace gantry::sign
