// The image configuration of an ACI: docker_to_appc.h the other way.
//
// An ACI that was made of a Docker or OCI image carries in annotations what it has no field for. Such an annotation
// counts only if the field that is executed is what it would have become: one that says something else is kCorrupt, for
// whoever looks at the ACI, or signs it, sees the field.
//   dev.gantry/config                    the configuration comes back as it was, but for its layers and their history
//   appc.io/docker/{entrypoint,cmd}      split exec, of which they must be the two parts
//   appc.io/docker/{user,stopsignal}     user and group must be what `user` becomes
// Without them exec is the entrypoint, and mount points and ports lose their names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/model/aci_manifest.h"
#include "libimage/model/descriptor.h"

namespace gantry::image {

// A layer, and of the ACI that became it the name and the time.
struct AciLayer {
  Digest diff_id;
  std::string name = {}, created = {};
};

struct DockerConfig {
  std::string bytes;  // an OCI image configuration
  // What is in the ACI and in no configuration: for people. Isolators, event handlers, more groups.
  std::vector<std::string> lost;
};

// `manifest` is that of the ACI itself, `layers` are what it and its dependencies became. An ACI
// without a label for its architecture is one for `otherwise`. kUnsupported for a user or group that is a path.
DockerConfig ToDockerConfig(const AciManifest& manifest, const std::vector<AciLayer>& layers,
                            const Platform& otherwise);

// Throws kCorrupt, about `annotation`, which carries one of the two, unless an ACI with `manifest` executes what an
// image with `config_bytes` does, on the same platform and with the same labels. What only one of them can say does not
// count.
void RequireSameExecution(const AciManifest& manifest, const std::string& config_bytes, std::string_view annotation);

}  // namespace gantry::image
