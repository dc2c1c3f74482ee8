#include "libimage/transport/attachments.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/transport/referrers.h"

namespace gantry::image {
namespace {

class Search {
 public:
  Search(RegistryClient& registry, const DockerReference& name, const Digest& manifest, size_t room)
      : registry_(registry), name_(name), manifest_(manifest), room_(room) {}

  FoundAttachments Run() {
    LookAt(SignatureTag(manifest_), [this] { ReadTag(SignatureTag(manifest_)); });
    LookAt(AttestationTag(manifest_), [this] { ReadTag(AttestationTag(manifest_)); });
    LookAt("referrers of " + manifest_.str(), [this] { ReadReferrers(); });
    return std::move(found_);
  }

 private:
  template <typename Read>
  void LookAt(const std::string& place, Read read) {
    std::string told = name_.Repository() + ":" + place;
    try {
      read();
    } catch (const Error& error) {
      told += " (" + error.message() + ")";
    }
    if (!skipped_.empty()) {
      told += " (left out: " + std::exchange(skipped_, {}) + ")";
    }
    found_.looked_at.push_back(std::move(told));
  }

  std::optional<RawManifest> Get(const std::string& tag, const std::optional<Digest>& digest) {
    DockerReference wanted = name_;
    wanted.tag = tag;
    wanted.digest = digest;
    try {
      return registry_.GetManifest(wanted);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kNotFound) {
        return std::nullopt;
      }
      throw;
    }
  }

  void ReadTag(const std::string& tag) {
    if (const auto manifest = Get(tag, std::nullopt)) {
      ReadLayers(SignatureLayers(manifest->bytes));
    }
  }

  void ReadReferrers() {
    const std::vector<Descriptor> listed = ListReferrers(registry_, manifest_);
    const size_t count = std::min(listed.size(), kMaxReferrersFetched);
    for (size_t i = 0; i < count; ++i) {
      // The types in the list are what somebody wrote there, so each manifest is looked into.
      Try(listed[i].digest.str(), [&] {
        if (const auto referrer = Get({}, listed[i].digest)) {
          ReadLayers(ReferrerLayers(referrer->bytes, manifest_));
        }
      });
    }
  }

  void ReadLayers(const std::vector<Descriptor>& layers) {
    for (const Descriptor& layer : layers) {
      Try(layer.digest.str(), [&] {
        if (layer.size > room_ || found_.attachments.size() == kMaxSignatureLayers) {
          throw Error(ErrorKind::kCorrupt, "more signatures than fit");
        }
        room_ -= layer.size;
        found_.attachments.push_back(
            {layer.media_type, registry_.GetBlob(layer, kMaxAttachmentBytes, "a signature"), layer.annotations});
      });
    }
  }

  template <typename Read>
  void Try(const std::string& what, Read read) {
    try {
      read();
    } catch (const Error& error) {
      skipped_ += (skipped_.empty() ? "" : "; ") + what + ": " + error.message();
    }
  }

  RegistryClient& registry_;
  const DockerReference& name_;
  const Digest& manifest_;
  size_t room_;
  std::string skipped_;
  FoundAttachments found_;
};

}  // namespace

FoundAttachments FetchAttachments(RegistryClient& registry, const DockerReference& name, const Digest& manifest,
                                  size_t room) {
  return Search(registry, name, manifest, room).Run();
}

}  // namespace gantry::image
