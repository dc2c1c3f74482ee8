// Packs the job of a bundle (job_bundle.h) for its way into the guest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runner/setup.h"
#include "runner/spec.h"
#include "runner/vm/machine_network.h"
#include "runner/vm/pack_job.h"

namespace gantry::runner::vm {

struct BundleJob {
  const Spec& spec;
  const SetupPlan& plan;            // of BundleSetup (bundle_plan.h), with its bundle
  std::vector<Volume> volumes;      // the root, then what mounts show
  std::vector<VolumePlace> places;  // of each volume
  std::vector<size_t> shown;        // of each mount of the plan, which volume; 0: it is a file system of its own
  std::vector<GuestDevice> devices = {};
};

// kUnsupported for more than the guest has room for.
std::string PackBundleJob(const BundleJob& job);

}  // namespace gantry::runner::vm
