#include "runner/vm/guest_apps.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "runner/attend.h"
#include "runner/init_params.h"
#include "runner/report.h"
#include "runner/setup.h"
#include "runner/vm/entry.h"

namespace gantry::runner::vm {

GuestApps::GuestApps(Pod& pod, EventLoop& loop, GuestChannel& channel, const std::vector<RunConfig>& configs,
                     std::optional<LogLimits> detached)
    : pod_(pod), loop_(loop), channel_(channel) {
  signals_ = std::make_unique<CallerSignals>(
      loop_, [this] { return started(); }, [this](int32_t number) { HandOn(number); });
  if (detached)
    attach_.emplace(pod_.dir(), loop_);
  for (size_t i = 0; i < configs.size(); ++i) {
    apps_.push_back(std::make_unique<App>(App{.plan = &pod_.plan().apps[i], .config = configs[i]}));
    Serve(*apps_.back(), static_cast<uint16_t>(i), detached);
  }
}

void GuestApps::Serve(App& app, uint16_t number, std::optional<LogLimits> detached) {
  app.process = std::make_unique<GuestProcess>(GuestProcess::Surroundings{
      .send = [this, number](FrameType type, uint8_t stream,
                             std::string_view payload) { channel_.Send(number, type, stream, payload); },
      .fail = [this](std::string_view did) { channel_.Fail(did); },
      .failed = [this, &app](const Report& report) { TakeReport(app, report); }});
  if (detached)
    app.detached = std::make_unique<PodStreams>(*attach_, *app.process, pod_, *app.plan, *detached);
  else
    app.caller =
        std::make_unique<CallerStreams>(loop_, *app.process, *signals_, app.config.terminal, app.config.interactive);
  channel_.Serve(number, [this, &app](const Frame& frame) {
    app.process->Take(frame);
    if (app.process->status() && !app.over)
      Ended(app);
  });
}

void GuestApps::TakeReport(App& app, const Report& report) {
  if (!app.executed)
    channel_.Fail("does not keep to the protocol");
  const SetupPlan nothing;
  Failure failed = Explain(report, app.config, nothing);
  if (failed.code == 125)
    throw std::move(failed.error);
  app.executed = false;
  failures_.push_back(std::move(failed.error));
}

bool GuestApps::started() const {
  return std::ranges::all_of(apps_, [](const auto& app) { return app->process->started(); });
}

bool GuestApps::written() const {
  return std::ranges::all_of(apps_, [](const auto& app) { return !app->caller || app->caller->written(); });
}

void GuestApps::HandOn(int32_t signal) {
  for (const auto& app : apps_) {
    if (!app->over)
      app->process->Signal(signal == SIGTERM ? app->config.stop_signal : signal);
  }
}

// Or until a signal of the caller's ends it before.
bool GuestApps::Until(const std::function<bool()>& done, int seconds, std::string_view did) {
  bool late = false;
  const uint64_t timer = loop_.After(int64_t{seconds} * 1000, [&] { late = true; });
  loop_.Run([&] { return done() || late || channel_.ended() || signals_->ended_by() != 0; });
  loop_.Cancel(timer);
  if (signals_->ended_by() != 0)
    status_ = ExitStatus{128 + signals_->ended_by(), false};
  else if (!done())
    channel_.Fail(late ? did : "ended before the application was started");
  return signals_->ended_by() == 0;
}

bool GuestApps::AwaitGuest(int seconds) {
  return Until([this] { return channel_.hello(); }, seconds, "did not start in time");
}

bool GuestApps::Execute(size_t index, std::string_view job, const std::string& hostname, int seconds) {
  App& app = *apps_[index];
  GuestProcess& process = *app.process;
  process.SendBlob(FrameType::kJob, job);
  if (!Until([&] { return process.has_root(); }, seconds, "did not make the container in time"))
    return false;
  Credentials who = ResolveUser(process.accounts(), app.config.user);
  who.groups.insert(who.groups.end(), app.config.groups.begin(), app.config.groups.end());
  const InitRequest request = RequestFor(app.config, who, hostname, FilterFor(app.config));
  process.SendBlob(FrameType::kParams, PackInitParams(request));
  return Until([&] { return process.started(); }, seconds, "did not start the application in time");
}

void GuestApps::Stop(App& app) {
  if (app.over || app.stopping || !app.process->started())
    return;
  app.stopping = true;
  app.process->Signal(app.config.stop_signal);
  loop_.After(int64_t{app.config.stop_seconds} * 1000, [&app] {
    if (!app.over)
      app.process->Signal(SIGKILL);
  });
}

void GuestApps::Record(App& app, ExitStatus status) {
  app.over = true;
  app.health.reset();
  if (app.detached || apps_.size() > 1 || pod_.plan().kept)
    pod_.Append({PodEvent::Kind::kExited, app.plan->name, 0, 0, status.code});
  if (app.detached)
    app.detached->Exited(status.code);
  if (status.code != 0 && !status_)
    status_ = status;
}

void GuestApps::Ended(App& app) {
  const bool failed_before = status_.has_value();
  Record(app, ExitStatusOf(*app.process->status()));
  if (failed_before || !status_)
    return;
  for (const auto& other : apps_) Stop(*other);
}

void GuestApps::EndAll(ExitStatus status) {
  for (const auto& app : apps_) {
    if (!app->over)
      Record(*app, status);
  }
}

void GuestApps::Probe(App& app, uint16_t number) {
  app.health = std::make_unique<HealthProbe>(loop_, pod_, *app.plan, [this, &app, number] {
    const EnterOptions check{.args = app.config.health->test};
    return EnteredProcess::ByChild([&] { return EnterGuest(pod_.dir(), number, *app.plan, pod_.uuid(), check).code; });
  });
}

bool GuestApps::Attend(const std::function<void()>& settled) {
  const EntryServer entries(pod_.dir(), loop_, channel_, static_cast<uint16_t>(apps_.size()));
  bool probes = false;
  for (size_t i = 0; i < apps_.size(); ++i) {
    App& app = *apps_[i];
    if (!app.config.health || app.config.terminal || !app.executed || app.over)
      continue;
    Probe(app, static_cast<uint16_t>(i));
    probes = true;
  }
  if (!probes && settled)
    loop_.After(kSettled, settled);
  for (const auto& app : apps_) {
    if (app->caller)
      app->caller->Begin();
    if (status_)  // one failed before others were started
      Stop(*app);
  }
  const auto over = [this] { return std::ranges::all_of(apps_, [](const auto& app) { return app->over; }); };
  loop_.Run([&] { return (over() || channel_.ended()) && written(); });
  return over();
}

}  // namespace gantry::runner::vm
