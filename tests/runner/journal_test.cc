// Entries as a journal of the test's own receives them.
#include "runner/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kPod = "12345678-9abc-4def-8000-0123456789ab";

class JournalTest : public ::testing::Test {
 protected:
  void Listen() {
    unlink(path_.c_str());
    journal_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(journal_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  // The next entry; empty when there is none.
  std::string Entry() {
    std::array<char, 64 * 1024> buffer{};
    const ssize_t size = recv(journal_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return {buffer.data(), size > 0 ? static_cast<size_t>(size) : 0};
  }
  static std::string Message(std::string_view text) {
    std::string out = "MESSAGE\n";
    for (unsigned byte = 0; byte < 8; ++byte) out += static_cast<char>(text.size() >> (8 * byte) & 0xFF);
    return out + std::string(text) + "\n";
  }

  TempDir dir_;
  std::string path_ = dir_.path() + "/socket";
  UniqueFd journal_;
};

TEST_F(JournalTest, ALineIsAnEntryWithTheFieldsOfItsApp) {
  Listen();
  JournalWriter writer(kPod, "web", path_);
  writer.Write(Stream::kOutput, "hello\nhal");
  const std::string first = Entry();
  EXPECT_THAT(first, StartsWith("SYSLOG_IDENTIFIER=web\nCONTAINER_NAME=web\nCONTAINER_ID=123456789abc\n"
                                "CONTAINER_ID_FULL=123456789abc4def80000123456789ab\nGANTRY_POD="));
  EXPECT_THAT(first, HasSubstr("\nGANTRY_POD=" + std::string(kPod) + "\nGANTRY_APP=web\nPRIORITY=6\n"));
  EXPECT_THAT(first, EndsWith(Message("hello")));
  EXPECT_THAT(first, Not(HasSubstr("PARTIAL")));
  EXPECT_EQ(Entry(), "");
  writer.Flush();
  EXPECT_THAT(Entry(), HasSubstr("\nCONTAINER_PARTIAL_MESSAGE=true\n" + Message("hal")));
  writer.Write(Stream::kError, "bad\n");
  EXPECT_THAT(Entry(), HasSubstr("\nPRIORITY=3\n" + Message("bad")));
}

// An app cannot write fields of its own.
TEST_F(JournalTest, AnyBytesStayInTheMessage) {
  Listen();
  JournalWriter writer(kPod, "web", path_);
  const std::string hostile("a\0b\r\xff=\tPRIORITY=0", 17);
  writer.Write(Stream::kOutput, hostile + "\n");
  EXPECT_THAT(Entry(), EndsWith(Message(hostile)));
  writer.Write(Stream::kOutput, std::string(kMaxLogLine * 2, 'x') + "\n");
  EXPECT_THAT(Entry(), EndsWith("CONTAINER_PARTIAL_MESSAGE=true\n" + Message(std::string(kMaxLogLine, 'x'))));
}

TEST_F(JournalTest, AJournalThatIsStartedAnewIsFoundAgain) {
  Listen();
  JournalWriter writer(kPod, "web", path_);
  journal_.Reset();
  writer.Write(Stream::kOutput, "lost\n");
  Listen();
  writer.Write(Stream::kOutput, "kept\n");
  EXPECT_THAT(Entry(), EndsWith(Message("kept")));
}

TEST_F(JournalTest, WithoutAJournalItIsRefused) {
  const Error error = CaughtError([&] { JournalWriter(kPod, "web", path_); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.message(), HasSubstr("there is no journal at"));
  EXPECT_EQ(CaughtError([&] { JournalWriter(kPod, "web", std::string(200, 'x')); }).kind(), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::runner
