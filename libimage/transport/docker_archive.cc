#include "libimage/transport/docker_archive.h"

#include <algorithm>
#include <set>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/layer/compression.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/listed_names.h"
#include "libimage/transport/oci_layout.h"

namespace gantry::image {
namespace {

constexpr std::string_view kContainerdNameAnnotation = "io.containerd.image.name";
constexpr std::string_view kDamaged = "the archive is damaged or made to harm; get it again, or from someone else";

// How an image is called in a hint.
std::vector<std::string> Callable(const std::vector<ArchivedImage>& images) {
  std::vector<std::string> out;
  for (size_t i = 0; i < images.size(); ++i) {
    if (images[i].names.empty())
      out.push_back("@" + std::to_string(i));
    out.insert(out.end(), images[i].names.begin(), images[i].names.end());
  }
  return out;
}

// The digest that a member is named by: "blobs/ALGORITHM/HEX", "HEX.json", "sha256:HEX"; nullopt for other names.
std::optional<Digest> DigestInName(std::string_view name) {
  const size_t slash = name.rfind('/');
  std::string_view last = name.substr(slash == std::string_view::npos ? 0 : slash + 1);
  if (slash != std::string_view::npos) {
    const std::string_view parents = name.substr(0, slash);
    const size_t above = parents.rfind('/');
    if (above != std::string_view::npos && parents.substr(0, above).ends_with("blobs"))
      return Digest::TryParse(std::string(parents.substr(above + 1)) + ":" + std::string(last));
  }
  if (last.ends_with(".json"))
    last.remove_suffix(5);
  return Digest::TryParse(last.starts_with("sha256:") ? std::string(last) : "sha256:" + std::string(last));
}

std::string NameIn(const Descriptor& descriptor) {
  const auto name = descriptor.annotations.find(std::string(kContainerdNameAnnotation));
  return name == descriptor.annotations.end() ? std::string() : NormalisedName(name->second);
}

}  // namespace

// What index.json is searched for, and what was found on the way.
struct DockerArchive::Agreement {
  Digest config;
  std::map<Digest, std::optional<Descriptor>> seen = {};
};

std::unique_ptr<DockerArchive> DockerArchive::OpenArchive(const std::string& file) {
  return std::make_unique<DockerArchive>(TarFile::Open(file));
}

DockerArchive::DockerArchive(TarFile tar) : tar_(std::move(tar)) {
  const std::string what = "'manifest.json' in " + Quoted(tar_.name());
  const auto list = tar_.ReadMember("manifest.json", kMaxArchiveListBytes);
  if (!list && tar_.Size("repositories")) {
    throw Error(ErrorKind::kUnsupported, Quoted(tar_.name()) + " was written by a Docker before 1.10",
                "load it into a current Docker, and save it again");
  }
  if (!list) {
    throw Error(ErrorKind::kNotFound,
                Quoted(tar_.name()) + " is not what docker save writes: it has no 'manifest.json'",
                tar_.Size("index.json") ? "an OCI image layout in a tar is named oci-archive:" + tar_.name()
                                        : "'manifest.json' lies at the top of such an archive");
  }
  images_ = ParseArchiveList(*list, what);
  if (images_.empty())
    throw Error(ErrorKind::kNotFound, "the archive " + Quoted(tar_.name()) + " has no image");
  const auto index = tar_.ReadMember("index.json", kMaxLayoutIndexBytes);
  if (!index)
    return;
  try {
    index_ = std::get<Index>(ParseManifest(*index, kOciIndexType));
    for (const Descriptor& entry : index_->manifests) index_names_.push_back(NameIn(entry));
  } catch (const Error& error) {
    throw error.WithContext("'index.json' in " + Quoted(tar_.name()));
  }
}

size_t DockerArchive::Find(const std::string& ref) const {
  const std::string it_has = "it has " + ListedNames(Callable(images_));
  if (ref.empty()) {
    if (images_.size() == 1)
      return 0;
    throw Error(ErrorKind::kUsage, "the archive " + Quoted(tar_.name()) + " has several images",
                "name one as docker-archive:" + tar_.name() + ":REF; " + it_has);
  }
  if (ref.starts_with('@')) {
    const auto number = ParseDecimal<size_t>(ref.substr(1));
    if (number && *number < images_.size())
      return *number;
    throw Error(ErrorKind::kNotFound, "the archive " + Quoted(tar_.name()) + " has no image " + Quoted(ref),
                "it has " + std::to_string(images_.size()) + ", counted from @0");
  }
  const std::string name = NormalisedName(ref);
  std::optional<size_t> found;
  for (size_t i = 0; i < images_.size(); ++i) {
    if (std::find(images_[i].names.begin(), images_[i].names.end(), name) == images_[i].names.end())
      continue;
    if (found && (images_[i].config != images_[*found].config || images_[i].layers != images_[*found].layers))
      throw Error(ErrorKind::kCorrupt, Quoted(name) + " is the name of two images in " + Quoted(tar_.name()),
                  "name one by its number, as @" + std::to_string(i));
    found = found.value_or(i);
  }
  if (!found) {
    throw Error(ErrorKind::kNotFound, "the archive " + Quoted(tar_.name()) + " has no image named " + Quoted(name),
                it_has);
  }
  return *found;
}

void DockerArchive::Disagree(const std::string& why) const {
  throw Error(ErrorKind::kCorrupt, Quoted(tar_.name()) + ": " + why, std::string(kDamaged));
}

std::string DockerArchive::ReadConfig(const ArchivedImage& image) const {
  std::optional<std::string> config = tar_.ReadMember(image.config, kMaxConfigBytes);
  if (!config)
    Disagree("manifest.json names the configuration " + Quoted(image.config) + ", which is not there");
  const std::optional<Digest> named = DigestInName(image.config);
  if (named && Digest::Of(*config, named->algorithm()) != *named)
    Disagree("the configuration " + Quoted(image.config) + " has the digest " + Digest::Of(*config).str());
  return *std::move(config);
}

// Each member once, however many names and links lead to it.
Digest DockerArchive::DigestOf(const std::string& member, Source& bytes) {
  const auto known = std::find_if(hashed_.begin(), hashed_.end(),
                                  [&](const auto& hashed) { return tar_.AreSame(hashed.first, member); });
  if (known != hashed_.end())
    return known->second;
  Hasher hasher;
  for (Block block = bytes.Next(); !block.empty(); block = bytes.Next()) hasher.Update(block.bytes());
  return hashed_.emplace_back(member, hasher.Finish()).second;
}

// A compressed layer keeps its bytes; where its name does not tell their digest they are read for it.
Descriptor DockerArchive::LayerOf(const std::string& name, const Digest& diff_id) {
  const std::string what = "layer " + Quoted(name) + " in " + Quoted(tar_.name());
  std::unique_ptr<Source> bytes = tar_.OpenMember(name, what);
  if (!bytes)
    Disagree("manifest.json names the layer " + Quoted(name) + ", which is not there");
  const uint64_t size = tar_.Size(name).value();
  if (size == 0 || size > kMaxBlobBytes)
    Disagree("the layer " + Quoted(name) + " has " + std::to_string(size) + " bytes");
  Compression compression = Compression::kNone;
  bytes = DetectCompression(std::move(bytes), compression);
  if (compression == Compression::kXz || compression == Compression::kBzip2)
    throw Error(ErrorKind::kUnsupported, what + " is compressed by xz or bzip2",
                "layers can be tar, plain or compressed by gzip or zstd");
  std::string type = LayerType(kDockerManifestType, compression);
  if (compression == Compression::kNone)
    return {.media_type = std::move(type), .digest = diff_id, .size = size};
  const bool is_blob = name.find("blobs/") != std::string::npos;
  const std::optional<Digest> named = is_blob ? DigestInName(name) : std::nullopt;
  return {.media_type = std::move(type), .digest = named ? *named : DigestOf(name, *bytes), .size = size};
}

std::string DockerArchive::MakeManifest(const ArchivedImage& image, const std::string& config) {
  const std::vector<Digest> diff_ids = ImageConfig::Parse(config).diff_ids;
  if (diff_ids.size() != image.layers.size()) {
    Disagree("manifest.json lists " + std::to_string(image.layers.size()) + " layers, the configuration " +
             std::to_string(diff_ids.size()));
  }
  Manifest manifest{
      .media_type = std::string(kDockerManifestType),
      .config = {.media_type = std::string(kDockerConfigType), .digest = Digest::Of(config), .size = config.size()}};
  for (size_t i = 0; i < diff_ids.size(); ++i) manifest.layers.push_back(LayerOf(image.layers[i], diff_ids[i]));
  return manifest.ToJson();
}

std::string DockerArchive::ReadListed(const Descriptor& document) const {
  const std::string what = "manifest " + document.digest.str() + " in " + Quoted(tar_.name());
  if (document.size > kMaxManifestBytes)
    throw Error(ErrorKind::kCorrupt, what + " is over " + std::to_string(kMaxManifestBytes) + " bytes");
  std::unique_ptr<Source> bytes = tar_.OpenMember(BlobPath(document.digest).str(), what);
  if (!bytes)
    return {};
  return Drain(*VerifyingSource(std::move(bytes), document.digest, document.size, what), kMaxManifestBytes, what);
}

// Each document is read once, however often it is listed and whatever image is looked for.
const DockerArchive::Listed& DockerArchive::Look(const Descriptor& document) {
  const auto [place, is_new] = listed_.try_emplace(document.digest);
  Listed& listed = place->second;
  const std::string bytes = is_new ? ReadListed(document) : std::string();
  if (bytes.empty())
    return listed;
  ManifestOrIndex parsed = ParseManifest(bytes, document.media_type);
  if (const auto* manifest = std::get_if<Manifest>(&parsed)) {
    listed.config = manifest->config.digest;
    return listed;
  }
  listed.entries = std::move(std::get<Index>(parsed).manifests);
  entries_ += listed.entries.size();
  if (entries_ > kMaxIndexEntries)
    Disagree("indexes in it list more than " + std::to_string(kMaxIndexEntries) + " manifests");
  return listed;
}

// To the manifest with that configuration. What is listed and absent, the other platforms of an index, is passed over.
std::optional<Descriptor> DockerArchive::Follow(const Descriptor& from, Agreement& with, size_t depth) {
  const TypeKind kind = KindOf(from.media_type);
  if (depth > kMaxIndexDepth || (kind != TypeKind::kManifest && kind != TypeKind::kIndex))
    return std::nullopt;
  const auto [seen, is_new] = with.seen.emplace(from.digest, std::nullopt);
  if (!is_new)
    return seen->second;
  const Listed& here = Look(from);
  if (here.config == with.config)
    seen->second = from;
  for (size_t i = 0; i < here.entries.size() && !seen->second; ++i)
    seen->second = Follow(here.entries[i], with, depth + 1);
  return seen->second;
}

std::optional<Descriptor> DockerArchive::FindListed(const ArchivedImage& image, const std::string& config) {
  if (!index_)
    return std::nullopt;
  const std::set<std::string_view> names(image.names.begin(), image.names.end());
  Agreement with{Digest::Of(config)};
  std::optional<Descriptor> found;
  for (size_t i = 0; i < index_->manifests.size(); ++i) {
    const std::optional<Descriptor> here = Follow(index_->manifests[i], with, 0);
    if (!here && names.contains(index_names_[i]))
      Disagree("index.json gives " + Quoted(index_names_[i]) + " to another image than manifest.json");
    if (!found)
      found = here;
  }
  if (!found)
    Disagree("index.json does not list the image of " + Quoted(image.config) + ", manifest.json does");
  return found;
}

void DockerArchive::RequireSameLayers(const ArchivedImage& image, const Manifest& manifest) const {
  bool same = manifest.layers.size() == image.layers.size();
  for (size_t i = 0; same && i < image.layers.size(); ++i)
    same = tar_.AreSame(image.layers[i], BlobPath(manifest.layers[i].digest).str());
  if (!same)
    Disagree("index.json and manifest.json list other layers for " + Quoted(image.config));
}

FetchedImage DockerArchive::Load(size_t number) {
  const ArchivedImage& listed = images_.at(number);
  const std::string config = ReadConfig(listed);
  const std::optional<Descriptor> found = FindListed(listed, config);
  const std::string manifest = found ? ReadListed(*found) : MakeManifest(listed, config);
  Image image = Image::FromBytes(manifest, found ? std::string_view(found->media_type) : kDockerManifestType, config);
  if (found)
    RequireSameLayers(listed, image.manifest);
  documents_.emplace(image.descriptor.digest, manifest);
  documents_.emplace(image.manifest.config.digest, config);
  for (size_t i = 0; i < listed.layers.size(); ++i)
    layer_names_.emplace(image.manifest.layers[i].digest, listed.layers[i]);
  return {std::move(image), std::nullopt};
}

std::unique_ptr<Source> DockerArchive::Open(const Descriptor& blob, std::string_view what) const {
  const std::string name = std::string(what) + " (" + blob.digest.str() + ")";
  std::unique_ptr<Source> bytes;
  if (const auto document = documents_.find(blob.digest); document != documents_.end())
    bytes = StringSource(document->second);
  else if (const auto layer = layer_names_.find(blob.digest); layer != layer_names_.end())
    bytes = tar_.OpenMember(layer->second, name);
  if (!bytes)
    throw Error(ErrorKind::kNotFound, name + " is not in the archive " + Quoted(tar_.name()));
  return VerifyingSource(std::move(bytes), blob.digest, blob.size, name);
}

}  // namespace gantry::image
