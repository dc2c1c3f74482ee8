#include "libimage/base/error.h"

#include <gtest/gtest.h>

namespace gantry {
namespace {

TEST(ErrorTest, ContextComesBeforeTheMessageAndKeepsTheHint) {
  const Error error = Error(ErrorKind::kCorrupt, "bad tar", "fetch it again").WithContext("layer 3");
  EXPECT_EQ(error.message(), "layer 3: bad tar");
  EXPECT_EQ(error.hint(), "fetch it again");
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
}

TEST(ErrorTest, ErrnoBecomesAKind) {
  const auto kind = [](int number) {
    try {
      ThrowErrno("x", number);
    } catch (const Error& error) {
      return error.kind();
    }
  };
  EXPECT_EQ(kind(ENOENT), ErrorKind::kNotFound);
  EXPECT_EQ(kind(ENOSYS), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(EACCES), ErrorKind::kFailed);
}

TEST(QuotedTest, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Quoted("a\x1b[31m\n"), "'a\\x1b[31m\\x0a'");
  EXPECT_EQ(Quoted("\xc2\x9b"), "'\\xc2\\x9b'");
  EXPECT_EQ(Quoted("a\u202Eb"), "'a\\xe2\\x80\\xaeb'");  // writes what follows backwards
  EXPECT_EQ(Quoted("\u2066\u2028"), "'\\xe2\\x81\\xa6\\xe2\\x80\\xa8'");
}

TEST(QuotedTest, KeepsUtf8AndEscapesOtherBytes) {
  EXPECT_EQ(Quoted("é\xff"), "'é\\xff'");
  EXPECT_EQ(Quoted("\xe2\x82"), "'\\xe2\\x82'");
}

TEST(QuotedTest, CutsLongText) { EXPECT_EQ(Quoted(std::string(300, 'a')), "'" + std::string(200, 'a') + "...'"); }

}  // namespace
}  // namespace gantry
