// The applications of a pod in its guest, from their jobs to their ends: what supervisor.h and process.h are for
// namespaces.
//
// The first process of each has its place in the pod's plan as its number (frame.h). One that fails ends the others, as
// supervisor.h has it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/attach.h"
#include "runner/config.h"
#include "runner/event_loop.h"
#include "runner/health.h"
#include "runner/pod.h"
#include "runner/pod_log.h"
#include "runner/seccomp.h"
#include "runner/vm/caller_streams.h"
#include "runner/vm/guest_channel.h"
#include "runner/vm/guest_process.h"
#include "runner/vm/pod_streams.h"

namespace gantry::runner::vm {

class GuestApps {
 public:
  // Those of `pod`, as `configs` has them, in its order. `detached`: their output goes to the pod's logs and to who
  // attaches, else to our own descriptors. The signals that a runner hands on must be blocked.
  GuestApps(Pod& pod, EventLoop& loop, GuestChannel& channel, const std::vector<RunConfig>& configs,
            std::optional<LogLimits> detached);
  GuestApps(const GuestApps&) = delete;
  GuestApps& operator=(const GuestApps&) = delete;

  // Each of these returns false when a signal of the caller's has ended it all before; status() then says so. Throws
  // what the guest did, also when it takes more than so many seconds.
  bool AwaitGuest(int seconds);
  bool Execute(size_t app, std::string_view job, const std::string& hostname, int seconds);

  const std::vector<Error>& failures() const { return failures_; }  // why some were not executed

  // Until all have ended, and what they wrote is where it belongs; meanwhile others may enter (entry.h). False when the
  // guest ended before. `settled` is called after kSettled, unless processes for health checks have still to be
  // started.
  bool Attend(const std::function<void()>& settled);
  // The machine ends, and with it, by this, all that are not over.
  void EndAll(ExitStatus status);
  // Of the first that failed, else 0.
  ExitStatus status() const { return status_.value_or(ExitStatus{}); }

 private:
  struct App {
    const AppPlan* plan = nullptr;
    RunConfig config;
    std::unique_ptr<GuestProcess> process = nullptr;
    std::unique_ptr<CallerStreams> caller = nullptr;  // one of these two
    std::unique_ptr<PodStreams> detached = nullptr;
    std::unique_ptr<HealthProbe> health = nullptr;
    bool executed = true;  // or its report said why not
    bool over = false;
    bool stopping = false;
  };

  void Serve(App& app, uint16_t number, std::optional<LogLimits> detached);
  void TakeReport(App& app, const Report& report);
  bool Until(const std::function<bool()>& done, int seconds, std::string_view did);
  void HandOn(int32_t signal);
  void Probe(App& app, uint16_t number);
  void Stop(App& app);
  void Ended(App& app);
  void Record(App& app, ExitStatus status);
  bool started() const;
  bool written() const;

  Pod& pod_;
  EventLoop& loop_;
  GuestChannel& channel_;
  std::unique_ptr<CallerSignals> signals_;
  std::optional<AttachServer> attach_;
  std::vector<std::unique_ptr<App>> apps_;
  std::vector<Error> failures_;
  std::optional<ExitStatus> status_;
};

}  // namespace gantry::runner::vm
