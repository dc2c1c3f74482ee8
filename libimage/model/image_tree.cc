#include "libimage/model/image_tree.h"

#include <algorithm>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

std::string PlatformsIn(const Index& index) {
  std::string out;
  for (const Descriptor& entry : index.manifests) {
    if (entry.platform && entry.platform->os != "unknown")
      out += (out.empty() ? "" : ", ") + entry.platform->ToString();
  }
  return out.empty() ? "none of its manifests tells its platform" : "it has " + out;
}

// Whatever it says of itself.
bool IsArtifactByLayers(Manifest manifest) {
  manifest.artifact_type.clear();
  manifest.config.media_type = kOciConfigType;
  return manifest.layers.empty() || manifest.IsArtifact();
}

std::map<size_t, std::vector<Platform>> SelectAll(const Index& index, const std::vector<Platform>& platforms) {
  std::map<size_t, std::vector<Platform>> selected;
  for (size_t i = 0; i < index.manifests.size(); ++i) selected[i] = platforms;
  return selected;
}

[[noreturn]] void ThrowNoPlatform(const Platform& platform, const std::string& hint) {
  throw Error(ErrorKind::kNotFound, "there is no image for " + platform.ToString(), hint);
}

class TreeLoader {
 public:
  TreeLoader(const Blobs& blobs, const std::optional<DockerReference>& name, const VerifyImage& verify)
      : blobs_(blobs), name_(name), verify_(verify) {}

  ImageTree Load(const Descriptor& listed, const std::vector<Platform>& platforms, size_t depth) {
    if (++nodes_ > kMaxTreeNodes)
      throw Error(ErrorKind::kCorrupt, "an index leads to more than " + std::to_string(kMaxTreeNodes) + " manifests");
    const TypeKind kind = KindOf(listed.media_type);
    if (kind != TypeKind::kManifest && kind != TypeKind::kIndex)
      return {.descriptor = listed, .node = OpaqueBlob()};
    const std::string what = "manifest " + listed.digest.str();
    std::string bytes = Read(listed, kMaxManifestBytes, what);
    ManifestOrIndex document = ParseManifest(bytes, listed.media_type);
    if (auto* index = std::get_if<Index>(&document))
      return LoadIndex(listed, std::move(*index), platforms, depth);
    auto& manifest = std::get<Manifest>(document);
    if (manifest.IsArtifact()) {
      return {.descriptor = listed, .node = Artifact::FromBytes(std::move(bytes), std::move(manifest), listed.digest)};
    }
    VerifiedImage image = LoadImage(listed, std::move(bytes), std::move(manifest), platforms);
    return {.descriptor = listed, .node = std::move(image)};
  }

  void VouchForArtifacts(ImageTree& tree, bool beside_images, const VerifyArtifact& verify) const {
    if (auto* artifact = std::get_if<Artifact>(&tree.node);
        artifact != nullptr && !(beside_images && GoesUnasked(tree.descriptor, artifact->manifest))) {
      FetchedArtifact fetched{std::move(*artifact), name_, outermost_};
      tree.node = verify(std::move(fetched));
    }
    for (ImageTree& child : tree.children) VouchForArtifacts(child, beside_images, verify);
  }

 private:
  ImageTree LoadIndex(const Descriptor& listed, Index index, const std::vector<Platform>& platforms, size_t depth) {
    if (depth > kMaxIndexDepth) {
      throw Error(ErrorKind::kCorrupt,
                  "more than " + std::to_string(kMaxIndexDepth) + " indexes are nested, one in the other");
    }
    if (!outermost_)
      outermost_ = listed.digest;
    const auto selected = SelectEntries(index, platforms);
    ImageTree tree{.descriptor = listed, .node = std::move(index)};
    const bool untold = !platforms.empty() && !tree.index()->TellsPlatforms();
    for (const auto& [number, wanted] : selected) {
      const Descriptor& entry = tree.index()->manifests[number];
      if (untold && !entry.platform && HasImage(tree))
        continue;  // the first that fits
      tree.children.push_back(Load(entry, wanted, depth + 1));
      if (!untold && !wanted.empty() && tree.children.back().artifact() != nullptr)
        ThrowNoPlatform(wanted.front(), PlatformsIn(*tree.index()));
    }
    if (untold && HasImage(tree))
      KeepImageAndWhatIsAboutIt(tree);
    tree.whole = tree.children.size() == tree.index()->manifests.size();
    for (const ImageTree& child : tree.children) tree.whole = tree.whole && child.whole;
    return tree;
  }

  static bool HasImage(const ImageTree& tree) {
    return std::any_of(tree.children.begin(), tree.children.end(),
                       [](const ImageTree& child) { return child.image() != nullptr || HasImage(child); });
  }

  static void KeepImageAndWhatIsAboutIt(ImageTree& tree) {
    std::set<std::string> images;
    for (const ImageTree& child : tree.children) {
      if (child.image() != nullptr || HasImage(child))
        images.insert(child.descriptor.digest.str());
    }
    std::erase_if(tree.children, [&](const ImageTree& child) {
      const auto about = child.descriptor.annotations.find(std::string(kAboutAnnotation));
      return !images.contains(child.descriptor.digest.str()) &&
             (about == child.descriptor.annotations.end() || !images.contains(about->second));
    });
  }

  VerifiedImage LoadImage(const Descriptor& listed, std::string bytes, Manifest manifest,
                          const std::vector<Platform>& platforms) {
    std::string config = Read(manifest.config, kMaxConfigBytes, "the configuration of " + listed.digest.str());
    Image image = Image::FromBytes(std::move(bytes), std::move(manifest), std::move(config));
    const Platform has = image.config.platform.Canonical();
    if (listed.platform) {
      const Platform said = listed.platform->Canonical();
      if (said.os != has.os || said.architecture != has.architecture) {
        throw Error(ErrorKind::kCorrupt,
                    "image " + listed.digest.str() + " is for " + has.ToString() +
                        ", and its index says that it is for " + said.ToString(),
                    "whoever made the index must make it anew");
      }
    }
    for (const Platform& wanted : platforms) {
      const Platform canonical = wanted.Canonical();
      if (canonical.os != has.os || canonical.architecture != has.architecture)
        ThrowNoPlatform(wanted, "the image is for " + has.ToString());
    }
    return verify_(FetchedImage(std::move(image), name_, outermost_));
  }

  std::string Read(const Descriptor& document, size_t max_bytes, const std::string& what) {
    if (document.size > max_bytes)
      throw Error(ErrorKind::kCorrupt, what + " is over " + std::to_string(max_bytes) + " bytes");
    std::string bytes = Drain(*blobs_.Open(document, what), max_bytes, what);
    if (Digest::Of(bytes, document.digest.algorithm()) != document.digest)
      throw Error(ErrorKind::kCorrupt, what + " does not have its digest");
    total_ += bytes.size();
    if (total_ > kMaxTreeBytes)
      throw Error(ErrorKind::kCorrupt,
                  "manifests and configurations are over " + std::to_string(kMaxTreeBytes) + " bytes together");
    return bytes;
  }

  const Blobs& blobs_;
  const std::optional<DockerReference>& name_;
  const VerifyImage& verify_;
  std::optional<Digest> outermost_;
  size_t nodes_ = 0;
  uint64_t total_ = 0;
};

}  // namespace

std::map<size_t, std::vector<Platform>> SelectEntries(const Index& index, const std::vector<Platform>& platforms) {
  std::map<size_t, std::vector<Platform>> selected;
  if (platforms.empty())
    return SelectAll(index, {});
  std::set<std::string> digests;
  for (const Platform& platform : platforms) {
    const Descriptor* const chosen = index.Choose(platform);
    if ((chosen == nullptr || !chosen->platform) && !index.TellsPlatforms())
      return SelectAll(index, platforms);
    if (chosen == nullptr)
      ThrowNoPlatform(platform, PlatformsIn(index));
    selected[static_cast<size_t>(chosen - index.manifests.data())].push_back(platform);
    digests.insert(chosen->digest.str());
  }
  for (size_t i = 0; i < index.manifests.size(); ++i) {
    const auto& annotations = index.manifests[i].annotations;
    if (const auto about = annotations.find(std::string(kAboutAnnotation));
        about != annotations.end() && digests.contains(about->second))
      selected[i] = {};
  }
  return selected;
}

bool GoesUnasked(const Descriptor& entry, const Manifest& artifact) {
  return entry.platform && entry.platform->os == kNoPlatform && entry.platform->architecture == kNoPlatform &&
         IsArtifactByLayers(artifact);
}

const Artifact* ImageTree::artifact() const {
  if (const VerifiedArtifact* verified = verified_artifact())
    return &verified->artifact();
  return std::get_if<Artifact>(&node);
}

ImageTree LoadTree(const Blobs& blobs, const Descriptor& top, const std::vector<Platform>& platforms,
                   const std::optional<DockerReference>& name, const VerifyImage& verify,
                   const VerifyArtifact& verify_artifact) {
  TreeLoader loader(blobs, name, verify);
  ImageTree tree = loader.Load(top, platforms, 0);
  loader.VouchForArtifacts(tree, !ImagesOf(tree).empty(), verify_artifact);
  if (std::holds_alternative<OpaqueBlob>(tree.node)) {
    throw Error(ErrorKind::kUnsupported,
                top.digest.str() + " is neither a manifest nor an index, by its media type " + Quoted(top.media_type));
  }
  if (ImagesOf(tree).empty() && ArtifactsOf(tree).empty())
    throw Error(ErrorKind::kNotFound, "index " + top.digest.str() + " leads to no image and to no artifact");
  return tree;
}

std::vector<const VerifiedImage*> ImagesOf(const ImageTree& tree) {
  std::vector<const VerifiedImage*> images;
  if (tree.image() != nullptr)
    images.push_back(tree.image());
  for (const ImageTree& child : tree.children) {
    const std::vector<const VerifiedImage*> below = ImagesOf(child);
    images.insert(images.end(), below.begin(), below.end());
  }
  return images;
}

std::vector<const VerifiedArtifact*> ArtifactsOf(const ImageTree& tree) {
  std::vector<const VerifiedArtifact*> artifacts;
  if (tree.verified_artifact() != nullptr)
    artifacts.push_back(tree.verified_artifact());
  for (const ImageTree& child : tree.children) {
    const std::vector<const VerifiedArtifact*> below = ArtifactsOf(child);
    artifacts.insert(artifacts.end(), below.begin(), below.end());
  }
  return artifacts;
}

}  // namespace gantry::image
