#include "libimage/convert/to_layered_acis.h"

#include <optional>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/convert/aci_output.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/convert/tree_paths.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/listing.h"
#include "libimage/transport/aci_file.h"

namespace gantry::image {
namespace {

// One that no layer has an entry for.
Entry Directory(const std::string& path, Time undated) {
  return {.name = path, .type = EntryType::kDirectory, .mode = 0755, .mtime = undated};
}

// Paths in the order in which they came, and which are directories, in little more memory than their text.
class PathList {
 public:
  void Add(const std::string& path, bool is_directory) {
    numbers_.Append(texts_.Add((is_directory ? kDirectory : kOther) + path));
  }
  void Clear() {
    texts_.Clear();
    numbers_.Clear();
  }
  void PutInto(TreePaths& tree) const {
    for (size_t i = 0; i < numbers_.size(); ++i) {
      const std::string_view text = texts_.Get(numbers_[i]);
      tree.Put(text.substr(1), text.front() == kDirectory);
    }
  }

 private:
  static constexpr char kDirectory = 'd', kOther = '-';
  TextArena texts_;
  Chunked<uint32_t> numbers_;
};

// Passes a layer on, and keeps what it does to the tree below it.
class LayerRecorder : public EntrySink, public LowerTree {
 public:
  void Begin(EntrySink& into) {
    into_ = &into;
    paths.Clear();
    hidden.clear();
    implied.clear();
    links.clear();
    targets.clear();
    root.reset();
  }

  void Add(const Entry& entry) override {
    paths.Add(entry.name, entry.type == EntryType::kDirectory);
    if (entry.name.empty())
      root = entry;
    into_->Add(entry);
  }
  void Write(std::span<const std::byte> bytes) override { into_->Write(bytes); }
  void WriteZeros(uint64_t count) override { into_->WriteZeros(count); }

  void Hide(const std::string& path, bool inside) override { hidden.emplace_back(path, inside); }
  void Imply(const std::string& path) override { implied.push_back(path); }
  void Link(const std::string& target, const std::vector<std::string>& names) override {
    targets.push_back(target);
    links.insert(names.begin(), names.end());
  }

  PathList paths;
  std::vector<std::pair<std::string, bool>> hidden;
  std::vector<std::string> implied;
  std::set<std::string> links;  // into layers below
  std::vector<std::string> targets;
  std::optional<Entry> root;

 private:
  EntrySink* into_ = nullptr;
};

// Passes on the entries of some names.
class OnlyNames : public EntrySink {
 public:
  OnlyNames(EntrySink& into, const std::set<std::string>& names) : into_(into), names_(names) {}

  void Add(const Entry& entry) override {
    passes_ = names_.contains(entry.name);
    if (passes_)
      into_.Add(entry);
  }
  void Write(std::span<const std::byte> bytes) override {
    if (passes_)
      into_.Write(bytes);
  }
  void WriteZeros(uint64_t count) override {
    if (passes_)
      into_.WriteZeros(count);
  }

 private:
  EntrySink& into_;
  const std::set<std::string>& names_;
  bool passes_ = false;
};

// All names of the files that have one of `names`.
std::set<std::string> NamesOfSameFiles(const Listing& tree, const std::set<std::string>& names) {
  std::set<std::string_view> files;
  for (size_t i = 0; i < tree.size(); ++i) {
    const ListedPath path = tree[i];
    if (names.contains(std::string(path.path)))
      files.insert(path.first);
  }
  std::set<std::string> out;
  for (size_t i = 0; i < tree.size(); ++i) {
    const ListedPath path = tree[i];
    if (files.contains(path.first))
      out.emplace(path.path);
  }
  return out;
}

class LayeredConversion {
 public:
  LayeredConversion(const Image& image, const Blobs& blobs, const OpenLayerOutput& open, const AciOptions& options)
      : image_(image),
        blobs_(blobs),
        watched_(blobs, image, options.progress, "convert"),
        open_(open),
        options_(options),
        platform_(ToAciPlatform(image.config.platform)),
        root_(Directory("", undated_)) {}

  std::vector<LayeredAci> Run() {
    const size_t layers = image_.manifest.layers.size();
    for (size_t layer = 0; layer + 1 < layers; ++layer) Convert(layer, false);
    Convert(layers == 0 ? 0 : layers - 1, true);
    watched_.End();
    return std::move(made_);
  }

 private:
  void Convert(size_t layer, bool is_top) {
    LayerRecorder seen;
    const size_t count = image_.manifest.layers.empty() ? 0 : 1;
    const auto open_layer = [&](size_t) { return OpenLayer(watched_, image_, layer, options_.threads > 1); };
    Flattener flattener(count, open_layer,
                        {.defaults = {}, .what = Quoted(options_.naming.name), .first = layer, .below = &seen});
    AciResult result{Digest::Of(""), 0, 0, {}};
    for (bool done = false; !done;) {
      AciOutput output(open_(layer), options_);
      AciWriter writer(output.tar(), undated_);
      seen.Begin(writer);
      done = flattener.Run(seen);
      if (!done)
        continue;
      Complete(layer, seen, writer);
      if (is_top)
        AddAppcLinks(writer);
      writer.AddManifest(is_top ? TopManifest() : LowerManifest(layer));
      writer.Finish();
      output.Finish(result);
    }
    result.flattened = flattener.result();
    made_.push_back({is_top ? options_.naming.name : LowerName(layer), result});
  }

  // Lays the layer over what there is, and adds to its ACI what follows from that.
  void Complete(size_t layer, LayerRecorder& seen, AciWriter& writer) {
    for (const std::string& target : seen.targets) {
      if (!paths_.Has(target) || paths_.HasDirectory(target))
        throw Error(ErrorKind::kCorrupt, LayerName(image_, layer) + " has a hard link to " + Quoted(target) +
                                             ", which is no file of a layer at or below it");
    }
    for (const auto& [path, inside] : seen.hidden) paths_.Hide(path, inside);
    seen.paths.PutInto(paths_);
    seen.paths.Clear();
    if (seen.root)
      root_ = *seen.root;
    else
      writer.Add(root_);
    if (!seen.links.empty())
      AddLinks(layer, seen.links, writer);
    for (const std::string& path : seen.implied) RequireDirectory(path, writer);
  }

  void RequireDirectory(const std::string& path, AciWriter& writer) {
    if (paths_.HasDirectory(path))
      return;
    paths_.Put(path, true);
    writer.Add(Directory(path, undated_));
  }

  // The files of layers below that the layer has links to, under all names that they have in the tree now.
  void AddLinks(size_t layer, const std::set<std::string>& links, AciWriter& writer) {
    if (++layers_with_links_ > kMaxLayersWithLowerLinks) {
      throw Error(ErrorKind::kUnsupported,
                  "more than " + std::to_string(kMaxLayersWithLowerLinks) +
                      " layers have hard links to files of layers below them",
                  "convert without --layers");
    }
    Flattener flattener(layer + 1, [&](size_t i) { return OpenLayer(blobs_, image_, i); },
                        {.defaults = {}, .what = Quoted(options_.naming.name)});
    std::set<std::string> names;
    for (bool done = false; !done;) {
      Listing tree;
      done = flattener.Run(tree);
      if (!done)
        continue;
      tree.Finish();
      names = NamesOfSameFiles(tree, links);
    }
    OnlyNames only(writer, names);
    flattener.Run(only);
    for (const std::string& name : names) paths_.Put(name, false);
  }

  void AddAppcLinks(AciWriter& writer) {
    for (const Entry& link : AppcLinks(undated_)) {
      if (paths_.Has(link.name))
        continue;
      const std::string directory(SplitPath(link.name).first);
      if (paths_.Has(directory) && !paths_.HasDirectory(directory)) {
        throw Error(ErrorKind::kUnsupported,
                    Quoted("/" + directory) + " in the image is not a directory, but " + Quoted("/" + link.name) +
                        " must be below it",
                    "build the image with a directory there");
      }
      RequireDirectory(directory, writer);
      paths_.Put(link.name, false);
      writer.Add(link);
    }
  }

  // As docker2aci calls it.
  std::string LowerName(size_t layer) const {
    return ToAcIdentifier(options_.naming.name + "-" + image_.manifest.layers[layer].digest.str());
  }

  std::string LowerManifest(size_t layer) const {
    return AciManifest{.name = LowerName(layer), .labels = platform_}.ToJson();
  }

  std::string TopManifest() const {
    AciManifest manifest = ToAciManifest(image_, options_.naming);
    if (image_.manifest_bytes.size() <= json::kMaxStringBytes)
      manifest.annotations.emplace_back(kManifestAnnotation, image_.manifest_bytes);
    for (const LayeredAci& aci : made_) {
      manifest.dependencies.push_back({.image_name = aci.name,
                                       .image_id = "sha512-" + aci.result.image_id.hex(),
                                       .labels = platform_,
                                       .size = aci.result.tar_bytes});
    }
    return WithWhitelist(manifest);
  }

  // Without one where it is too long, or a path is not UTF-8, and nothing has to go.
  std::string WithWhitelist(const AciManifest& manifest) const {
    std::string without = Readable(manifest);
    try {
      return manifest.ToJson([this](const TreePaths::Take& take) { paths_.ForEach(take); });
    } catch (const Error& error) {
      if (paths_.removed()) {
        throw Error(
            ErrorKind::kUnsupported,
            "layers hide files of layers below, and the paths of the image do not fit into an ACI: " + error.message(),
            "convert without --layers");
      }
    }
    return without;
  }

  // What we write we would read.
  static std::string Readable(const AciManifest& manifest) {
    std::string bytes = manifest.ToJson();
    AciManifest::Parse(bytes);
    return bytes;
  }

  const Image& image_;
  const Blobs& blobs_;
  const ProgressBlobs watched_;
  const OpenLayerOutput& open_;
  const AciOptions& options_;
  const std::vector<AppcPair> platform_;
  const Time undated_{options_.epoch, 0};
  TreePaths paths_;  // of the layers so far
  Entry root_;       // as the last of them says that had it
  size_t layers_with_links_ = 0;
  std::vector<LayeredAci> made_;
};

}  // namespace

std::vector<LayeredAci> ConvertToLayeredAcis(const VerifiedImage& image, const Blobs& blobs,
                                             const OpenLayerOutput& open, const AciOptions& options) {
  return LayeredConversion(image.image(), blobs, open, options).Run();
}

}  // namespace gantry::image
