// What a sync copies of one image, once all in it was allowed.
#pragma once

#include <optional>
#include <vector>

#include "libimage/model/image_tree.h"
#include "libimage/transport/syncer.h"

namespace gantry::image {

// Checks the documents of `offer`, has each image vouched for, or each artifact where there is none, and lists the
// blobs and manifests of everything, or of what `platforms` select: for one platform its image alone, for several a new
// index over them.
SyncCopy PlanSync(const SyncOffer& offer, const std::vector<Platform>& platforms, const DockerReference& name,
                  const VerifyImage& verify, const VerifyArtifact& verify_artifact);

}  // namespace gantry::image
