// All that one name leads to: an image, or an index with its images, its artifacts and the indexes within it.
//
// Trust comes per image. Each is vouched for before the tree holds it, so that a tree has no image that the policy did
// not allow. An index vouches for nothing and needs nobody to vouch for it: it lists digests, and what it says about
// the platform of an image must be what the image says. Artifacts are never executed: those that are listed beside
// images (attestations) go where their index goes. Where no image is, each artifact is vouched for instead, so that
// nothing gets a name for which nobody was asked.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

constexpr uint64_t kMaxTreeBytes = uint64_t{256} << 20;  // of all documents
constexpr size_t kMaxTreeNodes = kMaxIndexEntries;

// BuildKit's, on an artifact that is listed beside images: the digest of the image that it is about.
constexpr std::string_view kAboutAnnotation = "vnd.docker.reference.digest";

// Something else that an index may list.
struct OpaqueBlob {};

struct ImageTree {
  Descriptor descriptor;  // as it is listed
  std::string bytes;      // of the document; empty for an opaque blob
  std::variant<VerifiedImage, Index, Artifact, VerifiedArtifact, OpaqueBlob> node;
  std::vector<ImageTree> children = {};  // of an index: what was selected, in its order
  bool whole = true;                     // of an index: nothing is left out, here or below

  const Index* index() const { return std::get_if<Index>(&node); }
  const VerifiedImage* image() const { return std::get_if<VerifiedImage>(&node); }
  const VerifiedArtifact* verified_artifact() const { return std::get_if<VerifiedArtifact>(&node); }
  // Vouched for or not.
  const Artifact* artifact() const;
};

// The entries of an index that `platforms` select, by number, and for which of them each: the best image for every one,
// and what is about these; no platforms select everything. kNotFound, with those that there are.
std::map<size_t, std::vector<Platform>> SelectEntries(const Index& index, const std::vector<Platform>& platforms);

// Each vouches, or throws.
using VerifyImage = std::function<VerifiedImage(FetchedImage)>;
using VerifyArtifact = std::function<VerifiedArtifact(FetchedArtifact)>;

// Reads `top` out of `blobs`: everything, or with `platforms` the best image for each of them, and what refers to
// these. `name` is the registry name of the images, if they have one. kNotFound for a platform that is not there, and
// where nothing is that somebody could vouch for;
// kCorrupt for more than kMaxIndexDepth indexes one in the other, over the bounds above, and for an image that is for
// another platform than its index says.
ImageTree LoadTree(const Blobs& blobs, const Descriptor& top, const std::vector<Platform>& platforms,
                   const std::optional<DockerReference>& name, const VerifyImage& verify,
                   const VerifyArtifact& verify_artifact);

// The images in it, in order.
std::vector<const VerifiedImage*> ImagesOf(const ImageTree& tree);
// The artifacts that were vouched for; none in a tree with images.
std::vector<const VerifiedArtifact*> ArtifactsOf(const ImageTree& tree);

}  // namespace gantry::image
