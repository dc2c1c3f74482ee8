// Words for what the container's side reports (protocol.h).
#pragma once

#include <string>

#include "libimage/base/error.h"
#include "runner/config.h"
#include "runner/protocol.h"
#include "runner/setup.h"

namespace gantry::runner {

struct Failure {
  int code;  // of the runner: 125, 126 (cannot be executed) or 127 (not found)
  Error error;
};

Failure Explain(const Report& report, const RunConfig& config, const SetupPlan& plan);

// The same with the name of what the step was about, " 'name'" or empty, and what to do about it.
Failure DescribeFailure(const Report& report, const std::string& subject, const std::string& hint);

}  // namespace gantry::runner
