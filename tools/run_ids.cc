#include "tools/run_ids.h"

#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "runner/own_ids.h"
#include "runner/spec.h"
#include "runner/user.h"

namespace gantry::tools {
namespace {

constexpr std::string_view kAuto = "auto";
constexpr std::string_view kAutoSize = "auto:size=";

// How many ids --userns gives the pod; nullopt: it is not to have a user namespace.
std::optional<uint32_t> WantedIds(const std::string& userns) {
  if (userns == "host")
    return std::nullopt;
  if (userns.empty() || userns == kAuto)
    return runner::kOwnIdsDefault;
  const auto size = userns.starts_with(kAutoSize)
                        ? ParseDecimal<uint32_t>(std::string_view(userns).substr(kAutoSize.size()))
                        : std::nullopt;
  if (!size || *size < runner::kOwnIdsLeast || *size > runner::kMaxSpecId)
    throw Error(ErrorKind::kUsage, "--userns " + Quoted(userns) + ": expected host, auto, or auto:size=N",
                "N is at least " + std::to_string(runner::kOwnIdsLeast));
  return size;
}

}  // namespace

std::optional<runner::IdMap> MapOfUser(const CommonOptions& common) {
  if (geteuid() == 0)
    return std::nullopt;
  runner::IdMap map = runner::PlanIdMap();
  if (!map.note.empty())
    Note(common, map.note);
  return map;
}

void RequireCapabilities(const PodOptions& options, const runner::PodPlan& plan, const std::vector<NamedApp>& apps) {
  // In a user namespace, and in a machine, root has them all.
  if (geteuid() != 0 || plan.own_ids != 0 || options.machine)
    return;
  const uint64_t own = runner::OwnCapabilities();
  for (const NamedApp& app : apps) {
    for (const std::string& name : app.run.cap_add) {
      const auto capability = runner::ParseCapability(name);
      if (capability && (own >> *capability & 1) == 0)
        throw Error(
            ErrorKind::kUnsupported,
            "--cap-add " + Quoted(name) + ": we do not have " + runner::CapabilityName(*capability) + " ourselves",
            "leave it out, or run with more rights");
    }
  }
}

std::optional<runner::IdMap> TakeIds(const PodOptions& options, runner::PodPlan& plan) {
  const auto wanted = WantedIds(options.userns);
  if (geteuid() == 0) {
    if (!options.userns.empty() && wanted && options.machine)
      throw Error(ErrorKind::kUnsupported, "a virtual machine has ids of its own: it takes no --userns=auto");
    plan.own_ids = options.userns.empty() ? 0 : wanted.value_or(0);
    return std::nullopt;
  }
  if (!wanted)
    throw Error(ErrorKind::kUnsupported, "without root no container is in the host's user namespace",
                "leave --userns=host out, or run as root");
  auto map = MapOfUser(options.common);
  if (options.userns.starts_with(kAutoSize)) {
    if (map->single())
      throw Error(ErrorKind::kUnsupported,
                  "there is no range for --userns " + Quoted(options.userns) + ": " + map->note);
    for (auto* ranges : {&map->uids, &map->gids}) ranges->back().count = std::min(ranges->back().count, *wanted - 1);
  }
  return map;
}

}  // namespace gantry::tools
