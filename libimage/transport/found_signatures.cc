#include "libimage/transport/found_signatures.h"

#include <iterator>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/transport/attachments.h"

namespace gantry::image {

FoundSignatures LookAside(HttpClient& http, const std::vector<std::string>& lookasides, const SignatureUrlOf& url) {
  FoundSignatures out;
  size_t room = kMaxSignatureBytesInAll;
  for (const std::string& base : lookasides) {
    std::string place = url(base, 1);
    place.erase(place.rfind('/'));
    try {
      for (std::string& found : FetchSignatures(http, [&](size_t n) { return url(base, n); })) {
        if (found.size() > room)
          throw Error(ErrorKind::kCorrupt, "more signatures than fit");
        room -= found.size();
        out.signatures.push_back(std::move(found));
      }
    } catch (const Error& error) {
      place += " (" + error.message() + ")";
    }
    out.looked_at.push_back(std::move(place));
  }
  return out;
}

FoundSignatures FindAttachments(RegistryClient& registry, const DockerReference& name, const Digest& manifest) {
  FoundAttachments attached = FetchAttachments(registry, name, manifest, kMaxSignatureBytesInAll);
  FoundSignatures out{{}, std::move(attached.looked_at)};
  for (const Attachment& attachment : attached.attachments) out.signatures.push_back(attachment.ToStored());
  return out;
}

std::vector<std::string> ToFields(FoundSignatures found) {
  std::vector<std::string> fields{std::to_string(found.signatures.size())};
  for (std::vector<std::string>* texts : {&found.signatures, &found.looked_at})
    fields.insert(fields.end(), std::make_move_iterator(texts->begin()), std::make_move_iterator(texts->end()));
  return fields;
}

std::optional<FoundSignatures> FromFields(std::vector<std::string> fields, size_t max_count) {
  const auto count = fields.empty() ? std::nullopt : ParseDecimal<size_t>(fields[0]);
  if (!count || *count > max_count || fields.size() < 1 + *count)
    return std::nullopt;
  const auto first = std::make_move_iterator(fields.begin() + 1);
  const auto middle = first + static_cast<std::ptrdiff_t>(*count);
  return FoundSignatures{{first, middle}, {middle, std::make_move_iterator(fields.end())}};
}

}  // namespace gantry::image
