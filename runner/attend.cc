#include "runner/attend.h"

#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/console.h"

namespace gantry::runner {
namespace {

constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

sigset_t ForwardedSet() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kForwarded) sigaddset(&set, number);
  return set;
}

void Forward(const signalfd_siginfo& signal, int pidfd, const Console* console, int stop_signal) {
  int number = static_cast<int>(signal.ssi_signo);
  if (number == SIGWINCH) {
    if (console != nullptr)
      console->Resize();
    return;
  }
  if (number == SIGTERM)
    number = stop_signal;
  syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0);
}

// Moves what there is between our streams and the master; whether there may be more output.
bool Move(Console& console, short master, bool input, bool output_open) {
  if ((master & POLLOUT) != 0)
    console.WriteToContainer();
  if ((master & (POLLIN | POLLHUP | POLLERR)) != 0)
    output_open = console.CopyOutput();
  if (input)
    console.ReadInput();
  return output_open;
}

}  // namespace

sigset_t BlockForwardedSignals() {
  sigset_t before;
  const sigset_t forwarded = ForwardedSet();
  if (sigprocmask(SIG_BLOCK, &forwarded, &before) < 0)
    ThrowErrno("block signals");
  return before;
}

UniqueFd ForwardedSignals() {
  const sigset_t forwarded = ForwardedSet();
  UniqueFd out(signalfd(-1, &forwarded, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!out)
    ThrowErrno("signalfd");
  return out;
}

int Attend(pid_t pid, int pidfd, Console* console, int stop_signal, int settles, const std::function<void()>& settled) {
  const UniqueFd signals = ForwardedSignals();
  bool output_open = console != nullptr;
  for (;;) {
    const short from_master = static_cast<short>((output_open ? POLLIN : 0) |
                                                 (console != nullptr && console->wants_to_write() ? POLLOUT : 0));
    std::array<pollfd, 4> waiting = {{{pidfd, POLLIN, 0},
                                      {signals.get(), POLLIN, 0},
                                      {from_master != 0 ? console->master() : -1, from_master, 0},
                                      {console != nullptr && console->wants_input() ? STDIN_FILENO : -1, POLLIN, 0}}};
    const int ready = poll(waiting.data(), waiting.size(), settles);
    if (ready < 0 && errno != EINTR)
      ThrowErrno("poll");
    // After so long without an event: what is busy now settles later.
    if (ready == 0) {
      settles = -1;
      settled();
    }
    signalfd_siginfo signal{};
    while (waiting[1].revents != 0 && read(signals.get(), &signal, sizeof signal) == sizeof signal)
      Forward(signal, pidfd, console, stop_signal);
    if (console != nullptr)
      output_open = Move(*console, waiting[2].revents, waiting[3].revents != 0, output_open);
    if (waiting[0].revents == 0)
      continue;
    if (console != nullptr)
      console->DrainOutput();
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
}

}  // namespace gantry::runner
