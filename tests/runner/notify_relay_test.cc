#include "runner/notify_relay.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gantry::runner {
namespace {

using Messages = std::vector<std::string>;

TEST(NotifyRelay, LeavesOutWhatIsOfProcesses) {
  EXPECT_EQ(RelayedMessages("STATUS=works\nMAINPID=7\nMAINPIDFDID=8\nMAINPIDFD=1\nWATCHDOG=1\n", 42),
            Messages{"STATUS=works\nWATCHDOG=1"});
  EXPECT_EQ(RelayedMessages("MAINPID=7", 42), Messages{});
}

TEST(NotifyRelay, LeavesOutWhoElseMaySpeakForTheService) {
  EXPECT_EQ(RelayedMessages("READY=1\nNOTIFYACCESS=all", 42), Messages{"READY=1\nMAINPID=42"});
  EXPECT_EQ(RelayedMessages("NOTIFYACCESS=all", 42), Messages{});
}

TEST(NotifyRelay, SaysWhoIsTheMainProcessOfAServiceThatIsReady) {
  EXPECT_EQ(RelayedMessages("MAINPID=2\nREADY=1\nSTATUS=up", 42), Messages{"READY=1\nSTATUS=up\nMAINPID=42"});
  EXPECT_EQ(RelayedMessages("READY=10\nSTATUS=READY=1", 42), Messages{"READY=10\nSTATUS=READY=1"});
}

// systemd ignores what is longer.
TEST(NotifyRelay, KeepsEachMessageAsShortAsSystemdTakesIt) {
  const std::string begin = "READY=1\nSTATUS=";
  const auto filled = [&](size_t size) { return begin + std::string(size - begin.size(), 'x'); };
  const size_t room = kMaxNotifyBytes - std::string("\nMAINPID=42").size();
  EXPECT_EQ(RelayedMessages(filled(room), 42), Messages{filled(room) + "\nMAINPID=42"});
  for (const size_t size : {room + 1, kMaxNotifyBytes})
    EXPECT_EQ(RelayedMessages(filled(size), 42), (Messages{"MAINPID=42", filled(size)})) << size;
}

}  // namespace
}  // namespace gantry::runner
