// Guests that are not what they should be, played by the other end of a socket.
#include "runner/vm/guest_session.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/attend.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner::vm {
namespace {

using gantry::testing::CaughtError;
using ::testing::HasSubstr;

std::string FrameBytes(FrameType type, uint16_t stream, std::string_view payload) {
  const FrameHeader header{static_cast<uint32_t>(payload.size()), type, stream};
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + std::string(payload);
}

template <typename T>
std::string_view Raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

class GuestSessionTest : public ::testing::Test {
 protected:
  GuestSessionTest() {
    before_ = BlockForwardedSignals();
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    guest_ = UniqueFd(ends[1]);
    Pipe console = MakePipe();
    console_ = std::move(console.write);
    session_ = std::make_unique<GuestSession>(GuestSession::Ends{UniqueFd(ends[0]), std::move(console.read), -1},
                                              config_, [this](const Report& report) { reports_.push_back(report); });
  }
  ~GuestSessionTest() override { sigprocmask(SIG_SETMASK, &before_, nullptr); }

  void Say(std::string_view bytes) { WriteFull(guest_.get(), AsBytes(bytes), "the guest"); }
  void Hello() { Say(FrameBytes(FrameType::kHello, 0, Raw(kProtocolVersion))); }
  Error WhatHello() {
    return CaughtError([&] { session_->AwaitHello(1); });
  }

  RunConfig config_;
  sigset_t before_{};
  UniqueFd guest_, console_;
  std::unique_ptr<GuestSession> session_;
  std::vector<Report> reports_;
};

TEST_F(GuestSessionTest, SilenceIsAnErrorWithTheConsolesLastLines) {
  WriteFull(console_.get(), AsBytes("one\r\n\x1b[31mtwo\n"), "the console");
  const Error error = WhatHello();
  EXPECT_THAT(error.message(), HasSubstr("did not start in time"));
  EXPECT_EQ(error.hint(), "its console said last:\n  one\n  [31mtwo");
}

TEST_F(GuestSessionTest, AMachineThatEndsIsAnError) {
  guest_.Reset();
  EXPECT_THAT(WhatHello().message(), HasSubstr("ended before the application was started"));
}

TEST_F(GuestSessionTest, WhatIsNoProtocolIsAnError) {
  Say("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_THAT(WhatHello().message(), HasSubstr("does not keep to the protocol"));
}

TEST_F(GuestSessionTest, FramesOutOfTheirOrderAreAnError) {
  Say(FrameBytes(FrameType::kExit, 0, "1234"));
  EXPECT_THAT(WhatHello().message(), HasSubstr("does not keep to the protocol"));
}

TEST_F(GuestSessionTest, AFloodedConsoleIsAnError) {
  const auto flood = Process::Fork([&] {
    const std::string line(4096, 'x');
    while (write(console_.get(), line.data(), line.size()) > 0) {
    }
    return 0;
  });
  console_.Reset();
  const Error error = CaughtError([&] { session_->AwaitHello(60); });
  EXPECT_THAT(error.message(), HasSubstr("floods its console"));
}

TEST_F(GuestSessionTest, AccountFilesHaveABound) {
  Hello();
  ASSERT_TRUE(session_->AwaitHello(1));
  const auto flood = Process::Fork([&] {
    const std::string piece = FrameBytes(FrameType::kPasswd, 0, std::string(kMaxFrameBytes, 'x'));
    while (send(guest_.get(), piece.data(), piece.size(), MSG_NOSIGNAL) > 0) {
    }
    return 0;
  });
  AccountFiles files;
  EXPECT_THAT(CaughtError([&] { session_->AwaitRoot(60, files); }).message(), HasSubstr("protocol"));
}

TEST_F(GuestSessionTest, TellsOutputReportsAndTheEnd) {
  Report report;
  report.step = Step::kExecute;
  Hello();
  ASSERT_TRUE(session_->AwaitHello(1));
  Say(FrameBytes(FrameType::kPasswd, 0, "root:") + FrameBytes(FrameType::kPasswd, 0, "x:0:0::/:\n") +
      FrameBytes(FrameType::kRoot, 0, ""));
  AccountFiles files;
  ASSERT_TRUE(session_->AwaitRoot(1, files));
  EXPECT_EQ(files.passwd, "root:x:0:0::/:\n");
  Say(FrameBytes(FrameType::kReport, 0, Raw(report)) + FrameBytes(FrameType::kStarted, 0, ""));
  ASSERT_TRUE(session_->AwaitStarted(1));
  ASSERT_EQ(reports_.size(), 1U);
  const int32_t status = 3 << 8;
  Say(FrameBytes(FrameType::kOutput, 1, "hello\n") + FrameBytes(FrameType::kExit, 0, Raw(status)));
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(session_->Serve(), status);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "hello\n");
}

TEST_F(GuestSessionTest, AProblemOfTheGuestIsToldCleaned) {
  Say(FrameBytes(FrameType::kProblem, 0, "cannot mount \x1b[0m/lower: no"));
  EXPECT_THAT(WhatHello().message(), HasSubstr("gave up: cannot mount \\x1b[0m/lower: no"));
}

}  // namespace
}  // namespace gantry::runner::vm
