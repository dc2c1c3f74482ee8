#include "libimage/model/attachment.h"

#include "libimage/base/base64.h"
#include "libimage/base/json.h"

namespace gantry::image {
namespace {

constexpr std::string_view kPrefix("\0sigstore-json\n", 15);
constexpr std::string_view kWhat = "stored signature";
constexpr size_t kMaxDepth = 4;
constexpr size_t kMaxText = 8 * 1024 * 1024;

}  // namespace

std::string Attachment::ToStored() const {
  return std::string(kPrefix) +
         json::Print(
             json::Object{{"mimeType", media_type}, {"payload", EncodeBase64(payload)}, {"annotations", annotations}});
}

std::optional<Attachment> Attachment::FromStored(std::string_view stored) {
  if (!stored.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const json::Value document = json::Parse(stored.substr(kPrefix.size()), kWhat, kMaxDepth);
  const json::Cursor root(document, std::string(kWhat));
  root.OnlyKeys({"mimeType", "payload", "annotations"});
  Attachment attachment{root.At("mimeType").String(256), {}, {}};
  const auto payload = DecodeBase64(root.At("payload").String(kMaxText));
  if (!payload) {
    root.At("payload").Fail("expected base64");
  }
  attachment.payload = *payload;
  if (const auto annotations = root.Find("annotations")) {
    attachment.annotations = annotations->StringMap(kMaxAttachmentAnnotations);
  }
  return attachment;
}

}  // namespace gantry::image
