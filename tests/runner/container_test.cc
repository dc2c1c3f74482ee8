// Whole containers out of a plain directory with busybox: what a program inside sees, and what is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runner/pod.h"
#include "runner/process.h"
#include "runner/setup_steps.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

namespace fs = std::filesystem;

constexpr const char* kBusybox = "/bin/busybox";
constexpr size_t kUuidLength = 36;

image::Image AnyImage() {
  image::Image image{{"application/x", Digest::Of("manifest"), 8, {}, {}, {}, {}},
                     {},
                     image::Manifest{{}, {"application/x", Digest::Of("config"), 6, {}, {}, {}, {}}, {}, {}, {}, {}},
                     {},
                     {}};
  image.config.diff_ids = {Digest::Of("layer")};
  return image;
}

struct Result {
  int code = -1;
  std::string output;  // stdout and stderr
  std::string failure;
};

class ContainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || access(kBusybox, X_OK) != 0)
      GTEST_SKIP() << "needs root and a static /bin/busybox";
    pods_ = store_.path() + "/pods";
    layer_ = store_.path() + "/layer";
    for (const char* name : {"bin", "etc", "tmp", "root", "home"}) fs::create_directories(layer_ + "/" + name);
    fs::create_directories(pods_);
    fs::copy_file(kBusybox, layer_ + "/bin/busybox");
    for (const char* name :
         {"sh",   "cat",   "ls",   "mount", "id", "sleep", "true",    "kill",  "env",      "pwd",   "hostname",
          "ps",   "touch", "echo", "stat",  "dd", "ip",    "unshare", "mknod", "readlink", "grep",  "wc",
          "head", "tail",  "test", "mkdir", "rm", "chmod", "umask",   "stty",  "tty",      "chroot"})
      fs::create_symlink("busybox", layer_ + "/bin/" + name);
    Write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/home:/bin/sh\n");
    Write("etc/group", "root:x:0:\nweb:x:34:\nextra:x:70:web\n");
  }

  void Write(const std::string& path, const std::string& text) { std::ofstream(layer_ + "/" + path) << text; }

  static RunConfig Config(const std::string& script) {
    image::ImageConfig image;
    image.platform.os = "linux";
    image.cmd = {"/bin/sh", "-c", script};
    return Plan(image, {});
  }

  // In a child with its own stdout, so that the container's output can be read whole.
  Result Run(const RunConfig& config) {
    const std::string output = store_.path() + "/output";
    Result result;
    const gantry::Process child = gantry::Process::Fork([&] {
      const UniqueFd out = OpenFile(output, O_WRONLY | O_CREAT | O_TRUNC);
      dup2(out.get(), 1);
      dup2(out.get(), 2);
      try {
        Pod pod = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
        Process process = Process::Start(config, {{layer_}, false}, pod);
        if (process.failure())
          dprintf(2, "failure: %s\n", process.failure()->message().c_str());
        const ExitStatus status = process.Wait();
        pod.Remove();
        return status.code;
      } catch (const Error& error) {
        dprintf(2, "error: %s; %s\n", error.message().c_str(), error.hint().c_str());
        return 125;
      }
    });
    result.code = const_cast<gantry::Process&>(child).Wait().code;
    result.output = ReadFile(output, 1 << 20);
    return result;
  }
  Result Run(const std::string& script) { return Run(Config(script)); }

  // The keeper needs a moment after the run.
  bool PodsAreGone() const {
    const auto any = [&] {
      return std::ranges::any_of(fs::directory_iterator(pods_), [](const fs::directory_entry& entry) {
        return entry.path().filename().string().size() == kUuidLength;
      });
    };
    for (int i = 0; i < 1000 && any(); ++i) usleep(10'000);
    return !any();
  }

  void TearDown() override {
    if (!pods_.empty()) {
      EXPECT_TRUE(PodsAreGone());
    }
  }

  TempDir store_;
  std::string pods_, layer_;
};

TEST_F(ContainerTest, RunsAndPassesTheExitCode) {
  EXPECT_EQ(Run("exit 0").code, 0);
  EXPECT_EQ(Run("exit 42").code, 42);
  EXPECT_EQ(Run("kill -9 $$").code, 137);
  EXPECT_EQ(Run("echo out; echo err >&2").output, "out\nerr\n");
}

TEST_F(ContainerTest, NothingIsLeftAfterARun) {
  EXPECT_EQ(Run("echo x > /file").code, 0);
  EXPECT_TRUE(PodsAreGone());
  EXPECT_FALSE(fs::exists(layer_ + "/file"));
}

TEST_F(ContainerTest, HasTheCapabilitiesOfTheDefaultAndNoMore) {
  RunConfig config = Config("");
  config.args = {"/bin/cat", "/proc/self/status"};
  const std::string status = Run(config).output;
  EXPECT_THAT(status, HasSubstr("CapEff:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("CapPrm:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("CapBnd:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("CapInh:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("CapAmb:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
}

TEST_F(ContainerTest, InitHasNoMoreThanTheApplication) {
  const std::string status = Run("cat /proc/1/status").output;
  EXPECT_THAT(status, HasSubstr("Name:\tgantry-init"));
  EXPECT_THAT(status, HasSubstr("CapBnd:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
}

TEST_F(ContainerTest, AnOrdinaryUserHasNoCapabilities) {
  RunConfig config = Config("cat /proc/self/status; id; pwd; echo $HOME");
  config.user = "web";
  const std::string output = Run(config).output;
  EXPECT_THAT(output, HasSubstr("CapEff:\t0000000000000000"));
  EXPECT_THAT(output, HasSubstr("CapPrm:\t0000000000000000"));
  EXPECT_THAT(output, HasSubstr("CapAmb:\t0000000000000000"));
  EXPECT_THAT(output, HasSubstr("Uid:\t33\t33\t33\t33\n"));
  EXPECT_THAT(output, HasSubstr("Gid:\t34\t34\t34\t34\n"));
  EXPECT_THAT(output, HasSubstr("Groups:\t70"));
  EXPECT_THAT(output, HasSubstr("/home\n"));
}

TEST_F(ContainerTest, AnUnknownUserSaysSo) {
  RunConfig config = Config("true");
  config.user = "nobody-here";
  const Result result = Run(config);
  EXPECT_EQ(result.code, 125);
  EXPECT_THAT(result.output, HasSubstr("the image has no user 'nobody-here'"));
  EXPECT_TRUE(PodsAreGone());
}

TEST_F(ContainerTest, MountsAreThoseOfTheDefault) {
  const std::string mounts = Run("cat /proc/self/mounts").output;
  EXPECT_THAT(mounts, HasSubstr("overlay / overlay rw,nodev"));
  EXPECT_THAT(mounts, HasSubstr("proc /proc proc rw,nosuid,nodev,noexec"));
  EXPECT_THAT(mounts, HasSubstr("sysfs /sys sysfs ro,nosuid,nodev,noexec"));
  EXPECT_THAT(mounts, HasSubstr("tmpfs /dev tmpfs rw,nosuid,noexec"));
  EXPECT_THAT(mounts, HasSubstr("devpts /dev/pts devpts rw,nosuid,noexec"));
  EXPECT_THAT(mounts, HasSubstr("tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec"));
  EXPECT_THAT(mounts, HasSubstr("mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec"));
  EXPECT_THAT(mounts, HasSubstr("proc /proc/sys proc ro,"));
  EXPECT_THAT(mounts, HasSubstr("tmpfs /proc/timer_list tmpfs rw,nosuid,noexec"));
  EXPECT_THAT(mounts, Not(HasSubstr(store_.path()))) << "paths of the host show";
  EXPECT_THAT(mounts, Not(HasSubstr("ext4"))) << "a mount of the host is left";
}

TEST_F(ContainerTest, CgroupsAreItsOwnAndReadOnly) {
  const Result result =
      Run("cat /proc/self/cgroup; grep cgroup /proc/self/mounts; mkdir /sys/fs/cgroup/*/x 2>/dev/null");
  if (result.output.find("cgroup") == std::string::npos)
    GTEST_SKIP() << "no cgroups here";
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" /sys/fs/cgroup") == std::string::npos)
      EXPECT_THAT(line, ::testing::EndsWith(":/")) << "not the root of a cgroup namespace";
    else
      EXPECT_THAT(line, HasSubstr(" ro,")) << line;
  }
  EXPECT_NE(result.code, 0);
}

TEST_F(ContainerTest, ProcessesAreLimited) {
  const Result result = Run("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null");
  if (result.output.empty())
    GTEST_SKIP() << "no pids controller here";
  EXPECT_EQ(result.output, "2048\n");
}

TEST_F(ContainerTest, KernelFilesAreHiddenOrReadOnly) {
  const Result result =
      Run("wc -c < /proc/interrupts; wc -c < /proc/timer_list; wc -c </proc/keys; ls /sys/firmware | wc -l; "
          "echo 1 > /proc/sys/kernel/core_pattern; echo 1 > /proc/irq/default_smp_affinity; echo > /sys/power/state");
  EXPECT_THAT(result.output, ::testing::StartsWith("0\n0\n0\n0\n"));
  EXPECT_THAT(result.output, HasSubstr("core_pattern: Read-only file system"));
  EXPECT_THAT(result.output, HasSubstr("default_smp_affinity: Read-only file system"));
  EXPECT_THAT(result.output, HasSubstr("/sys/power/state: Read-only file system"));
}

TEST_F(ContainerTest, ForbiddenSystemCallsFail) {
  const Result result = Run("unshare -m true; mount -t tmpfs x /tmp; mknod /tmp/sda b 8 0; hostname evil");
  EXPECT_THAT(result.output, HasSubstr("unshare(0x20000): Operation not permitted"));
  EXPECT_THAT(result.output, HasSubstr("mount: permission denied"));
  EXPECT_THAT(result.output, HasSubstr("mknod: /tmp/sda: Operation not permitted"));
  EXPECT_THAT(result.output, HasSubstr("hostname: sethostname: Operation not permitted"));
}

TEST_F(ContainerTest, DeviceNodesAreTheUsualOnes) {
  const Result result =
      Run("ls -1 /dev | tr '\\n' ' '; echo; cd /dev; stat -c '%n %t:%T %a' null zero full tty random urandom; "
          "echo x > /dev/null; dd if=/dev/zero bs=4 count=1 2>/dev/null | wc -c; echo to-stdout >> /dev/stdout");
  EXPECT_THAT(result.output, HasSubstr("null 1:3 666\nzero 1:5 666\nfull 1:7 666\ntty 5:0 666\nrandom 1:8 666\nurandom "
                                       "1:9 666\n4\nto-stdout\n"));
}

TEST_F(ContainerTest, SeesOnlyItsOwnProcessesAndNetwork) {
  const Result result = Run("ps >/tmp/ps; wc -l </tmp/ps; ip -o link | wc -l; ip -o addr show lo");
  EXPECT_THAT(result.output, ::testing::StartsWith("4\n1\n"));  // the header, init, sh and ps
  EXPECT_THAT(result.output, HasSubstr("127.0.0.1/8"));
}

TEST_F(ContainerTest, HostNetworkIsTheHosts) {
  RunConfig config = Config("readlink /proc/self/ns/net; cat /etc/hostname");
  config.network = Network::kHost;
  char link[64] = {};
  ASSERT_GT(readlink("/proc/self/ns/net", link, sizeof link - 1), 0);
  char host[64] = {};
  gethostname(host, sizeof host);
  EXPECT_EQ(Run(config).output, std::string(link) + "\n" + host + "\n");
}

TEST_F(ContainerTest, HostNameIsItsOwn) {
  RunConfig config = Config("hostname; cat /etc/hostname; grep -c box /etc/hosts; echo $HOSTNAME");
  config.hostname = "box";
  EXPECT_EQ(Run(config).output, "box\nbox\n1\nbox\n");
}

TEST_F(ContainerTest, WorkingDirectoryIsMadeAndEntered) {
  RunConfig config = Config("pwd");
  config.working_dir = "/srv/app/data";
  EXPECT_EQ(Run(config).output, "/srv/app/data\n");
  config.working_dir = "/etc/passwd";
  const Result result = Run(config);
  EXPECT_EQ(result.code, 125);
  EXPECT_THAT(result.output, HasSubstr("cannot make the working directory '/etc/passwd'"));
}

TEST_F(ContainerTest, AWorkingDirectoryOutsideOfTheContainerIsRefused) {  // CVE-2024-21626
  for (const char* path : {"/proc/self/fd/8", "/proc/self/fd/9/../..", "/proc/1/cwd"}) {
    RunConfig config = Config("ls -la");
    config.working_dir = path;
    const Result result = Run(config);
    EXPECT_GE(result.code, 125) << path << " " << result.output;
    EXPECT_THAT(result.output, HasSubstr("working directory")) << path;
  }
}

TEST_F(ContainerTest, NoDescriptorLeaksIn) {
  const UniqueFd mine = OpenFile("/", O_RDONLY);
  const UniqueFd open_to_all(fcntl(mine.get(), F_DUPFD, 20));  // not close-on-exec
  EXPECT_EQ(Run("ls /proc/self/fd | tr '\\n' ' '; ls /proc/1/fd | tr '\\n' ' '").output, "0 1 2 3 0 1 2 ");
}

TEST_F(ContainerTest, StandardInputIsNullUnlessInteractive) {
  EXPECT_EQ(Run("cat; readlink /proc/self/fd/0").output, "/dev/null\n");
}

TEST_F(ContainerTest, AReadOnlyRootCannotBeWritten) {
  RunConfig config = Config("echo x > /new; echo y > /dev/shm/ok && cat /dev/shm/ok");
  config.read_only_rootfs = true;
  const Result result = Run(config);
  EXPECT_THAT(result.output, HasSubstr("/new: Read-only file system"));
  EXPECT_THAT(result.output, HasSubstr("y\n"));
}

TEST_F(ContainerTest, VolumesShowHostFiles) {
  const std::string source = store_.path() + "/source";
  fs::create_directories(source);
  std::ofstream(source + "/file") << "from the host\n";
  RunConfig config = Config("cat /deep/down/file; echo back > /deep/down/new; cat /one; echo no > /one");
  config.volumes = {{source, "/deep/down", false}, {source + "/file", "/one", true}};
  const Result result = Run(config);
  EXPECT_THAT(result.output, ::testing::StartsWith("from the host\nfrom the host\n"));
  EXPECT_THAT(result.output, HasSubstr("/one: Read-only file system"));
  EXPECT_EQ(ReadFile(source + "/new", 100), "back\n");
}

TEST_F(ContainerTest, VolumeTargetsResolveInsideTheRoot) {  // CVE-2021-30465
  const std::string source = store_.path() + "/source";
  const std::string outside = store_.path() + "/outside";
  fs::create_directories(source);
  fs::create_directories(outside);
  fs::create_directories(layer_ + "/inside");
  fs::create_symlink("/../../../../inside", layer_ + "/up");
  fs::create_symlink(outside, layer_ + "/absolute");
  fs::create_symlink("/proc/sys", layer_ + "/kernel");
  std::ofstream(source + "/file") << "seen\n";
  RunConfig config = Config("cat /inside/file");
  config.volumes = {{source, "/up", false}};
  EXPECT_EQ(Run(config).output, "seen\n");
  config.volumes = {{source, "/absolute/x", false}};
  EXPECT_EQ(Run(config).code, 125);  // a dangling link inside, whatever there is outside
  EXPECT_TRUE(fs::is_empty(outside));
  config.volumes = {{source, "/kernel/kernel", false}};
  EXPECT_THAT(Run(config).output, HasSubstr("it leads into a file system of the kernel"));
}

TEST_F(ContainerTest, AMissingVolumeSourceSaysSo) {
  RunConfig config = Config("true");
  config.volumes = {{"/no/such/source", "/x", false}};
  const Result result = Run(config);
  EXPECT_EQ(result.code, 125);
  EXPECT_THAT(result.output, HasSubstr("cannot open the source of volume '/no/such/source:/x'"));
}

TEST_F(ContainerTest, LinksInPlaceOfMountPointsAreRefused) {  // CVE-2026-41579
  const std::string outside = store_.path() + "/outside";
  fs::create_directories(outside);
  for (const std::string name : {"dev", "proc", "sys"}) {
    fs::create_symlink(outside, layer_ + "/" + name);
    const Result result = Run("true");
    EXPECT_EQ(result.code, 125) << name;
    EXPECT_THAT(result.output, HasSubstr("the image has a link or a file in its place")) << name;
    fs::remove(layer_ + "/" + name);
  }
  EXPECT_TRUE(fs::is_empty(outside));
}

TEST_F(ContainerTest, HostileFilesInEtcAreReplaced) {
  const std::string outside = store_.path() + "/outside";
  std::ofstream(outside) << "mine";
  fs::create_symlink(outside, layer_ + "/etc/hostname");
  ASSERT_EQ(mkfifo((layer_ + "/etc/hosts").c_str(), 0600), 0);
  RunConfig config = Config("cat /etc/hostname; grep -c localhost /etc/hosts");
  config.hostname = "box";
  EXPECT_EQ(Run(config).output, "box\n2\n");
  EXPECT_EQ(ReadFile(outside, 10), "mine");
}

TEST_F(ContainerTest, ProgramsAreFoundInPath) {
  image::ImageConfig image;
  image.platform.os = "linux";
  image.cmd = {"echo", "found"};
  EXPECT_EQ(Run(Plan(image, {})).output, "found\n");
  image.env = {"PATH=/nowhere"};
  const Result result = Run(Plan(image, {}));
  EXPECT_EQ(result.code, 127);
  EXPECT_THAT(result.output, HasSubstr("cannot execute 'echo': not found in the container"));
}

TEST_F(ContainerTest, WhatCannotBeExecutedIs126) {
  image::ImageConfig image;
  image.platform.os = "linux";
  for (const char* program : {"/etc/passwd", "/etc"}) {
    image.cmd = {program};
    EXPECT_EQ(Run(Plan(image, {})).code, 126) << program;
  }
  Write("garbage", "neither ELF nor script");
  fs::permissions(layer_ + "/garbage", fs::perms::all);
  image.cmd = {"/garbage"};
  EXPECT_EQ(Run(Plan(image, {})).code, 126);
}

TEST_F(ContainerTest, AMissingInterpreterIsNamed) {
  Write("script", "#!/usr/bin/perl -w\n");
  fs::permissions(layer_ + "/script", fs::perms::all);
  fs::copy_file("/bin/ls", layer_ + "/dynamic");
  image::ImageConfig image;
  image.platform.os = "linux";
  image.cmd = {"/script"};
  Result result = Run(Plan(image, {}));
  EXPECT_EQ(result.code, 127);
  EXPECT_THAT(result.output, HasSubstr("its interpreter '/usr/bin/perl' is not in the container"));
  image.cmd = {"/dynamic"};
  result = Run(Plan(image, {}));
  EXPECT_EQ(result.code, 127);
  EXPECT_THAT(result.output, HasSubstr("its interpreter '/lib"));
}

TEST_F(ContainerTest, OrphansAreReaped) {
  const Result result =
      Run("for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l");
  EXPECT_EQ(result.output, "0\n");
}

TEST_F(ContainerTest, WhatTheApplicationLeavesRunningDiesWithIt) {
  EXPECT_EQ(Run("sleep 1000 & exit 3").code, 3);
  EXPECT_TRUE(PodsAreGone());
}

TEST_F(ContainerTest, TheRunnersBinaryCannotBeReached) {  // CVE-2019-5736
  const Result result = Run("readlink /proc/1/exe; echo x > /proc/1/exe; exec 5>/proc/1/exe; echo not reached");
  EXPECT_THAT(result.output, HasSubstr("/memfd:gantry-init"));
  EXPECT_THAT(result.output, Not(HasSubstr("\nnot reached")));
  image::ImageConfig image;
  image.platform.os = "linux";
  image.cmd = {"/proc/self/exe"};
  EXPECT_NE(Run(Plan(image, {})).code, 0);  // another init, which has nobody to talk to
  Write("hash-bang", "#!/proc/self/exe\n");
  fs::permissions(layer_ + "/hash-bang", fs::perms::all);
  image.cmd = {"/hash-bang"};
  EXPECT_NE(Run(Plan(image, {})).code, 0);
}

TEST_F(ContainerTest, SignalsReachTheApplication) {
  RunConfig config = Config(
      "trap 'echo caught quit; exit 9' QUIT; trap 'echo caught usr1; touch /vol/heard' USR1; touch /vol/ready; "
      "while :; do sleep 0.02; done");
  const std::string shared = store_.path() + "/shared";
  fs::create_directories(shared);
  config.volumes = {{shared, "/vol", false}};
  config.stop_signal = SIGQUIT;
  Pipe out = MakePipe();
  gantry::Process child = gantry::Process::Fork([&] {
    dup2(out.write.get(), 1);
    Pod pod = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
    return Process::Start(config, {{layer_}, false}, pod).Wait().code;
  });
  out.write.Reset();
  while (!fs::exists(shared + "/ready")) usleep(5000);
  child.Signal(SIGUSR1);
  while (!fs::exists(shared + "/heard")) usleep(5000);
  child.Signal(SIGTERM);  // arrives as the image's stop signal
  EXPECT_EQ(child.Wait().code, 9);
  EXPECT_EQ(ReadAll(out.read.get(), 1000, "output"), "caught usr1\ncaught quit\n");
}

// Processes of the machine that are in a group of that pod.
size_t CountProcessesInCgroup(const std::string& uuid) {
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cgroup");
    std::string text;
    std::getline(file, text, '\0');  // nothing of one that ends meanwhile
    count += text.find("gantry-" + uuid) != std::string::npos ? 1 : 0;
  }
  return count;
}

TEST_F(ContainerTest, WhoAttendsToAPodCanTouchNothingElse) {
  gantry::Process child = gantry::Process::Fork([&] {
    Pod pod = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
    Process process = Process::Start(Config("sleep 300"), {{layer_}, false}, pod);
    // Somebody else's, to which it has no right but root's.
    if (access("/etc/shadow", R_OK) != 0 || open((layer_ + "/etc/passwd").c_str(), O_RDWR | O_CLOEXEC) < 0)
      return 1;
    pod.Confine();
    for (const std::string& path :
         {std::string("/etc/shadow"), layer_ + "/etc/passwd", std::string("/proc/1/environ")}) {
      if (open(path.c_str(), O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 2;
    }
    if (mkdir((pods_ + "/other").c_str(), 0755) == 0 ||
        open((pods_ + "/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0)
      return 3;
    if (mount("none", "/mnt", "tmpfs", 0, nullptr) == 0 || unshare(CLONE_NEWNS) == 0 ||
        execl("/bin/true", "x", nullptr) == 0)
      return 4;
    // Its own: the log, the record, signals, and the end.
    if (open(pod.Path("app.log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0)
      return 5;
    pod.Append({PodEvent::Kind::kExited, "app", 0, 0, 137});
    kill(process.pid(), SIGKILL);
    const int code = process.Wait().code;
    pod.Remove();
    return code;
  });
  EXPECT_EQ(child.Wait().code, 137);
}

TEST_F(ContainerTest, NothingIsLeftAfterKillingTheRunner) {
  const std::string shared = store_.path() + "/shared";
  fs::create_directories(shared);
  RunConfig config = Config("sleep 300 & touch /vol/ready; sleep 300");
  config.volumes = {{shared, "/vol", false}};
  const std::string list = store_.path() + "/groups";
  gantry::Process child = gantry::Process::Fork([&] {
    Pod pod = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
    Process process = Process::Start(config, {{layer_}, false}, pod);
    std::istringstream record(ReadFile(pod.Path(kPodFile), kMaxRecordBytes));
    std::ofstream out(list);
    for (std::string line; std::getline(record, line);) {
      if (line.starts_with('/'))
        out << line << "\n";
    }
    out.close();
    return process.Wait().code;
  });
  while (!fs::exists(shared + "/ready") || !fs::exists(list)) usleep(5000);
  ASSERT_FALSE(fs::is_empty(pods_));
  const std::string uuid = fs::directory_iterator(pods_)->path().filename();
  if (fs::file_size(list) > 0) {
    for (int i = 0; i < 1000 && CountProcessesInCgroup(uuid) < 3; ++i) usleep(10'000);
    EXPECT_GE(CountProcessesInCgroup(uuid), 3U);  // init and two sleeps
  }
  child.Signal(SIGKILL);
  EXPECT_EQ(child.Wait().code, 137);
  EXPECT_TRUE(PodsAreGone()) << "the pod's directory is left";
  for (int i = 0; i < 200 && CountProcessesInCgroup(uuid) > 0; ++i) usleep(10'000);  // until they are reaped
  EXPECT_EQ(CountProcessesInCgroup(uuid), 0U);
  std::ifstream lines(list);
  for (std::string path; std::getline(lines, path);) EXPECT_FALSE(fs::exists(path)) << path;
  EXPECT_THAT(ReadAll(OpenFile("/proc/self/mounts", O_RDONLY).get(), 1 << 20, "mounts"), Not(HasSubstr(pods_)));
}

TEST_F(ContainerTest, DeadPodsAreSwept) {
  fs::create_directories(pods_ + "/00000000-0000-4000-8000-000000000000/upper/x");
  std::ofstream(pods_ + "/00000000-0000-4000-8000-000000000000/image") << "";
  fs::create_directories(pods_ + "/not-a-pod");
  Pod alive = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
  EXPECT_EQ(SweepPods(Dir::Open(pods_), std::nullopt), 1U);
  EXPECT_TRUE(fs::exists(pods_ + "/not-a-pod"));
  EXPECT_TRUE(fs::exists(pods_ + "/" + alive.uuid()));
  EXPECT_THAT(ReadFile(pods_ + "/" + alive.uuid() + "/image", 10'000),
              StartsWith(Digest::Of("manifest").str() + "\n" + Digest::Of("layer").str() + "\n"));
}

TEST_F(ContainerTest, OldKernelsStackLayersToo) {
  std::vector<std::string> layers;
  std::vector<const char*> names;
  for (int i = 0; i < 130; ++i) {
    layers.push_back(store_.path() + "/" + std::string(60, 'l') + std::to_string(i));
    fs::create_directories(layers.back());
    std::ofstream(layers.back() + "/which") << i;
    std::ofstream(layers.back() + "/only" + std::to_string(i)) << i;
  }
  for (const std::string& layer : layers) names.push_back(layer.c_str());
  for (const char* name : {"/upper", "/work", "/root"}) fs::create_directories(store_.path() + name);
  const std::string upper = store_.path() + "/upper", work = store_.path() + "/work", root = store_.path() + "/root";
  SetupPlan plan;
  plan.layers = names.data();
  plan.layer_count = names.size();
  plan.upper = upper.c_str();
  plan.work = work.c_str();
  plan.mount_point = root.c_str();
  gantry::Process child = gantry::Process::Fork([&] {
    if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
      return 90;
    const Dir top(UniqueFd(MountRootByOptions(plan)), "root");
    const bool right = top.ReadFile(RelPath::Parse("which"), 10) == "0" && top.Exists(RelPath::Parse("only129"));
    return right ? 0 : 91;
  });
  EXPECT_EQ(child.Wait().code, 0);
}

TEST_F(ContainerTest, ManyLayersAreStacked) {
  std::vector<std::string> layers = {layer_};
  for (int i = 0; i < 130; ++i) {
    layers.push_back(store_.path() + "/" + std::string(60, 'l') + std::to_string(i));
    fs::create_directories(layers.back());
    std::ofstream(layers.back() + "/which") << i << "\n";
  }
  Pod pod = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
  RunConfig config = Config("test $(cat /which) = 0");
  Process process = Process::Start(config, {layers, false}, pod);
  EXPECT_EQ(process.Wait().code, 0);
}

}  // namespace
}  // namespace gantry::runner
