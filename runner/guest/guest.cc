// The guest's init: process 1 of a virtual machine that runs one container (gantry-run(1), --isolation=vm).
//
// It makes the container by the very steps that a runner takes on a host (setup.h), and with the same init in it: the
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
#include "runner/guest/process.h"
#include "runner/setup.h"

namespace gantry::runner::guest {
namespace {

Container container;
Process processes[vm::kMaxProcesses];

// The pieces of the job up to the empty one, which is read before this returns.
void ReceiveJob(vm::Job& out) {
  char* bytes = nullptr;
  size_t size = 0;
  size_t capacity = 0;
  for (;;) {
    const Frame frame = TheChannel().Await();
    if (frame.type != FrameType::kJob)
      GiveUp("understand the host", EPROTO);
    if (frame.size == 0)
      break;
    if (!AppendPiece(bytes, size, capacity, frame.payload, frame.size))
      GiveUp("receive the job", ENOMEM);
  }
  if (!vm::JobReader(bytes, size).Read(out))
    GiveUp("understand the host", EPROTO);
}

void HandleFrame(const Frame& frame) {
  Process& process = processes[frame.process];
  if (frame.type == FrameType::kEnter && !process.used() && processes[0].used())
    process.Enter(frame.process, frame.As<vm::EnterRequest>(), container, processes[0]);
  else if (frame.type == FrameType::kEnter)
    GiveUp("understand the host", EPROTO);
  else if (process.used())
    process.Take(frame);  // else it has just ended, and the host does not know yet
}

// The application is dead, and all that it and the others said is sent.
[[noreturn]] void Finish() {
  sync();
  TheChannel().Flush();
  // The host ends the machine when it has read that.
  sleep(5);
  PowerOff();
}

// The container's end kills what was entered, which is to be told first.
void FinishProcesses() {
  bool others = false;
  for (size_t i = 1; i < vm::kMaxProcesses; ++i) {
    processes[i].Finish(processes[0].ended());
    others = others || processes[i].used();
  }
  if (processes[0].ended() && !others && processes[0].Finish(false))
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

// Of a file system in memory, as a mount takes them.
struct MemoryOptions {
  char texts[4][32];
  const char* all[5];
};

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

void MakePlan(const vm::Job& job, const VolumePath* sources, SetupPlan& plan) {
  static const char* const kLayers[] = {kLower};
  static const CgroupMountPlan kCgroups[] = {{"", ""}};
  static VolumePlan volumes[vm::kMaxJobVolumes];
  static MemoryOptions memory[vm::kMaxJobVolumes];
  for (uint64_t i = 0; i < job.head.volume_count; ++i) {
    const vm::PackedJobVolume& volume = job.volumes[i];
    volumes[i] = {sources[i], job.targets[i], true, volume.read_only != 0};
    if (volume.memory != 0)
      PlanMemory(volume, memory[i], volumes[i]);
  }
  plan.terminal = job.head.terminal != 0;
  plan.interactive = job.head.interactive != 0;
  plan.read_only_rootfs = job.head.read_only_rootfs != 0;
  plan.layers = kLayers;
  plan.layer_count = 1;
  plan.upper = kUpper;
  plan.work = kWork;
  uint64_t shown = job.head.volume_count;
  if (job.head.keeps_changes != 0) {
    static char upper[sizeof(VolumePath) + 8], work[sizeof(VolumePath) + 8];
    snprintf(upper, sizeof upper, "%s/upper", sources[--shown]);
    snprintf(work, sizeof work, "%s/work", sources[shown]);
    plan.upper = upper;
    plan.work = work;
    plan.user_xattrs = true;  // the host's server may set no others
  }
  plan.mount_point = kMountPoint;
  plan.etc = job.files;
  plan.etc_count = job.head.file_count;
  plan.volumes = volumes;
  plan.volume_count = shown;
  plan.joined_cgroup = true;
  plan.cgroups = kCgroups;
  plan.cgroup_count = 1;
  plan.hostname = job.hostname;
  plan.working_dir = job.working_dir;
  plan.capabilities = job.head.capabilities;
}

[[noreturn]] void Main() {
  signal(SIGPIPE, SIG_IGN);
  SetupPlan plan;
  container.init = PrepareMachine();
  TheChannel().Open();
  TheChannel().Send(FrameType::kHello, 0, &vm::kProtocolVersion, sizeof vm::kProtocolVersion);
  static vm::Job job;
  ReceiveJob(job);
  MountRootImage(job.root_type);
  static VolumePath sources[vm::kMaxJobVolumes];
  MountShares(job, sources);
  container.cgroup = MakeCgroup(job.head.pids);
  MakePlan(job, sources, plan);
  processes[0].Start(plan, container, job.head.interactive != 0);
  Serve();
}

}  // namespace
}  // namespace gantry::runner::guest

int main() { gantry::runner::guest::Main(); }
