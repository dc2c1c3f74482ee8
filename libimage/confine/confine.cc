#include "libimage/confine/confine.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

// Newer than Debian's header: the numbers of linux/landlock.h, ABI 3 to 6.
struct RulesetAttributes {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};
constexpr uint64_t kBindTcp = 1;
constexpr uint64_t kConnectTcp = 2;
constexpr uint64_t kScopeAbstractUnixSocket = 1;
constexpr uint64_t kScopeSignal = 2;
constexpr uint64_t kTruncate = 1ULL << 14;
constexpr uint64_t kIoctlDevice = 1ULL << 15;

constexpr uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr uint64_t kRead = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kExecute = kRead | LANDLOCK_ACCESS_FS_EXECUTE;
constexpr uint64_t kWriteFile = kReadFile | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
constexpr uint64_t kAllOfAbi1 = (1ULL << 13) - 1;
// Everything but execution and ioctls on devices.
constexpr uint64_t kWrite =
    (kAllOfAbi1 & ~static_cast<uint64_t>(LANDLOCK_ACCESS_FS_EXECUTE)) | LANDLOCK_ACCESS_FS_REFER | kTruncate;

uint64_t HandledByAbi(int abi) {
  uint64_t handled = kAllOfAbi1;
  if (abi >= 2) {
    handled |= LANDLOCK_ACCESS_FS_REFER;
  }
  if (abi >= 3) {
    handled |= kTruncate;
  }
  if (abi >= 5) {
    handled |= kIoctlDevice;
  }
  return handled;
}

size_t AttributeBytesOfAbi(int abi) {
  if (abi >= 6) {
    return 24;
  }
  return abi >= 4 ? 16 : 8;
}

// 0 when the kernel has none or it is switched off.
int LandlockAbi() {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

void Allow(int ruleset, const std::vector<std::string>& paths, uint64_t access) {
  constexpr uint64_t kForFiles = kWriteFile | LANDLOCK_ACCESS_FS_EXECUTE;
  for (const std::string& path : paths) {
    const UniqueFd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!fd) {
      continue;
    }
    struct stat status {};
    if (fstat(fd.get(), &status) < 0) {
      ThrowErrno("stat " + Quoted(path));
    }
    const landlock_path_beneath_attr rule{.allowed_access = S_ISDIR(status.st_mode) ? access : access & kForFiles,
                                          .parent_fd = fd.get()};
    // A pipe (/dev/stdin) has no place, and Landlock does not restrict it.
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 && errno != EBADFD) {
      ThrowErrno("allow " + Quoted(path));
    }
  }
}

void ApplyLandlock(const Confinement& keep, int abi) {
  const uint64_t handled = HandledByAbi(abi);
  RulesetAttributes attributes{.handled_access_fs = handled};
  if (!keep.network) {
    attributes.handled_access_net = kBindTcp | kConnectTcp;
  }
  if (keep.execute.empty()) {
    // A process that may start programs must be able to signal them, whatever domain they enter.
    attributes.scoped = kScopeAbstractUnixSocket | (keep.signals ? 0 : kScopeSignal);
  }
  const UniqueFd ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, AttributeBytesOfAbi(abi), 0)));
  if (!ruleset) {
    ThrowErrno("make a Landlock ruleset");
  }
  Allow(ruleset.get(), keep.read, kRead & handled);
  Allow(ruleset.get(), keep.execute, kExecute & handled);
  Allow(ruleset.get(), keep.write, kWrite & handled);
  Allow(ruleset.get(), keep.remove, LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR);
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) < 0) {
    ThrowErrno("enter a Landlock domain");
  }
}

#if defined(__x86_64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_AARCH64;
#else
#error "name the audit architecture of this machine"
#endif

// Calls that no tool of gantry makes once it is confined: ways into the kernel that have been holes before, and ways
// to change what the confinement rests on.
constexpr std::array kNever{
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_unshare,
    SYS_fsopen,
    SYS_fsmount,
    SYS_fspick,
    SYS_move_mount,
    SYS_open_tree,
    SYS_mount_setattr,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_quotactl,
    SYS_personality,
    SYS_open_by_handle_at,
};

static_assert(kNever.size() < 96, "a jump over half of them takes at most 255 steps");

// By a balanced search for the number: the kernel runs the program once for each of its calls when it is loaded.
class Filter {
 public:
  Filter() {
    Add(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
    Jump(BPF_JEQ, kNativeArch, 1, 0);
    Add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    Add(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
#if defined(__x86_64__)
    // The x32 numbers would pass by the comparisons below.
    Jump(BPF_JGE, 0x40000000, 0, 1);
    Add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
#endif
  }

  void Refuse(long number, int error) { refused_[static_cast<uint32_t>(number)] = static_cast<uint32_t>(error); }

  // socket(2) for every family but Unix.
  void RefuseOtherSockets() {
    Jump(BPF_JEQ, SYS_socket, 0, 4);
    Add(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0]));
    Jump(BPF_JEQ, AF_UNIX, 1, 0);
    Add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES);
    Add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }

  void Load() {
    const std::vector<std::pair<uint32_t, uint32_t>> refused(refused_.begin(), refused_.end());
    Search(refused);
    const sock_fprog program{static_cast<uint16_t>(code_.size()), code_.data()};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0) {
      ThrowErrno("load a seccomp filter");
    }
  }

 private:
  void Add(uint16_t operation, uint32_t operand) { code_.push_back({operation, 0, 0, operand}); }
  void Jump(uint16_t test, uint32_t operand, uint8_t if_true, uint8_t if_false) {
    code_.push_back({static_cast<uint16_t>(BPF_JMP | test | BPF_K), if_true, if_false, operand});
  }
  // Of these, in their order; the second half lies behind the first, within the 255 steps of a jump.
  void Search(std::span<const std::pair<uint32_t, uint32_t>> refused) {
    if (refused.size() < 2) {
      for (const auto& [number, error] : refused) {
        Jump(BPF_JEQ, number, 0, 1);
        Add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
      }
      Add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
      return;
    }
    const size_t half = refused.size() / 2;
    const size_t jump = code_.size();
    Jump(BPF_JGE, refused[half].first, 0, 0);
    Search(refused.first(half));
    code_[jump].jt = static_cast<uint8_t>(code_.size() - jump - 1);
    Search(refused.subspan(half));
  }

  std::map<uint32_t, uint32_t> refused_;  // error by number
  std::vector<sock_filter> code_;
};

void ApplySeccomp(const Confinement& keep) {
  Filter filter;
  for (const long number : kNever) {
    filter.Refuse(number, EPERM);
  }
  if (keep.execute.empty()) {
    filter.Refuse(SYS_execve, EACCES);
    filter.Refuse(SYS_execveat, EACCES);
  }
  if (!keep.unix_sockets && !keep.network) {
    filter.Refuse(SYS_socket, EACCES);
    filter.Refuse(SYS_socketpair, EACCES);
  } else if (!keep.network) {
    filter.RefuseOtherSockets();
  }
  filter.Load();
}

bool Kept(const Confinement& keep, int capability) {
  return std::find(keep.capabilities.begin(), keep.capabilities.end(), capability) != keep.capabilities.end();
}

void DropCapabilities(const Confinement& keep) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    // Without CAP_SETPCAP nothing can be dropped from the bounding set, and nothing in it can be gained either.
    if (!Kept(keep, capability)) {
      prctl(PR_CAPBSET_DROP, capability);
    }
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (syscall(SYS_capget, &header, data.data()) < 0) {
    ThrowErrno("read the capabilities");
  }
  std::array<uint32_t, 2> mask{};
  for (const int capability : keep.capabilities) {
    mask.at(static_cast<size_t>(capability / 32)) |= 1U << (capability % 32);
  }
  for (size_t i = 0; i < data.size(); ++i) {
    data[i].permitted &= mask[i];
    data[i].effective &= mask[i];
    data[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data.data()) < 0) {
    ThrowErrno("drop capabilities");
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

void AppendList(std::string& out, std::string_view label, const std::vector<std::string>& items) {
  out += label;
  if (items.empty()) {
    out += " nothing";
  }
  for (const std::string& item : items) {
    out += " " + item;
  }
  out += "\n";
}

}  // namespace

std::vector<std::string> SystemPrograms() {
  return {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/alternatives"};
}

std::vector<std::string> SystemFiles() {
  return {"/lib",
          "/lib64",
          "/usr/lib",
          "/usr/share/locale",
          "/etc/ssl",
          "/etc/pki",
          "/usr/share/zoneinfo",
          "/usr/share/ca-certificates",
          "/etc/hosts",
          "/etc/host.conf",
          "/etc/resolv.conf",
          "/etc/nsswitch.conf",
          "/etc/services",
          "/etc/gai.conf",
          "/etc/passwd",
          "/etc/group",
          "/etc/localtime",
          "/etc/ld.so.cache",
          "/dev/null",
          "/dev/urandom",
          "/dev/random",
          "/proc/self",
          "/proc/sys/kernel",
          "/sys/devices/system/cpu",
          "/run/systemd/resolve"};
}

std::vector<std::string> Confine(const Confinement& keep) {
  std::vector<std::string> missing;
  DropCapabilities(keep);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    ThrowErrno("set no_new_privs");
  }
  const int abi = LandlockAbi();
  if (abi > 0) {
    ApplyLandlock(keep, abi);
  } else {
    missing.emplace_back("this kernel has no Landlock: files are guarded by their modes alone");
  }
  ApplySeccomp(keep);
  return missing;
}

namespace {

// Those that a binary of ours keeps by name, others by number.
std::string CapabilityName(int capability) {
  switch (capability) {
    case CAP_CHOWN:
      return "CAP_CHOWN";
    case CAP_DAC_OVERRIDE:
      return "CAP_DAC_OVERRIDE";
    case CAP_DAC_READ_SEARCH:
      return "CAP_DAC_READ_SEARCH";
    case CAP_FOWNER:
      return "CAP_FOWNER";
    case CAP_KILL:
      return "CAP_KILL";
    case CAP_FSETID:
      return "CAP_FSETID";
    case CAP_MKNOD:
      return "CAP_MKNOD";
    case CAP_SETFCAP:
      return "CAP_SETFCAP";
    case CAP_SYS_ADMIN:
      return "CAP_SYS_ADMIN";
    default:
      return "CAP_" + std::to_string(capability);
  }
}

}  // namespace

std::string Describe(const Confinement& keep) {
  const int abi = LandlockAbi();
  std::string out = "landlock: " + (abi > 0 ? "version " + std::to_string(abi) : std::string("none on this kernel"));
  out += "\n";
  AppendList(out, "reads:", keep.read);
  AppendList(out, "writes:", keep.write);
  if (!keep.remove.empty())
    AppendList(out, "removes from:", keep.remove);
  AppendList(out, "executes:", keep.execute);
  out += std::string("network: ") + (keep.network ? "internet sockets" : "none") + "\n";
  out += std::string("unix sockets: ") + (keep.unix_sockets || keep.network ? "yes" : "none") + "\n";
  std::vector<std::string> capabilities;
  for (const int capability : keep.capabilities) {
    capabilities.push_back(CapabilityName(capability));
  }
  AppendList(out, "capabilities:", capabilities);
  return out + "no_new_privs: yes\nseccomp: " + std::to_string(kNever.size()) + " system calls refused\n";
}

}  // namespace gantry::image
