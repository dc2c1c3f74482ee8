#include "runner/bundle_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/model/execution.h"
#include "runner/device_filter.h"

namespace gantry::runner {
namespace {

constexpr int kFreezeAttempts = 1000;  // of 10 ms
constexpr int kEmptyAttempts = 200;    // of 10 ms, for all groups of one container die together
constexpr size_t kMaxGroups = 64;

bool HasName(std::string_view list, std::string_view name, char separator) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find_first_of(std::string{separator, '\n'}));
    if (item == name)
      return true;
    list.remove_prefix(std::min(list.size(), item.size() + 1));
  }
  return false;
}

bool Exists(const std::string& path) { return HasAccess(path, F_OK); }

std::string Join(const CgroupMount& mount, const std::string& path, const std::string& id) {
  if (path.starts_with('/'))
    return mount.path + image::CleanAbsolute(path);
  const std::string base = GroupDirectory(mount, mount.own_group);
  return base + image::CleanAbsolute("/" + (path.empty() ? id : path));
}

// A v2 group has the controllers that its parent hands down.
void HandDown(const std::string& parent) {
  std::string controllers;
  std::string handed_down;
  try {
    controllers = ReadControl(parent + "/cgroup.controllers");
    handed_down = ReadControl(parent + "/cgroup.subtree_control");
  } catch (const Error&) {
    return;
  }
  std::string_view rest = controllers;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find_first_of(" \n"));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    // One that cannot be is missed when a limit asks for it.
    if (!one.empty() && !HasName(handed_down, one, ' '))
      WriteControl(parent + "/cgroup.subtree_control", "+" + std::string(one));
  }
}

bool HasResources(const std::vector<ControlWrite>& writes) {
  return std::ranges::any_of(writes, [](const ControlWrite& write) { return !write.if_there; });
}

[[noreturn]] void ThrowNotSet(const std::string& directory, const std::string& file, const std::string& value,
                              int error) {
  if (error == ENOENT || error == EOPNOTSUPP)
    throw Error(ErrorKind::kUnsupported,
                "cannot set " + file + ": this kernel's group " + directory + " has no such limit",
                "leave the limit out");
  if (error == EINVAL || error == ERANGE)
    throw Error(
        ErrorKind::kFailed, "cannot set " + file + " to '" + value + "': the kernel does not take this value",
        "is it within what this machine has, and what " + directory.substr(0, directory.rfind('/')) + " may use?");
  constexpr std::string_view kLimit = "limit_in_bytes";
  if (error == EBUSY && file.ends_with(kLimit))
    throw Error(ErrorKind::kFailed,
                "cannot set " + file + " to '" + value + "': the container uses " +
                    std::string(Trimmed(ReadControl(directory + "/" + file.substr(0, file.size() - kLimit.size()) +
                                                    "usage_in_bytes"))) +
                    " bytes, and cannot do with so little",
                "give more, or stop some of its processes first");
  ThrowErrno("write '" + value + "' to " + directory + "/" + file, error);
}

void Pause() {
  const timespec pause = {0, 10'000'000};
  nanosleep(&pause, nullptr);
}

}  // namespace

BundleCgroup BundleCgroup::Locate(const std::string& path, const std::string& id, bool lenient) {
  BundleCgroup out;
  out.lenient_ = lenient;
  for (const CgroupMount& mount : FindCgroupMounts()) {
    Group group{mount.controllers, mount.name, Join(mount, path, id)};
    if (group.path == mount.path)
      throw Error(ErrorKind::kUsage, "the container's control group would be the top of all",
                  "give linux.cgroupsPath the name of a group");
    out.groups_.push_back(std::move(group));
  }
  return out;
}

BundleCgroup BundleCgroup::ForPod(const std::string& name) {
  BundleCgroup out;
  out.lenient_ = geteuid() != 0;
  out.tolerant_ = true;
  for (const CgroupMount& mount : FindCgroupMounts()) {
    const bool below_own = !mount.v2 || (mount.name.empty() && out.lenient_);
    std::string base = DelegatedGroup(mount);
    if (mount.v2)
      out.delegated_ = base;
    if (base.empty())
      base = below_own ? GroupDirectory(mount, mount.own_group) : mount.path;
    out.groups_.push_back({mount.controllers, mount.name, base + "/" + name});
  }
  return out;
}

BundleCgroup BundleCgroup::OfProcess(pid_t pid) {
  BundleCgroup out;
  for (const CgroupMount& mount : FindCgroupMounts(std::to_string(pid))) {
    Group group{mount.controllers, mount.name, GroupDirectory(mount, mount.own_group)};
    const std::string file = group.path + (group.v2() ? "/cgroup.procs" : "/tasks");
    if (HasAccess(file, W_OK))
      out.groups_.push_back(std::move(group));
  }
  return out;
}

BundleCgroup BundleCgroup::Load(const json::Cursor& at) {
  BundleCgroup out;
  for (const json::Cursor& one : at.Elements(kMaxGroups)) {
    Group group{one.At("controllers").String(), one.At("name").String(), one.At("path").String()};
    if (!group.path.starts_with(std::string(kCgroupTop) + "/") || group.path.find("/../") != std::string::npos)
      one.At("path").Fail("expected the path of a control group");
    out.groups_.push_back(std::move(group));
  }
  return out;
}

json::Value BundleCgroup::Save() const {
  json::Array out;
  for (const Group& group : groups_)
    out.push_back(json::Object{{"controllers", group.controllers}, {"name", group.name}, {"path", group.path}});
  return out;
}

// False when a lenient one may not.
bool BundleCgroup::MakeGroup(const Group& group, bool populated) const {
  const bool cpuset = HasName(group.controllers, "cpuset", ',');
  size_t top = std::string(kCgroupTop).size() + 1 + group.name.size();
  if (group.v2() && !delegated_.empty()) {
    MakeRoom(delegated_);
    top = delegated_.size();
  }
  for (size_t end = group.path.find('/', top + 1);; end = group.path.find('/', end + 1)) {
    const std::string part = group.path.substr(0, end);
    if (group.v2())
      HandDown(part.substr(0, part.rfind('/')));
    if (MakeDirectory(part)) {
      if (cpuset)
        InitialiseCpuset(part);
    } else if ((lenient_ && (errno == EACCES || errno == EPERM)) ||
               ((lenient_ || tolerant_) && (errno == EROFS || errno == ENOENT))) {
      return false;
    } else if (errno != EEXIST) {
      ThrowErrno("make the control group " + part);
    } else if (end == std::string::npos && !populated && !GroupProcesses(part).empty()) {
      throw Error(ErrorKind::kFailed, "the control group " + Quoted(part) + " has processes already",
                  "another container uses it: give linux.cgroupsPath another name");
    }
    if (end == std::string::npos)
      return !lenient_ || HasAccess(part, W_OK);
  }
}

bool BundleCgroup::Begin() {
  if (lenient_ || tolerant_ || std::ranges::all_of(groups_, &Group::v2))
    return false;
  if (const Group* group = V2()) {
    MakeGroup(*group, false);
    unified_ = OpenControl(group->path, O_RDONLY | O_DIRECTORY);
  }
  begun_ = true;
  return true;
}

std::vector<std::string> BundleCgroup::LateTasks() const {
  std::vector<std::string> out;
  for (const Group& group : groups_) {
    if (begun_ && !group.v2())
      out.push_back(group.path + "/tasks");
  }
  return out;
}

void BundleCgroup::Make(const SpecResources& resources, bool populated) {
  std::vector<Group> made;
  for (const Group& group : groups_) {
    const bool there = begun_ && group.v2();
    if (there || MakeGroup(group, populated))
      made.push_back(group);
  }
  groups_ = std::move(made);
  Apply(resources, true);
}

const BundleCgroup::Group* BundleCgroup::V2() const {
  const auto found = std::ranges::find_if(groups_, &Group::v2);
  return found == groups_.end() ? nullptr : &*found;
}

std::string BundleCgroup::DirectoryOf(const std::string& controller) const {
  for (const Group& group : groups_) {
    if (HasName(group.controllers, controller, ','))
      return group.path;
  }
  const Group* v2 = V2();
  if (v2 == nullptr || !Exists(v2->path + "/cgroup.controllers"))
    return {};
  // freezing and killing come with every group
  if (controller == "freezer")
    return Exists(v2->path + "/cgroup.freeze") ? v2->path : "";
  return HasName(ReadControl(v2->path + "/cgroup.controllers"), controller, ' ') ? v2->path : "";
}

void BundleCgroup::Write(const std::vector<ControlWrite>& writes, bool v2) {
  for (size_t i = 0; i < writes.size(); ++i) {
    const ControlWrite& write = writes[i];
    const std::string directory = DirectoryOf(write.controller);
    const bool group_is_v2 = V2() != nullptr && directory == V2()->path;
    if (directory.empty() && !write.if_there && (v2 || V2() == nullptr))
      throw Error(ErrorKind::kUnsupported,
                  "cannot set " + write.file + ": there is no '" + write.controller + "' controller for this container",
                  "leave the limit out, or have the controller mounted or delegated");
    if (directory.empty() || group_is_v2 != v2)
      continue;
    int error = WriteControl(directory + "/" + write.file, write.value);
    // Memory alone is never more than memory and swap: which comes first depends on what is there.
    if (error == EINVAL && write.file == "memory.limit_in_bytes" && i + 1 < writes.size() &&
        WriteControl(directory + "/" + writes[i + 1].file, writes[i + 1].value) == 0)
      error = WriteControl(directory + "/" + write.file, write.value);
    if (error == ENOENT && !write.other_file.empty())
      error = WriteControl(directory + "/" + write.other_file, write.other_value);
    if (error != 0 && !(write.if_there && error == ENOENT))
      ThrowNotSet(directory, write.file, write.value, error);
  }
}

void BundleCgroup::ApplyDevices(const SpecResources& resources) const {
  const std::vector<DeviceRule> rules = WithStandardDevices(resources.devices);
  const std::string v1 = DirectoryOf("devices");
  if (!v1.empty()) {
    const UniqueFd deny = OpenControl(v1 + "/devices.deny", O_WRONLY);
    const UniqueFd allow = OpenControl(v1 + "/devices.allow", O_WRONLY);
    const auto set = [](const UniqueFd& file, const std::string& rule) {
      if (pwrite(file.get(), rule.data(), rule.size(), 0) < 0)
        ThrowErrno("set the device rule '" + rule + "'");
    };
    set(deny, "a");
    for (const DeviceRule& rule : rules) set(rule.allow ? allow : deny, ToString(rule));
  } else if (V2() != nullptr) {
    AttachDeviceFilter(V2()->path, rules);
  } else if (!resources.devices.empty()) {
    throw Error(ErrorKind::kUnsupported, "device rules cannot be set: this machine has no control groups for them");
  }
}

// What is left for v2 beside hierarchies of v1: what these have controllers for is set there.
SpecResources BundleCgroup::WithoutV1(SpecResources resources) const {
  const auto in_v1 = [&](const char* controller) {
    return std::ranges::any_of(
        groups_, [&](const Group& group) { return !group.v2() && HasName(group.controllers, controller, ','); });
  };
  if (in_v1("memory"))
    resources.memory = {};
  if (in_v1("cpu"))
    resources.cpu = {.cpus = resources.cpu.cpus, .mems = resources.cpu.mems};
  if (in_v1("blkio"))
    resources.block_io = {};
  if (in_v1("net_cls"))
    resources.class_id.reset();
  if (in_v1("net_prio"))
    resources.network_priorities.clear();
  return resources;
}

// The kernel takes a limit below what is used, and kills for it.
void BundleCgroup::CheckUsage(const SpecMemory& memory) const {
  const std::string directory = DirectoryOf("memory");
  if (!memory.check_before_update || memory.limit.value_or(0) <= 0 || directory.empty())
    return;
  const bool v2 = V2() != nullptr && directory == V2()->path;
  const std::string text = ReadControl(directory + (v2 ? "/memory.current" : "/memory.usage_in_bytes"));
  const auto usage = ParseDecimal<int64_t>(Trimmed(text));
  if (usage && *usage > *memory.limit)
    throw Error(ErrorKind::kFailed,
                "the new limit of " + std::to_string(*memory.limit) + " bytes of memory is less than the " +
                    std::to_string(*usage) + " that the container uses",
                "give more, or leave linux.resources.memory.checkBeforeUpdate out");
}

void BundleCgroup::Descend(const std::string& where) {
  const size_t colon = where.find(':');
  const bool all = colon == std::string::npos;
  const std::string path = image::CleanAbsolute("/" + where.substr(all ? 0 : colon + 1));
  const auto wanted = [&](const Group& group) {
    bool named = all;
    for (size_t at = 0; !named && at < colon; at = where.find_first_of(",:", at) + 1)
      named = HasName(group.controllers, where.substr(at, where.find_first_of(",:", at) - at), ',');
    return named;
  };
  bool found = false;
  for (Group& group : groups_) {
    const std::string below = path == "/" ? group.path : group.path + path;
    if (!wanted(group) || !Exists(below))
      continue;
    found = true;
    group.path = below;
  }
  if (!found)
    throw Error(ErrorKind::kNotFound, "the container has no control group " + Quoted(where),
                "give one that is there, from the container's own on: [CONTROLLER:]PATH");
}

void BundleCgroup::Follow(pid_t first) {
  const auto group = std::ranges::find_if(groups_, &Group::v2);
  if (group == groups_.end() || Trimmed(ReadControl(group->path + "/cgroup.subtree_control")).empty())
    return;
  for (const CgroupMount& mount : FindCgroupMounts(std::to_string(first))) {
    std::string own = GroupDirectory(mount, mount.own_group);
    if (mount.v2 && own.starts_with(group->path + "/"))
      group->path = std::move(own);
  }
}

void BundleCgroup::Apply(const SpecResources& resources, bool devices) {
  CheckUsage(resources.memory);
  const std::vector<ControlWrite> v1 = WritesForV1(resources);
  if (groups_.empty() && HasResources(v1))
    throw Error(ErrorKind::kUnsupported, "the container's limits cannot be set: there is no control group for it",
                "leave limits out, or have a group delegated to this user");
  if (devices && !lenient_)
    ApplyDevices(resources);
  const bool hybrid_or_v1 = std::ranges::any_of(groups_, [](const Group& group) { return !group.v2(); });
  if (hybrid_or_v1)
    Write(v1, false);
  if (const Group* group = V2()) {
    Write(WritesForV2(WithoutV1(resources)), true);
    for (const auto& [file, value] : resources.unified) {
      if (const int error = WriteControl(group->path + "/" + file, value); error != 0)
        ThrowNotSet(group->path, file, value, error);
    }
  } else if (!resources.unified.empty()) {
    throw Error(ErrorKind::kUnsupported, "linux.resources.unified needs cgroup v2, which this machine does not have");
  }
}

void BundleCgroup::OpenForJoining() {
  for (const Group& group : groups_) {
    if (!group.v2())
      tasks_.push_back(OpenControl(group.path + "/tasks", O_WRONLY));
    else if (!unified_)
      unified_ = OpenControl(group.path, O_RDONLY | O_DIRECTORY);
  }
}

void BundleCgroup::CloseDescriptors() {
  tasks_.clear();
  unified_.Reset();
}

bool BundleCgroup::CanFreeze() const { return !DirectoryOf("freezer").empty(); }

bool BundleCgroup::Frozen() const {
  const std::string directory = DirectoryOf("freezer");
  if (directory.empty())
    return false;
  try {
    if (Exists(directory + "/freezer.state"))
      return !ReadControl(directory + "/freezer.state").starts_with("THAWED");
    return ReadControl(directory + "/cgroup.events").find("frozen 1") != std::string::npos;
  } catch (const Error&) {
    return false;  // removed meanwhile
  }
}

void BundleCgroup::Freeze(bool frozen) const {
  const std::string directory = DirectoryOf("freezer");
  if (directory.empty())
    throw Error(ErrorKind::kUnsupported, "the container cannot be paused: it is in no control group that freezes");
  const bool v1 = Exists(directory + "/freezer.state");
  const std::string file = directory + (v1 ? "/freezer.state" : "/cgroup.freeze");
  const char* value = v1 ? (frozen ? "FROZEN" : "THAWED") : (frozen ? "1" : "0");
  for (int attempt = 0; attempt < kFreezeAttempts; ++attempt) {
    if (const int error = WriteControl(file, value); error != 0)
      ThrowErrno("write " + file, error);
    const bool done = v1 ? ReadControl(file).starts_with(value)
                         : (ReadControl(directory + "/cgroup.events").find("frozen 1") != std::string::npos) == frozen;
    if (done)
      return;
    Pause();
  }
  WriteControl(file, v1 ? "THAWED" : "0");
  throw Error(ErrorKind::kFailed, "the container's processes do not stop", "one of them waits for a device; try again");
}

std::vector<pid_t> BundleCgroup::Processes() const {
  std::set<pid_t> out;
  for (const Group& group : groups_) {
    const std::vector<pid_t> some = GroupProcesses(group.path);
    out.insert(some.begin(), some.end());
  }
  return {out.begin(), out.end()};
}

void BundleCgroup::RemoveEmpty() const {
  for (const Group& group : groups_) {
    for (int i = 0; i < kEmptyAttempts && !RemoveDirectory(group.path) && errno == EBUSY; ++i) Pause();
  }
}

bool BundleCgroup::Remove() const {
  bool gone = true;
  for (const Group& group : groups_) gone = RemoveGroup(group.path) && gone;
  return gone;
}

}  // namespace gantry::runner
