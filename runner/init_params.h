// Packs what init is told (protocol.h) into a sealed memfd.
#pragma once

#include <linux/filter.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "runner/config.h"
#include "runner/spec.h"
#include "runner/user.h"

namespace gantry::runner {

// The process of a container, as init is to make it.
struct InitRequest {
  SpecProcess process;
  std::span<const sock_filter> filter;
  bool keep_groups = false;  // setgroups is not to be called
  std::string apparmor;      // what to write, empty for nothing
  std::string selinux;
  std::vector<EventHandler> pre_start, post_stop;  // unless direct
  size_t passed = 0;                               // how many descriptors follow in all

  // For the process of a bundle, which init itself becomes.
  bool direct = false;
  bool waits = false;     // the first of the descriptors that follow is a listening socket
  bool notifies = false;  // the next is connected to the seccomp agent
  bool owns_streams = false;
  uint32_t filter_flags = 0;
  std::string notice;  // for the seccomp agent
  std::string state;   // for the hooks
  std::vector<SpecHook> hooks;
};

UniqueFd MakeInitParams(const InitRequest& request);

// The same as bytes.
std::string PackInitParams(const InitRequest& request);

// The program that decides about the system calls of `config`'s application; it may be of the configuration.
std::span<const sock_filter> FilterFor(const RunConfig& config);

// The application of `config`: HOME and HOSTNAME are added where the configuration does not set them. `filter` is
// FilterFor `config`, and must outlive the request.
InitRequest RequestFor(const RunConfig& config, const Credentials& who, const std::string& hostname,
                       std::span<const sock_filter> filter);

// What init needs while it makes that application; it gives up what the application may not have.
uint64_t CapabilitiesOfInit(const RunConfig& config);

// File names to try for `program`: itself when it has a slash, else below each element of PATH in `env`.
std::vector<std::string> ExecutableCandidates(const std::string& program, const std::vector<std::string>& env);

}  // namespace gantry::runner
