#include "serve/order.h"

#include <limits>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/json.h"
#include "libimage/model/manifest.h"

namespace gantry::serve {
namespace {

constexpr size_t kMaxListed = 100'000;
constexpr size_t kOrderFields = 7;

json::Array ToJson(const std::vector<image::Descriptor>& descriptors) {
  json::Array out;
  for (const image::Descriptor& descriptor : descriptors) out.push_back(descriptor.ToJson());
  return out;
}

std::vector<image::Descriptor> ParseList(const json::Cursor& from) {
  std::vector<image::Descriptor> out;
  for (const json::Cursor& element : from.Elements(kMaxListed)) out.push_back(image::Descriptor::Parse(element));
  return out;
}

}  // namespace

Message Order::ToMessage() const {
  Message message{static_cast<char>(kind), {std::to_string(id), name, reference, form, platform, aci_name, known}};
  message.fields.insert(message.fields.end(), names.begin(), names.end());
  return message;
}

std::optional<Order> Order::FromMessage(const Message& message) {
  const std::vector<std::string>& fields = message.fields;
  if (std::string_view("aitsc").find(message.kind) == std::string_view::npos || fields.size() < kOrderFields)
    return std::nullopt;
  const auto id = ParseDecimal<uint64_t>(fields[0]);
  if (!id)
    return std::nullopt;
  return Order{.kind = static_cast<Kind>(message.kind),
               .id = *id,
               .name = fields[1],
               .reference = fields[2],
               .form = fields[3],
               .platform = fields[4],
               .aci_name = fields[5],
               .known = fields[6],
               .names = {fields.begin() + kOrderFields, fields.end()}};
}

Message Answer::ToMessage() const {
  return {static_cast<char>(kind), {std::to_string(id), text, hint, std::to_string(static_cast<int>(error))}};
}

std::optional<Answer> Answer::FromMessage(const Message& message) {
  if (std::string_view("brdx").find(message.kind) == std::string_view::npos || message.fields.size() != 4)
    return std::nullopt;
  const auto id = ParseDecimal<uint64_t>(message.fields[0]);
  const auto error = ParseDecimal<int>(message.fields[3]);
  if (!id || !error || *error < static_cast<int>(ErrorKind::kFailed) ||
      *error > static_cast<int>(ErrorKind::kUnsupported))
    return std::nullopt;
  return Answer{static_cast<Kind>(message.kind), *id, message.fields[1], message.fields[2],
                static_cast<ErrorKind>(*error)};
}

std::string Record::ToJson() const {
  json::Object out{{"source", source}};
  if (unchanged)
    out.Set("unchanged", true);
  if (!image_id.empty()) {
    out.Set("file", file);
    out.Set("imageID", image_id);
    out.Set("digest", digest);
  }
  out.Set("size", size);
  if (top) {
    out.Set("top", top->ToJson());
    out.Set("manifests", serve::ToJson(manifests));
    out.Set("blobs", serve::ToJson(blobs));
    json::Array all;
    for (const Referrers& one : referrers)
      all.emplace_back(json::Object{{"subject", one.subject.str()}, {"manifests", serve::ToJson(one.list)}});
    out.Set("referrers", std::move(all));
    out.Set("names", names);
  }
  out.Set("tags", tags);
  return json::Print(out);
}

Record Record::Parse(std::string_view text) {
  const json::Value value = json::Parse(text, "a record of the cache");
  const json::Cursor root(value, "a record of the cache");
  Record out;
  out.source = root.At("source").String();
  if (const auto unchanged = root.Find("unchanged"))
    out.unchanged = unchanged->Bool();
  if (const auto id = root.Find("imageID")) {
    out.image_id = id->String();
    out.digest = root.At("digest").String();
    out.file = static_cast<int>(root.At("file").Unsigned(1));
  }
  out.size = root.At("size").Unsigned(std::numeric_limits<uint64_t>::max());
  if (const auto top = root.Find("top")) {
    out.top = image::Descriptor::Parse(*top);
    out.manifests = ParseList(root.At("manifests"));
    out.blobs = ParseList(root.At("blobs"));
    for (const json::Cursor& one : root.At("referrers").Elements(kMaxListed))
      out.referrers.push_back({image::ParseDigest(one.At("subject")), ParseList(one.At("manifests"))});
    out.names = root.At("names").Strings(kMaxListed);
  }
  out.tags = root.At("tags").Strings(kMaxListed);
  return out;
}

}  // namespace gantry::serve
