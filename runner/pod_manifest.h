// A pod as appc writes it (appc spec 0.8.11, pods.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/aci_manifest.h"
#include "runner/pod_record.h"

namespace gantry::runner {

// The name by which an image is run, as an annotation of an app: an AC Identifier cannot hold it.
constexpr std::string_view kImageAnnotation = "dev.gantry/image";

// Those of an app in its pod's manifest.
std::vector<image::AppcPair> AnnotationsOf(const AppPlan& app);

json::Object PrintPodManifest(const PodPlan& pod);

struct ManifestApp {
  std::string image;         // to be run: the annotation, else the store's image of that name and version
  std::string image_id;      // that it must have
  bool substitutes = false;  // what the image says of its app does not count
  RunOptions run;
  std::vector<image::AppcPair> annotations;
  std::vector<std::string> ignored;
};

struct PodManifest {
  std::vector<ManifestApp> apps;
  std::vector<PublishedPort> ports;  // those that it describes itself; what an image has to describe is ignored
  std::vector<image::AppcPair> annotations;

  // kCorrupt for what is none; `what` names it in errors. `given` are volumes that it may name and need not have.
  static PodManifest Parse(std::string_view text, const std::string& what, const std::vector<NamedVolume>& given = {});
};

// As appc lists them: each name once. kCorrupt.
std::vector<image::AppcPair> ParseAnnotations(const json::Cursor& of);
json::Array PrintAnnotations(const std::vector<image::AppcPair>& annotations);

}  // namespace gantry::runner
