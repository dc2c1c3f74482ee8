#include "runner/vm/pack_job.h"

#include <algorithm>

#include "runner/init_params.h"

namespace gantry::runner::vm {

void PackVolumes(const std::vector<Volume>& volumes, const std::vector<VolumePlace>& places, Packer& packer,
                 JobHead& head) {
  std::vector<PackedJobVolume> packed;
  for (size_t i = 0; i < volumes.size(); ++i) {
    const Volume& volume = volumes[i];
    packed.push_back({.target = packer.Add({volume.target}),
                      .directory = places[i].directory ? 1U : 0U,
                      .read_only = volume.read_only ? 1U : 0U,
                      .memory = volume.kind == Volume::Kind::kTmpfs ? 1U : 0U,
                      .executable = volume.executable ? 1U : 0U,
                      .mode = volume.mode.value_or(01777),
                      .uid = volume.uid.value_or(0),
                      .gid = volume.gid.value_or(0),
                      .share = static_cast<uint32_t>(places[i].share),
                      .size = volume.size.value_or(0)});
  }
  head.volumes = packer.Add(packed.data(), packed.size() * sizeof(PackedJobVolume));
  head.volume_count = packed.size();
}

void PackDevices(const std::vector<GuestDevice>& devices, Packer& packer, JobHead& head) {
  std::vector<PackedJobDevice> all;
  for (const GuestDevice& device : devices) {
    std::string requests;
    for (const std::string& request : device.settings) requests += request;
    PackedJobDevice packed{.mtu = device.mtu,
                           .name = packer.Add({device.name}),
                           .requests = packer.Add(requests.data(), requests.size()),
                           .size = requests.size()};
    std::ranges::copy(device.mac, packed.mac);
    all.push_back(packed);
  }
  head.devices = packer.Add(all.data(), all.size() * sizeof(PackedJobDevice));
  head.device_count = all.size();
}

std::string PackJob(const JobRequest& job) {
  const RunConfig& config = job.config;
  JobHead head;
  Packer packer(sizeof head);
  head.terminal = config.terminal ? 1 : 0;
  head.interactive = config.interactive ? 1 : 0;
  head.read_only_rootfs = config.read_only_rootfs ? 1 : 0;
  head.capabilities = CapabilitiesOfInit(config);
  head.apps = job.apps;
  const int64_t pids = config.limits.pids.value_or(kDefaultPidsLimit);
  head.pids = pids > 0 ? static_cast<uint64_t>(pids) : 0;
  if (job.apps > 1) {  // the limits of the only one are the machine's
    head.memory = static_cast<uint64_t>(config.limits.memory.value_or(0));
    head.cpu = config.limits.cpu_microseconds.value_or(0);
  }
  head.root_type = packer.Add({job.root_type});
  head.hostname = packer.Add({job.hostname});
  head.working_dir = packer.Add({config.working_dir});
  std::vector<PackedJobFile> files;
  for (const auto& [name, text] : job.etc)
    files.push_back({packer.Add({name}), packer.Add(text.data(), text.size()), text.size()});
  head.files = packer.Add(files.data(), files.size() * sizeof(PackedJobFile));
  head.file_count = files.size();
  PackVolumes(config.volumes, job.places, packer, head);
  head.keeps_changes = job.keeps_changes ? 1 : 0;
  PackDevices(job.devices, packer, head);
  return packer.Finish(head);
}

}  // namespace gantry::runner::vm
