// A place in a registry that many images go below: "docker://HOST[:PORT]/[PATH/]".
#pragma once

#include <optional>
#include <string>

#include "libimage/model/reference.h"

namespace gantry::tools {

// nullopt when `text` does not end in '/'. The path may be empty.
std::optional<image::DockerReference> ParsePrefix(const std::string& text);

// Where an image goes below `prefix`: under the last component of its path, or with `scoped` under its host and whole
// path, by its tag. A port's colon becomes '_', which a path may hold.
image::DockerReference Below(const image::DockerReference& prefix, const image::DockerReference& image, bool scoped);

// The same for what a layout or an archive calls it. A name of one word without a tag is a tag: `prefix` is the
// repository.
image::DockerReference BelowByName(const image::DockerReference& prefix, const std::string& name, bool scoped);

}  // namespace gantry::tools
