// What the metadata service of a pod tells: --mds.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/model/image.h"
#include "runner/metadata.h"
#include "runner/pod_record.h"

namespace gantry::tools {

// Of one app: the manifest of the ACI that the image was made of, or the one that it would have as an ACI; none for an
// image that ACIs cannot hold.
runner::AppMetadata DescribeApp(const runner::AppPlan& app, const image::Image& image);

// With a token of its own, and the secret of the store, which is made when it is not there.
runner::PodMetadata DescribePod(std::vector<runner::AppMetadata> apps, const Dir& store);

}  // namespace gantry::tools
