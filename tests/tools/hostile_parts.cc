#include "tests/tools/hostile_parts.h"

#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/base/stream.h"
#include "libimage/layer/compression.h"
#include "libimage/model/descriptor.h"

namespace gantry::testing {

using image::Compression;

std::string Compressed(const std::string& bytes, Compression compression) {
  if (compression == Compression::kNone)
    return bytes;
  std::string out;
  const auto sink = StringSink(out);
  const auto compressor = image::Compress(*sink, {.compression = compression});
  compressor->Write(AsBytes(bytes));
  compressor->Finish();
  return out;
}

std::string DescriptorOf(std::string_view type, const std::string& bytes) {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + Digest::Of(bytes).str() + R"(","size":)" +
         std::to_string(bytes.size()) + "}";
}

std::string BlobName(const std::string& bytes) { return "blobs/sha256/" + Digest::Of(bytes).hex(); }

std::string ConfigText(const std::string& tar) {
  const image::Platform host = image::Platform::Host();
  return R"({"architecture":")" + host.architecture + R"(","os":"linux","config":{"Cmd":["/bin/true"]},)" +
         R"("rootfs":{"type":"layers","diff_ids":[")" + Digest::Of(tar).str() + R"("]}})";
}

namespace {

void Apply(const Bend& bend, std::string& text) {
  if (bend)
    bend(text);
}

std::string ManifestText(const std::string& config, const std::string& layer, Compression compression) {
  return R"({"schemaVersion":2,"mediaType":")" + std::string(image::kOciManifestType) + R"(","config":)" +
         DescriptorOf(image::kOciConfigType, config) + R"(,"layers":[)" +
         DescriptorOf(image::LayerType(image::kOciManifestType, compression), layer) + "]}";
}

}  // namespace

std::string IndexText(const std::string& entries) { return R"({"schemaVersion":2,"manifests":[)" + entries + "]}"; }

Files Layout(const Bends& bends) {
  Files files;
  const std::string tar = bends.tar ? *bends.tar : bends.tree.Build();
  std::string layer = Compressed(tar, bends.compression);
  Apply(bends.layer, layer);
  std::string config = ConfigText(tar);
  Apply(bends.config, config);
  std::string manifest = ManifestText(config, layer, bends.compression);
  Apply(bends.manifest, manifest);
  std::string index = IndexText(DescriptorOf(image::kOciManifestType, manifest));
  Apply(bends.index, index);
  std::string layout = R"({"imageLayoutVersion":"1.0.0"})";
  Apply(bends.layout, layout);
  for (const std::string& blob : {layer, config, manifest}) files[BlobName(blob)] = blob;
  files["index.json"] = index;
  files["oci-layout"] = layout;
  if (bends.files)
    bends.files(files);
  return files;
}

TarBuilder Archive(const Files& files) {
  TarBuilder tar;
  for (const auto& [name, bytes] : files) tar.File(name, bytes);
  return tar;
}

Bend Cut(size_t percent) {
  return [percent](std::string& text) { text.resize(text.size() * percent / 100); };
}
Bend Append(std::string more) {
  return [more = std::move(more)](std::string& text) { text += more; };
}
Bend Become(std::string other) {
  return [other = std::move(other)](std::string& text) { text = other; };
}

Bend Member(std::string more) {
  return [more = std::move(more)](std::string& text) { text.insert(text.size() - 1, "," + more); };
}
Bend Replace(std::string what, std::string by) {
  return [what = std::move(what), by = std::move(by)](std::string& text) {
    const size_t at = text.find(what);
    if (at == std::string::npos)
      throw Error(ErrorKind::kFailed, "nothing to replace: " + what);
    text.replace(at, what.size(), by);
  };
}

Bend Number(std::string key, std::string by) {
  return [key = "\"" + std::move(key) + "\":", by = std::move(by)](std::string& text) {
    const size_t at = text.rfind(key) + key.size();
    text.replace(at, text.find_first_of(",}", at) - at, by);
  };
}

std::string Repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::string Bomb(Compression compression, uint64_t claimed, int mebibytes) {
  std::string out;
  const auto sink = StringSink(out);
  const auto compressor = image::Compress(*sink, {.compression = compression});
  compressor->Write(AsBytes(TarBuilder().Entry({.name = "zeros", .size = claimed}).bytes()));
  const std::string zeros(1 << 20, '\0');
  for (int i = 0; i < mebibytes; ++i) compressor->Write(AsBytes(zeros));
  compressor->Finish();
  return out;
}

}  // namespace gantry::testing
