// bare_start ROOTFS FILTER GROUP...: the kernel calls of a container's start and end, and nothing else: what any
// runtime has to pay that gives a command the same isolation. No configuration is read, nothing is recorded, nothing
// explained.
//
// ROOTFS becomes the root. FILTER is a file of BPF instructions for seccomp, or "-". Each GROUP is a directory of a
// cgroup hierarchy in which a group is made, joined and removed. The command is /bin/true. Exits 0 when it did. Plain
// system calls, static, without the library of C++, so that its own start costs next to nothing.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

namespace {

constexpr int kMaxGroups = 16;
constexpr int kMaxInstructions = 4096;
constexpr unsigned kNoSuidDevExec = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
// Docker's, less what can be spared: as gantry-run's.
constexpr uint64_t kCapabilities = 1 << CAP_CHOWN | 1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER | 1 << CAP_FSETID |
                                   1 << CAP_KILL | 1 << CAP_SETGID | 1 << CAP_SETUID | 1 << CAP_SETPCAP |
                                   1 << CAP_NET_BIND_SERVICE | 1 << CAP_SYS_CHROOT | 1U << CAP_SETFCAP;
constexpr const char* kMasked[] = {"proc/acpi",
                                   "proc/asound",
                                   "proc/interrupts",
                                   "proc/kcore",
                                   "proc/keys",
                                   "proc/latency_stats",
                                   "proc/sched_debug",
                                   "proc/scsi",
                                   "proc/timer_list",
                                   "proc/timer_stats",
                                   "sys/devices/virtual/powercap",
                                   "sys/firmware",
                                   "sys/fs/selinux"};
constexpr const char* kReadOnly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
constexpr struct {
  const char* name;
  unsigned major, minor;
} kNodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
constexpr const char* kDevices[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                    "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"};

struct Group {
  char path[256];
  const char* name;  // of the hierarchy, the last of its directory's
  int fd;            // "tasks" of v1, the directory of v2
  bool v2;
};
Group groups[kMaxGroups];
int group_count = 0;
sock_filter filter[kMaxInstructions];
sock_fprog program = {0, filter};

// Takes what a call returns.
long Must(long result, const char* what) {
  if (result < 0) {
    dprintf(STDERR_FILENO, "bare_start: %s: %s\n", what, strerror(errno));
    _exit(1);
  }
  return result;
}

int Call(long result, const char* what) { return static_cast<int>(Must(result, what)); }

void Write(int dir, const char* name, const char* text) {
  const int fd = Call(openat(dir, name, O_WRONLY | O_CLOEXEC), name);
  Must(write(fd, text, strlen(text)), name);
  close(fd);
}

// What a new cpuset of v1 lacks.
void Inherit(int parent, int group, const char* name) {
  char text[256] = {};
  const int fd = Call(openat(parent, name, O_RDONLY | O_CLOEXEC), name);
  Must(read(fd, text, sizeof text - 1), name);
  close(fd);
  Write(group, name, text);
}

void MakeGroup(const char* parent) {
  Group& group = groups[group_count++];
  snprintf(group.path, sizeof group.path, "%s/bare-%d", parent, getpid());
  Must(mkdir(group.path, 0755), group.path);
  const int dir = Call(open(group.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), group.path);
  const int tasks = openat(dir, "tasks", O_WRONLY | O_CLOEXEC);
  const char* rest = parent + strlen("/sys/fs/cgroup/");
  static char names[kMaxGroups][64];
  group.name = strncpy(names[group_count - 1], rest, strcspn(rest, "/") < 63 ? strcspn(rest, "/") : 63);
  group.v2 = tasks < 0;
  group.fd = group.v2 ? dir : tasks;
  if (strcmp(group.name, "cpuset") == 0) {
    const int above = Call(open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent);
    Inherit(above, dir, "cpuset.cpus");
    Inherit(above, dir, "cpuset.mems");
    close(above);
  } else if (strcmp(group.name, "devices") == 0) {
    Write(dir, "devices.deny", "a");
    for (const char* rule : kDevices) Write(dir, "devices.allow", rule);
  }
  if (!group.v2)
    close(dir);
}

int NewMount(const char* type, unsigned attributes, const char* const (*options)[2] = nullptr, int count = 0) {
  const int context = Call(fsopen(type, FSOPEN_CLOEXEC), type);
  for (int i = 0; i < count; ++i) Must(fsconfig(context, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0), type);
  Must(fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0), type);
  const int mount = Call(fsmount(context, FSMOUNT_CLOEXEC, attributes), type);
  close(context);
  return mount;
}

void Attach(int mount, int dir, const char* name) {
  Must(move_mount(mount, "", dir, name, MOVE_MOUNT_F_EMPTY_PATH), name);
}

void Change(int mount, uint64_t attributes) {
  mount_attr change = {};
  change.attr_set = attributes;
  Must(mount_setattr(mount, "", AT_EMPTY_PATH, &change, sizeof change), "mount_setattr");
}

void MountGroups(int root) {
  const int top = NewMount("tmpfs", kNoSuidDevExec);
  Attach(top, root, "sys/fs/cgroup");
  for (int i = 0; i < group_count; ++i) {
    Must(mkdirat(top, groups[i].name, 0755), groups[i].name);
    const int tree = Call(open_tree(AT_FDCWD, groups[i].path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), groups[i].path);
    Change(tree, kNoSuidDevExec | MOUNT_ATTR_RDONLY);
    Attach(tree, top, groups[i].name);
    close(tree);
  }
  Change(top, MOUNT_ATTR_RDONLY);
  close(top);
}

void MountDev(int root) {
  static constexpr const char* kDev[][2] = {{"mode", "755"}, {"size", "65536k"}};
  static constexpr const char* kPts[][2] = {{"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}};
  static constexpr const char* kShm[][2] = {{"mode", "1777"}, {"size", "65536k"}};
  static constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},
                                              {"/proc/self/fd/0", "stdin"},
                                              {"/proc/self/fd/1", "stdout"},
                                              {"/proc/self/fd/2", "stderr"},
                                              {"pts/ptmx", "ptmx"}};
  const int dev = NewMount("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, kDev, 2);
  Attach(dev, root, "dev");
  umask(0);
  for (const auto& node : kNodes)
    Must(mknodat(dev, node.name, S_IFCHR | 0666, makedev(node.major, node.minor)), node.name);
  umask(022);
  for (const auto& [to, name] : kLinks) Must(symlinkat(to, dev, name), name);
  for (const char* name : {"pts", "shm", "mqueue"}) Must(mkdirat(dev, name, 0755), name);
  Attach(NewMount("devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, kPts, 3), dev, "pts");
  Attach(NewMount("tmpfs", kNoSuidDevExec, kShm, 2), dev, "shm");
  Attach(NewMount("mqueue", kNoSuidDevExec), dev, "mqueue");
}

void Hide(int root) {
  const int null = Call(openat(root, "dev/null", O_PATH | O_CLOEXEC), "null");
  const int empty = NewMount("tmpfs", kNoSuidDevExec | MOUNT_ATTR_RDONLY);
  bool attached = false;
  for (const char* path : kMasked) {
    struct stat status;
    const int target = openat(root, path, O_PATH | O_CLOEXEC);
    if (target < 0)
      continue;
    Must(fstat(target, &status), path);
    const bool first = S_ISDIR(status.st_mode) && !attached;
    const int cover = S_ISDIR(status.st_mode) ? empty : null;
    const int mount =
        first ? empty : Call(open_tree(cover, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), path);
    attached = attached || first;
    Must(move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), path);
  }
  for (const char* path : kReadOnly) {
    const int target = openat(root, path, O_PATH | O_CLOEXEC);
    if (target < 0)
      continue;
    const int mount = Call(open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), path);
    Change(mount, kNoSuidDevExec | MOUNT_ATTR_RDONLY);
    Must(move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), path);
  }
}

void RaiseLoopback() {
  const int fd = Call(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  ifreq request = {};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  Must(ioctl(fd, SIOCSIFFLAGS, &request), "lo");
  close(fd);
}

void Restrict() {
  for (int i = 0; i <= CAP_LAST_CAP; ++i) {
    if ((kCapabilities >> i & 1) == 0)
      Must(prctl(PR_CAPBSET_DROP, i, 0, 0, 0), "drop a capability");
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  data[0].permitted = data[0].effective = static_cast<uint32_t>(kCapabilities);
  Must(syscall(SYS_capset, &header, data), "capset");
  Must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  if (program.len > 0)
    Must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

[[noreturn]] void BeContainer(const char* rootfs) {
  Must(setsid(), "setsid");
  for (int i = 0; i < group_count; ++i) {
    if (!groups[i].v2)
      Must(write(groups[i].fd, "0", 1), groups[i].path);
  }
  Must(unshare(CLONE_NEWCGROUP), "unshare");
  Must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount");
  const int root = Call(open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), rootfs);
  Must(move_mount(root, "", AT_FDCWD, rootfs, MOVE_MOUNT_F_EMPTY_PATH), rootfs);
  RaiseLoopback();
  Attach(NewMount("proc", kNoSuidDevExec), root, "proc");
  Attach(NewMount("sysfs", kNoSuidDevExec | MOUNT_ATTR_RDONLY), root, "sys");
  MountGroups(root);
  MountDev(root);
  Hide(root);
  Must(sethostname("bare", 4), "sethostname");
  Must(fchdir(root), "fchdir");
  Must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  Must(umount2(".", MNT_DETACH), "umount");
  Must(chdir("/"), "chdir");
  Restrict();
  char name[] = "/bin/true";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  execve(name, arguments, environment);
  Must(-1, name);
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc - 3 > kMaxGroups)
    return 2;
  if (strcmp(argv[2], "-") != 0) {
    const int fd = Call(open(argv[2], O_RDONLY | O_CLOEXEC), argv[2]);
    program.len = static_cast<unsigned short>(Must(read(fd, filter, sizeof filter), argv[2]) / sizeof *filter);
    close(fd);
  }
  clone_args arguments = {};
  arguments.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  arguments.exit_signal = SIGCHLD;
  for (int i = 3; i < argc; ++i) {
    MakeGroup(argv[i]);
    if (groups[group_count - 1].v2) {
      arguments.flags |= CLONE_INTO_CGROUP;
      arguments.cgroup = static_cast<uint64_t>(groups[group_count - 1].fd);
    }
  }
  const long child = Must(syscall(SYS_clone3, &arguments, sizeof arguments), "clone3");
  if (child == 0)
    BeContainer(argv[1]);
  int status = 0;
  Must(waitpid(static_cast<pid_t>(child), &status, 0), "wait");
  for (int i = 0; i < group_count; ++i) Must(rmdir(groups[i].path), groups[i].path);
  return status == 0 ? 0 : 1;
}
