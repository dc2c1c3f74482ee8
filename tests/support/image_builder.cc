#include "tests/support/image_builder.h"

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/compression.h"
#include "tests/support/tar_builder.h"

namespace gantry::testing {
namespace {

using image::Compression;
using json::Array;
using json::Object;

std::string_view LayerType(bool docker, Compression compression) {
  switch (compression) {
    case Compression::kZstd:
      return docker ? image::kDockerLayerZstdType : image::kOciLayerZstdType;
    case Compression::kNone:
      return docker ? image::kDockerLayerType : image::kOciLayerType;
    default:
      return docker ? image::kDockerLayerGzipType : image::kOciLayerGzipType;
  }
}

std::string Compressed(const std::string& tar, Compression compression) {
  if (compression == Compression::kNone) {
    return tar;
  }
  std::string out;
  const auto sink = StringSink(out);
  const auto compressor = image::Compress(*sink, {.compression = compression});
  compressor->Write(AsBytes(tar));
  compressor->Finish();
  return out;
}

Object DescriptorOf(std::string_view media_type, std::string_view bytes) {
  return {
      {"mediaType", media_type}, {"digest", Digest::Of(bytes).str()}, {"size", static_cast<uint64_t>(bytes.size())}};
}

}  // namespace

ImageBuilder& ImageBuilder::Layer(const std::string& tar, Compression compression) {
  layers_.push_back({std::string(LayerType(docker_, compression)), Compressed(tar, compression), Digest::Of(tar)});
  return *this;
}

ImageBuilder& ImageBuilder::Config(std::string key, json::Value value) {
  config_.Set(std::move(key), std::move(value));
  return *this;
}

ImageBuilder& ImageBuilder::Root(const json::Object& members) {
  root_ = members;
  return *this;
}

ImageBuilder& ImageBuilder::Platform(image::Platform platform) {
  platform_ = std::move(platform);
  return *this;
}

std::string ImageBuilder::ConfigBytes() const {
  Array diff_ids;
  for (const LayerBytes& layer : layers_) {
    diff_ids.emplace_back(layer.diff_id.str());
  }
  Object root{{"created", "2020-01-02T03:04:05Z"}, {"architecture", platform_.architecture}, {"os", platform_.os}};
  if (!platform_.variant.empty()) {
    root.Set("variant", platform_.variant);
  }
  root.Set("config", config_);
  if (root_) {
    root = *root_;
  }
  root.Set("rootfs", Object{{"type", "layers"}, {"diff_ids", diff_ids}});
  return json::Print(root);
}

std::string ImageBuilder::ManifestBytes() const {
  Array layers;
  for (const LayerBytes& layer : layers_) {
    layers.emplace_back(DescriptorOf(layer.media_type, layer.blob));
  }
  const Object root{{"schemaVersion", 2},
                    {"mediaType", docker_ ? image::kDockerManifestType : image::kOciManifestType},
                    {"config", DescriptorOf(docker_ ? image::kDockerConfigType : image::kOciConfigType, ConfigBytes())},
                    {"layers", layers}};
  return json::Print(root);
}

std::vector<std::pair<Digest, std::string>> ImageBuilder::Blobs() const {
  std::vector<std::pair<Digest, std::string>> out;
  out.emplace_back(Digest::Of(ConfigBytes()), ConfigBytes());
  for (const LayerBytes& layer : layers_) {
    out.emplace_back(Digest::Of(layer.blob), layer.blob);
  }
  out.emplace_back(Digest::Of(ManifestBytes()), ManifestBytes());
  return out;
}

void ImageBuilder::WriteLayout(const std::string& directory, const std::string& ref) const {
  const Dir root = Dir::Create(directory);
  const Dir blobs = root.MakeDirs(RelPath::Parse("blobs/sha256"));
  for (const auto& [digest, bytes] : Blobs()) {
    blobs.WriteFileAtomically(RelPath::Parse(digest.hex()), bytes);
  }
  Object manifest = DescriptorOf(docker_ ? image::kDockerManifestType : image::kOciManifestType, ManifestBytes());
  manifest.Set("platform", Object{{"architecture", platform_.architecture}, {"os", platform_.os}});
  manifest.Set("annotations", Object{{"org.opencontainers.image.ref.name", ref}});
  const Object index{{"schemaVersion", 2}, {"manifests", Array{manifest}}};
  root.WriteFileAtomically(RelPath::Parse("index.json"), json::Print(index));
  root.WriteFileAtomically(RelPath::Parse("oci-layout"), R"({"imageLayoutVersion":"1.0.0"})");
}

MemoryBlobs::MemoryBlobs(const ImageBuilder& builder) {
  for (auto& [digest, bytes] : builder.Blobs()) blobs_.emplace(digest, bytes);
}

std::unique_ptr<Source> MemoryBlobs::Open(const image::Descriptor& blob, std::string_view what) const {
  const auto found = blobs_.find(blob.digest);
  if (found == blobs_.end())
    throw Error(ErrorKind::kNotFound, std::string(what) + " is not in memory");
  return VerifyingSource(StringSource(found->second), blob.digest, blob.size, std::string(what));
}

ImageBuilder BusyboxImage() {
  TarBuilder tar;
  tar.Dir("bin").Dir("etc").Dir("tmp", 01777).Dir("home").Dir("home/app");
  tar.File("bin/busybox", ReadFile("/bin/busybox", 16 << 20), 0755);
  for (const char* applet :
       {"sh",       "cat",  "echo",     "ls",     "id",     "mount", "true",    "false", "sleep", "env",  "pwd",
        "hostname", "grep", "touch",    "rm",     "mkdir",  "chmod", "chown",   "kill",  "ps",    "stty", "test",
        "wc",       "head", "readlink", "stat",   "umount", "mknod", "unshare", "ip",    "dd",    "sed",  "awk",
        "tr",       "find", "nc",       "printf", "seq",    "cut",   "sort",    "date"}) {
    tar.Symlink(std::string("bin/") + applet, "busybox");
  }
  tar.File("etc/passwd",
           "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n");
  tar.File("etc/group", "root:x:0:\ndaemon:x:1:\napp:x:1000:\nextra:x:2000:app\n");
  ImageBuilder image;
  image.Layer(tar.Build()).Config("Cmd", std::vector<std::string>{"/bin/sh"});
  image.Config("Env", std::vector<std::string>{"PATH=/bin"});
  return image;
}

}  // namespace gantry::testing
