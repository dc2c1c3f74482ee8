#include "runner/vm/pack_job.h"

#include "runner/init_params.h"
#include "runner/packer.h"
#include "runner/vm/job.h"

namespace gantry::runner::vm {

std::string PackJob(const RunConfig& config, const EtcFiles& etc, const std::string& hostname,
                    const std::string& root_type, const std::vector<bool>& directories, bool keeps_changes) {
  JobHead head;
  Packer packer(sizeof head);
  head.terminal = config.terminal ? 1 : 0;
  head.interactive = config.interactive ? 1 : 0;
  head.read_only_rootfs = config.read_only_rootfs ? 1 : 0;
  head.capabilities = CapabilitiesOfInit(config);
  const int64_t pids = config.limits.pids.value_or(kDefaultPidsLimit);
  head.pids = pids > 0 ? static_cast<uint64_t>(pids) : 0;
  head.root_type = packer.Add({root_type});
  head.hostname = packer.Add({hostname});
  head.working_dir = packer.Add({config.working_dir});
  std::vector<PackedJobFile> files;
  for (const auto& [name, text] : etc)
    files.push_back({packer.Add({name}), packer.Add(text.data(), text.size()), text.size()});
  head.files = packer.Add(files.data(), files.size() * sizeof(PackedJobFile));
  head.file_count = files.size();
  std::vector<PackedJobVolume> volumes;
  for (size_t i = 0; i < config.volumes.size(); ++i) {
    const Volume& volume = config.volumes[i];
    volumes.push_back({.target = packer.Add({volume.target}),
                       .directory = directories[i] ? 1U : 0U,
                       .read_only = volume.read_only ? 1U : 0U,
                       .memory = volume.kind == Volume::Kind::kTmpfs ? 1U : 0U,
                       .executable = volume.executable ? 1U : 0U,
                       .mode = volume.mode.value_or(01777),
                       .uid = volume.uid.value_or(0),
                       .gid = volume.gid.value_or(0),
                       .size = volume.size.value_or(0)});
  }
  head.volumes = packer.Add(volumes.data(), volumes.size() * sizeof(PackedJobVolume));
  head.volume_count = volumes.size();
  head.keeps_changes = keeps_changes ? 1 : 0;
  return packer.Finish(head);
}

}  // namespace gantry::runner::vm
