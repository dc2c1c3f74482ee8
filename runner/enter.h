// One more process in the container of a running app, with all of the app's confinement: its namespaces and control
// groups, capabilities, system call filter, limits and labels (CVE-2019-10144, 10145 and 10147 are what comes of less).
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/process.h"
#include "runner/init_params.h"
#include "runner/pod_record.h"
#include "runner/report.h"

namespace gantry::runner {

struct EnterOptions {
  std::vector<std::string> args;      // not empty
  std::vector<std::string> env = {};  // over the app's
  std::optional<std::string> user = {}, working_dir = {};
  bool terminal = false;     // one of its own
  bool interactive = false;  // it gets our standard input
};

// The same wherever the container is: the app's configuration as `options` change it; the process that init is to
// become, for `filter` is FilterFor that configuration and must outlive the request; and what init needs for it.
RunConfig EnteredConfig(const AppPlan& app, const EnterOptions& options);
InitRequest EntryRequest(const RunConfig& config, const Credentials& who, const std::string& hostname,
                         std::span<const sock_filter> filter);
uint64_t CapabilitiesOfEntry(const RunConfig& config);

class EnteredProcess {
 public:
  // `pid` is the first process of the container of `app` in the pod `uuid`. Throws what could not be done; returns when
  // the program is executed, or cannot be. Descriptors 0 to 2 are ours. For single-threaded callers.
  static EnteredProcess Start(const AppPlan& app, const std::string& uuid, pid_t pid, const EnterOptions& options);

  // A child of ours in its place, which does by itself what has to be done; `body` returns its code. It dies with us.
  static EnteredProcess ByChild(const std::function<int()>& body);

  EnteredProcess(EnteredProcess&&) noexcept;
  EnteredProcess& operator=(EnteredProcess&&) = delete;
  ~EnteredProcess();  // kills what was not waited for

  // Why the program is not executed, if so; its code is what Wait then gives.
  const std::optional<Failure>& failure() const;

  int pidfd() const;
  void Kill() const;
  // Serves the terminal and hands on signals until it has ended.
  ExitStatus Wait();
  // Once `pidfd` says that it has ended.
  ExitStatus Reap();

 private:
  struct State;
  explicit EnteredProcess(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gantry::runner
