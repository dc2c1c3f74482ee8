// linux of a config.json, and its mounts.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "libimage/base/error.h"
#include "libimage/model/execution.h"
#include "runner/spec.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace gantry::runner {
namespace {

struct NamespaceName {
  std::string_view name;
  int flag;
};
constexpr NamespaceName kNamespaces[] = {
    {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},      {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS}, {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

template <typename Take>
void IfThere(const json::Cursor& at, std::string_view key, Take take) {
  if (const auto found = at.Find(key))
    take(*found);
}

std::vector<SpecNamespace> ParseNamespaces(const json::Cursor& at) {
  std::vector<SpecNamespace> out;
  for (const json::Cursor& one : at.Elements(std::size(kNamespaces))) {
    const json::Cursor type = one.At("type");
    const auto* const known = std::ranges::find(kNamespaces, type.String(), &NamespaceName::name);
    if (known == std::end(kNamespaces))
      type.Fail("unknown namespace " + Quoted(type.String()));
    if (std::ranges::find(out, known->flag, &SpecNamespace::flag) != out.end())
      type.Fail("expected each namespace once");
    SpecNamespace space{known->flag, {}};
    IfThere(one, "path", [&](const json::Cursor& path) {
      if (!path.String().empty())
        space.path = ParseSpecPath(path);
    });
    out.push_back(std::move(space));
  }
  return out;
}

std::vector<SpecTimeOffset> ParseTimeOffsets(const json::Cursor& at) {
  std::vector<SpecTimeOffset> out;
  for (const auto& [clock, value] : at.Members(2)) {
    if (clock != "monotonic" && clock != "boottime")
      value.Fail("expected the clocks 'monotonic' and 'boottime'");
    SpecTimeOffset offset{clock, 0, 0};
    constexpr int64_t kFar = std::numeric_limits<int64_t>::max() / 1'000'000'000;
    IfThere(value, "secs", [&](const json::Cursor& c) { offset.seconds = c.Integer(-kFar, kFar); });
    IfThere(value, "nanosecs",
            [&](const json::Cursor& c) { offset.nanoseconds = static_cast<uint32_t>(c.Unsigned(999'999'999)); });
    out.push_back(std::move(offset));
  }
  return out;
}

SpecDevice ParseDevice(const json::Cursor& at) {
  constexpr uint64_t kMaxMajor = 0xFFF;
  constexpr uint64_t kMaxMinor = 0xFFFFF;
  SpecDevice out;
  const json::Cursor type = at.At("type");
  if (type.String() != "c" && type.String() != "b" && type.String() != "u" && type.String() != "p")
    type.Fail("expected 'c', 'b', 'u' or 'p'");
  out.type = type.String() == "u" ? 'c' : type.String()[0];
  out.path = ParseSpecPath(at.At("path"));
  if (out.type != 'p') {
    out.major = static_cast<uint32_t>(at.At("major").Unsigned(kMaxMajor));
    out.minor = static_cast<uint32_t>(at.At("minor").Unsigned(kMaxMinor));
  }
  // Engines write the bits of the type, too.
  IfThere(at, "fileMode",
          [&](const json::Cursor& c) { out.mode = static_cast<uint32_t>(c.Unsigned(0xFFFFFFFF)) & 07777; });
  IfThere(at, "uid", [&](const json::Cursor& c) { out.uid = static_cast<uint32_t>(c.Unsigned(kMaxSpecId)); });
  IfThere(at, "gid", [&](const json::Cursor& c) { out.gid = static_cast<uint32_t>(c.Unsigned(kMaxSpecId)); });
  return out;
}

void ParsePropagation(const json::Cursor& at, Spec& out) {
  if (at.String().empty())
    return;
  const MountOptions options = ParseMountOptions({at.String()});
  if (options.propagation == 0)
    at.Fail("expected a propagation like 'rslave'");
  out.root_propagation = options.propagation;
  out.root_propagation_all = options.propagation_all;
}

std::vector<std::string> ParsePaths(const json::Cursor& at) {
  std::vector<std::string> out;
  for (const json::Cursor& path : at.Elements(kMaxSpecItems)) out.push_back(ParseSpecPath(path));
  return out;
}

// Only what belongs to a namespace of the container: a value of the host is not for a container to set. Dots separate,
// or slashes; what could lead elsewhere is refused (CVE-2022-0811).
void CheckSysctl(const json::Cursor& at, const std::string& key, const Spec& spec) {
  const auto in = [&](int flag) { return spec.Namespace(flag) != nullptr; };
  const bool spelled = std::ranges::all_of(
      key, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '/'; });
  if (!spelled || key.find("..") != std::string::npos || key.find("//") != std::string::npos || key.starts_with('/') ||
      key.starts_with('.') || at.String().find_first_of(std::string_view("\n\0", 2)) != std::string::npos)
    at.Fail("expected the name and the value of a sysctl");
  std::string dotted = key;
  std::ranges::replace(dotted, '/', '.');
  static constexpr std::string_view kIpc[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                              "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                              "kernel.shmmni", "kernel.shm_rmid_forced"};
  const bool ipc = std::ranges::find(kIpc, dotted) != std::end(kIpc) || dotted.starts_with("fs.mqueue.");
  const bool uts = dotted == "kernel.domainname" || dotted == "kernel.hostname";
  const bool own = (ipc && in(CLONE_NEWIPC)) || (dotted.starts_with("net.") && in(CLONE_NEWNET)) ||
                   (uts && in(CLONE_NEWUTS)) || (dotted.starts_with("user.") && in(CLONE_NEWUSER));
  if (!own)
    at.Fail("sysctl " + Quoted(key) + " is not in a separate kernel namespace of the container");
}

void ParseSysctl(const json::Cursor& at, Spec& out) {
  for (const auto& [key, value] : at.Members(kMaxSpecItems)) {
    CheckSysctl(value, key, out);
    out.sysctl.emplace(key, value.String());
  }
}

uint32_t ParsePersonality(const json::Cursor& at) {
  const json::Cursor domain = at.At("domain");
  if (const auto flags = at.Find("flags"); flags && !flags->Elements(kMaxSpecItems).empty())
    flags->Fail("expected no flags: the specification has none");
  if (domain.String() == "LINUX")
    return 0;
  if (domain.String() == "LINUX32")
    return 8;
  domain.Fail("expected 'LINUX' or 'LINUX32'");
}

void RefuseUnsupported(const json::Cursor& at, const Spec& out) {
  if (at.Find("intelRdt"))
    throw Error(ErrorKind::kUnsupported, "the bundle wants cache allocation (linux.intelRdt)",
                "this runtime does not set it up");
  if (const auto policy = at.Find("memoryPolicy"))
    throw Error(ErrorKind::kUnsupported, "the bundle wants a NUMA memory policy (linux.memoryPolicy)",
                "this runtime does not set it; use linux.resources.cpu.mems");
  if (const auto devices = at.Find("netDevices"); devices && !devices->Members(kMaxSpecItems).empty())
    throw Error(ErrorKind::kUnsupported, "the bundle wants network devices moved (linux.netDevices)",
                "give a network namespace that has them by its path");
  const SpecNamespace* mounts = out.Namespace(CLONE_NEWNS);
  if (mounts == nullptr || !mounts->path.empty())
    throw Error(ErrorKind::kUnsupported, "the bundle wants no mount namespace of its own",
                "add {\"type\": \"mount\"} to linux.namespaces");
}

void CheckIds(const json::Cursor& at, const Spec& out) {
  const bool maps = !out.uids.empty() || !out.gids.empty();
  if (maps && out.Namespace(CLONE_NEWUSER) == nullptr)
    at.Fail("expected a user namespace with uidMappings and gidMappings");
  if (out.NewNamespace(CLONE_NEWUSER) && (out.uids.empty() || out.gids.empty()))
    at.Fail("expected uidMappings and gidMappings with a new user namespace");
  if (!out.time_offsets.empty() && !out.NewNamespace(CLONE_NEWTIME))
    at.Fail("expected a time namespace of its own with timeOffsets");
}

// What nothing would act on.
void RefuseIdleOptions(const SpecMount& mount) {
  const MountOptions& options = mount.options;
  const auto refuse = [&](bool wanted, const std::string& what) {
    if (wanted)
      throw Error(ErrorKind::kUnsupported, "the mount at " + Quoted(mount.destination) + " cannot have " + what,
                  "'gantry-oci features' lists what mounts can have, as mountOptions");
  };
  const auto maps = [](std::string_view option) {
    return option.starts_with("idmap=") || option.starts_with("ridmap=");
  };
  refuse(std::ranges::any_of(options.data, maps), "its id mapping in an option: give uidMappings and gidMappings");
  refuse(options.remount && !options.data.empty(), "options of a file system with 'remount'");
  refuse(options.copy_up && (options.bind || options.remount), "'tmpcopyup': that is for a tmpfs");
  refuse(options.idmap && !options.bind, "an id mapping: that is for bind mounts");
}

SpecMount ParseMount(const json::Cursor& at) {
  SpecMount out;
  const json::Cursor destination = at.At("destination");
  // Relative ones are of old bundles, and count from the root.
  if (destination.String().empty() || destination.String().find('\0') != std::string::npos)
    destination.Fail("expected a path");
  out.destination = image::CleanAbsolute(destination.String());
  if (out.destination == "/")
    destination.Fail("expected a path below the root");
  const auto text = [&](std::string_view key, std::string& into) {
    IfThere(at, key, [&](const json::Cursor& c) {
      if (c.String().find('\0') != std::string::npos)
        c.Fail("expected a text without NUL bytes");
      into = c.String();
    });
  };
  text("type", out.type);
  text("source", out.source);
  std::vector<std::string> options;
  IfThere(at, "options", [&](const json::Cursor& c) { options = c.Strings(kMaxSpecItems); });
  for (const std::string& option : options) {
    if (option.empty() || option.find('\0') != std::string::npos)
      at.At("options").Fail("expected options that are not empty");
  }
  out.options = ParseMountOptions(options);
  if (out.type == "bind")
    out.options.bind = true;
  if (out.options.remount) {
    out.options.bind = false;
    out.type = "none";
  } else if (out.options.bind) {
    out.type.clear();
    if (out.source.empty())
      at.Fail("expected a source for a bind mount");
  } else if (out.type.empty()) {
    at.Fail("expected a type, or the option 'bind'");
  }
  IfThere(at, "uidMappings", [&](const json::Cursor& c) { out.uids = ParseSpecIdRanges(c); });
  IfThere(at, "gidMappings", [&](const json::Cursor& c) { out.gids = ParseSpecIdRanges(c); });
  if (out.uids.empty() != out.gids.empty())
    at.Fail("expected both uidMappings and gidMappings, or neither");
  if (!out.uids.empty())
    out.options.idmap = true;
  RefuseIdleOptions(out);
  return out;
}

}  // namespace

std::vector<SpecMount> ParseSpecMounts(const json::Cursor& at) {
  std::vector<SpecMount> out;
  for (const json::Cursor& mount : at.Elements(kMaxSpecItems)) out.push_back(ParseMount(mount));
  return out;
}

std::vector<IdRange> ParseSpecIdRanges(const json::Cursor& at) {
  std::vector<IdRange> out;
  for (const json::Cursor& range : at.Elements(kMaxSpecRanges)) {
    IdRange one;
    one.inside = static_cast<uint32_t>(range.At("containerID").Unsigned(kMaxSpecId));
    one.outside = static_cast<uint32_t>(range.At("hostID").Unsigned(kMaxSpecId));
    one.count = static_cast<uint32_t>(range.At("size").Unsigned(0xFFFFFFFF));
    if (one.count == 0 || one.count - 1 > kMaxSpecId - one.inside || one.count - 1 > kMaxSpecId - one.outside)
      range.Fail("expected ids below 4294967295");
    out.push_back(one);
  }
  return out;
}

void ParseSpecLinux(const json::Cursor& at, Spec& out) {
  IfThere(at, "namespaces", [&](const json::Cursor& c) { out.namespaces = ParseNamespaces(c); });
  IfThere(at, "uidMappings", [&](const json::Cursor& c) { out.uids = ParseSpecIdRanges(c); });
  IfThere(at, "gidMappings", [&](const json::Cursor& c) { out.gids = ParseSpecIdRanges(c); });
  IfThere(at, "timeOffsets", [&](const json::Cursor& c) { out.time_offsets = ParseTimeOffsets(c); });
  CheckIds(at, out);
  RefuseUnsupported(at, out);
  IfThere(at, "devices", [&](const json::Cursor& c) {
    for (const json::Cursor& device : c.Elements(kMaxSpecItems)) out.devices.push_back(ParseDevice(device));
  });
  IfThere(at, "cgroupsPath", [&](const json::Cursor& c) {
    if (c.String(4096).find_first_of(std::string_view("\n\0", 2)) != std::string::npos)
      c.Fail("expected the path of a control group");
    out.cgroups_path = c.String();
  });
  IfThere(at, "resources", [&](const json::Cursor& c) { out.resources = ParseSpecResources(c); });
  IfThere(at, "rootfsPropagation", [&](const json::Cursor& c) { ParsePropagation(c, out); });
  IfThere(at, "seccomp", [&](const json::Cursor& c) { out.seccomp = ParseSpecSeccomp(c); });
  IfThere(at, "sysctl", [&](const json::Cursor& c) { ParseSysctl(c, out); });
  IfThere(at, "maskedPaths", [&](const json::Cursor& c) { out.masked_paths = ParsePaths(c); });
  IfThere(at, "readonlyPaths", [&](const json::Cursor& c) { out.read_only_paths = ParsePaths(c); });
  IfThere(at, "mountLabel", [&](const json::Cursor& c) { out.mount_label = c.String(4096); });
  IfThere(at, "personality", [&](const json::Cursor& c) { out.personality = ParsePersonality(c); });
}

}  // namespace gantry::runner
