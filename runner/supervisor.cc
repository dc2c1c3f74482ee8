#include "runner/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "runner/attach.h"
#include "runner/attend.h"
#include "runner/event_loop.h"
#include "runner/health.h"
#include "runner/journal.h"
#include "runner/notify_relay.h"
#include "runner/process.h"
#include "runner/redirection.h"

namespace gantry::runner {
namespace {

constexpr size_t kChunk = 32 * 1024;
constexpr size_t kMaxPendingInput = 1024 * 1024;
constexpr int kInputRetry = 10;  // milliseconds

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

class PodSupervisor {
 public:
  PodSupervisor(Pod& pod, const SuperviseOptions& options) : pod_(pod), options_(options) {}
  PodSupervisor(const PodSupervisor&) = delete;
  PodSupervisor& operator=(const PodSupervisor&) = delete;

  ExitStatus Run(std::vector<Rootfs> roots);

 private:
  struct App {
    const AppPlan* plan = nullptr;
    std::optional<Process> process;
    std::unique_ptr<AppLog> log;
    UniqueFd input, output, error;  // ours; a terminal's master is `output` and `input` both
    std::string pending;            // input that the app has not taken
    bool end_of_input = false;
    bool running = false;
    bool stopping = false;
    std::unique_ptr<HealthProbe> health;
  };

  void Start(App& app, Rootfs root, SharedNamespaces* shared);
  void ServeStreams(App& app);
  void Copy(App& app, UniqueFd& from, Stream stream);
  void Drain(App& app);
  void TakeInput(App& app, std::string_view bytes);
  void FlushInput(App& app);
  void HearSignals();
  void Stop(App& app);
  void Ended(App& app);

  Pod& pod_;
  const SuperviseOptions& options_;
  EventLoop loop_;
  std::optional<AttachServer> attach_;
  std::optional<NotifyRelay> relay_;
  std::vector<std::unique_ptr<App>> apps_;
  UniqueFd signals_;
  std::optional<ExitStatus> failed_;
};

void PodSupervisor::Start(App& app, Rootfs root, SharedNamespaces* shared) {
  const RunConfig& config = app.plan->config;
  std::array<int, 3> theirs = {-1, -1, -1};
  Pipe input, output, error;
  UniqueFd null;
  if (options_.detached) {
    null = OpenFile("/dev/null", O_RDWR);
    theirs = {null.get(), null.get(), null.get()};
  }
  if (options_.detached && !config.terminal) {
    output = MakePipe();
    error = MakePipe();
    theirs[1] = output.write.get();
    theirs[2] = error.write.get();
    if (config.interactive) {
      input = MakePipe();
      theirs[0] = input.read.get();
    }
  }
  {
    const Redirection redirection(theirs);
    app.process.emplace(Process::Start(config, std::move(root), pod_, app.plan->name, shared, options_.network));
  }
  app.running = true;
  if (app.process->failure())
    options_.failed(*app.process->failure());
  if (!app.process->note().empty())
    options_.note(app.process->note());
  app.input = std::move(input.write);
  app.output = config.terminal ? app.process->TakeMaster() : std::move(output.read);
  app.error = std::move(error.read);
  if (options_.detached)
    ServeStreams(app);
  loop_.Watch(app.process->pidfd(), [this, &app] { Ended(app); });
  if (config.health && !app.process->failure())
    app.health = std::make_unique<HealthProbe>(loop_, pod_, *app.plan, [this, &app] {
      EnteredProcess probe =
          EnteredProcess::Start(*app.plan, pod_.uuid(), app.process->pid(), {.args = app.plan->config.health->test});
      if (probe.failure())
        throw Error(probe.failure()->error);
      return probe;
    });
}

void PodSupervisor::ServeStreams(App& app) {
  app.log = OpenAppLog(pod_, app.plan->name, options_.log);
  AttachServer::App functions;
  if (app.plan->config.terminal)
    functions.resize = [&app](uint16_t rows, uint16_t columns) {
      const winsize size = {rows, columns, 0, 0};
      ioctl(app.output.get(), TIOCSWINSZ, &size);
    };
  if (app.plan->config.interactive) {
    functions.input = [this, &app](std::string_view bytes) { TakeInput(app, bytes); };
    functions.end_of_input = [this, &app] {
      app.end_of_input = true;
      FlushInput(app);
    };
    SetNonBlocking(app.plan->config.terminal ? app.output.get() : app.input.get());
  }
  attach_->Serve(app.plan->name, std::move(functions));
  const auto watch = [this, &app](UniqueFd& from, Stream stream) {
    if (!from)
      return;
    SetNonBlocking(from.get());
    loop_.Watch(from.get(), [this, &app, &from, stream] { Copy(app, from, stream); });
  };
  watch(app.output, Stream::kOutput);
  watch(app.error, Stream::kError);
}

void PodSupervisor::Copy(App& app, UniqueFd& from, Stream stream) {
  std::array<char, kChunk> buffer{};
  const ssize_t size = read(from.get(), buffer.data(), buffer.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (size <= 0) {
    // Of a terminal EIO says that nobody has it open, which may change while the app lives.
    loop_.Forget(from.get());
    if (!app.plan->config.terminal)
      from.Reset();
    return;
  }
  std::string_view bytes(buffer.data(), static_cast<size_t>(size));
  attach_->Output(app.plan->name, stream, bytes);
  app.log->Write(stream, bytes);
}

// What is left in the pipes of an app that has ended. What others hold open does not count any more.
void PodSupervisor::Drain(App& app) {
  if (!app.log)
    return;
  for (const auto& [from, stream] : {std::pair(&app.output, Stream::kOutput), std::pair(&app.error, Stream::kError)}) {
    while (*from && loop_.Watches(from->get())) {
      int waiting = 0;
      if (ioctl(from->get(), FIONREAD, &waiting) < 0 || waiting == 0)
        break;
      Copy(app, *from, stream);
    }
    if (*from)
      loop_.Forget(from->get());
    from->Reset();
  }
  app.log->Flush();
}

void PodSupervisor::TakeInput(App& app, std::string_view bytes) {
  if (app.pending.size() + bytes.size() > kMaxPendingInput)
    return;  // an app that reads nothing
  app.pending += bytes;
  FlushInput(app);
}

void PodSupervisor::FlushInput(App& app) {
  const int to = app.plan->config.terminal ? app.output.get() : app.input.get();
  while (to >= 0 && !app.pending.empty()) {
    const ssize_t size = write(to, app.pending.data(), app.pending.size());
    if (size < 0 && errno == EAGAIN) {
      loop_.After(kInputRetry, [this, &app] { FlushInput(app); });
      return;
    }
    if (size < 0 && errno == EINTR)
      continue;
    app.pending.erase(0, size < 0 ? app.pending.size() : static_cast<size_t>(size));
  }
  if (app.end_of_input && !app.plan->config.terminal)
    app.input.Reset();
}

void PodSupervisor::Stop(App& app) {
  if (!app.running || app.stopping)
    return;
  app.stopping = true;
  syscall(SYS_pidfd_send_signal, app.process->pidfd(), app.process->stop_signal(), nullptr, 0);
  loop_.After(int64_t{app.plan->config.stop_seconds} * 1000, [&app] {
    if (app.running)
      syscall(SYS_pidfd_send_signal, app.process->pidfd(), SIGKILL, nullptr, 0);
  });
}

void PodSupervisor::HearSignals() {
  signalfd_siginfo signal{};
  while (read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
    const int number = static_cast<int>(signal.ssi_signo);
    for (const auto& app : apps_) {
      if (number == SIGTERM && app->running)
        syscall(SYS_pidfd_send_signal, app->process->pidfd(), app->process->stop_signal(), nullptr, 0);
      else if (number != SIGWINCH && number != SIGTERM && app->running)
        syscall(SYS_pidfd_send_signal, app->process->pidfd(), number, nullptr, 0);
    }
  }
}

void PodSupervisor::Ended(App& app) {
  loop_.Forget(app.process->pidfd());
  app.health.reset();
  const ExitStatus status = app.process->Reap();
  app.running = false;
  Drain(app);
  pod_.Append({PodEvent::Kind::kExited, app.plan->name, 0, 0, status.code});
  if (attach_)
    attach_->Exited(app.plan->name, status.code);
  if (status.code == 0 || failed_)
    return;
  failed_ = status;
  for (const auto& other : apps_) Stop(*other);
}

ExitStatus PodSupervisor::Run(std::vector<Rootfs> roots) {
  BlockForwardedSignals();
  signals_ = ForwardedSignals();
  loop_.Watch(signals_.get(), [this] { HearSignals(); });
  if (options_.detached)
    attach_.emplace(pod_.dir(), loop_);
  if (!options_.notify.empty()) {
    relay_.emplace(NotifyRelay::Open(pod_.dir(), options_.notify));
    loop_.Watch(relay_->fd(), [this] { relay_->PassOne(); });
  }
  SharedNamespaces shared;
  const std::vector<AppPlan>& plans = pod_.plan().apps;
  for (size_t i = 0; i < plans.size(); ++i) {
    apps_.push_back(std::make_unique<App>());
    apps_.back()->plan = &plans[i];
    Start(*apps_.back(), std::move(roots[i]), plans.size() > 1 ? &shared : nullptr);
  }
  shared.held.clear();
  options_.started();
  // Who probes the health of an app starts processes in it.
  if (std::ranges::none_of(apps_, [](const auto& app) { return app->health != nullptr; }))
    loop_.After(kSettled, [this] { pod_.Confine(); });
  loop_.Run([this] { return std::ranges::none_of(apps_, [](const auto& app) { return app->running; }); });
  if (relay_)
    relay_->PassLastWords();
  return failed_.value_or(ExitStatus{});
}

}  // namespace

ExitStatus Supervise(Pod& pod, std::vector<Rootfs> roots, const SuperviseOptions& options) {
  PodSupervisor supervisor(pod, options);
  return supervisor.Run(std::move(roots));
}

}  // namespace gantry::runner
