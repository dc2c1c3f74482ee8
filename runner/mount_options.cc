#include "runner/mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <iterator>
#include <string_view>

namespace gantry::runner {
namespace {

constexpr uint64_t kNoSymFollow = 0x00200000;  // MOUNT_ATTR_NOSYMFOLLOW, Linux 5.14

struct Attribute {
  std::string_view name;
  uint64_t set;
  uint64_t clear;
};

// Each also exists with an "r" before it, for the whole tree.
constexpr Attribute kAttributes[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", kNoSymFollow, 0},
    {"symfollow", 0, kNoSymFollow},
    // One field of three values: the field is cleared, then set.
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
};

struct Propagation {
  std::string_view name;
  uint64_t kind;
};
constexpr Propagation kPropagations[] = {
    {"shared", MS_SHARED}, {"slave", MS_SLAVE}, {"private", MS_PRIVATE}, {"unbindable", MS_UNBINDABLE}};

// Options that mount(8) knows and that change nothing here: defaults, what is not for the kernel, and iversion, which
// file systems have or have not by themselves since Linux 5.
constexpr std::string_view kNothing[] = {"defaults", "loud",       "silent",     "async",
                                         "nomand",   "nolazytime", "noiversion", "iversion"};

struct Switch {
  std::string_view name;
  bool MountOptions::*first;
  bool MountOptions::*second;
};
constexpr Switch kSwitches[] = {
    {"bind", &MountOptions::bind, &MountOptions::bind},
    {"rbind", &MountOptions::bind, &MountOptions::recursive},
    {"tmpcopyup", &MountOptions::copy_up, &MountOptions::copy_up},
    {"src-nofollow", &MountOptions::source_nofollow, &MountOptions::source_nofollow},
    {"dest-nofollow", &MountOptions::target_nofollow, &MountOptions::target_nofollow},
    {"remount", &MountOptions::remount, &MountOptions::remount},
    {"idmap", &MountOptions::idmap, &MountOptions::idmap},
    {"ridmap", &MountOptions::idmap, &MountOptions::idmap_all},
};

void Change(uint64_t& set, uint64_t& clear, const Attribute& by) {
  set = (set & ~by.clear) | by.set;
  clear = (clear & ~(by.set & ~static_cast<uint64_t>(MOUNT_ATTR__ATIME))) | by.clear;
}

bool TakeAttribute(std::string_view option, MountOptions& out) {
  for (const Attribute& attribute : kAttributes) {
    if (option == attribute.name) {
      Change(out.set, out.clear, attribute);
      return true;
    }
    if (option.starts_with('r') && option.substr(1) == attribute.name) {
      Change(out.set_all, out.clear_all, attribute);
      return true;
    }
  }
  return false;
}

bool TakePropagation(std::string_view option, MountOptions& out) {
  for (const Propagation& propagation : kPropagations) {
    const bool all = option.starts_with('r') && option.substr(1) == propagation.name;
    if (!all && option != propagation.name)
      continue;
    out.propagation = propagation.kind;
    out.propagation_all = all;
    return true;
  }
  return false;
}

bool TakeSwitch(std::string_view option, MountOptions& out) {
  const auto* const found = std::ranges::find(kSwitches, option, &Switch::name);
  if (found == std::end(kSwitches))
    return false;
  out.*found->first = true;
  out.*found->second = true;
  return true;
}

}  // namespace

MountOptions ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions out;
  for (const std::string& option : options) {
    if (std::ranges::find(kNothing, option) != std::end(kNothing) || TakeSwitch(option, out) ||
        TakePropagation(option, out) || TakeAttribute(option, out))
      continue;
    out.data.push_back(option);
  }
  return out;
}

std::vector<std::string> MountOptionNames() {
  std::vector<std::string> out;
  for (const Attribute& attribute : kAttributes) {
    out.emplace_back(attribute.name);
    out.push_back("r" + std::string(attribute.name));
  }
  for (const Propagation& propagation : kPropagations) {
    out.emplace_back(propagation.name);
    out.push_back("r" + std::string(propagation.name));
  }
  for (const Switch& one : kSwitches) out.emplace_back(one.name);
  for (const std::string_view name : kNothing) out.emplace_back(name);
  std::ranges::sort(out);
  return out;
}

}  // namespace gantry::runner
