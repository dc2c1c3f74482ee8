#include "runner/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <initializer_list>
#include <span>

#include "libimage/base/pass_descriptor.h"
#include "runner/loopback.h"
#include "runner/setup_steps.h"

namespace gantry::runner {
namespace {

// Newer kernels may know more than our headers: the whole field, up to the first that this kernel does not have.
constexpr int kLastCapability = 63;

void EnterNetwork(const SetupPlan& plan) {
  if (plan.network < 0)
    return;
  if (setns(plan.network, CLONE_NEWNET) < 0)
    FailSetup(Step::kNetworkNamespace, errno);
  close(plan.network);
}

// With a user namespace the parent writes the maps first; then we are root in it. Returns what comes with its word: the
// root of the container, or -1.
int BecomeRoot(const SetupPlan& plan) {
  if (!plan.user_namespace && !plan.inner_root)
    return -1;
  std::byte go{};
  Arrival arrival{0, -1};
  if (plan.user_namespace || plan.root_comes)
    arrival = ReceiveWithDescriptor(kControlFd, std::span(&go, 1));
  if ((plan.user_namespace && arrival.size != 1) || (plan.root_comes && arrival.fd < 0))
    FailSetup(Step::kIdMap, EPIPE);
  if (syscall(SYS_setresgid, 0, 0, 0) < 0 || (!plan.single_id && syscall(SYS_setgroups, 0, nullptr) < 0) ||
      syscall(SYS_setresuid, 0, 0, 0) < 0)
    FailSetup(Step::kBecomeRoot, errno);
  return arrival.fd;
}

// A session of its own: no controlling terminal of the host to push input into (CVE-2017-5226). Kernel keys of the
// caller stay outside; a kernel without keys, or who confines us from them, has none to give.
void LeaveSession(const SetupPlan& plan) {
  if (plan.answers < 0 && setsid() < 0)
    FailSetup(Step::kSession, errno);
  if (plan.new_keyring && syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, plan.keyring) < 0 && errno != ENOSYS &&
      errno != EPERM)
    FailSetup(Step::kSession, errno, 0, errno == EDQUOT ? "of keys, which kernel.keys.maxkeys limits" : "");
}

void Join(int tasks, size_t index) {
  if (write(tasks, "0", 1) != 1)
    FailSetup(Step::kJoinCgroup, errno, index);
  close(tasks);
}

}  // namespace

void JoinCgroups(const SetupPlan& plan) {
  for (size_t i = 0; i < plan.task_count; ++i) Join(plan.tasks[i], i);
  char there = 0;
  if (plan.late_task_count > 0 && recv(kControlFd, &there, sizeof there, 0) != sizeof there)
    FailSetup(Step::kJoinCgroup, EPIPE);
  for (size_t i = 0; i < plan.late_task_count; ++i) {
    const int tasks = openat(plan.late_top, plan.late_tasks[i], O_WRONLY | O_CLOEXEC);
    if (tasks < 0)
      FailSetup(Step::kJoinCgroup, errno, i);
    Join(tasks, i);
  }
  // After joining, so that the namespace's root is the container's group.
  if (plan.joined_cgroup && unshare(CLONE_NEWCGROUP) < 0)
    FailSetup(Step::kCgroupNamespace, errno);
}

namespace {

// A regular file in the container's /etc with our text, through the overlay. What the image has in its place is
// replaced, unless it is a link to a file inside the root, which is written to.
void WriteEtc(int root, const EtcFile& file, size_t index) {
  const int etc = OpenOrMake(root, "/etc", true, Step::kEtc, index);
  char path[64] = "/etc/";
  std::strncat(path, file.name, sizeof path - 6);
  int fd = OpenResolved(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY,
                        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 0644);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
    if (fd >= 0)
      close(fd);
    if (unlinkat(etc, file.name, 0) < 0 && errno != ENOENT)
      FailSetup(Step::kEtc, errno, index);
    fd = openat(etc, file.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  }
  if (fd < 0 || write(fd, file.text, file.size) != static_cast<ssize_t>(file.size))
    FailSetup(Step::kEtc, errno, index);
  close(fd);
  close(etc);
}

int OpenVolume(const VolumePlan& volume, size_t index) {
  if (volume.source == nullptr)
    return NewMount("tmpfs", volume.data, 0, Step::kVolumeMount, index);
  if (volume.tree >= 0)
    return volume.tree;
  const unsigned recursive = volume.recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U;
  const int source = open_tree(AT_FDCWD, volume.source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
  if (source < 0)
    FailSetup(Step::kVolumeSource, errno, index);
  return source;
}

void MountVolume(int root, const VolumePlan& volume, size_t index) {
  struct stat status {};
  if (fstat(volume.tree, &status) < 0)
    FailSetup(Step::kVolumeSource, errno, index);
  const uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (volume.read_only ? MOUNT_ATTR_RDONLY : 0) |
                              (volume.executable ? 0 : MOUNT_ATTR_NOEXEC);
  SetAttributes(volume.tree, attributes, true, Step::kVolumeMount, index);
  const int target = OpenOrMake(root, volume.target, S_ISDIR(status.st_mode), Step::kVolumeTarget, index);
  Attach(volume.tree, target, Step::kVolumeMount, index);
  close(volume.tree);
  close(target);
}

// In memory, and read-only once they are written.
void MountSecrets(const SetupPlan& plan, int root) {
  if (plan.secret_count == 0)
    return;
  const char* options[] = {"mode=755", nullptr};
  const int mount = NewMount("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, Step::kSecret);
  for (size_t i = 0; i < plan.secret_count; ++i) {
    const SecretPlan& secret = plan.secrets[i];
    const int fd = openat(mount, secret.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0 || write(fd, secret.text, secret.size) != static_cast<ssize_t>(secret.size) ||
        fchown(fd, secret.uid, secret.gid) < 0 || fchmod(fd, secret.mode) < 0)
      FailSetup(Step::kSecret, errno, i);
    close(fd);
  }
  SetAttributes(mount, MOUNT_ATTR_RDONLY, false, Step::kSecret);
  const int target = OpenOrMake(root, "/run/secrets", true, Step::kSecret, 0);
  Attach(mount, target, Step::kSecret);
  close(mount);
  close(target);
}

void MakeNodes(const SetupPlan& plan, int root) {
  const mode_t before = umask(0);
  for (size_t i = 0; i < plan.node_count; ++i) MakeNode(root, plan.nodes[i], i);
  umask(before);
}

}  // namespace

void RaiseLoopback(const SetupPlan& plan) {
  if (!plan.host_network && plan.network < 0 && !plan.network_made && !StartLoopback())
    FailSetup(Step::kLoopback, errno);
}

namespace {

// Before the runner says which environment the application has, for its address is part of that.
void OpenListener(const SetupPlan& plan) {
  if (!plan.metadata)
    return;
  RaiseLoopback(plan);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 || listen(fd, 16) < 0)
    FailSetup(Step::kLoopback, errno);
  SendDescriptor(Report::kListener, fd, Step::kLoopback);
  close(fd);
}

// The host's /dev/null, for a program of the host.
void TakeOutput(const SetupPlan& plan) {
  if (plan.output < 0)
    return;
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(plan.output, STDOUT_FILENO) < 0 ||
      dup2(plan.output, STDERR_FILENO) < 0)
    FailSetup(Step::kStandardInput, errno);
}

void OpenStandardInput(const SetupPlan& plan, int dev) {
  if (plan.terminal || plan.interactive)
    return;
  const int null = openat(dev, "null", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0)
    FailSetup(Step::kStandardInput, errno);
}

// Init needs four capabilities to start the application and signal it; they are in the default set anyway, and the
// application's own bounding set is made exact by init.
void DropCapabilities(uint64_t keep) {
  for (const int capability : {CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP}) keep |= uint64_t{1} << capability;
  for (int capability = 0; capability <= kLastCapability; ++capability) {
    if ((keep >> capability & 1) != 0 || prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
      continue;
    if (errno != EINVAL)
      FailSetup(Step::kCapabilities, errno);
    break;
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0)
    FailSetup(Step::kCapabilities, errno);
  for (unsigned half = 0; half < 2; ++half) {
    data[half].permitted &= static_cast<uint32_t>(keep >> (32 * half));
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;  // CVE-2022-29162
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &header, data) < 0)
    FailSetup(Step::kCapabilities, errno);
}

// Opened before anything of the container can have a say in what /proc is: init writes labels through it, and has no
// library to find another (CVE-2019-16884, CVE-2019-19921).
int OpenProcForLabels(const SetupPlan& plan) {
  if (!plan.labels)
    return -1;
  int proc = fsopen("proc", FSOPEN_CLOEXEC);
  int mount = -1;
  if (proc >= 0 && fsconfig(proc, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0)
    mount = fsmount(proc, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (mount < 0)
    FailSetup(Step::kProc, errno);
  close(proc);
  return mount;
}

// Above the numbers that init finds descriptors at.
int Lift(int fd, size_t tasks) {
  const int out = fcntl(fd, F_DUPFD_CLOEXEC, kFirstTaskFd + static_cast<int>(tasks));
  if (out < 0)
    FailSetup(Step::kStartInit, errno);
  return out;
}

// For an init that enters: with the descriptors of groups that it joins when it is in the pid namespace, for whoever
// joins before counts twice against a limit. Returns that of init.
int PlaceForEntry(const SetupPlan& plan) {
  const int init = Lift(plan.init, plan.task_count);
  const int answers = Lift(plan.answers, plan.task_count);
  int tasks[kMaxTasks];
  if (plan.task_count > kMaxTasks)
    FailSetup(Step::kStartInit, E2BIG);
  for (size_t i = 0; i < plan.task_count; ++i) tasks[i] = Lift(plan.tasks[i], plan.task_count);
  bool good = dup2(answers, kAnswersFd) >= 0;
  for (size_t i = 0; i < plan.task_count; ++i) good = good && dup2(tasks[i], kFirstTaskFd + static_cast<int>(i)) >= 0;
  if (!good)
    FailSetup(Step::kStartInit, errno);
  return init;
}

[[noreturn]] void StartInit(const SetupPlan& plan, int proc) {
  if (plan.no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    FailSetup(Step::kNoNewPrivs, errno);
  if (syscall(SYS_close_range, kControlFd + 1, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) < 0)
    FailSetup(Step::kStartInit, errno);
  fcntl(kControlFd, F_SETFD, 0);
  // Last: the number may have been that of what only had to live until now.
  int init = plan.init;
  if (proc >= 0) {
    init = init == kProcFd ? fcntl(init, F_DUPFD_CLOEXEC, kProcFd + 1) : init;
    if (proc == kProcFd ? fcntl(proc, F_SETFD, 0) < 0 : dup2(proc, kProcFd) < 0)
      FailSetup(Step::kStartInit, errno);
  }
  if (plan.answers >= 0)
    init = PlaceForEntry(plan);
  char name[] = "gantry-init";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  syscall(SYS_execveat, init, "", arguments, environment, AT_EMPTY_PATH);
  FailSetup(Step::kStartInit, errno);
}

// `coming`: the root, or -1.
void SetUpImage(const SetupPlan& plan, int coming) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    FailSetup(Step::kPrivateMounts, errno);
  // The root may cover the pod's directory, where its empty volumes are.
  for (size_t i = 0; i < plan.volume_count; ++i) plan.volumes[i].tree = OpenVolume(plan.volumes[i], i);
  const int root = coming >= 0 ? coming : MountRoot(plan);
  if (coming >= 0)
    PlaceRoot(root, plan.mount_point);
  OpenListener(plan);
  SendDescriptor(Report::kRoot, root, Step::kAttachRoot);
  char go = 0;
  if (plan.await_network && recv(kControlFd, &go, 1, 0) != 1)
    FailSetup(Step::kEtc, EPIPE);
  for (size_t i = 0; i < plan.etc_count; ++i) {
    if (plan.etc[i].name != nullptr)
      WriteEtc(root, plan.etc[i], i);
  }
  RaiseLoopback(plan);
  const KernelMounts kernel = MountKernelFileSystems(plan, root);
  MakeNodes(plan, root);
  for (size_t i = 0; i < plan.volume_count; ++i) MountVolume(root, plan.volumes[i], i);
  MountSecrets(plan, root);
  if (std::strcmp(plan.working_dir, "/") != 0)
    close(OpenOrMake(root, plan.working_dir, true, Step::kWorkingDir, 0));
  if (plan.read_only_rootfs)
    SetAttributes(root, MOUNT_ATTR_RDONLY, false, Step::kReadOnlyRoot);
  if (sethostname(plan.hostname, std::strlen(plan.hostname)) < 0)
    FailSetup(Step::kHostname, errno);
  Pivot(root, false);
  OpenStandardInput(plan, kernel.dev);
}

// A terminal out of the devpts of the container that was entered.
void OpenTerminal(const SetupPlan& plan) {
  if (!plan.terminal)
    return;
  const int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  MakeConsole(-1, OpenDevPts(root, "/dev/pts is not a devpts file system"));
  close(root);
}

}  // namespace

void RunSetup(const SetupPlan& plan) {
  if (plan.control != kControlFd && dup2(plan.control, kControlFd) < 0)
    _exit(125);
  EnterNetwork(plan);
  const int root = BecomeRoot(plan);
  LeaveSession(plan);
  if (plan.late_task_count == 0 && plan.answers < 0)
    JoinCgroups(plan);
  TakeOutput(plan);
  const int proc = plan.answers < 0 ? OpenProcForLabels(plan) : -1;
  if (plan.entered)
    OpenTerminal(plan);
  else if (plan.bundle != nullptr)
    SetUpBundle(plan, *plan.bundle);
  else
    SetUpImage(plan, root);
  const bool mounts_proc = plan.answers >= 0 && plan.labels;
  DropCapabilities(plan.capabilities | (mounts_proc ? uint64_t{1} << CAP_SYS_ADMIN : 0));
  StartInit(plan, proc);
}

}  // namespace gantry::runner
