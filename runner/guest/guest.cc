// The guest's init: process 1 of a virtual machine that runs one container (gantry-run(1), --isolation=vm).
//
// It makes the container by the very steps that a runner takes on a host (setup.h), and with the same init in it: the
// namespaces, capabilities, filter and limits are the same, in a kernel of their own. What the runner does from outside
// is done from the host, over the channel of vm/frame.h; this only hands on.
// C++ without the library, as init.cc.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "libimage/base/pass_descriptor.h"
#include "runner/guest/boot.h"
#include "runner/guest/channel.h"
#include "runner/protocol.h"
#include "runner/setup.h"

namespace gantry::runner::guest {
namespace {

static_assert(sizeof(Report) == vm::kReportBytes);

constexpr uint32_t kInputRoom = 64 * 1024;

struct Blob {
  char* bytes = nullptr;
  size_t size = 0;
};

// The pieces of one type up to the empty one.
Blob ReceiveBlob(FrameType type) {
  Blob out;
  size_t capacity = 0;
  for (;;) {
    const Frame frame = TheChannel().Await();
    if (frame.type != type || frame.size > vm::kMaxBlobBytes - out.size)
      GiveUp("understand the host", EPROTO);
    if (frame.size == 0)
      return out;
    if (capacity - out.size < frame.size) {
      const size_t more = capacity == 0 ? 256 * 1024 : capacity * 2;
      void* memory = capacity == 0 ? mmap(nullptr, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                   : mremap(out.bytes, capacity, more, MREMAP_MAYMOVE);
      if (memory == MAP_FAILED)
        GiveUp("receive the job", errno);
      out.bytes = static_cast<char*>(memory);
      capacity = more;
    }
    memcpy(out.bytes + out.size, frame.payload, frame.size);
    out.size += frame.size;
  }
}

// The container, once it is launched.
struct Container {
  pid_t pid = -1;
  int pidfd = -1;
  int control = -1;  // -1: the application was executed
  int input = -1;    // what the application reads from; the terminal's master is here and in output[0]
  int output[2] = {-1, -1};
  bool terminal = false;
  bool input_ends = false;
  size_t pending = 0;
  size_t credit = 0;  // what the host may still send
  size_t taken = 0;   // written to the application and not yet credited again
  char buffer[kInputRoom];
};

Container container;

void MakePipe(int (&ends)[2]) {
  if (pipe2(ends, O_CLOEXEC) < 0)
    GiveUp("make a pipe", errno);
}

void SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    GiveUp("set up a stream", errno);
}

// Descriptors 0 to 2, for the child to inherit.
void MakeStreams(const vm::Job& job) {
  container.terminal = job.head.terminal != 0;
  if (container.terminal)
    return;  // they come with Report kConsole
  for (int i = 0; i < 2; ++i) {
    int ends[2];
    MakePipe(ends);
    container.output[i] = ends[0];
    dup2(ends[1], i + 1);
    close(ends[1]);
    SetNonBlocking(ends[0]);
  }
  if (job.head.interactive == 0)
    return;
  int ends[2];
  MakePipe(ends);
  container.input = ends[1];
  dup2(ends[0], 0);
  close(ends[0]);
  SetNonBlocking(ends[1]);
}

void ForgetStreams() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  close(null);
}

void Launch(SetupPlan& plan, int cgroup) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    GiveUp("make a socket", errno);
  container.control = ends[0];
  plan.control = ends[1];
  clone_args arguments = {};
  arguments.flags =
      CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.pidfd = reinterpret_cast<uint64_t>(&container.pidfd);
  arguments.cgroup = static_cast<uint64_t>(cgroup);
  const long child = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child < 0)
    GiveUp("make the namespaces of the container", errno);
  if (child == 0) {
    close(ends[0]);
    RunSetup(plan);
  }
  container.pid = static_cast<pid_t>(child);
  close(ends[1]);
}

// An account file as the container would find it; none is no error.
void SendAccounts(int root, const char* path, FrameType type) {
  open_how how = {};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const int fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how));
  if (fd < 0)
    return;
  struct stat status;
  if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
    GiveUp("the image's account files are not regular files", 0, true);
  static char piece[vm::kMaxFrameBytes];
  size_t all = 0;
  for (ssize_t count = 0; (count = read(fd, piece, sizeof piece)) > 0;) {
    if ((all += static_cast<size_t>(count)) > vm::kMaxAccountBytes)
      GiveUp("an account file of the image is longer than 4 MiB", 0, true);
    TheChannel().Send(type, 0, piece, static_cast<size_t>(count));
  }
  close(fd);
}

// The parameters of the container's init, which come once the host knows who the user is.
void PassParams() {
  const Blob params = ReceiveBlob(FrameType::kParams);
  InitParams head;
  if (params.size < sizeof head)
    GiveUp("understand the host", EPROTO);
  memcpy(&head, params.bytes, sizeof head);
  // So that the user may open /dev/stdout again.
  for (const int fd : {container.input, container.output[0], container.output[1]}) {
    if (fd >= 0 && !container.terminal && fchown(fd, head.uid, static_cast<gid_t>(-1)) < 0)
      errno = 0;
  }
  const int file = memfd_create("gantry-params", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  for (size_t done = 0; done < params.size;) {
    const ssize_t count = write(file, params.bytes + done, params.size - done);
    if (count <= 0)
      GiveUp("make a memory file", errno);
    done += static_cast<size_t>(count);
  }
  munmap(params.bytes, params.size);
  // EPIPE: the child failed meanwhile, and its report is on the way.
  if (!PassDescriptor(container.control, file) && errno != EPIPE)
    GiveUp("send the container its parameters", errno);
  close(file);
}

void Grant(size_t bytes) {
  const auto more = static_cast<uint32_t>(bytes);
  container.credit += bytes;
  TheChannel().Send(FrameType::kCredit, 0, &more, sizeof more);
}

void TakeConsole(int master) {
  SetNonBlocking(master);
  container.output[0] = master;
  container.input = master;
}

// False when there are no more: the application was executed, or a report said why not.
bool HandleReport() {
  Report report;
  Arrival arrival{};
  do {
    arrival = ReceiveWithDescriptor(container.control, std::as_writable_bytes(std::span(&report, 1)));
  } while (arrival.size < 0 && errno == ECONNRESET);
  const int fd = arrival.fd;
  if (arrival.size != static_cast<ssize_t>(sizeof report))
    return false;
  if (report.kind == Report::kRoot) {
    SendAccounts(fd, "etc/passwd", FrameType::kPasswd);
    SendAccounts(fd, "etc/group", FrameType::kGroup);
    TheChannel().Send(FrameType::kRoot);
    close(fd);
    PassParams();
  } else if (report.kind == Report::kConsole) {
    TakeConsole(fd);
  } else {
    TheChannel().Send(FrameType::kReport, 0, &report, sizeof report);
  }
  return true;
}

void DropInput(bool tell) {
  if (container.input < 0)
    return;
  if (!container.terminal)
    close(container.input);
  container.input = -1;
  container.pending = 0;
  if (tell)
    TheChannel().Send(FrameType::kInputClosed);
}

// What is ^D on a terminal is the end of a pipe.
void EndInput() {
  termios mode;
  if (container.terminal && tcgetattr(container.input, &mode) == 0 && (mode.c_lflag & ICANON) != 0) {
    const ssize_t count = write(container.input, &mode.c_cc[VEOF], 1);
    if (count < 0)
      errno = 0;
  }
  DropInput(false);
}

void WriteInput() {
  const ssize_t count = write(container.input, container.buffer, container.pending);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    DropInput(true);
    return;
  }
  if (count <= 0)
    return;
  const auto done = static_cast<size_t>(count);
  memmove(container.buffer, container.buffer + done, container.pending - done);
  container.pending -= done;
  container.taken += done;
  if (container.pending == 0 || container.taken >= kInputRoom / 2) {
    Grant(container.taken);
    container.taken = 0;
  }
  if (container.pending == 0 && container.input_ends)
    EndInput();
}

// The application is to find its pipe closed, too.
void CloseOutput(int index) {
  if (container.output[index] < 0 || container.terminal)
    return;
  close(container.output[index]);
  container.output[index] = -1;
}

void HandleFrame(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kInput:
      if (frame.size > container.credit)
        GiveUp("understand the host", EPROTO);
      container.credit -= frame.size;
      if (container.input < 0)
        return;
      memcpy(container.buffer + container.pending, frame.payload, frame.size);
      container.pending += frame.size;
      return;
    case FrameType::kInputEnd:
      container.input_ends = true;
      if (container.input >= 0 && container.pending == 0)
        EndInput();
      return;
    case FrameType::kOutputClosed:
      CloseOutput(frame.stream - 1);
      return;
    case FrameType::kSignal:
      kill(container.pid, frame.As<int32_t>());
      return;
    case FrameType::kResize: {
      const auto size = frame.As<vm::WindowSize>();
      const winsize window = {size.rows, size.columns, 0, 0};
      if (container.terminal)
        ioctl(container.output[0], TIOCSWINSZ, &window);
      return;
    }
    default:
      GiveUp("understand the host", EPROTO);
  }
}

// False when nothing more will come.
bool CopyOutput(int index) {
  static char piece[vm::kMaxFrameBytes];
  const ssize_t count = read(container.output[index], piece, sizeof piece);
  if (count > 0)
    TheChannel().Send(FrameType::kOutput, static_cast<uint16_t>(index + 1), piece, static_cast<size_t>(count));
  if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)))
    return true;
  if (!container.terminal)
    close(container.output[index]);
  container.output[index] = -1;
  return false;
}

// The container is dead and nobody writes any more: what is left of its output, then its end.
[[noreturn]] void Finish() {
  int status = 0;
  while (waitpid(container.pid, &status, 0) < 0 && errno == EINTR) {
  }
  for (int i = 0; i < 2; ++i) {
    for (pollfd more = {container.output[i], POLLIN, 0};
         container.output[i] >= 0 && poll(&more, 1, 0) == 1 && CopyOutput(i);) {
    }
  }
  sync();
  const auto code = static_cast<int32_t>(status);
  TheChannel().Send(FrameType::kExit, 0, &code, sizeof code);
  TheChannel().Flush();
  // The host ends the machine when it has read that.
  sleep(5);
  PowerOff();
}

void HandleReports() {
  if (HandleReport())
    return;
  close(container.control);
  container.control = -1;
  TheChannel().Send(FrameType::kStarted);
  if (container.input >= 0)
    Grant(kInputRoom);
}

[[noreturn]] void Serve() {
  Channel& channel = TheChannel();
  for (;;) {
    Frame frame;
    while (container.control < 0 && channel.Next(frame)) HandleFrame(frame);
    // Output is read when the host has room for it.
    const bool room = channel.room() >= 2 * (sizeof(vm::FrameHeader) + vm::kMaxFrameBytes);
    enum { kChannel, kChild, kControl, kOut, kErr, kIn, kCount };
    pollfd waiting[kCount] = {{channel.fd(), POLLIN, 0},
                              {container.control < 0 ? container.pidfd : -1, POLLIN, 0},
                              {container.control, POLLIN, 0},
                              {room ? container.output[0] : -1, POLLIN, 0},
                              {room ? container.output[1] : -1, POLLIN, 0},
                              {container.pending > 0 ? container.input : -1, POLLOUT, 0}};
    if (channel.wants_to_write())
      waiting[kChannel].events |= POLLOUT;
    if (poll(waiting, kCount, -1) < 0 && errno != EINTR)
      GiveUp("wait", errno);
    if ((waiting[kChannel].revents & POLLHUP) != 0)
      PowerOff();
    if ((waiting[kChannel].revents & POLLOUT) != 0)
      channel.Write();
    if ((waiting[kChannel].revents & POLLIN) != 0 && !channel.Read())
      PowerOff();
    if (waiting[kControl].revents != 0)
      HandleReports();
    for (int i = 0; i < 2; ++i) {
      if (waiting[kOut + i].revents != 0 && container.output[i] >= 0)
        CopyOutput(i);
    }
    if (waiting[kIn].revents != 0 && container.input >= 0)
      WriteInput();
    if (waiting[kChild].revents != 0)
      Finish();
  }
}

void MakePlan(const vm::Job& job, const VolumePath* sources, SetupPlan& plan) {
  static const char* const kLayers[] = {kLower};
  static const CgroupMountPlan kCgroups[] = {{"", ""}};
  static VolumePlan volumes[vm::kMaxJobVolumes];
  for (uint64_t i = 0; i < job.head.volume_count; ++i)
    volumes[i] = {sources[i], job.targets[i], true, job.volumes[i].read_only != 0};
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
  plan.init = PrepareMachine();
  TheChannel().Open();
  TheChannel().Send(FrameType::kHello, 0, &vm::kProtocolVersion, sizeof vm::kProtocolVersion);
  const Blob blob = ReceiveBlob(FrameType::kJob);
  static vm::Job job;
  if (!vm::JobReader(blob.bytes, blob.size).Read(job))
    GiveUp("understand the host", EPROTO);
  MountRootImage(job.root_type);
  static VolumePath sources[vm::kMaxJobVolumes];
  MountShares(job, sources);
  const int cgroup = MakeCgroup(job.head.pids);
  MakePlan(job, sources, plan);
  MakeStreams(job);
  Launch(plan, cgroup);
  ForgetStreams();
  close(cgroup);
  Serve();
}

}  // namespace
}  // namespace gantry::runner::guest

int main() { gantry::runner::guest::Main(); }
