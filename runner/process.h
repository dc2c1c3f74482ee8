// Starting and waiting for one container: the last stage of the journey in DESIGN.
#pragma once

#include <signal.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/process.h"
#include "runner/config.h"
#include "runner/pod.h"
#include "runner/report.h"
#include "runner/rootfs.h"

namespace gantry::runner {

class Process {
 public:
  // Starts `config` in `pod`, whose id map decides whether there is a user namespace. Returns when the application is
  // executed or has failed to be: then failure() says why, and Wait gives 126 or 127. Throws what gantry itself could
  // not do. The caller is single-threaded, and this thread must live until Wait: with it dies the container.
  static Process Start(const RunConfig& config, Rootfs rootfs, Pod& pod);

  Process(Process&&) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();  // kills the container if it was not waited for

  const std::optional<Error>& failure() const;

  // Hands on signals (HUP, INT, QUIT, USR1, USR2, ALRM; TERM as the image's stop signal), serves the terminal, and
  // returns the application's status: its exit code, or 128 + the signal that killed it.
  ExitStatus Wait();

 private:
  struct State;
  explicit Process(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gantry::runner
