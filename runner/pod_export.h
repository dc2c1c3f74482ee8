// The root file system of an app, with what it changed, as a tar.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "libimage/base/dir.h"
#include "libimage/store/store.h"
#include "runner/pod_record.h"
#include "runner/userns.h"

namespace gantry::runner {

// Writes it into the borrowed descriptor, from a process of its own that mounts the layers and the app's changes
// read-only. kNotFound when a layer is not rendered any more. For single-threaded callers.
void ExportApp(const Dir& pods, const PodRecord& pod, const std::string& app, const image::Store& store,
               const std::optional<IdMap>& map, int into);

}  // namespace gantry::runner
