#include "libimage/convert/copy_tree.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

void AddBlob(const Descriptor& blob, const Blobs& blobs, ImageSink& sink) {
  const std::string what = "blob " + blob.digest.str();
  sink.AddBlob(blob, blobs.Open(blob, what), what);
}

class TreeCopy {
 public:
  TreeCopy(const Blobs& blobs, ImageSink& sink, const CopyOptions& options, const CopyImage& copy)
      : blobs_(blobs), sink_(sink), options_(options), copy_(copy) {}

  // What stands in the place of `tree`.
  Descriptor Copy(const ImageTree& tree) {
    if (const VerifiedImage* image = tree.image())
      return CopyOne(tree.descriptor, *image);
    if (tree.index() != nullptr)
      return CopyIndex(tree);
    if (const Artifact* artifact = tree.artifact())
      CopyBlobsAsTheyAre(artifact->manifest, blobs_, sink_);
    Add(tree.descriptor);
    if (const VerifiedArtifact* verified = tree.verified_artifact())
      sink_.VouchForArtifact(*verified);
    return tree.descriptor;
  }

  // Where no image is, what there is is carried as it is or not at all.
  void RequireCarried(const ImageTree& tree) const {
    if (!ImagesOf(tree).empty())
      return;
    const std::vector<const VerifiedArtifact*> artifacts = ArtifactsOf(tree);
    const std::optional<std::string> form = sink_.form().manifest_type;
    const bool docker = options_.manifest_type == kDockerManifestType;
    for (const VerifiedArtifact* artifact : artifacts) {
      const Manifest& manifest = artifact->artifact().manifest;
      const std::string what = "manifest " + artifact->artifact().descriptor.digest.str();
      if (form)
        ThrowNotAnImage("the destination holds images, and " + what, manifest);
      if (options_.compression || (docker && manifest.media_type != kDockerManifestType))
        ThrowNotAnImage("an image can get other layers or another manifest, but " + what, manifest);
    }
  }

  // Before anything is copied: what is known to change.
  void RequirePreserved(const ImageTree& tree) const {
    if (!options_.preserve_digests || tree.index() == nullptr)
      return;
    if (TypeFor(*tree.index()) != tree.index()->media_type)
      ThrowChanged(tree, "it would become an index of another type");
    if (!tree.whole)
      ThrowChanged(tree, "only some of its platforms are wanted");
  }

 private:
  [[noreturn]] static void ThrowChanged(const ImageTree& tree, const std::string& why) {
    throw Error(ErrorKind::kUnsupported,
                "the digest of index " + tree.descriptor.digest.str() + " cannot be preserved: " + why,
                "leave out --preserve-digests, or choose a destination that holds the index as it is");
  }

  std::string TypeFor(const Index& index) const {
    const std::optional<std::string> form = sink_.form().manifest_type;
    const std::optional<std::string>& wanted = form ? form : options_.manifest_type;
    if (!wanted)
      return index.media_type;
    return std::string(*wanted == kDockerManifestType ? kDockerListType : kOciIndexType);
  }

  void Add(const Descriptor& blob) const { AddBlob(blob, blobs_, sink_); }

  Descriptor CopyOne(const Descriptor& listed, const VerifiedImage& image) {
    auto made = made_.find(listed.digest);
    if (made == made_.end())
      made = made_.emplace(listed.digest, copy_(image).image().descriptor).first;
    Descriptor out = listed;
    out.media_type = made->second.media_type;
    out.digest = made->second.digest;
    out.size = made->second.size;
    if (!out.platform)
      out.platform = image.image().config.platform;
    return out;
  }

  Descriptor CopyIndex(const ImageTree& tree) {
    const Index& old = *tree.index();
    const std::string type = TypeFor(old);
    const std::vector<std::optional<Descriptor>> copied = CopyChildren(tree, type);
    bool changed = !tree.whole || type != old.media_type;
    std::vector<Descriptor> entries;
    for (size_t i = 0; i < copied.size(); ++i) {
      const Descriptor& was = tree.children[i].descriptor;
      changed = changed || !copied[i] || copied[i]->digest != was.digest || copied[i]->media_type != was.media_type;
      if (copied[i])
        entries.push_back(*copied[i]);
    }
    if (changed && options_.preserve_digests)
      ThrowChanged(tree, "what it lists would change");
    if (changed)
      return AddIndex(tree.descriptor, Rewritten(old, type, std::move(entries)));
    Add(tree.descriptor);
    return tree.descriptor;
  }

  // Images first: whether an attestation stays depends on what became of its image.
  std::vector<std::optional<Descriptor>> CopyChildren(const ImageTree& tree, const std::string& type) {
    std::vector<std::optional<Descriptor>> copied(tree.children.size());
    for (const bool images : {true, false}) {
      for (size_t i = 0; i < copied.size(); ++i) {
        const ImageTree& child = tree.children[i];
        const bool is_image = child.image() != nullptr || child.index() != nullptr;
        if (is_image == images && (images || Stays(child.descriptor, tree.index()->media_type, type)))
          copied[i] = Copy(child);
      }
    }
    return copied;
  }

  // Whether it does when an index of type `was` becomes one of `type`.
  bool Stays(const Descriptor& artifact, const std::string& was, const std::string& type) const {
    if (type == kDockerListType && was != type) {
      Note("a Docker list holds images only: " + artifact.digest.str() + " is left out");
      return false;
    }
    const auto about = artifact.annotations.find(std::string(kAboutAnnotation));
    const auto digest = about == artifact.annotations.end() ? std::nullopt : Digest::TryParse(about->second);
    const auto made = digest ? made_.find(*digest) : made_.end();
    if (made == made_.end() || made->second.digest == *digest)
      return true;
    Note(artifact.digest.str() + " is about an image that has changed, and is left out");
    return false;
  }

  Index Rewritten(const Index& old, const std::string& type, std::vector<Descriptor> entries) const {
    Index index = old;
    index.media_type = type;
    index.manifests = std::move(entries);
    if (type != kDockerListType)
      return index;
    bool dropped = !index.annotations.empty() || index.subject || !index.artifact_type.empty();
    index.annotations.clear();
    index.subject.reset();
    index.artifact_type.clear();
    for (Descriptor& entry : index.manifests) dropped |= !std::exchange(entry.annotations, {}).empty();
    if (dropped)
      Note("a Docker list has neither annotations nor a subject: those of the index are dropped");
    return index;
  }

  Descriptor AddIndex(const Descriptor& listed, const Index& index) const {
    const std::string bytes = index.ToJson();
    Descriptor out = listed;
    out.media_type = index.media_type;
    out.digest = Digest::Of(bytes);
    out.size = bytes.size();
    ParseManifest(bytes);  // what we write we would read
    sink_.AddBlob(out, StringSource(bytes), "the index");
    return out;
  }

  void Note(const std::string& text) const {
    if (options_.note)
      options_.note(text);
  }

  const Blobs& blobs_;
  ImageSink& sink_;
  const CopyOptions& options_;
  const CopyImage& copy_;
  std::map<Digest, Descriptor> made_;  // of images, by what they were
};

}  // namespace

void CopyBlobsAsTheyAre(const Manifest& manifest, const Blobs& blobs, ImageSink& sink) {
  for (const Descriptor& blob : manifest.Blobs()) {
    // Sinks take what is of such a type for a manifest of the tree, and here it is bytes like others.
    Descriptor plain = blob;
    if (const TypeKind kind = KindOf(blob.media_type); kind == TypeKind::kManifest || kind == TypeKind::kIndex)
      plain.media_type = "application/octet-stream";
    try {
      AddBlob(plain, blobs, sink);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kNotFound || !IsForeignLayer(blob.media_type))
        throw;
    }
  }
}

Descriptor CopyTree(const ImageTree& tree, const Blobs& blobs, ImageSink& sink, const CopyOptions& options,
                    const CopyImage& copy) {
  if (tree.index() != nullptr && !sink.form().indexes) {
    throw Error(ErrorKind::kUnsupported, "the destination holds images of one platform each, and no index",
                "choose one of its images with --platform, or another destination");
  }
  TreeCopy tree_copy(blobs, sink, options, copy);
  tree_copy.RequireCarried(tree);
  tree_copy.RequirePreserved(tree);
  return tree_copy.Copy(tree);
}

}  // namespace gantry::image
