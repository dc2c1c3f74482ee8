#include "libimage/base/process.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <span>

#include "libimage/base/inherited.h"

namespace gantry {
namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What the child needs, made before fork: after it nothing is allocated.
struct Plan {
  std::vector<std::string> candidates;  // absolute names to try, in PATH order
  std::vector<char*> argv;
  std::vector<char*> environment;
  std::vector<std::pair<int, int>> fds;
  int report = -1;  // gets errno when exec failed
  pid_t parent = 0;
  bool leads_group = false;
};

std::vector<std::string> Candidates(const std::string& program) {
  if (program.find('/') != std::string::npos)
    return {program};
  const char* from_environment = getenv("PATH");
  const std::string path = from_environment != nullptr ? from_environment : kDefaultPath;
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    // An empty element would mean the working directory, which may be hostile.
    if (end > begin)
      out.push_back(path.substr(begin, end - begin) + "/" + program);
    begin = end + 1;
  }
  return out;
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

[[noreturn]] void FailChild(int report) {
  const int error = errno;
  if (write(report, &error, sizeof error) < 0)
    _exit(127);
  _exit(127);
}

[[noreturn]] void RunChild(const Plan& plan) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
    FailChild(plan.report);
  if (getppid() != plan.parent)
    _exit(127);
  if (plan.leads_group && setpgid(0, 0) < 0)
    FailChild(plan.report);
  // Two passes: first above every target, so that no mapping overwrites the source of a later one.
  int floor = plan.report + 1;
  for (const auto& [ours, theirs] : plan.fds) floor = std::max({floor, ours + 1, theirs + 1});
  std::array<int, 16> moved{};
  for (size_t i = 0; i < plan.fds.size(); ++i) {
    moved[i] = fcntl(plan.fds[i].first, F_DUPFD_CLOEXEC, floor);
    if (moved[i] < 0)
      FailChild(plan.report);
  }
  const int report = fcntl(plan.report, F_DUPFD_CLOEXEC, floor);
  for (size_t i = 0; i < plan.fds.size(); ++i) {
    if (dup2(moved[i], plan.fds[i].second) < 0)
      FailChild(report);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  int error = ENOENT;
  for (const std::string& candidate : plan.candidates) {
    execve(candidate.c_str(), plan.argv.data(), plan.environment.data());
    if (errno != ENOENT && errno != ENOTDIR)
      error = errno;
  }
  errno = error;
  FailChild(report);
}

UniqueFd OpenPidfd(pid_t pid) {
  const long fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0)
    ThrowErrno("open a pidfd");
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace

ExitStatus ExitStatusOf(int status) {
  if (WIFSIGNALED(status))
    return {128 + WTERMSIG(status), true};
  return {WEXITSTATUS(status), false};
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Process::~Process() {
  if (pid_ < 0)
    return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Process::Signal(int signal) const {
  if (syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) < 0 && errno != ESRCH)
    ThrowErrno("signal process " + std::to_string(pid_));
}

ExitStatus Process::Wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR)
      ThrowErrno("wait for process " + std::to_string(pid_));
  }
  pid_ = -1;
  return ExitStatusOf(status);
}

Process Process::Start(const std::vector<std::string>& argv, const std::vector<std::pair<int, int>>& fds,
                       const std::optional<std::vector<std::string>>& environment, bool leads_group) {
  if (fds.size() > 16)
    throw Error(ErrorKind::kFailed, "too many descriptors for " + Quoted(argv.at(0)));
  Pipe report = MakePipe();
  Plan plan{Candidates(argv.at(0)), Pointers(argv), {}, fds, report.write.get(), getpid(), leads_group};
  if (environment) {
    plan.environment = Pointers(*environment);
  } else {
    for (char** entry = environ; *entry != nullptr; ++entry) plan.environment.push_back(*entry);
    plan.environment.push_back(nullptr);
  }
  const pid_t pid = fork();
  if (pid < 0)
    ThrowErrno("fork");
  if (pid == 0)
    RunChild(plan);
  report.write.Reset();
  int error = 0;
  const size_t got = ReadFull(report.read.get(), std::as_writable_bytes(std::span(&error, 1)), "the start of a child");
  if (got == sizeof error) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    ThrowErrno("run " + Quoted(argv[0]), error);
  }
  return {pid, OpenPidfd(pid)};
}

Process Process::Fork(const std::function<int()>& body) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0)
    ThrowErrno("fork");
  if (pid == 0) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
      _exit(1);
    try {
      _exit(body());
    } catch (...) {
      _exit(1);
    }
  }
  return {pid, OpenPidfd(pid)};
}

std::pair<UniqueFd, Process> ForkOverSocket(const std::function<int(int channel)>& serve) {
  auto ends = SocketPair(SOCK_STREAM);
  Process process = Process::Fork([&] {
    ends.first.Reset();
    int kept = ends.second.get();
    CloseAllBut({&kept, 1});
    return serve(ends.second.get());
  });
  return {std::move(ends.first), std::move(process)};
}

PipeSignalBlocked::PipeSignalBlocked() {
  sigemptyset(&signal_);
  sigaddset(&signal_, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signal_, &before_);
}

PipeSignalBlocked::~PipeSignalBlocked() {
  const timespec now{};
  sigtimedwait(&signal_, nullptr, &now);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::string ProgramDirectory() {
  std::array<char, PATH_MAX> self{};
  const ssize_t size = readlink("/proc/self/exe", self.data(), self.size());
  const std::string_view path(self.data(), size > 0 ? static_cast<size_t>(size) : 0);
  return std::string(path.substr(0, std::min(path.rfind('/'), path.size())));
}

namespace {

// Waits for one of `polls`, until a child has taken too long.
class Patience {
 public:
  Patience(const Process& child, const std::string& name, std::optional<std::chrono::milliseconds> limit)
      : child_(child), name_(name), limit_(limit), begun_(Clock::now()) {}

  void Poll(std::span<pollfd> polls) const {
    using std::chrono::milliseconds;
    const auto passed = std::chrono::duration_cast<milliseconds>(Clock::now() - begun_);
    const auto left = limit_ ? std::max(*limit_ - passed, milliseconds(0)) : milliseconds(-1);
    const int ready = poll(polls.data(), polls.size(), static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR)
      ThrowErrno("poll");
    if (ready != 0)
      return;
    kill(-child_.pid(), SIGKILL);
    throw Error(ErrorKind::kFailed,
                Quoted(name_) + " took longer than " + std::to_string(limit_->count() / 1000) + " s, and was killed");
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Process& child_;
  const std::string& name_;
  std::optional<std::chrono::milliseconds> limit_;
  Clock::time_point begun_;
};

}  // namespace

Captured RunCaptured(const std::vector<std::string>& argv, std::string_view input, size_t max_output,
                     const std::optional<std::vector<std::string>>& environment,
                     std::optional<std::chrono::milliseconds> limit) {
  Pipe in = MakePipe();
  Pipe out = MakePipe();
  Process child = Process::Start(argv, {{in.read.get(), 0}, {out.write.get(), 1}}, environment, limit.has_value());
  const Patience patience(child, argv[0], limit);
  in.read.Reset();
  out.write.Reset();
  fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  const PipeSignalBlocked blocked;
  Captured result;
  std::array<char, 65536> buffer{};
  while (true) {
    if (input.empty())
      in.write.Reset();
    std::array<pollfd, 2> polls{pollfd{out.read.get(), POLLIN, 0}, pollfd{in.write.get(), POLLOUT, 0}};
    patience.Poll(polls);
    if (polls[1].revents != 0) {
      const ssize_t n = write(in.write.get(), input.data(), input.size());
      // A child that reads no more has decided already: its exit status tells.
      input.remove_prefix(n > 0 ? static_cast<size_t>(n) : (errno == EAGAIN ? 0 : input.size()));
    }
    if (polls[0].revents == 0)
      continue;
    const ssize_t n = read(out.read.get(), buffer.data(), buffer.size());
    if (n < 0 && errno != EINTR)
      ThrowErrno("read from " + Quoted(argv[0]));
    if (n == 0)
      break;
    if (n > 0)
      result.output.append(buffer.data(), static_cast<size_t>(n));
    if (result.output.size() > max_output)
      throw Error(ErrorKind::kFailed, Quoted(argv[0]) + " prints too much");
  }
  std::array<pollfd, 1> end{pollfd{child.pidfd(), POLLIN, 0}};
  while (limit && end[0].revents == 0) patience.Poll(end);
  result.status = child.Wait();
  return result;
}

}  // namespace gantry
