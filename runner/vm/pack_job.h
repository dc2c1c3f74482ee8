// Packs the job of an application (job.h) for its way into the guest.
#pragma once

#include <string>
#include <vector>

#include "runner/config.h"
#include "runner/etc_files.h"
#include "runner/packer.h"
#include "runner/vm/job.h"
#include "runner/vm/machine_network.h"

namespace gantry::runner::vm {

// Where a volume of the host is for the guest.
struct VolumePlace {
  size_t share = 0;  // of the machine
  bool directory = false;
};

struct JobRequest {
  const RunConfig& config;
  const EtcFiles& etc;
  std::string hostname;
  std::string root_type;             // the file system of the root image
  std::vector<VolumePlace> places;   // of each volume of `config`, at most kMaxJobVolumes; of memory: any
  bool keeps_changes = false;        // the last volume is for the changes of the root
  size_t apps = 1;                   // in the machine
  std::vector<GuestDevice> devices;  // of the machine, for the first of them
};

std::string PackJob(const JobRequest& job);

// Parts that all jobs have.
void PackVolumes(const std::vector<Volume>& volumes, const std::vector<VolumePlace>& places, Packer& packer,
                 JobHead& head);
void PackDevices(const std::vector<GuestDevice>& devices, Packer& packer, JobHead& head);

}  // namespace gantry::runner::vm
