#include "runner/chroot.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/report.h"
#include "runner/setup_steps.h"
#include "runner/user.h"

namespace gantry::runner {
namespace {

constexpr MessageBounds kAnswerBounds{4, 32 * 1024, "the process that changes the root"};

struct Device {
  const char* path;
  unsigned major, minor;
};
constexpr Device kDevices[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                               {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

void RequireChrootCan(const RunConfig& config) {
  if (!config.volumes.empty() || !config.secrets.empty() || !config.devices.empty() || config.terminal)
    throw Error(ErrorKind::kUnsupported, "without a container there are no volumes, secrets, devices and terminals",
                "run it in one, or leave them out");
}

SetupPlan PlanOf(const RunConfig& config, const Rootfs& rootfs, const std::string& mount_point,
                 const std::vector<const char*>& layers) {
  SetupPlan plan;
  plan.host_network = config.network == Network::kHost;
  plan.user_xattrs = rootfs.user_xattrs;
  plan.layers = layers.data();
  plan.layer_count = layers.size();
  plan.upper = rootfs.upper.c_str();
  plan.work = rootfs.work.c_str();
  plan.mount_point = mount_point.c_str();
  return plan;
}

// Steps of setup_steps.h end the process with a report, which the parent reads.
void MakeDev(int root) {
  static const char* const kOptions[] = {"mode=755", "size=64k", nullptr};
  const int dev = NewMount("tmpfs", kOptions, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, Step::kDev);
  Attach(dev, OpenMountPoint(root, "dev", Step::kDev), Step::kDev);
  const mode_t before = umask(0);
  for (const Device& device : kDevices)
    MakeNode(root, {device.path, S_IFCHR | 0666, makedev(device.major, device.minor), 0, 0}, 0);
  umask(before);
  MakeLinks(dev);
}

// Of the namespace that this process is the first in. The host's is never shown instead.
void TryMountProc(int root) {
  const UniqueFd context(fsopen("proc", FSOPEN_CLOEXEC));
  if (!context || fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return;
  const UniqueFd proc(
      fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!proc)
    return;
  Attach(proc.get(), OpenMountPoint(root, "proc", Step::kProc), Step::kProc);
  const UniqueFd null(OpenInContainer(root, "dev/null", O_PATH));
  Mask mask(null.get());
  HideKernelPaths(root, "proc/", mask);
}

// With the host's network, its names.
void ShowResolver(int root) {
  const UniqueFd tree(open_tree(AT_FDCWD, "/etc/resolv.conf", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree)
    return;
  SetAttributes(tree.get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, false, Step::kEtc);
  Attach(tree.get(), OpenOrMake(root, "/etc/resolv.conf", false, Step::kEtc, 0), Step::kEtc);
}

void Become(const Credentials& who, uint64_t capabilities, bool keep_groups) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if ((capabilities >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
      ThrowErrno("give up a capability");
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (!keep_groups && setgroups(who.groups.size(), who.groups.data()) < 0)
    ThrowErrno("set the groups");
  if (setresgid(who.gid, who.gid, who.gid) < 0 || setresuid(who.uid, who.uid, who.uid) < 0)
    ThrowErrno("become user " + std::to_string(who.uid) + ":" + std::to_string(who.gid));
  // What is executed as root has what the bounding set leaves; what we have by inheritance goes.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0)
    ThrowErrno("read the capabilities");
  data[0].inheritable = data[1].inheritable = 0;
  if (syscall(SYS_capset, &header, data) < 0)
    ThrowErrno("set the capabilities");
}

void SetFilter(std::span<const sock_filter> filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      (!filter.empty() && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0))
    ThrowErrno("filter system calls");
}

// The exit code where nothing could be executed.
int Execute(const SpecProcess& process) {
  std::vector<char*> arguments, environment;
  for (const std::string& text : process.args) arguments.push_back(const_cast<char*>(text.c_str()));
  for (const std::string& text : process.env) environment.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  environment.push_back(nullptr);
  int error = ENOENT;
  for (const std::string& path : ExecutableCandidates(process.args.front(), process.env)) {
    execve(path.c_str(), arguments.data(), environment.data());
    if (errno != ENOENT && errno != ENOTDIR)
      error = errno;
  }
  std::fprintf(stderr, "cannot execute '%s': %s\n", process.args.front().c_str(), std::strerror(error));
  return error == ENOENT ? 127 : 126;
}

// As Process::Fork, for the first process of a namespace: it does not see the parent whose end is to be its own.
int RunAsFirst(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    try {
      _exit(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 ? body() : 125);
    } catch (...) {
      _exit(125);
    }
  }
  int status = 125 << 8;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return ExitStatusOf(status).code;
}

// Process 1 of the namespace waits, so that signals have their usual meaning for the command.
int RunFirst(const RunConfig& config, int root, const std::optional<IdMap>& map, int answer) {
  const auto filter = FilterFor(config);
  Credentials who;
  InitRequest request;
  TryMountProc(root);
  const int prepared = ReportErrors(answer, [&] {
    who = ResolveUser(Dir(UniqueFd(fcntl(root, F_DUPFD_CLOEXEC, 10)), "the root"), config.user);
    if (map && (!map->HasUid(who.uid) || !map->HasGid(who.gid)))
      throw Error(ErrorKind::kUnsupported, "user " + std::to_string(who.uid) + " is not mapped without root");
    request = RequestFor(config, who, "", filter);
  });
  if (prepared != 0)
    return prepared;
  Pivot(root, false);
  return gantry::Process::Fork([&] {
           int code = 0;
           const int failed = ReportErrors(answer, [&] {
             if (chdir(config.working_dir.c_str()) < 0)
               ThrowErrno("change to the directory " + Quoted(config.working_dir));
             const UniqueFd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
             if (!nothing || dup2(nothing.get(), STDIN_FILENO) < 0)
               ThrowErrno("open /dev/null");
             Become(who, config.capabilities, map && map->single());
             SetFilter(filter);
             code = Execute(request.process);
           });
           return failed != 0 ? failed : code;
         })
      .Wait()
      .code;
}

// As of a container (setup.cc): no terminal of the caller's to push input into, and no keys of his.
void LeaveSession() {
  if (setsid() < 0)
    ThrowErrno("begin a session");
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
}

int Enter(const RunConfig& config, const SetupPlan& plan, const std::optional<IdMap>& map, int control, int answer) {
  if (dup3(control, kControlFd, O_CLOEXEC) < 0)
    return 125;
  const int failed = ReportErrors(answer, [&] {
    LeaveSession();
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | (plan.host_network ? 0 : CLONE_NEWNET)) < 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
      ThrowErrno("make a mount namespace");
  });
  if (failed != 0)
    return failed;
  const int root = MountRoot(plan);
  RaiseLoopback(plan);
  MakeDev(root);
  if (plan.host_network)
    ShowResolver(root);
  if (config.working_dir != "/")
    close(OpenOrMake(root, config.working_dir.c_str(), true, Step::kWorkingDir, 0));
  return RunAsFirst([&] { return RunFirst(config, root, map, answer); });
}

}  // namespace

int RunInChroot(const RunConfig& config, const Rootfs& rootfs, const std::string& mount_point,
                const std::optional<IdMap>& map) {
  RequireChrootCan(config);
  std::vector<const char*> layers;
  for (const std::string& layer : rootfs.layers) layers.push_back(layer.c_str());
  const SetupPlan plan = PlanOf(config, rootfs, mount_point, layers);
  auto [ours, theirs] = SocketPair(SOCK_SEQPACKET);
  // Out of the way of what the steps have a number for.
  UniqueFd control(fcntl(theirs.get(), F_DUPFD_CLOEXEC, 10));
  Pipe answer = MakePipe();
  UniqueFd told(fcntl(answer.write.get(), F_DUPFD_CLOEXEC, 10));
  const auto body = [&] { return Enter(config, plan, map, control.get(), told.get()); };
  const ExitStatus status = map ? RunInUserNamespace(*map, body) : gantry::Process::Fork(body).Wait();
  answer.write.Reset();
  theirs.Reset();
  control.Reset();
  told.Reset();
  if (const auto received = ReceiveReport(ours.get()))
    throw Explain(received->report, config, plan).error;
  if (ReceiveMessage(answer.read.get(), kAnswerBounds))
    throw Error(ErrorKind::kFailed, "the process that changes the root says what it should not");
  return status.code;
}

}  // namespace gantry::runner
