// An ACI as an image of layers, for all that reads images: one layer for each ACI that it is rendered from, in the
// order of rendering and without what whitelists leave out, each the tar of aci_file.h, uncompressed; and the
// configuration of appc_to_docker.h. The same files make the same manifest, whatever they are compressed with.
//
// An ACI that `--layers` wrote (to_layered_acis.h) names the image that it was made of. If the layers of that lie
// beside it still, in blobs/, and amount to the tree that the ACIs amount to, then the image is that one, with its
// digest.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/convert/docker_to_appc.h"
#include "libimage/model/blobs.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/image.h"
#include "libimage/transport/aci_stack.h"

namespace gantry::image {

class AciImage : public Blobs {
 public:
  // Reads every file once, for the digests. `otherwise` is the platform of an ACI that names no architecture. Errors
  // are those of OpenAciStack and ToDockerConfig; kCorrupt when the layers beside it are another tree.
  static std::unique_ptr<AciImage> Open(const std::string& path, const std::vector<std::string>& dependencies,
                                        const Platform& otherwise);

  const Image& image() const { return *image_; }

  const AciNaming& naming() const { return naming_; }

  // Whether it is the image that the ACI was made of. Else its layers were never packed.
  bool is_original() const { return beside_ != nullptr; }

  // The ACIs that it is rendered from, the one itself last.
  const std::vector<std::shared_ptr<const AciFile>>& files() const { return files_; }

  // What the image has not, but the ACI has, for people.
  const std::vector<std::string>& notes() const { return notes_; }

  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;

 private:
  AciImage() = default;
  void TakeStack(std::vector<StackedAci> stack, const Platform& otherwise);
  void TakeOriginal(const std::string& directory, const AciManifest& manifest);

  std::map<Digest, StackedAci> layers_;
  std::vector<std::shared_ptr<const AciFile>> files_;
  std::unique_ptr<Blobs> beside_;  // the layers of the original image, if it is that
  std::optional<Image> image_;
  AciNaming naming_;
  std::vector<std::string> notes_;
};

}  // namespace gantry::image
