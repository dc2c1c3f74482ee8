#include "libimage/model/schema1.h"

#include <algorithm>
#include <utility>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxJwsSignatures = 100;
constexpr std::string_view kWhat = "manifest of schema 1";

std::string Decoded(const json::Cursor& text) {
  auto bytes = DecodeEitherBase64(text.String());
  if (!bytes)
    text.Fail("expected base64");
  return *std::move(bytes);
}

// The document as it was before it was signed: its beginning, and the tail that the signature keeps.
std::string PayloadOf(const json::Cursor& signature, std::string_view bytes) {
  const json::Value header = json::Parse(Decoded(signature.At("protected")), kWhat);
  const json::Cursor cursor(header, std::string(kWhat) + ", signature");
  const uint64_t length = cursor.At("formatLength").Unsigned(bytes.size());
  return std::string(bytes.substr(0, static_cast<size_t>(length))) + Decoded(cursor.At("formatTail"));
}

// What it says with any signature, and alone.
std::string PayloadOf(std::string_view bytes) {
  const json::Value document = json::Parse(bytes, kWhat);
  const json::Cursor root(document, std::string(kWhat));
  const auto signatures = root.Find("signatures");
  if (!signatures)
    return std::string(bytes);
  std::optional<std::string> payload;
  for (const json::Cursor& signature : signatures->Elements(kMaxJwsSignatures)) {
    std::string covered = PayloadOf(signature, bytes);
    if (payload && covered != *payload)
      signature.Fail("covers another document than the one before it");
    payload = std::move(covered);
  }
  if (!payload)
    signatures->Fail("expected a signature");
  return *std::move(payload);
}

std::string Joined(const json::Cursor& words) {
  std::string out;
  for (const std::string& word : words.Strings(kMaxLayers)) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string TextOf(const json::Cursor& object, std::string_view key) {
  const auto text = object.Find(key);
  return text ? text->String() : "";
}

json::Object HistoryOf(const json::Object& step, bool empty) {
  const json::Value value(step);
  const json::Cursor cursor(value, "v1Compatibility");
  json::Object out;
  for (const char* key : {"created", "author", "comment"}) {
    if (const std::string text = TextOf(cursor, key); !text.empty())
      out.Append(key, text);
  }
  const auto built = cursor.Find("container_config");
  const auto command = built ? built->Find("Cmd") : std::nullopt;
  if (const std::string text = command ? Joined(*command) : ""; !text.empty())
    out.Append("created_by", text);
  if (empty)
    out.Append("empty_layer", true);
  return out;
}

}  // namespace

bool IsSchema1(std::string_view bytes, std::string_view content_type) {
  const TypeKind kind = KindOf(content_type);
  if (kind != TypeKind::kOther)
    return kind == TypeKind::kSchema1;
  try {
    const json::Value document = json::Parse(bytes, kWhat);
    const auto version = json::Cursor(document, std::string(kWhat)).Find("schemaVersion");
    return version && version->Unsigned(UINT32_MAX) == 1;
  } catch (const Error&) {
    return false;
  }
}

Schema1 Schema1::Parse(std::string_view bytes) {
  Schema1 out;
  out.payload_ = PayloadOf(bytes);
  const json::Value document = json::Parse(out.payload_, kWhat);
  const json::Cursor root(document, std::string(kWhat));
  root.At("schemaVersion").Unsigned(1);
  for (const char* key : {"signatures", "config", "layers", "manifests"}) {
    if (const auto other = root.Find(key))
      other->Fail("does not belong in a manifest of schema 1, so tools disagree on what the document is");
  }
  const auto layers = root.At("fsLayers").Elements(kMaxLayers);
  const auto history = root.At("history").Elements(kMaxLayers);
  if (layers.empty() || layers.size() != history.size())
    root.Fail("expected one entry of history for each layer, and one layer at least");
  for (size_t i = layers.size(); i-- > 0;) {
    const json::Cursor text = history[i].At("v1Compatibility");
    const json::Value was = json::Parse(text.String(), std::string(kWhat) + ", v1Compatibility");
    if (was.object() == nullptr)
      text.Fail("expected an object");
    const json::Cursor step(was, "v1Compatibility");
    const auto empty = step.Find("throwaway");
    out.steps_.push_back({ParseDigest(layers[i].At("blobSum")), empty && empty->Bool(), *was.object()});
  }
  return out;
}

std::vector<Digest> Schema1::Blobs() const {
  std::vector<Digest> out;
  for (const Step& step : steps_) {
    if (!step.empty)
      out.push_back(step.blob);
  }
  return out;
}

Image Schema1::ToImage(const std::vector<Descriptor>& layers, const std::vector<Digest>& diff_ids) const {
  if (layers.size() != Blobs().size() || diff_ids.size() != layers.size())
    throw Error(ErrorKind::kFailed, std::string(kWhat) + ": not as many layers as it has");
  json::Object config = steps_.back().was;
  for (const char* key : {"id", "parent", "parent_id", "layer_id", "throwaway", "Size", "rootfs", "history"})
    config.Remove(key);
  if (config.Find("os") == nullptr)
    config.Append("os", "linux");
  json::Array ids;
  for (const Digest& id : diff_ids) ids.emplace_back(id.str());
  json::Array history;
  for (const Step& step : steps_) history.emplace_back(HistoryOf(step.was, step.empty));
  config.Append("rootfs", json::Object{{"type", "layers"}, {"diff_ids", std::move(ids)}});
  config.Append("history", std::move(history));
  std::string config_bytes = json::Print(config);
  const Manifest manifest{.media_type = std::string(kDockerManifestType),
                          .config = {.media_type = std::string(kDockerConfigType),
                                     .digest = Digest::Of(config_bytes),
                                     .size = config_bytes.size()},
                          .layers = layers};
  return Image::FromBytes(manifest.ToJson(), kDockerManifestType, std::move(config_bytes));
}

}  // namespace gantry::image
