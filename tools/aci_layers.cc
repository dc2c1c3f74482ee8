// aci:DIR with --layers: what gantry-convert writes into the directory.
//
//   STEM-OS-ARCH-N.aci    the ACIs, 0 the one with the app, the highest number the base, as docker2aci numbers them
//   blobs/sha256/HEX      the layers as they were, by which the image comes back with its digest (from_aci.h)
//
// All is staged in files without a name, and gets its names when it is whole, the ACI with the app last.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/write_back.h"
#include "libimage/convert/to_layered_acis.h"
#include "libimage/transport/oci_layout_files.h"
#include "tools/destination.h"

namespace gantry::tools {
namespace {

class AciLayers : public Destination {
 public:
  AciLayers(const std::string& path, WriteOptions options) : options_(std::move(options)), dir_(Open(path)) {}
  AciLayers(const AciLayers&) = delete;
  AciLayers& operator=(const AciLayers&) = delete;
  ~AciLayers() override {
    if (made_)
      rmdir(dir_.name().c_str());  // which fails when something is in it
  }

  Written Write(const Input& input, Progress& progress) override {
    const image::AciNaming naming = NamingFor(input, options_.name);
    const image::Image& image = input.image.image();
    for (size_t i = 0; i < std::max<size_t>(image.manifest.layers.size(), 1); ++i) {
      files_.push_back(FileFor(naming, image, i));
      acis_.push_back(std::make_unique<StagedFile>(dir_));
      RefuseExisting(files_.back());
    }
    const auto open = [&](size_t layer) {
      const StagedFile& file = *acis_.at(layer);
      if (ftruncate(file.fd(), 0) < 0 || lseek(file.fd(), 0, SEEK_SET) < 0)
        ThrowErrno("empty " + Quoted(files_[layer].str()));
      return FileSink(file.fd(), Quoted(files_[layer].str()));
    };
    const std::vector<image::LayeredAci> made =
        image::ConvertToLayeredAcis(input.image, *input.source.blobs, open,
                                    {.naming = naming,
                                     .compression = options_.copy.compression.value_or(image::Compression::kGzip),
                                     .level = options_.copy.level,
                                     .threads = options_.copy.threads,
                                     .epoch = options_.epoch,
                                     .progress = &progress});
    input.Settle();
    KeepLayers(image, *input.source.blobs);
    Commit();
    return Describe(made);
  }

 private:
  Dir Open(const std::string& path) {
    made_ = access(path.c_str(), F_OK) != 0;
    return made_ ? Dir::Create(path) : Dir::Open(path);
  }

  static RelPath FileFor(const image::AciNaming& naming, const image::Image& image, size_t layer) {
    const std::string name = naming.FileStem() + PlatformSuffix(image);
    const size_t layers = std::max<size_t>(image.manifest.layers.size(), 1);
    return RelPath::Parse(name + "-" + std::to_string(layers - 1 - layer) + ".aci");
  }

  void RefuseExisting(const RelPath& file) const {
    if (!options_.overwrite && dir_.Exists(file)) {
      throw Error(ErrorKind::kFailed, Quoted(file.str()) + " in " + Quoted(dir_.name()) + " exists already",
                  "give --overwrite to replace it");
    }
  }

  void KeepLayers(const image::Image& image, const image::Blobs& blobs) {
    for (const image::Descriptor& layer : image.manifest.layers) {
      const auto [place, is_new] = layers_.emplace(layer.digest, nullptr);
      if (!is_new)
        continue;
      const std::string what = "layer " + layer.digest.str();
      place->second = std::make_unique<StagedFile>(dir_);
      const auto sink = FileSink(place->second->fd(), what);
      Copy(*blobs.OpenWhole(layer, what), *sink);
      sink->Finish();
    }
  }

  void Commit() {
    for (const RelPath& file : files_) RefuseExisting(file);
    for (const auto& [digest, file] : layers_) {
      const RelPath path = image::BlobPath(digest);
      dir_.MakeDirs(path.Parent().value());
      file->Commit(path);
    }
    for (size_t i = 0; i < acis_.size(); ++i) acis_[i]->Commit(files_[i]);
    made_ = false;
  }

  Written Describe(const std::vector<image::LayeredAci>& made) const {
    const auto path = [&](size_t i) { return dir_.name() + (dir_.name().ends_with('/') ? "" : "/") + files_[i].str(); };
    json::Array acis;
    for (size_t i = 0; i < made.size(); ++i) {
      acis.emplace_back(json::Object{{"file", path(i)},
                                     {"id", "sha512-" + made[i].result.image_id.hex()},
                                     {"name", made[i].name},
                                     {"bytes", made[i].result.bytes}});
    }
    return {.id = "sha512-" + made.back().result.image_id.hex(),
            .more = {{"name", made.back().name}, {"acis", std::move(acis)}},
            .file = path(made.size() - 1)};
  }

  WriteOptions options_;
  bool made_ = false;
  Dir dir_;
  std::vector<RelPath> files_;  // base first, as all here
  std::vector<std::unique_ptr<StagedFile>> acis_;
  std::map<Digest, std::unique_ptr<StagedFile>> layers_;
};

}  // namespace

std::unique_ptr<Destination> OpenAciLayers(const image::Reference& reference, const WriteOptions& options) {
  return std::make_unique<AciLayers>(reference.file()->path, options);
}

}  // namespace gantry::tools
