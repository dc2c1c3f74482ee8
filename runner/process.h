// Starting and waiting for one container: the last stage of the journey in DESIGN.
#pragma once

#include <signal.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/process.h"
#include "runner/config.h"
#include "runner/early_network.h"
#include "runner/pod.h"
#include "runner/report.h"
#include "runner/rootfs.h"

namespace gantry::runner {

// What several apps of one pod have in common: the network, IPC and host name. Filled by the first that is started.
struct SharedNamespaces {
  std::vector<std::pair<int, UniqueFd>> held;  // CLONE_NEW*
};

class Process {
 public:
  // Starts `config` in `pod`, whose id map decides whether there is a user namespace. Returns when the application is
  // executed or has failed to be: then failure() says why, and Wait gives 126 or 127. Throws what gantry itself could
  // not do. The caller has no thread but that of `network`, and this one must live until Wait: with it dies the
  // container. `app` is the name of it in the pod's plan; the first app when it is empty. `shared` is null for the only
  // app. `network` is one that was begun for it (MakesNetworkEarly); null: none was.
  static Process Start(const RunConfig& config, Rootfs rootfs, Pod& pod, const std::string& app = {},
                       SharedNamespaces* shared = nullptr, EarlyNetwork* network = nullptr);

  // Whether the network namespace of the only app of a pod, which has no id map, can be made before anything else is
  // known: others look at the network of its process as soon as there is one.
  static bool MakesNetworkEarly(Network network) { return network == Network::kNone; }

  Process(Process&&) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();  // kills the container if it was not waited for

  const std::optional<Error>& failure() const;
  const std::string& note() const;  // what could not be limited; empty: nothing

  // The container's first process, of the host's numbers.
  pid_t pid() const;
  int pidfd() const;
  int stop_signal() const;
  // The host's side of its terminal, once; for whoever serves it instead of Wait.
  UniqueFd TakeMaster();
  // Once `pidfd` says that it has ended; the last call, instead of Wait.
  ExitStatus Reap();

  // Hands on signals (HUP, INT, QUIT, USR1, USR2, ALRM; TERM as the image's stop signal), serves the terminal, and
  // returns the application's status: its exit code, or 128 + the signal that killed it.
  // `settled` as in attend.h.
  ExitStatus Wait(int settles = -1, const std::function<void()>& settled = {});

 private:
  struct State;
  ExitStatus Ended(int status);
  explicit Process(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gantry::runner
