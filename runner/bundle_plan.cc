#include "runner/bundle_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <iterator>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/idmapped_mount.h"
#include "runner/sealed_init.h"
#include "runner/userns.h"

namespace gantry::runner {
namespace {

struct StandardNode {
  const char* path;
  unsigned major, minor;
};
constexpr StandardNode kStandardNodes[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                                           {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

// Texts and lists of pointers to them, which stay where they are.
class Texts {
 public:
  const char* Keep(std::string text) { return texts_.emplace_back(std::move(text)).c_str(); }
  const char* const* KeepAll(const std::vector<std::string>& texts) { return Pointers(texts); }
  char* const* KeepArguments(const std::vector<std::string>& texts) { return Pointers(texts); }

 private:
  char** Pointers(const std::vector<std::string>& texts) {
    std::vector<char*>& list = lists_.emplace_back();
    for (const std::string& text : texts) list.push_back(const_cast<char*>(Keep(text)));
    list.push_back(nullptr);
    return list.data();
  }
  std::deque<std::string> texts_;
  std::deque<std::vector<char*>> lists_;
};

bool SameFile(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

const char* NamespaceFile(int flag) {
  switch (flag) {
    case CLONE_NEWUSER:
      return "user";
    case CLONE_NEWPID:
      return "pid";
    case CLONE_NEWNET:
      return "net";
    case CLONE_NEWIPC:
      return "ipc";
    case CLONE_NEWUTS:
      return "uts";
    case CLONE_NEWNS:
      return "mnt";
    case CLONE_NEWCGROUP:
      return "cgroup";
    default:
      return "time";
  }
}

// A file of the nsfs, opened without side effects: the path may name anything.
UniqueFd OpenNamespace(const std::string& path, int flag) {
  const UniqueFd look = OpenFile(path, O_PATH);
  struct stat own {};
  struct stat other {};
  if (fstat(look.get(), &other) < 0 || stat("/proc/self/ns/mnt", &own) < 0)
    ThrowErrno("look at the namespace " + Quoted(path));
  if (own.st_dev != other.st_dev)
    throw Error(ErrorKind::kUsage, Quoted(path) + " is not a namespace",
                "give the path of a file like /proc/PID/ns/" + std::string(NamespaceFile(flag)));
  return OpenFile(path, O_RDONLY);
}

// Whether the user namespace of `process` denies setgroups.
bool DeniesGroups(const std::string& process) {
  const UniqueFd fd(open(("/proc/" + process + "/setgroups").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 8> text{};
  return fd && read(fd.get(), text.data(), text.size() - 1) > 0 && std::strncmp(text.data(), "deny", 4) == 0;
}

std::string OffsetsText(const std::vector<SpecTimeOffset>& offsets) {
  std::string out;
  for (const SpecTimeOffset& offset : offsets)
    out += offset.clock + " " + std::to_string(offset.seconds) + " " + std::to_string(offset.nanoseconds) + "\n";
  return out;
}

}  // namespace

bool IsHostRoot() {
  if (geteuid() != 0)
    return false;
  const UniqueFd fd(open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  // A kernel without user namespaces has no such file.
  if (!fd || read(fd.get(), text.data(), text.size() - 1) <= 0)
    return true;
  return std::sscanf(text.data(), "%u %u %u", &inside, &outside, &count) == 3 && outside == 0 && count == 0xFFFFFFFF;
}

std::string KeyringName(const std::string& id) { return "_ses." + id; }

struct BundleSetup::Memory {
  const Spec& spec;
  const BundlePlace& place;
  Texts texts;
  std::vector<MountPlan> mounts;
  std::vector<NodePlan> nodes;
  std::vector<const char*> masked, read_only, late_tasks;
  std::vector<SysctlPlan> sysctls;
  std::vector<HookPlan> hooks;
  std::vector<CgroupMountPlan> cgroups;
  std::vector<int> tasks;
  std::vector<UniqueFd> fds;
  Namespaces namespaces;
  BundlePlan bundle;
  SetupPlan plan;

  Memory(const Spec& s, const BundlePlace& p) : spec(s), place(p) {}

  int Keep(UniqueFd fd) { return fds.emplace_back(AboveControl(fd.get())).get(); }
  void PlanNamespaces();
  void PlanMounts();
  void PlanTree(const SpecMount& mount, MountPlan& out);
  void PlanDev();
  void PlanCgroups(const BundleCgroup& cgroup);
  void PlanRest();
};

void BundleSetup::Memory::PlanNamespaces() {
  for (const SpecNamespace& space : spec.namespaces) {
    if (space.flag == CLONE_NEWNET && place.early_network)
      continue;
    if (!space.path.empty())
      namespaces.entered.emplace_back(space.flag, Keep(OpenNamespace(space.path, space.flag)));
    else if (space.flag != CLONE_NEWTIME && space.flag != CLONE_NEWCGROUP)
      namespaces.made |= static_cast<uint64_t>(space.flag);
  }
  if (spec.NewNamespace(CLONE_NEWTIME))
    bundle.time_offsets = texts.Keep(OffsetsText(spec.time_offsets));
  plan.user_namespace = spec.NewNamespace(CLONE_NEWUSER);
  plan.inner_root = spec.Namespace(CLONE_NEWUSER) != nullptr && !plan.user_namespace;
  plan.single_id = GroupsAreFixed(spec);
  plan.host_network = !spec.NewNamespace(CLONE_NEWNET);
}

// Root of a new user namespace may not reach the source, and may never map ids: the runtime opens those.
void BundleSetup::Memory::PlanTree(const SpecMount& mount, MountPlan& out) {
  const bool other_root = place.privileged && spec.Namespace(CLONE_NEWUSER) != nullptr;
  if (!mount.options.idmap && !other_root)
    return;
  UniqueFd tree = OpenTree(mount.source, mount.options.recursive, mount.options.source_nofollow);
  if (mount.options.idmap) {
    const bool own = mount.uids.empty();
    MapIds(tree.get(), own ? spec.uids : mount.uids, own ? spec.gids : mount.gids, mount.options.idmap_all);
  }
  out.tree = Keep(std::move(tree));
}

void BundleSetup::Memory::PlanMounts() {
  for (const SpecMount& mount : spec.mounts) {
    const MountOptions& options = mount.options;
    MountPlan out{};
    out.target = texts.Keep(mount.destination);
    out.type = texts.Keep(mount.type == "cgroup2" ? "cgroup" : mount.type);
    out.source = texts.Keep(options.bind ? mount.source : mount.source.empty() ? mount.type : mount.source);
    std::vector<std::string> data = options.data;
    if (!spec.mount_label.empty() && mount.type == "tmpfs" && access("/sys/fs/selinux/enforce", F_OK) == 0)
      data.push_back("context=" + spec.mount_label);
    out.data = texts.KeepAll(data);
    out.recursive = options.recursive;
    out.remount = options.remount;
    out.copy_up = options.copy_up;
    out.source_nofollow = options.source_nofollow;
    out.target_nofollow = options.target_nofollow;
    out.set = options.set;
    out.clear = options.clear;
    out.set_all = options.set_all;
    out.clear_all = options.clear_all;
    out.propagation = options.propagation;
    out.propagation_all = options.propagation_all;
    if (options.bind) {
      PlanTree(mount, out);
    } else if (!options.remount) {
      // A new file system is the whole of its tree.
      out.set = (out.set & ~out.clear_all) | out.set_all;
      out.set_all = 0;
      out.clear_all = 0;
    }
    mounts.push_back(out);
  }
  bundle.mounts = mounts.data();
  bundle.mount_count = mounts.size();
  if (place.privileged && spec.Namespace(CLONE_NEWUSER) != nullptr)
    bundle.root_tree = Keep(OpenTree(place.root, true, false));
}

void BundleSetup::Memory::PlanDev() {
  bundle.fill_dev = std::ranges::none_of(
      spec.mounts, [](const SpecMount& mount) { return mount.options.bind && mount.destination == "/dev"; });
  const auto type = [](char letter) { return letter == 'b' ? S_IFBLK : letter == 'p' ? S_IFIFO : S_IFCHR; };
  for (const SpecDevice& device : spec.devices)
    nodes.push_back({texts.Keep(device.path), device.mode | type(device.type), makedev(device.major, device.minor),
                     device.uid, device.gid});
  for (const StandardNode& node : kStandardNodes) {
    if (std::ranges::find(spec.devices, node.path, &SpecDevice::path) == spec.devices.end())
      nodes.push_back({node.path, S_IFCHR | 0666, makedev(node.major, node.minor), 0, 0});
  }
  bundle.nodes = nodes.data();
  bundle.node_count = nodes.size();
}

void BundleSetup::Memory::PlanCgroups(const BundleCgroup& cgroup) {
  const bool own_view = spec.NewNamespace(CLONE_NEWCGROUP);
  for (const BundleCgroup::Group& group : cgroup.groups())
    cgroups.push_back(
        {texts.Keep(group.name), texts.Keep(group.controllers), own_view ? nullptr : texts.Keep(group.path)});
  for (const UniqueFd& fd : cgroup.tasks()) tasks.push_back(fds.emplace_back(AboveControl(fd.get())).get());
  plan.tasks = tasks.data();
  plan.task_count = tasks.size();
  const std::vector<std::string> late = cgroup.LateTasks();
  for (const std::string& file : late) late_tasks.push_back(texts.Keep(FromTop(file).path));
  if (!late.empty()) {
    const int top = FromTop(late.front()).from;
    plan.late_top = top < 0 ? top : fds.emplace_back(AboveControl(top)).get();
  }
  plan.late_tasks = late_tasks.data();
  plan.late_task_count = late_tasks.size();
  plan.joined_cgroup = own_view;
  plan.cgroups = cgroups.data();
  plan.cgroup_count = cgroups.size();
  namespaces.cgroup = cgroup.unified();
}

void BundleSetup::Memory::PlanRest() {
  for (const std::string& path : spec.masked_paths) masked.push_back(path.c_str());
  for (const std::string& path : spec.read_only_paths) read_only.push_back(path.c_str());
  for (const auto& [key, value] : spec.sysctl) {
    std::string path = key;
    if (path.find('/') == std::string::npos)
      std::ranges::replace(path, '.', '/');
    sysctls.push_back({texts.Keep(path), value.c_str()});
  }
  for (const SpecHook& hook : spec.hooks.create_container)
    hooks.push_back({hook.path.c_str(), texts.KeepArguments(hook.args), texts.KeepArguments(hook.env),
                     hook.timeout ? static_cast<int>(*hook.timeout) * 1000 : -1});
  bundle.root = place.root.c_str();
  bundle.masked = masked.data();
  bundle.masked_count = masked.size();
  bundle.read_only = read_only.data();
  bundle.read_only_count = read_only.size();
  bundle.sysctls = sysctls.data();
  bundle.sysctl_count = sysctls.size();
  bundle.hooks = hooks.data();
  bundle.hook_count = hooks.size();
  bundle.await_hooks =
      !spec.hooks.prestart.empty() || !spec.hooks.create_runtime.empty() || !spec.hooks.create_container.empty();
  bundle.pivot = place.pivot;
  bundle.propagation = spec.root_propagation | (spec.root_propagation_all ? MS_REC : 0);
  bundle.domainname = spec.domainname.empty() ? nullptr : spec.domainname.c_str();
  bundle.personality = spec.personality.has_value();
  bundle.persona = spec.personality.value_or(0);
  plan.init = Keep(SealedInit());
  plan.terminal = spec.process && spec.process->terminal;
  plan.interactive = true;
  plan.read_only_rootfs = spec.root_read_only;
  plan.hostname = spec.hostname.empty() ? nullptr : spec.hostname.c_str();
  plan.working_dir = spec.process ? spec.process->cwd.c_str() : "/";
  plan.capabilities = place.capabilities;
  plan.new_keyring = place.new_keyring;
  plan.keyring = texts.Keep(KeyringName(place.id));
  plan.labels = place.labels;
  plan.no_new_privs = false;
  plan.bundle = &bundle;
}

BundleSetup::BundleSetup(const Spec& spec, const BundlePlace& place, const BundleCgroup& cgroup)
    : memory_(std::make_unique<Memory>(spec, place)) {
  memory_->PlanNamespaces();
  memory_->PlanMounts();
  memory_->PlanDev();
  memory_->PlanCgroups(cgroup);
  memory_->PlanRest();
}

BundleSetup::~BundleSetup() = default;
SetupPlan& BundleSetup::plan() { return memory_->plan; }
const Namespaces& BundleSetup::namespaces() const { return memory_->namespaces; }

namespace {

// Subjects that both a new container and one that is entered can have trouble with.
std::string ProcessSubject(const Report& report, const SpecProcess& process) {
  switch (report.step) {
    case Step::kWorkingDir:
    case Step::kChangeDir:
      return " " + Quoted(process.cwd);
    case Step::kExecute:
      return " " + Quoted(process.args.front());
    case Step::kUser:
      return " " + std::to_string(process.user.uid) + ":" + std::to_string(process.user.gid);
    case Step::kLimit:
      return report.index < process.limits.size() ? " " + LimitName(process.limits[report.index].resource) : "";
    default:
      return "";
  }
}

std::string ProcessHint(const Report& report) {
  switch (report.step) {
    case Step::kExecute:
      return "see process.args and PATH in process.env of the bundle's config.json, and what its root holds";
    case Step::kLimit:
      return report.error == EPERM ? "raising a limit needs CAP_SYS_RESOURCE, which the runtime does not have" : "";
    case Step::kHook:
    case Step::kHookCode:
      return "see hooks in the bundle's config.json";
    case Step::kAffinity:
      return report.error == EINVAL ? "the container's control group has none of them" : "";
    case Step::kGroups:
      return "without root, additional groups need a range of ids and newgidmap";
    case Step::kFilter:
      return report.error == EACCES ? "without noNewPrivileges a filter needs CAP_SYS_ADMIN" : "";
    default:
      return "";
  }
}

}  // namespace

namespace {

// In the words that engines look for.
Failure InWordsOfEngines(const Report& report, const std::string& subject, const std::string& hint) {
  Failure out = DescribeFailure(report, subject, hint);
  const bool missing = report.step == Step::kExecute && report.error == ENOENT && report.detail[0] == '\0';
  if (missing)
    out.error = Error(ErrorKind::kNotFound,
                      "cannot execute" + subject + ": " +
                          (subject.find('/') == std::string::npos ? "executable file not found in $PATH"
                                                                  : "no such file or directory"),
                      hint);
  return out;
}

}  // namespace

Failure ExplainStart(const Report& report, const Spec& spec) {
  std::string subject = ProcessSubject(report, *spec.process);
  const auto& hooks = spec.hooks.start_container;
  if ((report.step == Step::kHook || report.step == Step::kHookCode) && report.index < hooks.size())
    subject = " " + Quoted(hooks[report.index].path);
  return InWordsOfEngines(report, subject, ProcessHint(report));
}

bool GroupsAreFixed(const Spec& spec) {
  return DeniesGroups("self") || (geteuid() != 0 && spec.gids.size() == 1 && spec.gids.front().count == 1);
}

Failure BundleSetup::Explain(const Report& report, const SpecProcess& process) const {
  const size_t i = report.index;
  const Memory& m = *memory_;
  std::string subject = ProcessSubject(report, process);
  std::string hint = ProcessHint(report);
  switch (report.step) {
    case Step::kMountSource:
    case Step::kMountTarget:
    case Step::kMount:
    case Step::kCopyUp:
    case Step::kCgroupMount:
      if (report.step != Step::kCgroupMount && i < m.mounts.size())
        subject = " " + Quoted(m.mounts[i].target) + " of " + Quoted(m.mounts[i].source);
      break;
    case Step::kNode:
      subject = i < m.nodes.size() ? " " + Quoted(m.nodes[i].path) : "";
      break;
    case Step::kSysctl:
      subject = i < m.sysctls.size() ? " " + Quoted(m.sysctls[i].path) : "";
      break;
    case Step::kMask:
      subject = i < m.masked.size() ? " " + Quoted(m.masked[i]) : "";
      break;
    case Step::kReadOnly:
      subject = i < m.read_only.size() ? " " + Quoted(m.read_only[i]) : "";
      break;
    case Step::kBundleRoot:
    case Step::kAttachRoot:
      subject = " " + Quoted(m.place.root);
      hint = "it must be a directory that the container's root can reach";
      break;
    case Step::kHook:
    case Step::kHookCode: {
      // Those of start time are told by another command.
      const auto& hooks = m.hooks.empty() ? m.spec.hooks.start_container : m.spec.hooks.create_container;
      subject = i < hooks.size() ? " " + Quoted(hooks[i].path) : "";
      break;
    }
    default:
      break;
  }
  return InWordsOfEngines(report, subject, hint);
}

struct EntrySetup::Memory {
  std::vector<UniqueFd> fds;
  std::vector<int> tasks;
  Namespaces namespaces;
  SetupPlan plan;
};

EntrySetup::EntrySetup(pid_t pid, const BundleCgroup& cgroup, const SpecProcess& process, bool labels,
                       uint64_t capabilities)
    : memory_(std::make_unique<Memory>()) {
  Memory& m = *memory_;
  const auto keep = [&](UniqueFd fd) { return m.fds.emplace_back(AboveControl(fd.get())).get(); };
  for (const int flag : {CLONE_NEWUSER, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWCGROUP,
                         CLONE_NEWTIME, CLONE_NEWNS}) {
    const std::string file = std::string("/ns/") + NamespaceFile(flag);
    struct stat own {};
    struct stat other {};
    const std::string path = "/proc/" + std::to_string(pid) + file;
    if (stat(("/proc/self" + file).c_str(), &own) < 0 || stat(path.c_str(), &other) < 0) {
      if (flag == CLONE_NEWTIME || flag == CLONE_NEWCGROUP)
        continue;  // not of this kernel
      ThrowErrno("look at the namespaces of process " + std::to_string(pid));
    }
    if (SameFile(own, other))
      continue;
    m.namespaces.entered.emplace_back(flag, keep(OpenFile(path, O_RDONLY)));
    m.plan.inner_root = m.plan.inner_root || flag == CLONE_NEWUSER;
  }
  m.plan.single_id = DeniesGroups(std::to_string(pid));
  for (const UniqueFd& fd : cgroup.tasks()) m.tasks.push_back(m.fds.emplace_back(AboveControl(fd.get())).get());
  m.namespaces.cgroup = cgroup.unified();
  m.plan.init = keep(SealedInit());
  m.plan.tasks = m.tasks.data();
  m.plan.task_count = m.tasks.size();
  m.plan.terminal = process.terminal;
  m.plan.interactive = true;
  m.plan.capabilities = capabilities;
  m.plan.labels = labels;
  m.plan.no_new_privs = false;
  m.plan.entered = true;
}

EntrySetup::~EntrySetup() = default;
SetupPlan& EntrySetup::plan() { return memory_->plan; }
const Namespaces& EntrySetup::namespaces() const { return memory_->namespaces; }

Failure EntrySetup::Explain(const Report& report, const SpecProcess& process) {
  return InWordsOfEngines(report, ProcessSubject(report, process), ProcessHint(report));
}

}  // namespace gantry::runner
