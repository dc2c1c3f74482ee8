#include "runner/notify_relay.h"

#include <gtest/gtest.h>

namespace gantry::runner {
namespace {

TEST(NotifyRelay, LeavesOutWhatIsOfProcesses) {
  EXPECT_EQ(RelayedText("STATUS=works\nMAINPID=7\nMAINPIDFDID=8\nMAINPIDFD=1\nWATCHDOG=1\n", 42),
            "STATUS=works\nWATCHDOG=1");
  EXPECT_EQ(RelayedText("MAINPID=7", 42), "");
}

TEST(NotifyRelay, LeavesOutWhoElseMaySpeakForTheService) {
  EXPECT_EQ(RelayedText("READY=1\nNOTIFYACCESS=all", 42), "READY=1\nMAINPID=42");
  EXPECT_EQ(RelayedText("NOTIFYACCESS=all", 42), "");
}

TEST(NotifyRelay, SaysWhoIsTheMainProcessOfAServiceThatIsReady) {
  EXPECT_EQ(RelayedText("MAINPID=2\nREADY=1\nSTATUS=up", 42), "READY=1\nSTATUS=up\nMAINPID=42");
  EXPECT_EQ(RelayedText("READY=10\nSTATUS=READY=1", 42), "READY=10\nSTATUS=READY=1");
}

}  // namespace
}  // namespace gantry::runner
