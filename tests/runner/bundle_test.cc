// Containers of bundles through the library: what needs a process at the other end of a socket.
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "libimage/base/fd.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/base/process.h"
#include "runner/bundle_container.h"
#include "runner/bundle_plan.h"
#include "runner/features.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::TempDir;
using ::testing::HasSubstr;

constexpr const char* kBusybox = "/bin/busybox";

// A bundle in `dir` whose process is `args`; `change` may change its configuration.
void MakeBundle(const std::string& dir, const std::vector<std::string>& args,
                const std::function<void(json::Object&)>& change) {
  std::filesystem::create_directories(dir + "/rootfs/bin");
  std::filesystem::copy_file(kBusybox, dir + "/rootfs/bin/busybox");
  json::Object spec = DefaultSpec(false);
  json::Object process = *spec.Find("process")->object();
  process.Set("args", args);
  process.Set("terminal", false);
  spec.Set("process", process);
  change(spec);
  WriteFull(OpenFile(dir + "/config.json", O_WRONLY | O_CREAT, 0644).get(), AsBytes(json::Print(spec)), "config.json");
}

UniqueFd ListenAt(const std::string& path) {
  UniqueFd out(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  EXPECT_EQ(bind(out.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  EXPECT_EQ(listen(out.get(), 1), 0);
  return out;
}

// What came over the next connection: a text, and a descriptor.
std::pair<std::string, UniqueFd> ReceiveOne(int listener) {
  const UniqueFd connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  std::string text(65536, '\0');
  const Arrival arrival = ReceiveWithDescriptor(connection.get(), std::as_writable_bytes(std::span(text)));
  text.resize(static_cast<size_t>(std::max<ssize_t>(arrival.size, 0)));
  return {text, UniqueFd(arrival.fd)};
}

bool CannotRun() { return geteuid() != 0 || !IsHostRoot() || !std::filesystem::exists(kBusybox); }

TEST(BundleTest, TheSeccompAgentAnswersForTheKernel) {
  if (CannotRun())
    GTEST_SKIP() << "needs root and " << kBusybox;
  const TempDir dir;
  const UniqueFd listener = ListenAt(dir.path() + "/agent");
  gantry::Process agent = gantry::Process::Fork([&]() -> int {
    const auto [text, notifications] = ReceiveOne(listener.get());
    const json::Value notice = json::Parse(text, "notice");
    const json::Cursor top(notice, "notice");
    if (top.At("fds").Strings(1).at(0) != "seccompFd" || top.At("metadata").String() != "told" ||
        top.At("state").At("id").String() != "agent-test")
      return 2;
    seccomp_notif request{};
    if (ioctl(notifications.get(), SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
      return 3;
    seccomp_notif_resp answer{};
    answer.id = request.id;
    answer.error = -EXDEV;
    return ioctl(notifications.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 ? 4 : 0;
  });
  MakeBundle(dir.path(),
             {"/bin/busybox", "sh", "-c",
              "! /bin/busybox mkdir /x 2>/err; read -r why </err; case $why in *ross-device*) exit 5;; esac"},
             [&](json::Object& spec) {
               spec.Set("root", json::Object{{"path", "rootfs"}});
               json::Object linux_part = *spec.Find("linux")->object();
               const json::Object rule{{"names", json::Array{"mkdir", "mkdirat"}}, {"action", "SCMP_ACT_NOTIFY"}};
               linux_part.Set("seccomp", json::Object{{"defaultAction", "SCMP_ACT_ALLOW"},
                                                      {"listenerPath", dir.path() + "/agent"},
                                                      {"listenerMetadata", "told"},
                                                      {"syscalls", json::Array{rule}}});
               spec.Set("linux", linux_part);
             });
  RuntimeOptions runtime;
  runtime.root = dir.path() + "/state";
  CreateOptions options;
  options.id = "agent-test";
  options.bundle = dir.path();
  EXPECT_EQ(runner::Run(runtime, options).code, 5);
  EXPECT_EQ(agent.Wait().code, 0);
}

TEST(BundleTest, TheConsoleSocketGetsTheMaster) {
  if (CannotRun())
    GTEST_SKIP() << "needs root and " << kBusybox;
  const TempDir dir;
  const UniqueFd listener = ListenAt(dir.path() + "/console");
  MakeBundle(dir.path(), {"/bin/busybox", "sh", "-c", "/bin/busybox stty size; /bin/busybox tty; exit 0"},
             [](json::Object& spec) {
               json::Object process = *spec.Find("process")->object();
               process.Set("terminal", true);
               process.Set("consoleSize", json::Object{{"height", 31}, {"width", 97}});
               spec.Set("process", process);
             });
  RuntimeOptions runtime;
  runtime.root = dir.path() + "/state";
  CreateOptions options;
  options.id = "console-test";
  options.bundle = dir.path();
  options.process.detach = true;
  options.process.console_socket = dir.path() + "/console";
  Create(runtime, options);
  const auto [text, master] = ReceiveOne(listener.get());
  ASSERT_TRUE(master);
  Start(runtime, options.id);
  std::string said;
  std::array<char, 1024> buffer{};
  for (ssize_t size = 0; (size = read(master.get(), buffer.data(), buffer.size())) > 0;)
    said.append(buffer.data(), static_cast<size_t>(size));
  EXPECT_THAT(said, HasSubstr("31 97"));
  EXPECT_THAT(said, HasSubstr("/dev/"));
  Delete(runtime, options.id, true);
}

// Traces `child`, which has stopped itself, and kills the first process that it makes before that executes anything.
// How `child` ended; nullopt when it made none, or had not ended after half a minute.
std::optional<int> KillItsFirstProcess(pid_t child) {
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  const long events = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SEIZE, child, nullptr, events) < 0)
    return std::nullopt;
  kill(child, SIGCONT);
  bool killed = false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < end) {
    const pid_t one = waitpid(-1, &status, __WALL | WNOHANG);
    if (one == child && (WIFEXITED(status) || WIFSIGNALED(status)))
      return killed ? std::optional(gantry::ExitStatusOf(status).code) : std::nullopt;
    if (one <= 0 || !WIFSTOPPED(status)) {
      usleep(1000);
      continue;
    }
    const int event = status >> 16;
    unsigned long made = 0;
    if (!killed && (event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_FORK) &&
        ptrace(PTRACE_GETEVENTMSG, one, nullptr, &made) == 0)
      killed = kill(static_cast<pid_t>(made), SIGKILL) == 0;
    ptrace(PTRACE_CONT, one, nullptr, event != 0 ? 0 : WSTOPSIG(status));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, __WALL);
  return std::nullopt;
}

TEST(BundleTest, AProcessThatIsKilledWhileItIsMadeEndsTheStart) {
  if (CannotRun())
    GTEST_SKIP() << "needs root and " << kBusybox;
  const TempDir dir;
  MakeBundle(dir.path(), {"/bin/busybox", "true"}, [](json::Object&) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    raise(SIGSTOP);
    RuntimeOptions runtime;
    runtime.root = dir.path() + "/state";
    CreateOptions options;
    options.id = "killed-test";
    options.bundle = dir.path();
    try {
      _exit(runner::Run(runtime, options).code);
    } catch (const Error& error) {
      _exit(error.message().find("ended before it was set up") != std::string::npos ? 77 : 1);
    }
  }
  EXPECT_EQ(KillItsFirstProcess(child), 77);
  EXPECT_FALSE(std::filesystem::exists(dir.path() + "/state/killed-test"));
}

}  // namespace
}  // namespace gantry::runner
