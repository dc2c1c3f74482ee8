// Guests that are not what they should be, played by the other end of a socket.
#include "runner/vm/guest_channel.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/attend.h"
#include "runner/named_socket.h"
#include "runner/vm/caller_streams.h"
#include "runner/vm/entry.h"
#include "runner/vm/guest_process.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner::vm {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::HasSubstr;

class GuestChannelTest : public ::testing::Test {
 protected:
  GuestChannelTest() {
    before_ = BlockForwardedSignals();
    auto ends = SocketPair(SOCK_STREAM);
    guest_ = std::move(ends.second);
    Pipe console = MakePipe();
    console_ = std::move(console.write);
    channel_ = std::make_unique<GuestChannel>(std::move(ends.first), std::move(console.read), loop_);
    process_ = std::make_unique<GuestProcess>(GuestProcess::Surroundings{
        .send = [this](FrameType type, uint8_t stream,
                       std::string_view payload) { channel_->Send(0, type, stream, payload); },
        .fail = [this](std::string_view did) { channel_->Fail(did); },
        .failed = [this](const Report& report) { reports_.push_back(report); },
        .output = [this](uint8_t stream, std::string_view bytes) { output_[stream] += bytes; }});
    channel_->Serve(0, [this](const Frame& frame) { process_->Take(frame); });
  }
  ~GuestChannelTest() override { sigprocmask(SIG_SETMASK, &before_, nullptr); }

  void Say(FrameType type, std::string_view payload = {}, uint8_t stream = 0, uint16_t process = 0) {
    WriteFull(guest_.get(), AsBytes(PrintFrame(process, type, stream, payload)), "the guest");
  }
  void Hello() { Say(FrameType::kHello, BytesOf(kProtocolVersion)); }
  // Turns the loop until `done`, for at most so long; whether it was.
  bool Until(const std::function<bool()>& done, int64_t milliseconds = 1000) {
    bool late = false;
    const uint64_t timer = loop_.After(milliseconds, [&] { late = true; });
    loop_.Run([&] { return late || channel_->ended() || done(); });
    loop_.Cancel(timer);
    return done();
  }
  std::string WhatUntil(const std::function<bool()>& done = [] { return false; }) {
    return CaughtError([&] { Until(done); }).message();
  }
  // What the host has said: "TYPE:STREAM:SIZE" of one process, and "=NUMBER" after those that are `numbers`.
  std::string Heard(uint16_t process, bool numbers = false) {
    const auto reader = std::make_unique<FrameReader>(HostMaySend);
    SetNonBlocking(guest_.get());
    std::string out;
    for (;;) {
      size_t size = 0;
      char* into = reader->Room(size);
      const ssize_t count = read(guest_.get(), into, size);
      if (count <= 0)
        return out;
      reader->Took(static_cast<size_t>(count));
      for (Frame frame; reader->Next(frame) == FrameReader::Result::kFrame;) {
        if (frame.process == process)
          out += std::to_string(static_cast<int>(frame.type)) + ":" + std::to_string(frame.stream) + ":" +
                 std::to_string(frame.size) +
                 (numbers && frame.size == 4 ? "=" + std::to_string(frame.As<uint32_t>()) : "") + " ";
      }
    }
  }
  void ToStarted() {
    Hello();
    Say(FrameType::kRoot);
    Say(FrameType::kStarted);
    ASSERT_TRUE(Until([&] { return process_->started(); }));
  }

  sigset_t before_{};
  UniqueFd guest_, console_;
  EventLoop loop_;
  std::unique_ptr<GuestChannel> channel_;
  std::unique_ptr<GuestProcess> process_;
  std::vector<Report> reports_;
  std::map<int, std::string> output_;
};

TEST_F(GuestChannelTest, AFailureHasTheConsolesLastLines) {
  WriteFull(console_.get(), AsBytes("one\r\n\x1b[31mtwo\n"), "the console");
  const Error error = CaughtError([&] { channel_->Fail("did not start in time"); });
  EXPECT_EQ(error.message(), "the virtual machine did not start in time");
  EXPECT_EQ(error.hint(), "its console said last:\n  one\n  [31mtwo");
}

TEST_F(GuestChannelTest, AMachineThatEndsShows) {
  guest_.Reset();
  EXPECT_FALSE(Until([] { return false; }));
  EXPECT_TRUE(channel_->ended());
}

TEST_F(GuestChannelTest, AMachineThatEndsUnheardKeepsNobodyBusy) {
  const std::string piece(kMaxFrameBytes, 'x');
  for (int i = 0; i < 64; ++i) channel_->Send(0, FrameType::kInput, 0, piece);
  guest_.Reset();
  bool late = false;
  int turns = 0;
  loop_.After(100, [&] { late = true; });
  loop_.Run([&] { return ++turns > 100 || late; });
  EXPECT_TRUE(channel_->ended());
  EXPECT_LT(turns, 100);
}

TEST_F(GuestChannelTest, WhatIsNoProtocolIsAnError) {
  WriteFull(guest_.get(), AsBytes("HTTP/1.1 200 OK\r\n\r\n"), "the guest");
  EXPECT_THAT(WhatUntil(), HasSubstr("does not keep to the protocol"));
}

TEST_F(GuestChannelTest, FramesOutOfTheirOrderAreAnError) {
  Say(FrameType::kExit, "1234");
  EXPECT_THAT(WhatUntil(), HasSubstr("does not keep to the protocol"));
}

TEST_F(GuestChannelTest, AProcessThatNobodyEnteredIsAnError) {
  Hello();
  Say(FrameType::kRoot, {}, 0, 3);
  EXPECT_THAT(WhatUntil(), HasSubstr("does not keep to the protocol"));
}

TEST_F(GuestChannelTest, NothingFollowsTheEnd) {
  ToStarted();
  Say(FrameType::kExit, "1234");
  Say(FrameType::kOutput, "x", 1);
  EXPECT_THAT(WhatUntil(), HasSubstr("does not keep to the protocol"));
}

TEST_F(GuestChannelTest, AFloodedConsoleIsAnError) {
  const auto flood = Process::Fork([&] {
    const std::string line(4096, 'x');
    while (write(console_.get(), line.data(), line.size()) > 0) {
    }
    return 0;
  });
  console_.Reset();
  EXPECT_THAT(CaughtError([&] { loop_.Run([] { return false; }); }).message(), HasSubstr("floods its console"));
}

TEST_F(GuestChannelTest, AccountFilesHaveABound) {
  Hello();
  const auto flood = Process::Fork([&] {
    const std::string piece = PrintFrame(0, FrameType::kPasswd, 0, std::string(kMaxFrameBytes, 'x'));
    while (send(guest_.get(), piece.data(), piece.size(), MSG_NOSIGNAL) > 0) {
    }
    return 0;
  });
  EXPECT_THAT(CaughtError([&] { loop_.Run([] { return false; }); }).message(), HasSubstr("protocol"));
}

TEST_F(GuestChannelTest, OutputThatNobodyTakesHasABound) {
  ToStarted();
  const std::string piece(kMaxFrameBytes, 'x');
  for (size_t sent = 0; sent < kOutputWindow; sent += piece.size()) {
    Say(FrameType::kOutput, piece, 1);
    ASSERT_TRUE(Until([&] { return output_[1].size() == sent + piece.size(); }));
  }
  Say(FrameType::kOutput, "x", 1);
  EXPECT_THAT(WhatUntil(), HasSubstr("protocol"));
}

TEST_F(GuestChannelTest, OutputThatIsTakenGoesOn) {
  ToStarted();
  const std::string piece(kMaxFrameBytes, 'x');
  for (size_t sent = 0; sent < 4 * size_t{kOutputWindow}; sent += piece.size()) {
    Say(FrameType::kOutput, piece, 2);
    ASSERT_TRUE(Until([&] { return !output_[2].empty(); }));
    process_->Taken(std::exchange(output_[2], {}).size());
  }
  Say(FrameType::kExit, "1234");
  ASSERT_TRUE(Until([&] { return process_->status().has_value(); }));
  EXPECT_THAT(Heard(0), HasSubstr("8:0:4 8:0:4 8:0:4 "));
}

TEST_F(GuestChannelTest, TellsAccountsReportsOutputAndTheEnd) {
  Report report;
  report.step = Step::kExecute;
  Hello();
  Say(FrameType::kPasswd, "root:");
  Say(FrameType::kPasswd, "x:0:0::/:\n");
  Say(FrameType::kRoot);
  ASSERT_TRUE(Until([&] { return process_->has_root(); }));
  EXPECT_EQ(process_->accounts().passwd, "root:x:0:0::/:\n");
  Say(FrameType::kReport, BytesOf(report));
  Say(FrameType::kStarted);
  ASSERT_TRUE(Until([&] { return process_->started(); }));
  ASSERT_EQ(reports_.size(), 1U);
  const int32_t status = 3 << 8;
  Say(FrameType::kOutput, "hello\n", 1);
  Say(FrameType::kExit, BytesOf(status));
  ASSERT_TRUE(Until([&] { return process_->status().has_value(); }));
  EXPECT_EQ(*process_->status(), status);
  EXPECT_EQ(output_[1], "hello\n");
}

TEST_F(GuestChannelTest, TheCallersOutputIsWrittenAndCredited) {
  CallerSignals signals(
      loop_, [] { return true; }, [](int32_t) {});
  ::testing::internal::CaptureStdout();
  CallerStreams streams(loop_, *process_, signals, false, false);
  ToStarted();
  Say(FrameType::kOutput, "hello\n", 1);
  Say(FrameType::kExit, "1234");
  ASSERT_TRUE(Until([&] { return process_->status() && streams.written(); }));
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "hello\n");
}

TEST_F(GuestChannelTest, AProblemOfTheGuestIsToldCleaned) {
  Say(FrameType::kProblem, "cannot mount \x1b[0m/lower: no");
  EXPECT_THAT(WhatUntil(), HasSubstr("gave up: cannot mount \\x1b[0m/lower: no"));
}

// What one says who enters, and what the guest hears of it.
class EntryServerTest : public GuestChannelTest {
 protected:
  EntryServerTest() {
    ToStarted();
    server_ = std::make_unique<EntryServer>(pod_, loop_, *channel_, 1);
  }
  UniqueFd Connect() { return ConnectIn(pod_, "enter", SOCK_STREAM); }
  static void Tell(const UniqueFd& client, FrameType type, std::string_view payload = {}) {
    WriteFull(client.get(), AsBytes(PrintFrame(1, type, 0, payload)), "the client");
  }
  void Turn() {
    Until([] { return false; }, 50);
  }

  TempDir dir_;
  Dir pod_ = dir_.dir();
  std::unique_ptr<EntryServer> server_;
};

TEST_F(EntryServerTest, AProcessHasANumberOfItsOwnAndEndsWithItsClient) {
  const UniqueFd one = Connect();
  UniqueFd two = Connect();
  Tell(one, FrameType::kEnter, BytesOf(EnterRequest{}));
  Tell(two, FrameType::kEnter, BytesOf(EnterRequest{}));
  Turn();
  EXPECT_EQ(Heard(1), "9:0:24 ");
  two.Reset();
  Turn();
  EXPECT_EQ(Heard(2), "5:0:4 7:1:0 7:2:0 ");  // killed, and its output closed
  Say(FrameType::kExit, "1234", 0, 1);
  Say(FrameType::kExit, "1234", 0, 2);
  Turn();
  Say(FrameType::kOutput, "x", 1, 2);
  EXPECT_THAT(WhatUntil(), HasSubstr("protocol"));  // the number is nobody's
}

TEST_F(EntryServerTest, AClientThatBreaksTheProtocolIsLetGoAndTheGuestHearsNothing) {
  const UniqueFd early = Connect();
  Tell(early, FrameType::kParams, "x");
  const UniqueFd job = Connect();
  Tell(job, FrameType::kJob, "x");
  const UniqueFd garbage = Connect();
  WriteFull(garbage.get(), AsBytes("GET / HTTP/1.1\r\n\r\n"), "the client");
  Turn();
  char byte = 0;
  for (const UniqueFd* client : {&early, &job, &garbage}) EXPECT_EQ(recv(client->get(), &byte, 1, MSG_DONTWAIT), 0);
  for (const uint16_t process : {uint16_t{1}, uint16_t{2}, uint16_t{3}}) EXPECT_EQ(Heard(process), "");
}

// Else the guest could not send what a terminal still has, and thereafter the end: the number would never be free.
TEST_F(EntryServerTest, OutputThatNobodyReadsAnyMoreIsTaken) {
  UniqueFd client = Connect();
  Tell(client, FrameType::kEnter, BytesOf(EnterRequest{}));
  Turn();
  const std::string piece(kMaxFrameBytes, 'x');
  for (size_t sent = 0; sent < kOutputWindow; sent += piece.size()) {
    Say(FrameType::kOutput, piece, 1, 1);
    Turn();
  }
  client.Reset();
  Turn();
  EXPECT_EQ(Heard(1, true), "9:0:24 5:0:4=9 7:1:0 7:2:0 8:0:4=" + std::to_string(kOutputWindow) + " ");
  Say(FrameType::kOutput, "late", 1, 1);
  Turn();
  EXPECT_EQ(Heard(1, true), "8:0:4=4 ");
}

TEST_F(EntryServerTest, WhoeverTakesMoreThanThereWasIsLetGo) {
  const UniqueFd client = Connect();
  Tell(client, FrameType::kEnter, BytesOf(EnterRequest{}));
  Turn();
  Say(FrameType::kOutput, "1234", 1, 1);
  Turn();
  Tell(client, FrameType::kTaken, BytesOf(uint32_t{3}));
  Tell(client, FrameType::kTaken, BytesOf(uint32_t{2}));
  Turn();
  EXPECT_EQ(Heard(1, true), "9:0:24 8:0:4=3 5:0:4=9 7:1:0 7:2:0 8:0:4=1 ");
}

TEST_F(EntryServerTest, InputWithoutRoomForItEndsTheProcess) {
  const UniqueFd client = Connect();
  Tell(client, FrameType::kEnter, BytesOf(EnterRequest{}));
  Turn();
  Say(FrameType::kCredit, BytesOf(uint32_t{4}), 0, 1);
  Turn();
  Tell(client, FrameType::kInput, "1234");
  Tell(client, FrameType::kInput, "5");
  Turn();
  EXPECT_EQ(Heard(1), "9:0:24 3:0:4 5:0:4 7:1:0 7:2:0 ");
}

}  // namespace
}  // namespace gantry::runner::vm
