#include "runner/vm/bundle_bounds.h"

#include <sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <string>
#include <vector>

#include "libimage/base/error.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace gantry::runner::vm {
namespace {

constexpr int64_t kMib = 1024 * 1024;
constexpr int64_t kMinMib = 64;
constexpr uint64_t kDefaultPeriod = 100'000;
constexpr uint64_t kMaxCpus = 64;

// The properties, in the words of config.json.
class Beyond {
 public:
  void Add(bool wanted, const std::string& what) {
    if (wanted)
      list_ += (list_.empty() ? "" : "; ") + what;
  }
  const std::string& list() const { return list_; }

 private:
  std::string list_;
};

void AddNamespaces(const Spec& spec, Beyond& out) {
  constexpr std::pair<int, const char*> kOwn[] = {
      {CLONE_NEWPID, "pid"}, {CLONE_NEWNET, "network"}, {CLONE_NEWIPC, "ipc"}, {CLONE_NEWUTS, "uts"}};
  for (const auto& [flag, name] : kOwn)
    out.Add(spec.Namespace(flag) == nullptr, "the host's " + std::string(name) + " namespace (linux.namespaces)");
  for (const SpecNamespace& space : spec.namespaces)
    out.Add(!space.path.empty(), "the namespace " + Quoted(space.path) + " (linux.namespaces)");
  out.Add(spec.Namespace(CLONE_NEWUSER) != nullptr, "a user namespace (linux.namespaces)");
  out.Add(spec.NewNamespace(CLONE_NEWTIME), "a time namespace (linux.namespaces)");
}

bool IsPrivate(uint64_t propagation) { return (propagation & (MS_SHARED | MS_SLAVE | MS_UNBINDABLE)) == 0; }

void AddMounts(const Spec& spec, Beyond& out) {
  constexpr const char* kTypes[] = {"tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"};
  for (const SpecMount& mount : spec.mounts) {
    const MountOptions& options = mount.options;
    const std::string at = " of the mount at " + Quoted(mount.destination);
    out.Add(!options.bind && !options.remount && std::ranges::find(kTypes, mount.type) == std::end(kTypes),
            "the type " + Quoted(mount.type) + at);
    out.Add(options.idmap, "the id mapping" + at);
    out.Add(!IsPrivate(options.propagation), "the propagation" + at);
    out.Add(options.remount, "the option remount" + at);
    out.Add(options.source_nofollow, "the option src-nofollow" + at);
  }
  out.Add(!IsPrivate(spec.root_propagation), "linux.rootfsPropagation");
  out.Add(!spec.mount_label.empty(), "linux.mountLabel");
}

void AddProcess(const SpecProcess& process, Beyond& out) {
  out.Add(!process.apparmor_profile.empty(), "process.apparmorProfile");
  out.Add(!process.selinux_label.empty(), "process.selinuxLabel");
  out.Add(!process.first_affinity.empty() || !process.final_affinity.empty(), "process.execCPUAffinity");
}

void AddHooks(const SpecHooks& hooks, Beyond& out) {
  // They look for the container's namespaces, and those are in another kernel.
  out.Add(!hooks.prestart.empty(), "hooks.prestart");
  out.Add(!hooks.create_runtime.empty(), "hooks.createRuntime");
  out.Add(!hooks.create_container.empty(), "hooks.createContainer");
  out.Add(!hooks.start_container.empty(), "hooks.startContainer");
}

void AddDevices(const Spec& spec, Beyond& out) {
  constexpr std::pair<uint32_t, uint32_t> kOfEveryKernel[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}};
  for (const SpecDevice& device : spec.devices)
    out.Add(device.type == 'b' ||
                (device.type == 'c' &&
                 std::ranges::find(kOfEveryKernel, std::pair(device.major, device.minor)) == std::end(kOfEveryKernel)),
            "the device " + Quoted(device.path) + " (linux.devices)");
}

void AddResources(const SpecResources& resources, Beyond& out) {
  const SpecMemory& memory = resources.memory;
  // It has no swap, and so keeps any limit of memory and swap together that is not below the one of memory.
  out.Add(memory.swap.value_or(-1) >= 0 && (memory.limit.value_or(-1) < 0 || *memory.swap < *memory.limit),
          "linux.resources.memory.swap without a limit of memory");
  out.Add(memory.kernel.value_or(-1) >= 0 || memory.kernel_tcp.value_or(-1) >= 0,
          "linux.resources.memory.kernel and kernelTCP");
  out.Add(memory.disable_oom_killer.value_or(false), "linux.resources.memory.disableOOMKiller");
  out.Add(!resources.huge_pages.empty(), "linux.resources.hugepageLimits");
  out.Add(resources.class_id.has_value() || !resources.network_priorities.empty(), "linux.resources.network");
  out.Add(!resources.rdma.empty(), "linux.resources.rdma");
  for (const auto& [file, value] : resources.unified)
    out.Add(!file.starts_with("cpu") && !file.starts_with("io."), "linux.resources.unified." + file);
}

}  // namespace

void RequireMachineCan(const Spec& spec) {
#if !defined(__x86_64__)
  throw Error(ErrorKind::kUnsupported, "virtual machines are for x86-64 alone",
              "run the bundle without the annotation dev.gantry.isolation");
#endif
  Beyond out;
  AddNamespaces(spec, out);
  AddMounts(spec, out);
  if (spec.process)
    AddProcess(*spec.process, out);
  AddHooks(spec.hooks, out);
  AddDevices(spec, out);
  AddResources(spec.resources, out);
  out.Add(spec.seccomp && spec.seccomp->notifies(), "linux.seccomp.listenerPath");
  if (!out.list().empty())
    throw Error(ErrorKind::kUnsupported, "a virtual machine cannot give a container: " + out.list(),
                "leave it out, or run the bundle without the annotation dev.gantry.isolation");
  SizeOf(spec);
}

MachineSize SizeOf(const Spec& spec) {
  MachineSize out;
  const int64_t memory = spec.resources.memory.limit.value_or(-1);
  if (memory > 0 && memory < kMinMib * kMib)
    throw Error(
        ErrorKind::kUnsupported,
        "linux.resources.memory.limit: " + std::to_string(memory) + " bytes are too little for a virtual machine",
        "give at least 64M");
  if (memory > 0)
    out.memory_mib = static_cast<uint64_t>((memory - 1) / kMib + 1);
  const SpecCpu& cpu = spec.resources.cpu;
  const uint64_t period = std::max<uint64_t>(cpu.period.value_or(kDefaultPeriod), 1);
  const uint64_t quota = cpu.quota.value_or(0) > 0 ? static_cast<uint64_t>(*cpu.quota) : 0;
  if (quota / period >= kMaxCpus + (quota % period == 0 ? 1 : 0))
    throw Error(ErrorKind::kUnsupported, "linux.resources.cpu.quota: a virtual machine has at most 64 processors",
                "give fewer");
  out.cpus = static_cast<unsigned>(std::clamp<uint64_t>((quota + period - 1) / period, 1, kMaxCpus));
  return out;
}

}  // namespace gantry::runner::vm
