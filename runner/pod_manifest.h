// A pod as appc writes it (appc spec 0.8.11, pods.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "runner/pod_record.h"

namespace gantry::runner {

// The name by which an image is run, as an annotation of an app: an AC Identifier cannot hold it.
constexpr std::string_view kImageAnnotation = "dev.gantry/image";

json::Object PrintPodManifest(const PodPlan& pod);

struct ManifestApp {
  std::string image;  // to be run: the annotation, else the store's image of that name and version
  RunOptions run;
  std::vector<std::string> ignored;
};

// kCorrupt for what is no pod manifest; `what` names it in errors.
std::vector<ManifestApp> ParsePodManifest(std::string_view text, const std::string& what);

}  // namespace gantry::runner
