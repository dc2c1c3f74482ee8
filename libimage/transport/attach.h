// Putting signatures into the repository of the image they are about, where attachments.h and other tools look for
// them.
//
// A tag is replaced as a whole, and hardly a registry heeds If-Match, so that of two writers who add at once one could
// set the other's signature aside. Three things keep them apart. Writers of one user on one machine take turns from
// their look at a tag to the end of their put. A document goes behind a tag only if the tag still leads to what was
// read a moment ago. And whoever has put comes back after a time that is long against his own look and put, and adds
// again what is gone: another machine's writer can set it aside only if he looked before it was there, and has put by
// then.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/model/attachment.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr int kMaxAttachTries = 20;
constexpr std::chrono::milliseconds kShortestSettling{400};
constexpr std::chrono::milliseconds kLongestSettling{5000};
// Who has waited that long for a turn goes on without one, and waits for none again in this process.
constexpr std::chrono::seconds kLongestTurn{4};

// The manifest behind a tag.
struct TaggedManifest {
  std::string bytes;  // empty: there is none
  std::string etag;   // empty when the registry has none to compare with
};

TaggedManifest ReadTag(RegistryClient& registry, const std::string& tag, const std::string& what);

// What is added to one repository. Only after Settle does it count as added.
class Attaching {
 public:
  // `registry` outlives this.
  explicit Attaching(RegistryClient& registry) : registry_(registry) {}
  Attaching(const Attaching&) = delete;
  Attaching& operator=(const Attaching&) = delete;

  // Adds one signature to the manifest behind `tag` (SignatureTag, AttestationTag), unless it is there. kFailed when
  // others are always quicker.
  void AppendToTag(const std::string& tag, const Attachment& attachment);

  // Puts a manifest that refers to `subject`. Where the registry does not list referrers by itself, also adds it to the
  // index behind ReferrersTag.
  void PutReferrer(const Digest& subject, const SignatureManifest& referrer);

  // Puts a manifest under a tag or its digest (registry_upload.h). One that has a subject is listed in the same way.
  void PutAndList(const std::string& reference, std::string_view bytes, const Descriptor& manifest,
                  const std::string& what);

  // Waits until nothing that was put behind a tag can be set aside any more. At once when nothing was.
  void Settle();

 private:
  using Change = std::function<std::optional<SignatureManifest>(std::string_view present)>;
  using Clock = std::chrono::steady_clock;

  struct Addition {
    std::string tag;
    std::string what;
    Change change;  // nullopt: it is there
    int tries = 0;
    bool refused = false;                 // by the registry, in the last try, for a condition
    std::optional<Digest> uploaded = {};  // whose blobs are there
    Clock::time_point settled = {};       // when it is looked at again
  };

  void ListBehindTag(const Digest& subject, std::string_view referrer, const std::string& what);
  void Put(Addition addition);
  bool TryPut(Addition& addition);

  RegistryClient& registry_;
  std::vector<Addition> unsettled_;
};

}  // namespace gantry::image
