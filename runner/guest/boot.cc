#include "runner/guest/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner/guest/channel.h"

namespace gantry::runner::guest {
namespace {

constexpr size_t kMaxList = 4096;  // of module names
constexpr size_t kMaxSignature = 64 * 1024;

void MountAt(const char* type, const char* target, unsigned long flags, const char* options = nullptr) {
  mkdir(target, 0755);
  if (mount(type, target, type, flags, options) == 0)
    return;
  const int error = errno;
  char what[64];
  snprintf(what, sizeof what, "mount %s", target);
  GiveUp(what, error);
}

bool Load(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const bool loaded = fd >= 0 && (syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST);
  const int error = errno;
  close(fd);
  errno = error;
  return loaded;
}

// For a kernel that insists: the signature lies beside the module, because to check it takes longer than to load it.
bool LoadSigned(const char* path) {
  char signature[264];
  snprintf(signature, sizeof signature, "%s.sig", path);
  const int to = open(path, O_WRONLY | O_CLOEXEC);  // sendfile does not append
  const int from = open(signature, O_RDONLY | O_CLOEXEC);
  const bool whole =
      to >= 0 && from >= 0 && lseek(to, 0, SEEK_END) > 0 && sendfile(to, from, nullptr, kMaxSignature) > 0;
  const int error = errno;
  close(from);
  close(to);
  errno = error;
  return whole && Load(path);
}

void LoadModule(const char* name) {
  char path[256];
  snprintf(path, sizeof path, "/modules/%s", name);
  const bool loaded = Load(path) || ((errno == EKEYREJECTED || errno == EPERM) && LoadSigned(path));
  if (!loaded) {
    const int error = errno;
    snprintf(path, sizeof path, "load the kernel module %s", name);
    GiveUp(path, error);
  }
  unlink(path);
}

// In the order of the list, which has a name a line.
void LoadModules() {
  static char list[kMaxList];
  const int fd = open("/modules/list", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, list, sizeof list - 1) < 0)
    GiveUp("read the list of modules", errno);
  close(fd);
  char* rest = list;
  for (char* name = nullptr; (name = strsep(&rest, "\n")) != nullptr;) {
    if (*name != '\0')
      LoadModule(name);
  }
}

int SealedCopy(const char* path) {
  const int from = open(path, O_RDONLY | O_CLOEXEC);
  const int to = memfd_create("gantry-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  static char buffer[64 * 1024];
  ssize_t count = 0;
  while (from >= 0 && to >= 0 && (count = read(from, buffer, sizeof buffer)) > 0) {
    if (write(to, buffer, static_cast<size_t>(count)) != count)
      GiveUp("copy the container's init", errno);
  }
  if (from < 0 || to < 0 || count < 0 ||
      fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    GiveUp("copy the container's init", errno);
  close(from);
  unlink(path);
  // Out of the way of the descriptors that a start has numbers for.
  const int out = fcntl(to, F_DUPFD_CLOEXEC, 10);
  close(to);
  return out;
}

// The root that the kernel starts with cannot be left by pivot_root: one of our own goes over it.
void SwitchRoot() {
  MountAt("tmpfs", "/own", MS_NOSUID | MS_NODEV, "mode=755,size=16m");
  for (const char* name : {"/dev", "/proc", "/sys"}) {
    char target[32];
    snprintf(target, sizeof target, "/own%s", name);
    mkdir(target, 0755);
    if (mount(name, target, nullptr, MS_MOVE, nullptr) < 0)
      GiveUp("move the kernel's file systems", errno);
  }
  if (chdir("/own") < 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) < 0 || chroot(".") < 0 || chdir("/") < 0)
    GiveUp("change the root", errno);
}

bool WriteText(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  const bool good = fd >= 0 && write(fd, text, strlen(text)) >= 0;
  if (fd >= 0)
    close(fd);
  return good;
}

// A limit of a control group; 0 is none.
void Limit(int group, const char* file, const char* form, uint64_t value) {
  if (value == 0)
    return;
  char text[48];
  const int size = snprintf(text, sizeof text, form, static_cast<unsigned long long>(value));
  const int fd = openat(group, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, static_cast<size_t>(size)) < 0)
    GiveUp("limit a control group", errno);
  close(fd);
}

// Which of the disks is that of the application they say themselves.
void FindDisk(unsigned app, char (&disk)[16]) {
  char serial[24];
  snprintf(serial, sizeof serial, "%s%u", vm::kRootSerial, app);
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    char path[32];
    char said[24] = {};
    snprintf(path, sizeof path, "/sys/block/vd%c/serial", letter);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool found = fd >= 0 && read(fd, said, sizeof said - 1) > 0 && strcmp(said, serial) == 0;
    if (fd >= 0)
      close(fd);
    snprintf(disk, sizeof disk, "/dev/vd%c", letter);
    if (found)
      return;
  }
  GiveUp("find the disk of the image", ENODEV);
}

}  // namespace

int PrepareMachine() {
  MountAt("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC);
  MountAt("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  MountAt("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  LoadModules();
  const int init = SealedCopy("/gantry-init");
  unlink("/init");
  SwitchRoot();
  return init;
}

AppPaths::AppPaths(unsigned app) {
  snprintf(lower, sizeof lower, "/apps/%u/lower", app);
  snprintf(changes, sizeof changes, "/apps/%u/changes", app);
  snprintf(upper, sizeof upper, "/apps/%u/changes/upper", app);
  snprintf(work, sizeof work, "/apps/%u/changes/work", app);
  snprintf(container, sizeof container, "/apps/%u/container", app);
}

void MountRootImage(const char* type, unsigned app, const AppPaths& paths) {
  char disk[16], top[32];
  FindDisk(app, disk);
  snprintf(top, sizeof top, "/apps/%u", app);
  mkdir("/apps", 0755);
  for (const char* dir : {static_cast<const char*>(top), paths.lower, paths.changes, paths.container}) mkdir(dir, 0755);
  if (mount(disk, paths.lower, type, MS_RDONLY | MS_NODEV, nullptr) < 0)
    GiveUp("mount the image's root file system", errno);
  if (mount("tmpfs", paths.changes, "tmpfs", MS_NODEV, "mode=755") < 0 || mkdir(paths.upper, 0755) < 0 ||
      mkdir(paths.work, 0755) < 0)
    GiveUp("make the directories of the overlay", errno);
}

void MountShares(const vm::Job& job, VolumePath (&sources)[vm::kMaxJobVolumes]) {
  if (job.head.volume_count > 0)
    mkdir("/volumes", 0755);
  for (uint64_t i = 0; i < job.head.volume_count; ++i) {
    const vm::PackedJobVolume& volume = job.volumes[i];
    if (volume.memory != 0)
      continue;
    char tag[32];
    snprintf(tag, sizeof tag, "volume-%u", volume.share);
    snprintf(sources[i], sizeof sources[i], "/volumes/%u", volume.share);
    // A bundle says itself how it is mounted.
    unsigned long flags = job.head.bundle == 0 ? MS_NOSUID | MS_NODEV : 0;
    flags |= volume.read_only != 0 ? MS_RDONLY : 0;
    // Another application may have had it before.
    if (mkdir(sources[i], 0755) == 0 && mount(tag, sources[i], "virtiofs", flags, nullptr) < 0)
      GiveUp("mount a volume", errno);
    if (volume.directory == 0)
      snprintf(sources[i], sizeof sources[i], "/volumes/%u/%s", volume.share, vm::kSharedFile);
  }
}

void LimitDevices(int group, const char* program, size_t count) {
  union bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(program);
  attributes.insn_cnt = static_cast<uint32_t>(count);
  attributes.license = reinterpret_cast<uint64_t>("Apache-2.0");
  const long loaded = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
  if (loaded < 0)
    GiveUp("load the rules of devices", errno);
  attributes = {};
  attributes.target_fd = static_cast<uint32_t>(group);
  attributes.attach_bpf_fd = static_cast<uint32_t>(loaded);
  attributes.attach_type = BPF_CGROUP_DEVICE;
  if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes) < 0)
    GiveUp("attach the rules of devices", errno);
  close(static_cast<int>(loaded));
}

int MakeCgroup(const vm::JobHead& job, unsigned app) {
  char path[64];
  if (app == 0) {
    MountAt("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  }
  // The others take their time to begin, and the limits of the only application are the machine's.
  WriteText("/sys/fs/cgroup/cgroup.subtree_control", "+pids");
  if (job.memory != 0 || job.cpu != 0)
    WriteText("/sys/fs/cgroup/cgroup.subtree_control", "+memory +cpu");
  snprintf(path, sizeof path, "/sys/fs/cgroup/app-%u", app);
  if (mkdir(path, 0755) < 0)
    GiveUp("make a control group", errno);
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    GiveUp("open a control group", errno);
  Limit(fd, "pids.max", "%llu", job.pids);
  Limit(fd, "memory.max", "%llu", job.memory);
  Limit(fd, "cpu.max", "%llu 100000", job.cpu);
  return fd;
}

}  // namespace gantry::runner::guest
