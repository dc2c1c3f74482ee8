#include "libimage/transport/find_signatures.h"

#include <utility>

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

}  // namespace gantry::image
