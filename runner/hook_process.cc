#include "runner/hook_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gantry::runner {
namespace {

constexpr int kHookNotRun = 127;

// A memory file with `text`, to be read from its beginning.
int StateFile(const char* text, size_t size) {
  const int fd = memfd_create("state", MFD_CLOEXEC);
  if (fd < 0)
    return -1;
  while (size > 0) {
    const ssize_t count = write(fd, text, size);
    if (count <= 0)
      return -1;
    text += count;
    size -= static_cast<size_t>(count);
  }
  return lseek(fd, 0, SEEK_SET) < 0 ? -1 : fd;
}

[[noreturn]] void BecomeHook(const HookPlan& hook, int state, int output, int report) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number = 1; number <= 64; ++number) signal(number, SIG_DFL);
  if (dup2(state, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0 &&
      syscall(SYS_close_range, 3, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) == 0)
    execve(hook.path, hook.arguments, hook.environment);
  const int error = errno;
  if (write(report, &error, sizeof error) < 0)
    _exit(kHookNotRun);
  _exit(kHookNotRun);
}

// Waits for the end of `pid`; false when its time was over and it had to be killed.
bool Await(pid_t pid, int timeout, int* status) {
  bool in_time = true;
  if (timeout >= 0) {
    pollfd ended = {static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
    int ready = 0;
    while ((ready = poll(&ended, 1, timeout)) < 0 && errno == EINTR) {
    }
    in_time = ready > 0;
    if (!in_time)
      kill(pid, SIGKILL);
    close(ended.fd);
  }
  while (waitpid(pid, status, 0) < 0 && errno == EINTR) {
  }
  return in_time;
}

bool Run(const HookPlan& hook, int state, int output, int report, HookFailure& failure) {
  const pid_t pid = fork();
  if (pid < 0) {
    failure.error = errno;
    return false;
  }
  if (pid == 0)
    BecomeHook(hook, state, output, report);
  int status = 0;
  const bool in_time = Await(pid, hook.timeout, &status);
  if (pread(report, &failure.error, sizeof failure.error, 0) != sizeof failure.error)
    failure.error = in_time ? 0 : ETIME;
  failure.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  const ssize_t size = pread(output, failure.output, sizeof failure.output - 1, 0);
  failure.output[size > 0 ? size : 0] = '\0';
  return failure.error == 0 && failure.code == 0;
}

}  // namespace

bool RunHook(const HookPlan& hook, const char* state, size_t state_size, HookFailure& failure) {
  const int input = StateFile(state, state_size);
  const int output = memfd_create("hook-output", MFD_CLOEXEC);
  const int report = memfd_create("hook-report", MFD_CLOEXEC);
  bool good = false;
  if (input < 0 || output < 0 || report < 0)
    failure.error = errno;
  else
    good = Run(hook, input, output, report, failure);
  for (const int fd : {input, output, report}) {
    if (fd >= 0)
      close(fd);
  }
  return good;
}

}  // namespace gantry::runner
