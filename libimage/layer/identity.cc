#include "libimage/layer/identity.h"

#include <utility>

#include "libimage/base/json.h"
#include "libimage/layer/rootfs_digest.h"
#include "libimage/model/execution.h"

namespace gantry::image {

Identity Identity::Of(const ImageConfig& config, const Digest& rootfs) {
  const Platform platform = config.platform.Canonical();
  const Execution execution = Execution::Of(config);
  const json::Object document{{"gantry", "identity/1"},
                              {"os", platform.os},
                              {"architecture", platform.architecture},
                              {"variant", platform.variant},
                              {"args", execution.args},
                              {"env", execution.env},
                              {"cwd", execution.cwd},
                              {"user", execution.user},
                              {"volumes", execution.volumes},
                              {"ports", execution.ports},
                              {"stop", execution.stop_signal},
                              {"rootfs", rootfs.str()}};
  std::string text = json::PrintCanonical(document);
  const Digest digest = Digest::Of(text);
  return {std::move(text), digest, rootfs};
}

Identity Identity::Compute(const Image& image, const Blobs& blobs) {
  return Of(image.config, RootfsDigest(ListTree(image, blobs)));
}

void IdentifyingSink::Add(const Entry& entry) {
  listing_.Add(entry);
  into_.Add(entry);
}

void IdentifyingSink::Write(std::span<const std::byte> bytes) {
  listing_.Write(bytes);
  into_.Write(bytes);
}

void IdentifyingSink::WriteZeros(uint64_t count) {
  listing_.WriteZeros(count);
  into_.WriteZeros(count);
}

Identity IdentifyingSink::Identify(const ImageConfig& config) {
  listing_.Finish();
  return Identity::Of(config, RootfsDigest(listing_));
}

}  // namespace gantry::image
