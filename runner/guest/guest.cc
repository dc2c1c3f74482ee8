// The guest's init: process 1 of a virtual machine that runs the containers of one pod (gantry-run(1), --isolation=vm).
//
// It makes each container by the very steps that a runner takes on a host (setup.h), and with the same init in it: the
// namespaces, capabilities, filter and limits are the same, in a kernel of their own. What the runner does from outside
// is done from the host, over the channel of vm/frame.h; this only hands on.
// C++ without the library, as init.cc.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/guest/boot.h"
#include "runner/guest/channel.h"
#include "runner/guest/network.h"
#include "runner/guest/process.h"
#include "runner/setup.h"
#include "runner/vm/job_bundle.h"

namespace gantry::runner::guest {
namespace {

// Of a file system in memory, as a mount takes them.
struct MemoryOptions {
  char texts[4][32];
  const char* all[5];
};

// One application, from its job to its container. What the plan points at is here.
struct App {
  char* bytes = nullptr;  // of the job, so far
  size_t size = 0, capacity = 0;
  bool planned = false;
  vm::Job job;
  VolumePath sources[vm::kMaxJobVolumes];
  VolumePlan volumes[vm::kMaxJobVolumes];
  MemoryOptions memory[vm::kMaxJobVolumes];
  char upper[sizeof(VolumePath) + 8], work[sizeof(VolumePath) + 8];
  const char* layers[1];
  Container container;
};

int container_init = -1;
App apps[vm::kMaxApps];
vm::JobBundle bundle;  // of the only application
Process processes[vm::kMaxProcesses];

void StartApp(uint16_t number);

// The pieces of the job up to the empty one.
void TakeJob(const Frame& frame) {
  App& app = apps[frame.process];
  if (app.planned || (frame.process > 0 && !apps[0].planned))
    GiveUp("understand the host", EPROTO);
  if (frame.size > 0) {
    if (!AppendPiece(app.bytes, app.size, app.capacity, frame.payload, frame.size))
      GiveUp("receive the job", ENOMEM);
    return;
  }
  if (!vm::JobReader(app.bytes, app.size).Read(app.job) || frame.process >= apps[0].job.head.apps)
    GiveUp("understand the host", EPROTO);
  app.planned = true;
  StartApp(frame.process);
}

void Enter(const Frame& frame) {
  const auto wanted = frame.As<vm::EnterRequest>();
  Process& process = processes[frame.process];
  if (process.used() || frame.process < apps[0].job.head.apps)
    GiveUp("understand the host", EPROTO);
  if (wanted.app >= apps[0].job.head.apps || !processes[wanted.app].used())
    process.Refuse(frame.process, "the application has ended");
  else
    process.Enter(frame.process, wanted, apps[wanted.app].container, processes[wanted.app]);
}

void HandleFrame(const Frame& frame) {
  if (frame.type == FrameType::kJob)
    TakeJob(frame);
  else if (frame.type == FrameType::kEnter)
    Enter(frame);
  else if (processes[frame.process].used())
    processes[frame.process].Take(frame);  // else it has just ended, and the host does not know yet
}

// The applications are dead, and all that they and the others said is sent.
[[noreturn]] void Finish() {
  sync();
  TheChannel().Flush();
  // The host ends the machine when it has read that.
  sleep(5);
  PowerOff();
}

// A container's end kills what was entered, which is to be told first.
void FinishProcesses() {
  const uint64_t count = apps[0].planned ? apps[0].job.head.apps : vm::kMaxProcesses;
  uint32_t occupied = 0;  // bits: applications whose containers others are in
  for (size_t i = count; i < vm::kMaxProcesses; ++i) {
    if (!processes[i].used())
      continue;
    const uint16_t app = processes[i].app();
    processes[i].Finish(processes[app].ended() || !processes[app].used());
    if (processes[i].used())
      occupied |= 1U << app;
  }
  uint64_t over = 0;
  for (size_t i = 0; i < count && i < vm::kMaxApps; ++i) {
    if (processes[i].ended() && (occupied & 1U << i) == 0)
      processes[i].Finish(false);
    over += apps[i].planned && !processes[i].used() ? 1 : 0;
  }
  if (over == count)
    Finish();
}

[[noreturn]] void Serve() {
  Channel& channel = TheChannel();
  constexpr size_t kCount = 1 + vm::kMaxProcesses * Process::kPolls;
  static pollfd waiting[kCount];
  static pollfd some[Process::kPolls];
  for (;;) {
    for (Frame frame; channel.Next(frame);) HandleFrame(frame);
    FinishProcesses();
    // Output is read when the host has room for it.
    const bool room = channel.room() >= 2 * (sizeof(vm::FrameHeader) + vm::kMaxFrameBytes);
    waiting[0] = {channel.fd(), static_cast<short>(POLLIN | (channel.wants_to_write() ? POLLOUT : 0)), 0};
    for (size_t i = 0; i < vm::kMaxProcesses; ++i) {
      if (processes[i].used())
        processes[i].Wait(some, room);
      else
        for (pollfd& one : some) one = {-1, 0, 0};
      memcpy(waiting + 1 + i * Process::kPolls, some, sizeof some);
    }
    if (poll(waiting, kCount, -1) < 0 && errno != EINTR)
      GiveUp("wait", errno);
    if ((waiting[0].revents & POLLHUP) != 0)
      PowerOff();
    if ((waiting[0].revents & POLLOUT) != 0)
      channel.Write();
    if ((waiting[0].revents & POLLIN) != 0 && !channel.Read())
      PowerOff();
    for (size_t i = 0; i < vm::kMaxProcesses; ++i) {
      memcpy(some, waiting + 1 + i * Process::kPolls, sizeof some);
      if (processes[i].used())
        processes[i].Came(some);
    }
  }
}

void PlanMemory(const vm::PackedJobVolume& volume, MemoryOptions& options, VolumePlan& plan) {
  snprintf(options.texts[0], sizeof options.texts[0], "mode=%o", volume.mode);
  snprintf(options.texts[1], sizeof options.texts[1], "uid=%u", volume.uid);
  snprintf(options.texts[2], sizeof options.texts[2], "gid=%u", volume.gid);
  snprintf(options.texts[3], sizeof options.texts[3], "size=%llu", static_cast<unsigned long long>(volume.size));
  for (int i = 0; i < 3; ++i) options.all[i] = options.texts[i];
  options.all[3] = volume.size != 0 ? options.texts[3] : nullptr;
  options.all[4] = nullptr;
  plan.source = nullptr;
  plan.data = options.all;
  plan.executable = volume.executable != 0;
}

void PlanVolumes(App& app, SetupPlan& plan) {
  const vm::JobHead& head = app.job.head;
  for (uint64_t i = 0; i < head.volume_count; ++i) {
    const vm::PackedJobVolume& volume = app.job.volumes[i];
    app.volumes[i] = {app.sources[i], app.job.targets[i], true, volume.read_only != 0};
    if (volume.memory != 0)
      PlanMemory(volume, app.memory[i], app.volumes[i]);
  }
  plan.volumes = app.volumes;
  plan.volume_count = head.volume_count;
  if (head.keeps_changes == 0)
    return;
  const unsigned changes = app.job.volumes[--plan.volume_count].share;
  snprintf(app.upper, sizeof app.upper, "/volumes/%u/upper", changes);
  snprintf(app.work, sizeof app.work, "/volumes/%u/work", changes);
  plan.user_xattrs = true;  // the host's server may set no others
}

void MakePlan(App& app, const AppPaths& paths, SetupPlan& plan) {
  static const CgroupMountPlan kCgroups[] = {{"", ""}};
  const vm::JobHead& head = app.job.head;
  app.layers[0] = paths.lower;
  snprintf(app.upper, sizeof app.upper, "%s", paths.upper);
  snprintf(app.work, sizeof app.work, "%s", paths.work);
  PlanVolumes(app, plan);
  plan.terminal = head.terminal != 0;
  plan.interactive = head.interactive != 0;
  plan.read_only_rootfs = head.read_only_rootfs != 0;
  plan.layers = app.layers;
  plan.layer_count = 1;
  plan.upper = app.upper;
  plan.work = app.work;
  plan.mount_point = paths.container;
  plan.etc = app.job.files;
  plan.etc_count = head.file_count;
  plan.joined_cgroup = true;
  plan.cgroups = kCgroups;
  plan.cgroup_count = 1;
  plan.hostname = app.job.hostname;
  plan.working_dir = app.job.working_dir;
  plan.capabilities = head.capabilities;
}

void MakeBundlePlan(const App& app, SetupPlan& plan) {
  static const CgroupMountPlan kCgroups[] = {{"", ""}};
  const vm::JobHead& head = app.job.head;
  bundle.plan.root = app.sources[0];
  for (size_t i = 0; i < bundle.plan.mount_count; ++i) {
    if (bundle.volumes[i] != vm::PackedJobMount::kNewFileSystem)
      bundle.mounts[i].source = app.sources[bundle.volumes[i]];
  }
  plan.terminal = head.terminal != 0;
  plan.interactive = true;
  plan.read_only_rootfs = head.read_only_rootfs != 0;
  plan.joined_cgroup = true;
  plan.cgroups = kCgroups;
  plan.cgroup_count = 1;
  plan.hostname = *app.job.hostname != '\0' ? app.job.hostname : nullptr;
  plan.working_dir = app.job.working_dir;
  plan.capabilities = head.capabilities;
  plan.no_new_privs = false;  // that is for the process's parameters to say
  plan.bundle = &bundle.plan;
}

void StartBundle(App& app) {
  if (!vm::JobBundleReader(app.bytes, app.size, app.job).Read(bundle))
    GiveUp("understand the host", EPROTO);
  MountShares(app.job, app.sources);
  SetUpDevices(app.job);
  app.container = {container_init, MakeCgroup(app.job.head, 0)};
  if (bundle.device_filter_count > 0)
    LimitDevices(app.container.cgroup, bundle.device_filter, bundle.device_filter_count);
  SetupPlan plan;
  MakeBundlePlan(app, plan);
  processes[0].Start(0, plan, app.container, true);
}

void StartApp(uint16_t number) {
  App& app = apps[number];
  if (app.job.head.bundle != 0) {
    StartBundle(app);
    return;
  }
  const AppPaths paths(number);
  MountRootImage(app.job.root_type, number, paths);
  MountShares(app.job, app.sources);
  SetUpDevices(app.job);
  app.container = {container_init, MakeCgroup(app.job.head, number)};
  SetupPlan plan;
  MakePlan(app, paths, plan);
  processes[number].Start(number, plan, app.container, app.job.head.interactive != 0);
}

[[noreturn]] void Main() {
  signal(SIGPIPE, SIG_IGN);
  container_init = PrepareMachine();
  TheChannel().Open();
  TheChannel().Send(FrameType::kHello, 0, &vm::kProtocolVersion, sizeof vm::kProtocolVersion);
  Serve();
}

}  // namespace
}  // namespace gantry::runner::guest

int main() { gantry::runner::guest::Main(); }
