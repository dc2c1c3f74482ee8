// What a runner in the foreground does while its container lives: hands on signals, serves the terminal, waits.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>

#include "libimage/base/fd.h"

namespace gantry::runner {

class Console;

// HUP, INT, QUIT, TERM, USR1, USR2, ALRM, WINCH: from now on Attend hears them. Returns the mask that was before.
sigset_t BlockForwardedSignals();

// A signalfd of those, not blocking.
UniqueFd ForwardedSignals();

// Until the child `pid` has ended; its raw wait status. `console` is null without a terminal. TERM reaches the child as
// `stop_signal`. `settled` is called once, when nothing happened for `settles` milliseconds.
int Attend(pid_t pid, int pidfd, Console* console, int stop_signal, int settles = -1,
           const std::function<void()>& settled = {});

}  // namespace gantry::runner
