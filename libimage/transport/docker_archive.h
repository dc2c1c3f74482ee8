// What docker save writes, in one tar: `docker-archive:FILE[:REF]`. Images are read in place, whoever wrote them:
//
//   Docker since 1.10    manifest.json, HEX.json, ID/layer.tar; a layer that is there twice is a symbolic link
//   Docker since 25      the same list over an OCI image layout (index.json, blobs/ALGORITHM/HEX)
//   podman, skopeo, ...  manifest.json, HEX.json, HEX.tar
//
// Nothing in it is trusted: every document has a bound, every layer is checked while it streams, and links lead to
// members of the archive. Where two documents speak of one image they must agree (kCorrupt otherwise): manifest.json
// with the configuration, with index.json where there is one, and names that are digests with what they name.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/image_sink.h"
#include "libimage/transport/docker_archive_list.h"
#include "libimage/transport/tar_file.h"

namespace gantry::image {

class DockerArchive : public Blobs {
 public:
  // Compressed files and pipes as in plain_file.h. kNotFound when it is no such archive; kUnsupported for those of
  // Docker before 1.10, which have no manifest.json.
  static std::unique_ptr<DockerArchive> OpenArchive(const std::string& file);
  explicit DockerArchive(TarFile tar);

  // In the order of manifest.json.
  const std::vector<ArchivedImage>& images() const { return images_; }

  // The number of the image that `ref` names: NAME[:TAG], "@NUMBER", or empty for the only one. kNotFound tells what
  // there is; kUsage when an empty ref is ambiguous, kCorrupt when a name is that of two images.
  size_t Find(const std::string& ref) const;

  // The image of that number. Its manifest is that of index.json where the archive has one. Else it is made here, the
  // same on every run: Docker's, over the layers as they lie in the archive, each with its diff ID for a digest unless
  // it is compressed. From then on Open knows its manifest, configuration and layers.
  FetchedImage Load(size_t number);

  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;

 private:
  struct Agreement;
  // What a document that index.json leads to says: a manifest or an index, or nothing when it is not here.
  struct Listed {
    std::optional<Digest> config;
    std::vector<Descriptor> entries;
  };
  [[noreturn]] void Disagree(const std::string& why) const;
  std::string ReadConfig(const ArchivedImage& image) const;
  Digest DigestOf(const std::string& member, Source& bytes);
  Descriptor LayerOf(const std::string& name, const Digest& diff_id);
  std::string MakeManifest(const ArchivedImage& image, const std::string& config);
  const Listed& Look(const Descriptor& document);
  std::optional<Descriptor> Follow(const Descriptor& from, Agreement& with, size_t depth);
  std::optional<Descriptor> FindListed(const ArchivedImage& image, const std::string& config);
  std::string ReadListed(const Descriptor& document) const;
  void RequireSameLayers(const ArchivedImage& image, const Manifest& manifest) const;

  TarFile tar_;
  std::vector<ArchivedImage> images_;
  std::optional<Index> index_;            // of index.json
  std::vector<std::string> index_names_;  // of its entries
  std::map<Digest, Listed> listed_;
  size_t entries_ = 0;                                  // in all of listed_
  std::map<Digest, std::string> documents_;             // of the images that were loaded
  std::map<Digest, std::string> layer_names_;           // members
  std::vector<std::pair<std::string, Digest>> hashed_;  // members
};

// An archive that docker load takes, old and new, a new file: manifest.json, HEX.json, plain layers as HEX.tar by their
// diff IDs; and for what knows no manifest.json (Docker before 1.10) `repositories` and a directory a layer, which hold
// links to the layers. Several images may share layers. Each is named by registry names or not at all. Nothing is seen
// before Commit. kFailed when the file exists and not `overwrite`.
std::unique_ptr<ImageSink> WriteDockerArchive(const std::string& file, bool overwrite);

}  // namespace gantry::image
