// What the guest is to do: the part of a start that is one container's, packed for the way into the guest.
//
// Offsets count from the job's first byte, texts end with NUL. The reader checks every one of them.
// Freestanding, as frame.h.
#pragma once

#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runner/setup.h"
#include "runner/vm/frame.h"

namespace gantry::runner::vm {

constexpr size_t kMaxJobFiles = 8;
constexpr size_t kMaxJobVolumes = 16;
constexpr size_t kMaxJobShares = 16;  // of the machine
constexpr size_t kMaxJobDevices = 8;
constexpr size_t kMaxJobText = 4096;  // of a path or a name

struct PackedJobFile {
  uint64_t name = 0;  // in /etc
  uint64_t text = 0;
  uint64_t size = 0;
};

// A volume is the virtiofs tag "volume-N", N being its `share`; or it is memory of the guest's.
struct PackedJobVolume {
  uint64_t target = 0;
  uint32_t directory = 0;  // 0: a file, which lies in the share under the name kSharedFile
  uint32_t read_only = 0;
  uint32_t memory = 0;  // 1: what follows is about it
  uint32_t executable = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t share = 0;
  uint64_t size = 0;  // 0: as the kernel limits it
};
constexpr const char kSharedFile[] = "file";

// A network device, which the guest finds by its hardware address. Its requests are netlink messages for it to send,
// one after the other, with the device's number put where ifa_index of an address and RTA_OIF of a route are: the
// route's first attribute.
struct PackedJobDevice {
  uint8_t mac[6] = {};
  uint16_t reserved = 0;
  uint32_t mtu = 0;
  uint32_t reserved_too = 0;
  uint64_t name = 0;
  uint64_t requests = 0;
  uint64_t size = 0;
};
constexpr size_t kAddressDevice = NLMSG_HDRLEN + offsetof(ifaddrmsg, ifa_index);
constexpr size_t kRouteDevice = NLMSG_HDRLEN + sizeof(rtmsg) + sizeof(rtattr);
constexpr size_t kMaxDeviceName = 15;

// The disk with the root of the application N says "app-N" when it is asked for its serial number.
constexpr const char kRootSerial[] = "app-";

struct JobHead {
  static constexpr uint32_t kMagic = 0x676a6f33;
  uint32_t magic = kMagic;
  uint32_t terminal = 0;
  uint32_t interactive = 0;
  uint32_t read_only_rootfs = 0;
  uint64_t capabilities = 0;
  uint64_t pids = 0;       // 0: unlimited
  uint64_t root_type = 0;  // offset: "erofs" or "squashfs"
  uint64_t hostname = 0;
  uint64_t working_dir = 0;
  uint64_t files = 0;  // offset of PackedJobFile
  uint64_t file_count = 0;
  uint64_t volumes = 0;  // offset of PackedJobVolume
  uint64_t volume_count = 0;
  // 1 and up: the last volume takes what changes in the root, in "upper" beside "work", and is not shown to the app.
  uint64_t keeps_changes = 0;
  uint64_t apps = 1;     // in all; the machine ends with the last of them
  uint64_t memory = 0;   // bytes; 0: as much as the machine has
  uint64_t cpu = 0;      // microseconds in each 100 milliseconds; 0: as many processors as the machine has
  uint64_t devices = 0;  // offset of PackedJobDevice; of the first application's job
  uint64_t device_count = 0;
  uint64_t bundle = 0;  // offset of PackedJobBundle; 0: the root is that of an image
};

// A job that was read; everything points into its bytes.
struct Job {
  JobHead head;
  const char* root_type = nullptr;
  const char* hostname = nullptr;
  const char* working_dir = nullptr;
  EtcFile files[kMaxJobFiles] = {};
  PackedJobVolume volumes[kMaxJobVolumes] = {};
  const char* targets[kMaxJobVolumes] = {};  // of the volumes
  PackedJobDevice devices[kMaxJobDevices] = {};
  const char* device_names[kMaxJobDevices] = {};
  const char* requests[kMaxJobDevices] = {};  // of the devices
};

// The size of the request at `at`, which is one of ours and whole; 0 for any other.
inline size_t RequestSize(const char* bytes, size_t size, size_t at) {
  nlmsghdr head;
  if (size - at < sizeof head)
    return 0;
  memcpy(&head, bytes + at, sizeof head);
  const size_t least = head.nlmsg_type == RTM_NEWADDR    ? kAddressDevice
                       : head.nlmsg_type == RTM_NEWROUTE ? kRouteDevice
                                                         : SIZE_MAX / 2;
  const bool whole = head.nlmsg_len >= least + sizeof(uint32_t) && head.nlmsg_len <= size - at;
  return whole && head.nlmsg_len % NLMSG_ALIGNTO == 0 ? head.nlmsg_len : 0;
}

// The reader, over bytes of whatever alignment.
class JobReader {
 public:
  JobReader(const char* bytes, size_t size) : bytes_(bytes), size_(size) {}

  // False for anything but a job within its bounds.
  bool Read(Job& out) const {
    if (size_ < sizeof out.head || size_ > SIZE_MAX / 2)
      return false;
    memcpy(&out.head, bytes_, sizeof out.head);
    const JobHead& head = out.head;
    if (head.magic != JobHead::kMagic || head.file_count > kMaxJobFiles || head.volume_count > kMaxJobVolumes ||
        head.device_count > kMaxJobDevices || head.apps == 0 || head.apps > kMaxApps)
      return false;
    out.root_type = Text(head.root_type);
    out.hostname = Text(head.hostname);
    out.working_dir = Text(head.working_dir);
    if (out.root_type == nullptr || out.hostname == nullptr || out.working_dir == nullptr || out.working_dir[0] != '/')
      return false;
    return ReadFiles(out) && ReadVolumes(out) && ReadDevices(out) &&
           (head.keeps_changes == 0 || EndsWithDirectory(out));
  }

 private:
  bool Has(uint64_t offset, uint64_t size) const { return offset <= size_ && size <= size_ - offset; }

  // Null for one that is out of bounds or has no end in it.
  const char* Text(uint64_t offset) const {
    if (offset >= size_)
      return nullptr;
    const size_t left = size_ - offset;
    const size_t most = left < kMaxJobText ? left : kMaxJobText;
    return memchr(bytes_ + offset, '\0', most) != nullptr ? bytes_ + offset : nullptr;
  }

  friend class JobBundleReader;

  bool ReadFiles(Job& out) const {
    if (!Has(out.head.files, out.head.file_count * sizeof(PackedJobFile)))
      return false;
    for (uint64_t i = 0; i < out.head.file_count; ++i) {
      PackedJobFile packed;
      memcpy(&packed, bytes_ + out.head.files + i * sizeof packed, sizeof packed);
      const char* name = Text(packed.name);
      // setup.cc puts it behind "/etc/".
      if (name == nullptr || name[0] == '\0' || strlen(name) > 32 || strchr(name, '/') != nullptr || name[0] == '.' ||
          !Has(packed.text, packed.size))
        return false;
      out.files[i] = {name, bytes_ + packed.text, packed.size};
    }
    return true;
  }

  static bool EndsWithDirectory(const Job& job) {
    const uint64_t count = job.head.volume_count;
    return count > 0 && job.volumes[count - 1].directory != 0 && job.volumes[count - 1].memory == 0 &&
           job.volumes[count - 1].read_only == 0;
  }

  bool ReadVolumes(Job& out) const {
    if (!Has(out.head.volumes, out.head.volume_count * sizeof(PackedJobVolume)))
      return false;
    for (uint64_t i = 0; i < out.head.volume_count; ++i) {
      memcpy(&out.volumes[i], bytes_ + out.head.volumes + i * sizeof(PackedJobVolume), sizeof(PackedJobVolume));
      out.targets[i] = Text(out.volumes[i].target);
      if (out.targets[i] == nullptr || out.targets[i][0] != '/' || out.volumes[i].share >= kMaxJobShares)
        return false;
    }
    return true;
  }

  bool ReadDevices(Job& out) const {
    if (!Has(out.head.devices, out.head.device_count * sizeof(PackedJobDevice)))
      return false;
    for (uint64_t i = 0; i < out.head.device_count; ++i) {
      PackedJobDevice& device = out.devices[i];
      memcpy(&device, bytes_ + out.head.devices + i * sizeof device, sizeof device);
      out.device_names[i] = Text(device.name);
      if (out.device_names[i] == nullptr || strlen(out.device_names[i]) > kMaxDeviceName ||
          !Has(device.requests, device.size))
        return false;
      out.requests[i] = bytes_ + device.requests;
      for (size_t at = 0, size = 0; at < device.size; at += size) {
        size = RequestSize(out.requests[i], device.size, at);
        if (size == 0)
          return false;
      }
    }
    return true;
  }

  const char* bytes_;
  size_t size_;
};

}  // namespace gantry::runner::vm
