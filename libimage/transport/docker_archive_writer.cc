#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/archive_sink.h"
#include "libimage/transport/docker_archive.h"

namespace gantry::image {
namespace {

std::string LayerMember(const Digest& digest) { return digest.hex() + ".tar"; }
std::string ConfigMember(const Digest& digest) { return digest.hex() + ".json"; }

// With its tag, as RepoTags and `repositories` need it.
std::string ParseRepoTag(const std::string& ref) {
  const DockerReference name = DockerReference::Parse(ref).WithDefaultTag();
  if (name.digest)
    throw Error(ErrorKind::kUsage, "an archive of docker save knows no digests, and " + Quoted(ref) + " has one",
                "name the image NAME[:TAG]");
  return name.ToString();
}

struct NamedImage {
  Manifest manifest;
  std::vector<std::string> names;
};

// What an image was before Docker 1.10: a chain of layers, each with a small configuration, its ID and its parent's.
class LegacyChain {
 public:
  // The next layer, base first; `config` is the image's for the top one, else null.
  json::Object Next(const Digest& diff_id, const json::Object* config) {
    chain_ = chain_ ? Digest::Of(chain_->str() + " " + diff_id.str()) : diff_id;
    json::Object layer;
    if (!id_.empty())
      layer.Set("parent", id_);
    for (const char* name : {"architecture", "config", "created", "docker_version", "os"}) {
      if (const json::Value* value = config != nullptr ? config->Find(name) : nullptr)
        layer.Set(name, *value);
    }
    // Any ID serves that is the same for the same chain and no other.
    json::Object hashed = layer;
    hashed.Set("layer_id", chain_->str());
    id_ = Digest::Of(json::Print(hashed)).hex();
    layer.Set("id", id_);
    return layer;
  }
  const std::string& id() const { return id_; }

 private:
  std::optional<Digest> chain_;
  std::string id_;
};

class DockerArchiveSink : public ArchiveSink {
 public:
  using ArchiveSink::ArchiveSink;

  Form form() const override {
    return {.layers = Compression::kNone,
            .manifest_type = std::string(kDockerManifestType),
            .indexes = false,
            .parallel = false,
            .registry_names = true};
  }

  // Manifests are kept in memory: manifest.json stands in their place.
  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override {
    const TypeKind kind = KindOf(blob.media_type);
    if (kind != TypeKind::kManifest && kind != TypeKind::kConfig)
      return ArchiveSink::AddBlob(blob, std::move(from), what);
    std::string bytes = Drain(*VerifyingSource(std::move(from), blob.digest, blob.size, std::string(what)),
                              std::max(kMaxManifestBytes, kMaxConfigBytes), what);
    if (kind == TypeKind::kConfig)
      ArchiveSink::AddBlob(blob, MemorySource(AsBytes(bytes)), what);
    documents_.emplace(blob.digest, std::move(bytes));
  }

  void Name(const Descriptor& top, const std::string& ref) override {
    const auto found = documents_.find(top.digest);
    if (found == documents_.end())
      throw Error(ErrorKind::kFailed, "manifest " + top.digest.str() + " was not added");
    Manifest manifest = std::get<Manifest>(ParseManifest(found->second, top.media_type));
    for (const Descriptor& layer : manifest.layers) {
      if (!Has(layer.digest)) {
        throw Error(ErrorKind::kUnsupported, "layer " + layer.digest.str() + " is foreign, and its bytes are not here",
                    "docker load needs all layers; write an OCI layout instead");
      }
    }
    const std::string name = ref.empty() ? std::string() : ParseRepoTag(ref);
    if (!name.empty() && !names_.insert(name).second)
      throw Error(ErrorKind::kFailed, Quoted(name) + " would be the name of two images in one archive");
    auto image = std::find_if(images_.begin(), images_.end(), [&](const NamedImage& one) {
      return one.manifest.config.digest == manifest.config.digest;
    });
    if (image == images_.end())
      image = images_.insert(image, {std::move(manifest), {}});
    if (!name.empty())
      image->names.push_back(name);
  }

  void Commit() override {
    json::Array list;
    json::Object repositories;
    std::set<std::string> legacy;
    for (const NamedImage& image : images_) {
      const std::string top = AddLegacyLayers(image.manifest, legacy);
      json::Array layers;
      for (const Descriptor& layer : image.manifest.layers) layers.emplace_back(LayerMember(layer.digest));
      list.emplace_back(json::Object{{"Config", ConfigMember(image.manifest.config.digest)},
                                     {"RepoTags", image.names},
                                     {"Layers", std::move(layers)}});
      for (const std::string& name : image.names) AddRepository(repositories, name, top);
    }
    tar().AddFile("manifest.json", json::Print(list));
    tar().AddFile("repositories", json::Print(repositories));
    Close();
  }

 protected:
  std::string MemberFor(const Digest& digest, std::string_view media_type) const override {
    return KindOf(media_type) == TypeKind::kConfig ? ConfigMember(digest) : LayerMember(digest);
  }

 private:
  // The ID of the top layer; empty for an image without layers.
  std::string AddLegacyLayers(const Manifest& manifest, std::set<std::string>& there) {
    const json::Value config = json::Parse(documents_.at(manifest.config.digest), "the configuration");
    LegacyChain chain;
    for (const Descriptor& layer : manifest.layers) {
      const bool top = &layer == &manifest.layers.back();
      const json::Object described = chain.Next(layer.digest, top ? config.object() : nullptr);
      const std::string& id = chain.id();
      if (!there.insert(id).second)
        continue;
      tar().AddDirectory(id);
      tar().AddFile(id + "/VERSION", "1.0");
      tar().AddFile(id + "/json", json::Print(described));
      tar().AddSymlink(id + "/layer.tar", "../" + LayerMember(layer.digest));
    }
    return chain.id();
  }

  static void AddRepository(json::Object& repositories, const std::string& name, const std::string& top) {
    const DockerReference reference = DockerReference::Parse(name);
    const json::Value* const known = repositories.Find(reference.Repository());
    json::Object tags = known != nullptr ? *known->object() : json::Object();
    tags.Set(reference.tag, top);
    repositories.Set(reference.Repository(), std::move(tags));
  }

  std::map<Digest, std::string> documents_;
  std::vector<NamedImage> images_;
  std::set<std::string> names_;
};

}  // namespace

std::unique_ptr<ImageSink> WriteDockerArchive(const std::string& file, bool overwrite) {
  return std::make_unique<DockerArchiveSink>(file, overwrite);
}

}  // namespace gantry::image
