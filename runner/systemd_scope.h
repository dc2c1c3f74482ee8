// Control groups made by systemd: the container runs in a transient scope of its own (--systemd-cgroup).
//
// systemd is asked through its busctl(1): one call, and no library of D-Bus in the runtime. A scope needs a process to
// be born with; one of ours holds it until the container has joined.
#pragma once

#include <string>

#include "libimage/base/process.h"

namespace gantry::runner {

struct Scope {
  std::string slice;  // "system.slice"
  std::string unit;   // "libpod-ID.scope"
  std::string path;   // of its control group, from the top

  // "SLICE:PREFIX:NAME" as engines write linux.cgroupsPath for systemd, or empty for a scope of the container's id.
  // kUsage for anything else; kUnsupported on a machine that systemd does not run.
  static Scope Parse(const std::string& text, const std::string& id);

  // The same without a look at the machine.
  static Scope ParseText(const std::string& text, const std::string& id);
};

// Makes the scope, and keeps it until this is destroyed.
class ScopeHolder {
 public:
  explicit ScopeHolder(const Scope& scope);

 private:
  gantry::Process process_;
};

}  // namespace gantry::runner
