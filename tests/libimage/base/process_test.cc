#include "libimage/base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

using gantry::testing::CaughtError;

TEST(ProcessTest, CapturesOutputAndFeedsInput) {
  const std::string input(300'000, 'x');
  const Captured result = RunCaptured({"cat"}, input, 1'000'000);
  EXPECT_EQ(result.output, input);
  EXPECT_EQ(result.status.code, 0);
}

TEST(ProcessTest, ReportsExitCodesAndSignals) {
  EXPECT_EQ(RunCaptured({"/bin/sh", "-c", "exit 7"}, "", 10).status.code, 7);
  const ExitStatus killed = RunCaptured({"/bin/sh", "-c", "kill -9 $$"}, "", 10).status;
  EXPECT_EQ(killed.code, 137);
  EXPECT_TRUE(killed.signalled);
}

TEST(ProcessTest, AMissingProgramIsNotFound) {
  EXPECT_EQ(CaughtError([] { Process::Start({"/no/such/program"}, {}); }).kind(), ErrorKind::kNotFound);
  EXPECT_EQ(CaughtError([] { Process::Start({"no-such-program-in-path"}, {}); }).kind(), ErrorKind::kNotFound);
}

TEST(ProcessTest, GivesTheEnvironmentAndNothingElse) {
  const Captured result = RunCaptured({"/usr/bin/env"}, "", 1000, std::vector<std::string>{"A=1"});
  EXPECT_EQ(result.output, "A=1\n");
}

TEST(ProcessTest, SwapsDescriptorsWithoutLosingOne) {
  Pipe a = MakePipe();
  Pipe b = MakePipe();
  // Each end is mapped to the number of the other.
  Process child = Process::Start(
      {"/bin/sh", "-c", "echo a >&" + std::to_string(b.write.get()) + "; echo b >&" + std::to_string(a.write.get())},
      {{a.write.get(), b.write.get()}, {b.write.get(), a.write.get()}});
  a.write.Reset();
  b.write.Reset();
  EXPECT_EQ(child.Wait().code, 0);
  EXPECT_EQ(ReadAll(a.read.get(), 10, "a"), "a\n");
  EXPECT_EQ(ReadAll(b.read.get(), 10, "b"), "b\n");
}

TEST(ProcessTest, AnAbandonedChildIsKilledAndReaped) {
  pid_t pid = 0;
  {
    const Process child = Process::Start({"sleep", "100"}, {});
    pid = child.pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(ProcessTest, RefusesOutputOverTheBound) {
  EXPECT_THROW(RunCaptured({"/bin/sh", "-c", "yes | head -c 100000"}, "", 1000), Error);
}

TEST(ProcessTest, WhatTakesTooLongIsKilledWithItsChildren) {
  const gantry::testing::TempDir temp;
  const std::string script = "sleep 600 & echo $! >" + temp.path() + "/child; ";
  for (const char* rest : {"sleep 600", "exec >&-; sleep 600"}) {
    const Error error = CaughtError([&] {
      RunCaptured({"/bin/sh", "-c", script + rest}, "", 1000, std::nullopt, std::chrono::milliseconds(1000));
    });
    EXPECT_NE(error.message().find("took longer than"), std::string::npos) << error.message();
    const pid_t child = std::stoi(ReadFile(temp.path() + "/child", 100));
    for (int i = 0; i < 500 && kill(child, 0) == 0; ++i) usleep(10'000);
    EXPECT_EQ(kill(child, 0), -1);
  }
  EXPECT_EQ(RunCaptured({"echo", "x"}, "", 10, std::nullopt, std::chrono::milliseconds(60'000)).output, "x\n");
}

TEST(ProcessTest, ForkReturnsTheCodeOfItsBody) {
  EXPECT_EQ(Process::Fork([] { return 9; }).Wait().code, 9);
  EXPECT_EQ(Process::Fork([]() -> int { throw Error(ErrorKind::kFailed, "x"); }).Wait().code, 1);
}

TEST(ProgramDirectoryTest, IsWhereTheTestLies) {
  EXPECT_EQ(access((ProgramDirectory() + "/image_test").c_str(), X_OK), 0);
}

}  // namespace
}  // namespace gantry
