// Child processes: started without a shell, with a fixed argv and environment, and waited for through a pidfd.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry {

// How a child ended: its exit code, or 128 + the signal that killed it.
struct ExitStatus {
  int code = 0;
  bool signalled = false;
};

ExitStatus ExitStatusOf(int status);  // of what waitpid(2) gave

// Owns one child. Destroyed without Wait, it kills (SIGKILL) and reaps the child.
class Process {
 public:
  Process(Process&&) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  void Signal(int signal) const;  // no error when it has ended; may be called beside Wait
  ExitStatus Wait();              // the last call

  // Starts `argv[0]` (searched in PATH when it has no slash). `fds` are (ours, theirs): descriptor `ours` becomes
  // `theirs` in the child; all others are closed on exec. 0, 1 and 2 are inherited unless mapped. `environment` entries
  // are "NAME=value"; nullopt inherits ours. The child gets SIGKILL when the thread that started it dies.
  // With `leads_group` it is the first of a process group. Throws kNotFound when the program does not exist.
  static Process Start(const std::vector<std::string>& argv, const std::vector<std::pair<int, int>>& fds,
                       const std::optional<std::vector<std::string>>& environment = std::nullopt,
                       bool leads_group = false);

  // A child that something else made.
  static Process Adopt(pid_t pid, UniqueFd pidfd) { return {pid, std::move(pidfd)}; }

  // Runs `body` in a forked child that exits with the value it returns. For single-threaded callers only: the child
  // may then allocate and throw; an exception that leaves `body` makes it exit with 1. SIGKILL as above.
  static Process Fork(const std::function<int()>& body);

 private:
  Process(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

// Forks, as Process::Fork, a child that serves over a stream socket. It has none of the parent's descriptors but 0, 1
// and 2, least of all ends of other channels. Returns the parent's end.
std::pair<UniqueFd, Process> ForkOverSocket(const std::function<int(int channel)>& serve);

// While it lives, writing to a pipe of which nobody reads any more is an error (EPIPE) and no signal to this thread.
class PipeSignalBlocked {
 public:
  PipeSignalBlocked();
  PipeSignalBlocked(const PipeSignalBlocked&) = delete;
  PipeSignalBlocked& operator=(const PipeSignalBlocked&) = delete;
  ~PipeSignalBlocked();

 private:
  sigset_t signal_{};
  sigset_t before_{};
};

// The directory of the running program, without a slash at its end; empty when that is not known.
std::string ProgramDirectory();

// Runs a program to its end with `input` on its stdin and returns what it printed on stdout (at most `max_output`
// bytes, else kFailed) and how it ended. Its stderr is ours. One that has not ended after `limit` is killed, with those
// of its children that are in its process group: kFailed.
struct Captured {
  ExitStatus status;
  std::string output;
};
Captured RunCaptured(const std::vector<std::string>& argv, std::string_view input, size_t max_output,
                     const std::optional<std::vector<std::string>>& environment = std::nullopt,
                     std::optional<std::chrono::milliseconds> limit = std::nullopt);

}  // namespace gantry
