// The network devices of a guest.
#pragma once

#include "runner/vm/job.h"

namespace gantry::runner::guest {

// Gives the devices of the job their names, addresses and routes.
void SetUpDevices(const vm::Job& job);

}  // namespace gantry::runner::guest
