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
  friend bool operator==(const ControlWrite&, const ControlWrite&) = default;
};

// In the order in which they are to be written.
std::vector<ControlWrite> WritesForV1(const SpecResources& resources);

// kUnsupported for what v2 cannot express (the network class, realtime).
std::vector<ControlWrite> WritesForV2(const SpecResources& resources);

// The rules of a container: nothing but these, and what every container may do after them.
std::vector<DeviceRule> WithStandardDevices(std::vector<DeviceRule> rules);

// As devices.allow and devices.deny of v1 take it: "c 1:3 rwm".
std::string ToString(const DeviceRule& rule);

}  // namespace gantry::runner
