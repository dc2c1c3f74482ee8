// linux.resources of a config.json: what a control group allows its members.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/json.h"

namespace gantry::runner {

// One rule about device nodes. In order; the last that matches decides.
struct DeviceRule {
  bool allow = false;
  char type = 'a';               // a, c or b
  std::optional<int64_t> major;  // absent: any
  std::optional<int64_t> minor;
  std::string access = "rwm";
  friend bool operator==(const DeviceRule&, const DeviceRule&) = default;
};

struct DeviceValue {
  uint64_t major = 0;
  uint64_t minor = 0;
  uint64_t value = 0;
  uint64_t leaf = 0;  // of weights only
};

struct SpecMemory {
  std::optional<int64_t> limit, reservation, swap, kernel, kernel_tcp;  // bytes; -1 is no limit; swap is memory too
  std::optional<uint64_t> swappiness;
  std::optional<bool> disable_oom_killer;
  std::optional<bool> use_hierarchy;
  bool check_before_update = false;
};

struct SpecCpu {
  std::optional<uint64_t> shares, burst, period, realtime_period;
  std::optional<int64_t> quota, realtime_runtime, idle;
  std::string cpus, mems;
};

struct SpecBlockIo {
  std::optional<uint64_t> weight, leaf_weight;
  std::vector<DeviceValue> weight_device, read_bps, write_bps, read_iops, write_iops;
};

struct SpecRdma {
  std::optional<uint64_t> handles, objects;
};

struct SpecResources {
  std::vector<DeviceRule> devices;
  SpecMemory memory;
  SpecCpu cpu;
  std::optional<int64_t> pids;  // 0 and less: no limit
  SpecBlockIo block_io;
  std::map<std::string, uint64_t> huge_pages;  // "2MB": bytes
  std::optional<uint32_t> class_id;
  std::map<std::string, uint64_t> network_priorities;
  std::map<std::string, SpecRdma> rdma;
  std::map<std::string, std::string> unified;
};

SpecResources ParseSpecResources(const json::Cursor& at);

}  // namespace gantry::runner
