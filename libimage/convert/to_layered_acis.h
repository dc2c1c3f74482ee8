// An image as one ACI for each layer, as docker2aci does without squashing: the last one has the app, depends on all
// others, the base first, and names in its pathWhitelist every path of the tree, so that what a layer above removes is
// gone. Rendered by the rules of appc they amount to the tree of the image, exactly:
//
//   whiteouts          are not in ACIs; what they hide is not on the whitelist
//   implied parents    that no layer below has any more are entries of their own, for a renderer would keep or find
//                      what a lower layer had there
//   the root           is in each ACI, with the attributes that it has so far
//   hard links         to files of layers below take those with them, and all names of them, for the links of an ACI
//                      lead to its own files; what is rendered first is replaced by the same
//   links below /dev   (listing.h) are in the last one, where the tree has nothing of the name
//
// An ACI depends on nothing but its layer and the ones below: images that share those share the ACIs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libimage/base/stream.h"
#include "libimage/convert/convert.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

constexpr size_t kMaxLayersWithLowerLinks = 8;  // each costs two passes over all layers below

struct LayeredAci {
  std::string name;
  AciResult result;
};

// Makes the place empty where the ACI of that layer goes, and opens it; a second time as for OpenOutput (convert.h).
using OpenLayerOutput = std::function<std::unique_ptr<Sink>(size_t layer)>;

// The ACIs, base first; one for an image without layers. The last has the name, labels and annotations of
// docker_to_appc.h, and the manifest of the image in kManifestAnnotation if that is at most json::kMaxStringBytes; the
// others are called NAME-ALGORITHM_HEX by the digests of their layers. kUnsupported for more layers with links into
// lower ones than the bound, and for more paths than fit into a manifest of kMaxAciManifestBytes if any has to go.
std::vector<LayeredAci> ConvertToLayeredAcis(const VerifiedImage& image, const Blobs& blobs,
                                             const OpenLayerOutput& open, const AciOptions& options);

}  // namespace gantry::image
