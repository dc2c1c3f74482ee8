#include "runner/confined_program.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/confine/confine.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/report.h"
#include "runner/sealed_init.h"
#include "runner/seccomp.h"
#include "runner/setup.h"
#include "runner/userns.h"

namespace gantry::runner {
namespace {

// Ids that no distribution gives to anybody; which of them says the owner.
constexpr uint32_t kFirstOwnId = 0x70000000;
constexpr uint32_t kOwnIds = 0x0F000000;

const NodePlan kNodes[] = {{"/dev/null", S_IFCHR | 0666, makedev(1, 3), 0, 0},
                           {"/dev/zero", S_IFCHR | 0666, makedev(1, 5), 0, 0},
                           {"/dev/random", S_IFCHR | 0666, makedev(1, 8), 0, 0},
                           {"/dev/urandom", S_IFCHR | 0666, makedev(1, 9), 0, 0}};

uint32_t OwnId(const std::string& owner) {
  uint32_t hash = 2166136261;
  for (const char c : owner) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619;
  return kFirstOwnId + hash % kOwnIds;
}

// Owns what the plan points at.
class ProgramPlan {
 public:
  explicit ProgramPlan(const ConfinedProgram& program) : program_(program), own_id_(OwnId(program.owner)) {
    PlanMounts();
    PlanNodes();
    JoinGroups(*program.cgroup);
    init_ = AboveControl(SealedInit().get());
    bundle_.root = program.root.c_str();
    bundle_.fill_dev = true;
    bundle_.pivot = true;
    plan_.init = init_.get();
    plan_.user_namespace = rootless();
    plan_.single_id = rootless();
    plan_.interactive = true;
    plan_.output = output_.get();
    plan_.read_only_rootfs = true;
    plan_.hostname = "gantry-vm";
    plan_.working_dir = "/";
    plan_.capabilities = program.capabilities;
    plan_.bundle = &bundle_;
  }

  SetupPlan& setup() { return plan_; }
  bool rootless() const { return geteuid() != 0; }

  Namespaces namespaces() const {
    Namespaces out{.made = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET, .cgroup = unified_};
    if (rootless())
      out.made |= CLONE_NEWUSER;
    return out;
  }

  InitRequest Request() const {
    InitRequest out;
    SpecProcess& process = out.process;
    const uint32_t id = rootless() || program_.capabilities != 0 ? 0 : own_id_;
    process.user = {id, id, std::nullopt, {}};
    process.args = program_.args;
    process.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
    process.no_new_privileges = true;
    process.capabilities.bounding = process.capabilities.permitted = process.capabilities.effective =
        program_.capabilities;
    out.keep_groups = rootless();
    if (program_.filter)
      out.filter = DefaultFilter();
    out.passed = program_.fds.size();
    return out;
  }

  std::string SubjectOf(const Report& report) const {
    const bool mount =
        report.step == Step::kMountSource || report.step == Step::kMountTarget || report.step == Step::kMount;
    if (mount && report.index < mounts_.size())
      return " " + Quoted(mounts_[report.index].target);
    if (report.step == Step::kNode && report.index < nodes_.size())
      return " " + Quoted(nodes_[report.index].path);
    return report.step == Step::kExecute ? " " + Quoted(program_.args.front()) : "";
  }

 private:
  void Show(const std::string& source, const std::string& target, bool writable, bool recursive = true) {
    static constexpr const char* kNoData[] = {nullptr};
    MountPlan mount{};
    mount.source = texts_.emplace_back(source).c_str();
    mount.target = texts_.emplace_back(target).c_str();
    mount.type = "";
    mount.data = kNoData;
    mount.recursive = recursive;
    mount.set_all = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (writable ? MOUNT_ATTR_NOEXEC : MOUNT_ATTR_RDONLY);
    mounts_.push_back(mount);
  }

  void Add(const char* type, const char* target, const char* const* data, uint64_t attributes) {
    MountPlan mount{};
    mount.type = mount.source = type;
    mount.target = target;
    mount.data = data;
    mount.set = attributes;
    mounts_.push_back(mount);
  }

  void PlanMounts() {
    static constexpr const char* kDev[] = {"mode=755", "size=64k", nullptr};
    static constexpr const char* kTemporary[] = {"mode=1777", "size=16m", nullptr};
    static constexpr const char* kProc[] = {nullptr};
    for (const char* dir : {"/usr", "/lib", "/lib64", "/nix/store", "/gnu/store"}) {
      if (access(dir, F_OK) == 0)
        Show(dir, dir, false);
    }
    if (access("/etc/ld.so.cache", R_OK) == 0)
      Show("/etc/ld.so.cache", "/etc/ld.so.cache", false);
    Add("tmpfs", "/dev", kDev, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    Add("tmpfs", "/tmp", kTemporary, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (program_.proc)
      Add("proc", "/proc", kProc, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY);
    for (const ConfinedProgram::Place& place : program_.places)
      Show(place.source, place.target, place.writable, place.recursive);
    bundle_.mounts = mounts_.data();
    bundle_.mount_count = mounts_.size();
  }

  void PlanNodes() {
    nodes_.assign(std::begin(kNodes), std::end(kNodes));
    if (program_.kvm)
      nodes_.push_back({"/dev/kvm", S_IFCHR | 0600, makedev(10, 232), own_id_, own_id_});
    bundle_.nodes = nodes_.data();
    bundle_.node_count = nodes_.size();
  }

  void JoinGroups(const BundleCgroup& cgroup) {
    for (const UniqueFd& fd : cgroup.tasks()) {
      duplicates_.push_back(AboveControl(fd.get()));
      tasks_.push_back(duplicates_.back().get());
    }
    unified_ = cgroup.unified();
    plan_.tasks = tasks_.data();
    plan_.task_count = tasks_.size();
    plan_.joined_cgroup = !tasks_.empty() || unified_ >= 0;
    if (program_.output >= 0)
      output_ = AboveControl(program_.output);
  }

  const ConfinedProgram& program_;
  uint32_t own_id_;
  std::deque<std::string> texts_;
  std::vector<MountPlan> mounts_;
  std::vector<NodePlan> nodes_;
  std::vector<UniqueFd> duplicates_;
  std::vector<int> tasks_;
  UniqueFd init_, output_;
  int unified_ = -1;
  BundlePlan bundle_;
  SetupPlan plan_;
};

void Converse(int socket, const ProgramPlan& plan, const ConfinedProgram& program) {
  bool ready = false;
  while (auto received = ReceiveReport(socket)) {
    if (received->report.kind == Report::kFailed)
      throw DescribeFailure(received->report, plan.SubjectOf(received->report), "")
          .error.WithContext("start " + program.args.front());
    if (received->report.kind != Report::kReady)
      continue;
    ready = true;
    const UniqueFd params = MakeInitParams(plan.Request());
    const bool sent = PassDescriptor(socket, params.get()) &&
                      (program.fds.empty() || PassDescriptors(socket, program.fds, std::string_view("\1", 1)));
    if (!sent && !FailedMeanwhile())
      ThrowErrno("send " + program.args.front() + " its parameters");
  }
  if (!ready)
    throw Error(ErrorKind::kFailed, "the process for " + program.args.front() + " ended before it was set up",
                "was it killed? see the kernel's log for 'Out of memory'");
}

}  // namespace

std::string FindHostProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  const std::string all = std::string(path != nullptr ? path : "/usr/bin:/bin") + ":/usr/sbin:/sbin";
  for (size_t begin = 0; begin <= all.size();) {
    const size_t end = std::min(all.find(':', begin), all.size());
    std::string file = all.substr(begin, end - begin) + "/" + name;
    if (end > begin && file.front() == '/' && access(file.c_str(), X_OK) == 0)
      return file;
    begin = end + 1;
  }
  return {};
}

gantry::Process StartConfined(const ConfinedProgram& program) {
  ProgramPlan plan(program);
  Launched launched = Launch(plan.setup(), plan.namespaces());
  gantry::Process out = gantry::Process::Adopt(launched.pid, std::move(launched.pidfd));
  if (plan.rootless()) {
    ApplyIdMap(out.pid(), MapOfCaller());
    const char go = 1;
    if (send(launched.socket.get(), &go, 1, MSG_NOSIGNAL) < 0 && !FailedMeanwhile())
      ThrowErrno("start " + program.args.front());
  }
  Converse(launched.socket.get(), plan, program);
  return out;
}

}  // namespace gantry::runner
