#include "runner/cgroup_writes.h"
#include "runner/filter_compiler.h"
#include "runner/spec.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::runner::Spec;

// Whatever is accepted is what the plan may rely on: absolute paths, a program, ids in range; and its filter and its
// limits come to something, or are refused.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Spec spec;
  if (!Accepts([&] { spec = Spec::Parse(gantry::fuzz::Text(data, size), "config.json"); }))
    return 0;
  Require(!spec.root.empty());
  for (const auto& mount : spec.mounts) {
    Require(mount.destination.size() > 1 && mount.destination.front() == '/');
    Require(mount.options.bind == mount.type.empty());
  }
  if (spec.process)
    Require(!spec.process->args.empty() && spec.process->cwd.front() == '/');
  for (const auto& device : spec.devices) Require(device.path.front() == '/');
  for (const auto& [key, value] : spec.sysctl) Require(key.find("..") == std::string::npos);
  if (spec.seccomp)
    Accepts([&] { Require(gantry::runner::CompileFilter(*spec.seccomp).size() <= BPF_MAXINSNS); });
  Accepts([&] { gantry::runner::WritesForV1(spec.resources); });
  Accepts([&] { gantry::runner::WritesForV2(spec.resources); });
  return 0;
}
