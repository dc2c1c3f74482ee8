// What only the app of an ACI or of a pod manifest says (appc spec 0.8.11, ace.md), as options of a run: isolators,
// event handlers, groups, mount points.
//
// An image may take rights away from its app, never give it more than every container has: that is the caller's, by
// --cap-add and the like.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/aci_manifest.h"
#include "runner/config.h"
#include "runner/spec_seccomp.h"

namespace gantry::runner {

// Adds what `app` says to `options`, where the caller said nothing else. What cannot be, or is not known, goes into
// `ignored`, for people. kCorrupt for an isolator that is no such.
void AddAppc(const image::AciApp& app, RunOptions& options, std::vector<std::string>& ignored);

// The rules that os/linux/seccomp-retain-set and -remove-set describe: no call more than the default filter allows, and
// always those that the container's init needs. `error` is a name like "EPERM"; empty kills the process with SIGSYS.
// nullopt for the default filter as it is: what @appc.io/all of the one and @appc.io/empty of the other leave.
std::optional<SpecSeccomp> AppcFilter(bool retain, const std::vector<std::string>& names, const std::string& error,
                                      std::vector<std::string>& ignored);

// "1", "1.5", "500m", "1Ki", "2G" (Kubernetes' quantities), in thousandths, at most 2^63 - 1. kCorrupt.
uint64_t ParseQuantity(std::string_view text);

}  // namespace gantry::runner
