// Packs a job (job.h) for its way into the guest.
#pragma once

#include <string>

#include "runner/config.h"
#include "runner/etc_files.h"

namespace gantry::runner::vm {

// `root_type` is the file system of the root image; `directories` says of each volume, at most kMaxJobVolumes, whether
// it is one. With `keeps_changes` the last of them is for the changes of the root.
std::string PackJob(const RunConfig& config, const EtcFiles& etc, const std::string& hostname,
                    const std::string& root_type, const std::vector<bool>& directories, bool keeps_changes = false);

}  // namespace gantry::runner::vm
