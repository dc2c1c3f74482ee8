#include "runner/features.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "runner/mount_options.h"
#include "runner/setup.h"
#include "runner/spec.h"
#include "runner/syscall_table.h"

namespace gantry::runner {
namespace {

constexpr const char* kNamespaces[] = {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"};
// Docker's and so everybody's, as names.
constexpr const char* kUsualCapabilities[] = {"CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
                                              "CAP_KILL",    "CAP_NET_BIND_SERVICE", "CAP_SETFCAP",   "CAP_SETGID",
                                              "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

template <typename List>
json::Array Strings(const List& list) {
  json::Array out;
  for (const auto& one : list) out.emplace_back(std::string(one));
  return out;
}

json::Array Absolute(const char* const* paths, size_t count) {
  json::Array out;
  for (size_t i = 0; i < count; ++i) out.emplace_back(std::string("/") + paths[i]);
  return out;
}

json::Object Mount(const char* destination, const char* type, const char* source, json::Array options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", std::move(options)}};
}

json::Array Mounts(bool rootless) {
  json::Array pts = {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"};
  if (!rootless)
    pts.emplace_back("gid=5");
  json::Array out;
  out.push_back(Mount("/proc", "proc", "proc", {"nosuid", "nodev", "noexec"}));
  out.push_back(Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  out.push_back(Mount("/dev/pts", "devpts", "devpts", std::move(pts)));
  out.push_back(Mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}));
  out.push_back(Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  out.push_back(Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}));
  out.push_back(Mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}));
  return out;
}

json::Object Process() {
  json::Object sets;
  for (const char* set : {"bounding", "effective", "permitted"}) sets.Set(set, Strings(kUsualCapabilities));
  return {{"terminal", true},
          {"user", json::Object{{"uid", 0}, {"gid", 0}}},
          {"args", json::Array{"sh"}},
          {"env", json::Array{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}},
          {"cwd", "/"},
          {"capabilities", sets},
          {"rlimits", json::Array{json::Object{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}}},
          {"noNewPrivileges", true}};
}

json::Object Linux(bool rootless) {
  json::Array namespaces;
  for (const char* name : {"pid", "network", "ipc", "uts", "mount", "cgroup"})
    namespaces.push_back(json::Object{{"type", name}});
  json::Object out;
  if (rootless) {
    namespaces.push_back(json::Object{{"type", "user"}});
    const auto map = [](uint64_t id) {
      return json::Array{json::Object{{"containerID", 0}, {"hostID", id}, {"size", 1}}};
    };
    out.Set("uidMappings", map(geteuid()));
    out.Set("gidMappings", map(getegid()));
  } else {
    const json::Object none{{"allow", false}, {"access", "rwm"}};
    out.Set("resources", json::Object{{"devices", json::Array{none}}});
  }
  out.Set("namespaces", namespaces);
  out.Set("maskedPaths", Absolute(kMaskedPaths, kMaskedPathCount));
  out.Set("readonlyPaths", Absolute(kReadOnlyPaths, kReadOnlyPathCount));
  return out;
}

}  // namespace

json::Object Features() {
  std::vector<std::string> architectures;
  for (const SyscallArchitecture& one : SyscallArchitectures()) architectures.emplace_back(one.name);
  std::vector<std::string> capabilities;
  for (int i = 0; !CapabilityName(i).empty(); ++i) capabilities.push_back(CapabilityName(i));
  const json::Object seccomp{
      {"enabled", true},        {"actions", SeccompActionNames()},  {"operators", SeccompOperatorNames()},
      {"archs", architectures}, {"knownFlags", SeccompFlagNames()}, {"supportedFlags", SeccompFlagNames()}};
  const json::Object cgroup{{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}};
  const json::Object linux_part{{"namespaces", Strings(kNamespaces)},
                                {"capabilities", capabilities},
                                {"cgroup", cgroup},
                                {"seccomp", seccomp},
                                {"apparmor", json::Object{{"enabled", true}}},
                                {"selinux", json::Object{{"enabled", true}}},
                                {"intelRdt", json::Object{{"enabled", false}}},
                                {"memoryPolicy", json::Object{{"modes", json::Array{}}}},
                                {"mountExtensions", json::Object{{"idmap", json::Object{{"enabled", true}}}}},
                                {"netDevices", json::Object{{"enabled", false}}}};
  return {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", "1.2.1"},
      {"hooks", json::Array{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", MountOptionNames()},
      {"linux", linux_part},
      // They choose what a container is executed by, out of the files of the host.
      {"potentiallyUnsafeConfigAnnotations",
       json::Array{kAcceleratorAnnotation, kIsolationAnnotation, kKernelAnnotation}}};
}

json::Object DefaultSpec(bool rootless) {
  return {{"ociVersion", "1.1.0"},
          {"process", Process()},
          {"root", json::Object{{"path", "rootfs"}, {"readonly", true}}},
          {"hostname", "gantry"},
          {"mounts", Mounts(rootless)},
          {"linux", Linux(rootless)}};
}

}  // namespace gantry::runner
