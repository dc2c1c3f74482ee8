#include "runner/init_params.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>

#include <algorithm>
#include <string_view>

#include "libimage/base/error.h"
#include "runner/packer.h"
#include "runner/protocol.h"
#include "runner/seccomp.h"

namespace gantry::runner {
namespace {

bool HasEnv(const std::vector<std::string>& env, std::string_view prefix) {
  return std::ranges::any_of(env, [&](const std::string& entry) { return entry.starts_with(prefix); });
}

void AddHooks(const std::vector<SpecHook>& hooks, Packer& packer, InitParams& head) {
  std::vector<PackedHook> packed;
  for (const SpecHook& hook : hooks) {
    PackedHook one;
    one.path = packer.Add({hook.path});
    one.arguments = packer.Add(hook.args);
    one.argument_count = hook.args.size();
    one.environment = packer.Add(hook.env);
    one.environment_count = hook.env.size();
    if (hook.timeout)
      one.timeout = int64_t{*hook.timeout} * 1000;
    packed.push_back(one);
  }
  head.hooks = packer.Add(packed.data(), packed.size() * sizeof(PackedHook));
  head.hook_count = packed.size();
}

void AddLimits(const SpecProcess& process, Packer& packer, InitParams& head) {
  std::vector<PackedLimit> limits;
  for (const SpecLimit& limit : process.limits) limits.push_back({limit.resource, limit.soft, limit.hard});
  head.limits = packer.Add(limits.data(), limits.size() * sizeof(PackedLimit));
  head.limit_count = limits.size();
}

uint64_t AddHandlers(const std::vector<EventHandler>& handlers, const SpecProcess& process, Packer& packer) {
  std::vector<PackedHandler> packed;
  for (const EventHandler& handler : handlers) {
    const std::vector<std::string> candidates = ExecutableCandidates(handler.args.front(), process.env);
    PackedHandler one;
    one.arguments = packer.Add(handler.args);
    one.argument_count = handler.args.size();
    one.candidates = packer.Add(candidates);
    one.candidate_count = candidates.size();
    packed.push_back(one);
  }
  return packer.Add(packed.data(), packed.size() * sizeof(PackedHandler));
}

void AddAffinity(const SpecProcess& process, Packer& packer, InitParams& head) {
  head.affinity_size = process.final_affinity.size() * sizeof(uint64_t);
  if (head.affinity_size != 0)
    head.affinity = packer.Add(process.final_affinity.data(), head.affinity_size);
}

void AddScheduler(const SpecProcess& process, Packer& packer, InitParams& head) {
  head.io_priority = process.io_priority.value_or(-1);
  if (!process.scheduler)
    return;
  const SpecScheduler& from = *process.scheduler;
  PackedScheduler scheduler;
  scheduler.policy = from.policy;
  scheduler.flags = from.flags;
  scheduler.nice = from.nice;
  scheduler.priority = from.priority;
  scheduler.runtime = from.runtime;
  scheduler.deadline = from.deadline;
  scheduler.period = from.period;
  head.scheduler = packer.Add(&scheduler, sizeof scheduler);
}

void AddDirect(const InitRequest& request, Packer& packer, InitParams& head) {
  head.direct = 1;
  head.filter_flags = request.filter_flags;
  head.waits = request.waits ? 1 : 0;
  head.notifies = request.notifies ? 1 : 0;
  head.owns_streams = request.owns_streams ? 1 : 0;
  head.notice = packer.Add(request.notice.data(), request.notice.size());
  head.notice_size = request.notice.size();
  head.state = packer.Add(request.state.data(), request.state.size());
  head.state_size = request.state.size();
  AddHooks(request.hooks, packer, head);
  AddScheduler(request.process, packer, head);
  AddAffinity(request.process, packer, head);
}

UniqueFd Sealed(const std::string& bytes) {
  UniqueFd fd(memfd_create("gantry-params", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd)
    ThrowErrno("make a memory file");
  WriteFull(fd.get(), AsBytes(bytes), "gantry-params");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    ThrowErrno("seal a memory file");
  return fd;
}

}  // namespace

std::vector<std::string> ExecutableCandidates(const std::string& program, const std::vector<std::string>& env) {
  if (program.find('/') != std::string::npos)
    return {program};
  constexpr std::string_view kPath = "PATH=";
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& entry : env) {
    if (entry.starts_with(kPath))
      path = std::string_view(entry).substr(kPath.size());
  }
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    // An empty element is the working directory by tradition; nobody means that.
    if (end > begin)
      out.push_back(std::string(path.substr(begin, end - begin)) + "/" + program);
    begin = end + 1;
  }
  if (out.empty())
    out.push_back("/" + program);
  return out;
}

std::span<const sock_filter> FilterFor(const RunConfig& config) {
  return config.filter.kind == Filter::Kind::kDefault ? DefaultFilter() : config.filter.program;
}

InitRequest RequestFor(const RunConfig& config, const Credentials& who, const std::string& hostname,
                       std::span<const sock_filter> filter) {
  InitRequest out;
  out.filter = filter;
  out.pre_start = config.pre_start;
  out.post_stop = config.post_stop;
  SpecProcess& process = out.process;
  process.terminal = config.terminal;
  process.user = {who.uid, who.gid, std::nullopt, {who.groups.begin(), who.groups.end()}};
  process.args = config.args;
  process.env = config.env;
  if (!HasEnv(process.env, "HOME="))
    process.env.push_back("HOME=" + who.home);
  if (!HasEnv(process.env, "HOSTNAME="))
    process.env.push_back("HOSTNAME=" + hostname);
  process.cwd = config.working_dir;
  process.limits = config.ulimits;
  process.no_new_privileges = !config.new_privileges;
  process.capabilities.bounding = config.capabilities;
  if (who.uid == 0)
    process.capabilities.permitted = process.capabilities.effective = config.capabilities;
  return out;
}

uint64_t CapabilitiesOfInit(const RunConfig& config) {
  uint64_t out = config.capabilities;
  if (config.new_privileges)
    out |= uint64_t{1} << CAP_SYS_ADMIN;  // it loads the filter
  for (const SpecLimit& limit : config.ulimits) {
    if (limit.hard > 0)
      out |= uint64_t{1} << CAP_SYS_RESOURCE;
  }
  return out;
}

std::string PackInitParams(const InitRequest& request) {
  const SpecProcess& process = request.process;
  Packer packer(sizeof(InitParams));
  InitParams head;
  head.uid = process.user.uid;
  head.gid = process.user.gid;
  head.terminal = process.terminal ? 1 : 0;
  head.keep_groups = request.keep_groups ? 1 : 0;
  head.umask = process.user.umask.value_or(022);
  head.no_new_privs = process.no_new_privileges ? 1 : 0;
  head.bounding = process.capabilities.bounding;
  head.permitted = process.capabilities.permitted;
  head.effective = process.capabilities.effective;
  head.inheritable = process.capabilities.inheritable;
  head.ambient = process.capabilities.ambient;
  head.working_dir = packer.Add({process.cwd});
  head.groups = packer.Add(process.user.groups.data(), process.user.groups.size() * sizeof(uint32_t));
  head.group_count = process.user.groups.size();
  head.filter = packer.Add(request.filter.data(), request.filter.size_bytes());
  head.filter_count = request.filter.size();
  head.arguments = packer.Add(process.args);
  head.argument_count = process.args.size();
  head.environment = packer.Add(process.env);
  head.environment_count = process.env.size();
  const std::vector<std::string> candidates = ExecutableCandidates(process.args.front(), process.env);
  head.candidates = packer.Add(candidates);
  head.candidate_count = candidates.size();
  AddLimits(process, packer, head);
  if (!request.apparmor.empty())
    head.apparmor = packer.Add({request.apparmor});
  if (!request.selinux.empty())
    head.selinux = packer.Add({request.selinux});
  head.passed = static_cast<uint32_t>(request.passed);
  head.pre_start = AddHandlers(request.pre_start, process, packer);
  head.pre_start_count = request.pre_start.size();
  head.post_stop = AddHandlers(request.post_stop, process, packer);
  head.post_stop_count = request.post_stop.size();
  if (request.direct)
    AddDirect(request, packer, head);
  return packer.Finish(head);
}

UniqueFd MakeInitParams(const InitRequest& request) { return Sealed(PackInitParams(request)); }

}  // namespace gantry::runner
