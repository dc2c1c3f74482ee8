// All that one name leads to: an image, or an index with its images, its artifacts and the indexes within it.
//
// Trust comes per image. Each is vouched for before the tree holds it, so that a tree has no image that the policy did
// not allow. An index vouches for nothing and needs nobody to vouch for it: it lists digests, and what it says about
// the platform of an image must be what the image says.
//
// Each artifact is vouched for, too: that we call it one keeps nobody else from running it, for who pulls an image by
// an index looks at platforms alone. Only attestations (GoesUnasked) that are listed beside images go where their index
// goes, and are asked about where no image is.
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

// Whether an artifact that an index lists as `entry` goes with the images there and is not asked about: no program can
// take it for an image, neither by its index, which lists it for the platform unknown/unknown as BuildKit does, nor by
// what it holds, which is no file system. What an index or a manifest says of its type alone counts for nothing.
bool GoesUnasked(const Descriptor& entry, const Manifest& artifact);

// Something else that an index may list.
struct OpaqueBlob {};

struct ImageTree {
  Descriptor descriptor;  // as it is listed
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
// and what is about these. No platforms select everything, and so do all where no entry is for a platform: only what it
// leads to says then what an entry is. kNotFound, with those that there are.
std::map<size_t, std::vector<Platform>> SelectEntries(const Index& index, const std::vector<Platform>& platforms);

// Each vouches, or throws.
using VerifyImage = std::function<VerifiedImage(FetchedImage)>;
using VerifyArtifact = std::function<VerifiedArtifact(FetchedArtifact)>;

// Reads `top` out of `blobs`: everything, or with `platforms` the best image for each of them, and what refers to
// these; where no entry of an index tells a platform, its first image, and all of an index of artifacts. `name` is the
// registry name of the images, if they have one. kNotFound for a platform that is not there, and where nothing is that
// somebody could vouch for; kCorrupt for more than kMaxIndexDepth indexes one in the other, over the bounds above, and
// for an image that is for another platform than its index says.
ImageTree LoadTree(const Blobs& blobs, const Descriptor& top, const std::vector<Platform>& platforms,
                   const std::optional<DockerReference>& name, const VerifyImage& verify,
                   const VerifyArtifact& verify_artifact);

// The images in it, in order.
std::vector<const VerifiedImage*> ImagesOf(const ImageTree& tree);
// The artifacts that were vouched for, in order: all but attestations beside images.
std::vector<const VerifiedArtifact*> ArtifactsOf(const ImageTree& tree);

}  // namespace gantry::image
