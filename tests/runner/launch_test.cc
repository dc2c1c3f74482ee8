#include "runner/launch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gantry::runner {
namespace {

// Ends once the child has said it.
pid_t Say(int socket, const Answer& answer) {
  const pid_t child = fork();
  if (child == 0)
    _exit(send(socket, &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return child;
}

TEST(AnswerTest, IsThatOfTheProcessItIsAskedOf) {
  auto [ours, theirs] = SocketPair(SOCK_SEQPACKET);
  HearWhoAnswers(ours.get());
  Say(theirs.get(), {0, 0, 1});
  const pid_t between = Say(theirs.get(), {0, 0, 77});
  Say(theirs.get(), {0, 0, 2});
  const auto answer = ReceiveAnswer(ours.get(), between);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->pid, 77);
}

TEST(AnswerTest, IsNoneWhenOnlyOthersAnswer) {
  auto [ours, theirs] = SocketPair(SOCK_SEQPACKET);
  HearWhoAnswers(ours.get());
  const pid_t other = Say(theirs.get(), {0, 0, 1});
  EXPECT_EQ(send(theirs.get(), "short", 5, MSG_NOSIGNAL), 5);
  theirs.Reset();
  EXPECT_FALSE(ReceiveAnswer(ours.get(), other + 1));
}

}  // namespace
}  // namespace gantry::runner
