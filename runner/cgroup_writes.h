// What linux.resources comes to in the files of control groups, v1 and v2. No I/O.
#pragma once

#include <string>
#include <vector>

#include "runner/spec_resources.h"

namespace gantry::runner {

struct ControlWrite {
  std::string controller;  // "memory"; where none has it, what was asked for cannot be enforced
  std::string file;        // "memory.max"
  std::string value;
  bool if_there = false;  // a file that older kernels lack, and that asks for what they do anyway
  // What says the same where there is no such file; empty: nothing does.
  std::string other_file = {};
  std::string other_value = {};
  friend bool operator==(const ControlWrite&, const ControlWrite&) = default;
};

// In the order in which they are to be written. kUnsupported for what no kernel does any more: a limit of kernel memory
// alone, and counting memory without hierarchy.
std::vector<ControlWrite> WritesForV1(const SpecResources& resources);

// kUnsupported for what v2 cannot express (the network class, realtime, swappiness...), too.
std::vector<ControlWrite> WritesForV2(const SpecResources& resources);

// The rules of a container: nothing but these, and what every container may do after them.
std::vector<DeviceRule> WithStandardDevices(std::vector<DeviceRule> rules);

// As devices.allow and devices.deny of v1 take it: "c 1:3 rwm".
std::string ToString(const DeviceRule& rule);

}  // namespace gantry::runner
