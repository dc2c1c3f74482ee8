// The options of a mount as config.json writes them, sorted by who acts on them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::runner {

struct MountOptions {
  bool bind = false;       // show what is at the source
  bool recursive = false;  // and all that is mounted below it ("rbind")
  // MOUNT_ATTR_ bits of the mount itself, and ("rro", "rnosuid"...) of it and all below.
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t set_all = 0;
  uint64_t clear_all = 0;
  uint64_t propagation = 0;  // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, or 0: as the root has it
  bool propagation_all = false;
  bool remount = false;  // change the mount that is there
  bool copy_up = false;  // a tmpfs begins with what it covers
  bool source_nofollow = false;
  bool target_nofollow = false;
  bool idmap = false;
  bool idmap_all = false;
  std::vector<std::string> data;  // for the file system: "key=value" or "key"
  friend bool operator==(const MountOptions&, const MountOptions&) = default;
};

// What no name of ours is goes to the file system. A later option overrides an earlier one that says the opposite.
MountOptions ParseMountOptions(const std::vector<std::string>& options);

// The names of all options that ParseMountOptions acts on, sorted.
std::vector<std::string> MountOptionNames();

}  // namespace gantry::runner
