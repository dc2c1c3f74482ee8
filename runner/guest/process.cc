#include "runner/guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "libimage/base/pass_descriptor.h"
#include "runner/protocol.h"
#include "runner/setup_steps.h"

namespace gantry::runner::guest {

static_assert(sizeof(Report) == vm::kReportBytes);

namespace {

constexpr const char kConfused[] = "understand the host";

bool MakePipe(int (&ends)[2]) { return pipe2(ends, O_CLOEXEC) == 0; }

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

void CloseFd(int& fd) {
  if (fd >= 0)
    close(fd);
  fd = -1;
}

// Descriptors 0 to 2 are for children to inherit, and nobody's in between.
void ForgetStreams() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  close(null);
}

long Clone(const SetupPlan& plan, const Container& container, uint64_t flags, int* pidfd) {
  clone_args arguments = {};
  arguments.flags = flags | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
  arguments.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  if (pidfd != nullptr) {
    arguments.flags |= CLONE_PIDFD;
    arguments.pidfd = reinterpret_cast<uint64_t>(pidfd);
  }
  arguments.cgroup = static_cast<uint64_t>(container.cgroup);
  const long child = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child == 0)
    RunSetup(plan);
  return child;
}

// As launch.cc's: by a process between, for a pid namespace that is entered is that of its children.
long CloneInside(const SetupPlan& plan, const Container& container, int first) {
  int answers[2];
  if (!MakePipe(answers))
    return -1;
  const pid_t between = fork();
  if (between == 0) {
    prctl(PR_SET_DUMPABLE, 0);
    long child = -1;
    if (setns(first, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP) == 0)
      child = Clone(plan, container, CLONE_PARENT, nullptr);
    const long answer = child < 0 ? -errno : child;
    _exit(write(answers[1], &answer, sizeof answer) == sizeof answer ? 0 : 1);
  }
  close(answers[1]);
  long answer = -EAGAIN;
  if (between < 0 || read(answers[0], &answer, sizeof answer) != sizeof answer)
    answer = -EAGAIN;
  close(answers[0]);
  while (between > 0 && waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (answer < 0)
    errno = static_cast<int>(-answer);
  return answer < 0 ? -1 : answer;
}

}  // namespace

bool AppendPiece(char*& bytes, size_t& size, size_t& capacity, const char* piece, size_t more) {
  if (more > vm::kMaxBlobBytes - size)
    return false;
  while (capacity - size < more) {
    const size_t wanted = capacity == 0 ? 256 * 1024 : capacity * 2;
    void* memory = capacity == 0 ? mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                 : mremap(bytes, capacity, wanted, MREMAP_MAYMOVE);
    if (memory == MAP_FAILED)
      return false;
    bytes = static_cast<char*>(memory);
    capacity = wanted;
  }
  memcpy(bytes + size, piece, more);
  size += more;
  return true;
}

void Process::Send(FrameType type, uint8_t stream, const void* payload, size_t size) {
  TheChannel().Send(type, stream, payload, size, number_);
}

// What goes wrong with an application is the machine's end. Others end alone, also for what their client says against
// the protocol.
void Process::Problem(const char* what, int error, bool image) {
  if (number_ == app_)
    GiveUp(what, error, image);
  char text[vm::kMaxProblemBytes];
  const int size = error == 0 ? snprintf(text, sizeof text, "%s", what)
                              : snprintf(text, sizeof text, "cannot %s: %s", what, strerror(error));
  Send(FrameType::kProblem, image ? 1 : 0, text, size > 0 ? strnlen(text, sizeof text) : 0);
  if (pid_ > 0 && !ended_) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Reset(number_);
}

void Process::Reset(uint16_t number) {
  if (terminal_)
    input_ = -1;
  for (int* fd : {&pidfd_, &control_, &start_, &first_, &input_, &output_[0], &output_[1]}) CloseFd(*fd);
  if (params_ != nullptr)
    munmap(params_, params_capacity_);
  params_ = nullptr;
  params_size_ = params_capacity_ = pending_ = credit_ = taken_ = 0;
  window_ = vm::kOutputWindow;
  number_ = number;
  used_ = terminal_ = interactive_ = wants_params_ = bundle_ = failed_ = started_ = ended_ = input_ends_ = false;
  pid_ = -1;
  status_ = 0;
}

// A terminal comes with Report kConsole.
void Process::MakeStreams(bool terminal, bool interactive) {
  terminal_ = terminal;
  interactive_ = interactive;
  int ends[2];
  for (int i = 0; !terminal && i < 2; ++i) {
    if (!MakePipe(ends))
      GiveUp("make a pipe", errno);
    output_[i] = ends[0];
    dup2(ends[1], i + 1);
    close(ends[1]);
    SetNonBlocking(ends[0]);
  }
  if (terminal || !interactive)
    return;
  if (!MakePipe(ends))
    GiveUp("make a pipe", errno);
  input_ = ends[1];
  dup2(ends[0], 0);
  close(ends[0]);
  SetNonBlocking(ends[1]);
}

void Process::Launch(SetupPlan& plan, const Container& container, uint64_t namespaces, int entered) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    GiveUp("make a socket", errno);
  control_ = ends[0];
  plan.control = ends[1];
  plan.init = container.init;
  const long child = entered >= 0 ? CloneInside(plan, container, entered) : Clone(plan, container, namespaces, &pidfd_);
  const int error = errno;
  close(ends[1]);
  ForgetStreams();
  if (child < 0) {
    Problem(entered >= 0 ? "enter the container" : "make the namespaces of the container", error);
    return;
  }
  pid_ = static_cast<pid_t>(child);
  if (pidfd_ < 0)
    pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
}

void Process::Start(uint16_t number, SetupPlan& plan, const Container& container, bool interactive) {
  Reset(number);
  app_ = number;
  used_ = true;
  bundle_ = plan.bundle != nullptr;
  MakeStreams(plan.terminal, interactive);
  Launch(plan, container, CLONE_NEWNS | CLONE_NEWPID, -1);
}

void Process::Refuse(uint16_t number, const char* what) {
  Reset(number);
  app_ = vm::kMaxProcesses;
  Problem(what, 0);
}

void Process::Enter(uint16_t number, const vm::EnterRequest& wanted, const Container& container, const Process& first) {
  Reset(number);
  app_ = first.number_;
  used_ = true;
  terminal_ = wanted.terminal != 0;
  interactive_ = wanted.interactive != 0;
  capabilities_ = wanted.capabilities;
  container_ = container;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/root", static_cast<int>(first.pid_));
  const int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  first_ = fcntl(first.pidfd_, F_DUPFD_CLOEXEC, 10);
  if (root < 0 || first_ < 0) {
    Problem("look into the container", errno);
    return;
  }
  if (SendAccounts(root)) {
    Send(FrameType::kRoot);
    wants_params_ = true;
  }
  close(root);
}

void Process::LaunchEntered() {
  static SetupPlan plan;
  plan = SetupPlan();
  plan.terminal = terminal_;
  plan.interactive = true;
  plan.capabilities = capabilities_;
  plan.new_keyring = false;
  plan.no_new_privs = false;
  plan.entered = true;
  MakeStreams(terminal_, interactive_);
  Launch(plan, container_, 0, first_);
  CloseFd(first_);
}

bool Process::SendAccounts(int root) {
  return SendAccount(root, "etc/passwd", FrameType::kPasswd) && SendAccount(root, "etc/group", FrameType::kGroup);
}

// As the container would find it; none is no error.
bool Process::SendAccount(int root, const char* path, FrameType type) {
  const int fd = OpenInContainer(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0)
    return true;
  struct stat status;
  const char* problem =
      fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ? "the image's account files are not regular files" : nullptr;
  static char piece[vm::kMaxFrameBytes];
  size_t all = 0;
  for (ssize_t count = 0; problem == nullptr && (count = read(fd, piece, sizeof piece)) > 0;) {
    if ((all += static_cast<size_t>(count)) > vm::kMaxAccountBytes)
      problem = "an account file of the image is longer than 4 MiB";
    else
      Send(type, 0, piece, static_cast<size_t>(count));
  }
  close(fd);
  if (problem != nullptr)
    Problem(problem, 0, true);
  return problem == nullptr;
}

// False when there are no more: it was executed, or a report said why not.
bool Process::HandleReport() {
  Report report;
  Arrival arrival{};
  do {
    arrival = ReceiveWithDescriptor(control_, std::as_writable_bytes(std::span(&report, 1)));
  } while (arrival.size < 0 && errno == ECONNRESET);
  const int fd = arrival.fd;
  if (arrival.size != static_cast<ssize_t>(sizeof report))
    return false;
  if (report.kind == Report::kRoot) {
    if (SendAccounts(fd))
      Send(FrameType::kRoot);
    wants_params_ = true;
    close(fd);
  } else if (report.kind == Report::kReady && bundle_) {
    Send(FrameType::kRoot);
    wants_params_ = true;
  } else if (report.kind == Report::kConsole) {
    TakeConsole(fd);
  } else {
    failed_ = report.kind == Report::kFailed;
    Send(FrameType::kReport, 0, &report, sizeof report);
  }
  return true;
}

void Process::HandleReports() {
  if (HandleReport())
    return;
  CloseFd(control_);
  if (start_ >= 0 && !failed_) {
    Send(FrameType::kCreated);
    return;
  }
  started_ = true;
  Send(FrameType::kStarted);
  if (input_ >= 0)
    Grant(kInputRoom);
}

void Process::TakeConsole(int master) {
  SetNonBlocking(master);
  output_[0] = master;
  input_ = interactive_ ? master : -1;
}

void Process::TakeParams(const Frame& frame) {
  if (!wants_params_) {
    Problem(kConfused, EPROTO);
    return;
  }
  if (frame.size > 0) {
    if (!AppendPiece(params_, params_size_, params_capacity_, frame.payload, frame.size))
      Problem("receive the parameters", ENOMEM);
    return;
  }
  wants_params_ = false;
  if (params_size_ < sizeof(InitParams)) {
    Problem(kConfused, EPROTO);
    return;
  }
  if (first_ >= 0)
    LaunchEntered();
  if (used_)
    PassParams();
}

void Process::PassParams() {
  InitParams head;
  memcpy(&head, params_, sizeof head);
  // So that the user may open /dev/stdout again.
  for (const int fd : {input_, output_[0], output_[1]}) {
    if (fd >= 0 && !terminal_ && fchown(fd, head.uid, static_cast<gid_t>(-1)) < 0)
      errno = 0;
  }
  const int file = memfd_create("gantry-params", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  size_t done = 0;
  while (file >= 0 && done < params_size_) {
    const ssize_t count = write(file, params_ + done, params_size_ - done);
    if (count <= 0)
      break;
    done += static_cast<size_t>(count);
  }
  const int error = done < params_size_ ? errno : 0;
  munmap(params_, params_capacity_);
  params_ = nullptr;
  params_size_ = params_capacity_ = 0;
  // EPIPE: the child failed meanwhile, and its report is on the way.
  const bool passed = error == 0 && (PassDescriptor(control_, file) || errno == EPIPE);
  if (passed && head.waits != 0 && !PassStartListener()) {
    Problem("let the process wait", errno);
    return;
  }
  const int reason = error != 0 ? error : errno;
  if (file >= 0)
    close(file);
  if (!passed)
    Problem("send the process its parameters", reason);
}

// As ContainerDir::Listen gives one to a container of the host.
bool Process::PassStartListener() {
  start_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  // The kernel chooses a name.
  const sockaddr nowhere = {AF_UNIX, {}};
  const int fds[] = {start_};
  return start_ >= 0 && bind(start_, &nowhere, sizeof nowhere.sa_family) == 0 && listen(start_, 1) == 0 &&
         (PassDescriptors(control_, fds, "\1") || errno == EPIPE);
}

// What it reports from now on comes over the connection.
void Process::BeginWaiting() {
  sockaddr_storage name;
  socklen_t size = sizeof name;
  const int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const bool connected = connection >= 0 && getsockname(start_, reinterpret_cast<sockaddr*>(&name), &size) == 0 &&
                         connect(connection, reinterpret_cast<const sockaddr*>(&name), size) == 0;
  if (!connected) {
    Problem("start the process", errno);
    return;
  }
  CloseFd(start_);
  control_ = connection;
}

void Process::Grant(size_t bytes) {
  const auto more = static_cast<uint32_t>(bytes);
  credit_ += bytes;
  Send(FrameType::kCredit, 0, &more, sizeof more);
}

void Process::DropInput(bool tell) {
  if (input_ < 0)
    return;
  if (!terminal_)
    close(input_);
  input_ = -1;
  pending_ = 0;
  if (tell)
    Send(FrameType::kInputClosed);
}

// What is ^D on a terminal is the end of a pipe.
void Process::EndInput() {
  termios mode;
  if (terminal_ && tcgetattr(input_, &mode) == 0 && (mode.c_lflag & ICANON) != 0) {
    const ssize_t count = write(input_, &mode.c_cc[VEOF], 1);
    if (count < 0)
      errno = 0;
  }
  DropInput(false);
}

void Process::TakeInput(const Frame& frame) {
  if (frame.size > credit_) {
    Problem(kConfused, EPROTO);
    return;
  }
  credit_ -= frame.size;
  if (input_ < 0)
    return;
  memcpy(buffer_ + pending_, frame.payload, frame.size);
  pending_ += frame.size;
}

void Process::WriteInput() {
  const ssize_t count = write(input_, buffer_, pending_);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    DropInput(true);
    return;
  }
  if (count <= 0)
    return;
  const auto done = static_cast<size_t>(count);
  memmove(buffer_, buffer_ + done, pending_ - done);
  pending_ -= done;
  taken_ += done;
  if (pending_ == 0 || taken_ >= kInputRoom / 2) {
    Grant(taken_);
    taken_ = 0;
  }
  if (pending_ == 0 && input_ends_)
    EndInput();
}

void Process::Take(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kParams:
      TakeParams(frame);
      return;
    case FrameType::kStart:
      if (start_ < 0 || control_ >= 0)
        Problem(kConfused, EPROTO);
      else if (!ended_)
        BeginWaiting();
      return;
    case FrameType::kInput:
      TakeInput(frame);
      return;
    case FrameType::kInputEnd:
      input_ends_ = true;
      if (input_ >= 0 && pending_ == 0)
        EndInput();
      return;
    case FrameType::kTaken:
      if (frame.As<uint32_t>() > vm::kOutputWindow - window_)
        Problem(kConfused, EPROTO);
      else
        window_ += frame.As<uint32_t>();
      return;
    case FrameType::kOutputClosed:
      if (!terminal_)
        CloseFd(output_[frame.stream - 1]);  // so that it finds its pipe closed, too
      return;
    case FrameType::kSignal:
      if (pid_ > 0 && !ended_)
        kill(pid_, frame.As<int32_t>());
      else if (pid_ <= 0)
        Problem("the process was ended before it was there", 0);
      return;
    case FrameType::kResize: {
      const auto size = frame.As<vm::WindowSize>();
      const winsize window = {size.rows, size.columns, 0, 0};
      if (terminal_ && output_[0] >= 0)
        ioctl(output_[0], TIOCSWINSZ, &window);
      return;
    }
    default:
      Problem(kConfused, EPROTO);
  }
}

// False when nothing more will come.
bool Process::CopyOutput(size_t index) {
  static char piece[vm::kMaxFrameBytes];
  const ssize_t count = read(output_[index], piece, window_ < sizeof piece ? window_ : sizeof piece);
  if (count > 0) {
    window_ -= static_cast<size_t>(count);
    Send(FrameType::kOutput, static_cast<uint8_t>(index + 1), piece, static_cast<size_t>(count));
  }
  if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)))
    return true;
  if (terminal_)
    input_ = -1;  // the same descriptor
  CloseFd(output_[index]);
  return false;
}

void Process::Wait(pollfd (&out)[kPolls], bool room) const {
  const bool output = room && window_ > 0;
  const pollfd all[kPolls] = {{control_ < 0 && !ended_ ? pidfd_ : -1, POLLIN, 0},
                              {control_, POLLIN, 0},
                              {output ? output_[0] : -1, POLLIN, 0},
                              {output ? output_[1] : -1, POLLIN, 0},
                              {pending_ > 0 ? input_ : -1, POLLOUT, 0}};
  memcpy(out, all, sizeof all);
}

void Process::Came(const pollfd (&came)[kPolls]) {
  if (came[1].revents != 0 && control_ >= 0)
    HandleReports();
  for (size_t i = 0; i < 2; ++i) {
    if (came[2 + i].revents != 0 && output_[i] >= 0)
      CopyOutput(i);
  }
  if (came[4].revents != 0 && input_ >= 0)
    WriteInput();
  if (came[0].revents == 0 || !used_ || pid_ <= 0)
    return;
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  ended_ = true;
}

bool Process::Finish(bool hurry) {
  if (used_ && hurry && pid_ <= 0)
    Problem("the application has ended", 0);
  if (!used_ || !ended_)
    return false;
  for (size_t i = 0; i < 2; ++i) {
    for (pollfd more = {output_[i], POLLIN, 0}; output_[i] >= 0 && poll(&more, 1, 0) == 1;) {
      if (window_ == 0 && !hurry)
        return false;  // kTaken makes room
      if (window_ == 0 || !CopyOutput(i))
        break;
    }
  }
  const auto code = static_cast<int32_t>(status_);
  Send(FrameType::kExit, 0, &code, sizeof code);
  Reset(number_);
  return true;
}

}  // namespace gantry::runner::guest
