#include "libimage/transport/attach.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <thread>

#include "libimage/base/error.h"
#include "libimage/base/stream.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/registry_upload.h"

namespace gantry::image {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kNotFoundStatus = 404;
constexpr std::chrono::milliseconds kShortestPause{20};
constexpr std::chrono::milliseconds kLongestPause{2000};

void PutBlobs(RegistryClient& registry, const std::vector<SignatureManifest::Blob>& blobs, const std::string& what) {
  for (const SignatureManifest::Blob& blob : blobs) {
    BlobUpload upload(registry, what, blob.descriptor.digest.algorithm());
    upload.Write(AsBytes(blob.bytes));
    upload.Finish(blob.descriptor.digest, true);
  }
}

// Some of those who wait for each other wait longer.
void Pause(Clock::duration round) {
  thread_local std::minstd_rand random(std::random_device{}());
  const auto least = std::clamp<Clock::duration>(3 * round, kShortestPause, kLongestPause);
  std::this_thread::sleep_for(least + least * std::uniform_int_distribution(0, 100)(random) / 100);
}

using Change = std::function<std::optional<SignatureManifest>(std::string_view present)>;

// Until `change` finds nothing to do.
void UpdateTag(RegistryClient& registry, const std::string& tag, const std::string& what, const Change& change) {
  for (int tries = 0; tries < kMaxAttachTries; ++tries) {
    const TaggedManifest present = ReadTag(registry, tag, what);
    const std::optional<SignatureManifest> next = change(present.bytes);
    if (!next)
      return;
    PutBlobs(registry, next->blobs, what);
    const Clock::time_point start = Clock::now();
    if (ReadTag(registry, tag, what).bytes == present.bytes) {
      // A registry whose condition fails although nothing has moved means something else by it.
      const std::string matches = present.etag.empty() ? "" : "If-Match: " + present.etag;
      const std::string condition = present.bytes.empty() ? "If-None-Match: *" : matches;
      PutManifest(registry, tag, next->bytes, next->descriptor, what, tries % 2 == 0 ? condition : "");
    }
    Pause(Clock::now() - start);
  }
  throw Error(ErrorKind::kFailed, what + ": others change the tag faster than it can be added to", "try again");
}

}  // namespace

TaggedManifest ReadTag(RegistryClient& registry, const std::string& tag, const std::string& what) {
  HttpRequest request = registry.RequestFor("manifests/" + tag, what);
  request.headers = {AcceptedManifests()};
  request.max_body_bytes = kMaxManifestBytes;
  HttpResponse response = registry.Send(std::move(request));
  if (response.status == kNotFoundStatus)
    return {};
  if (!response.ok())
    registry.ThrowStatus(response, what);
  const std::string_view etag = response.Header("etag");
  return {std::move(response.body), etag.starts_with('"') ? std::string(etag) : ""};
}

void AppendToTag(RegistryClient& registry, const DockerReference& name, const std::string& tag,
                 const Attachment& attachment) {
  UpdateTag(registry, tag, "signatures at " + Quoted(name.Repository() + ":" + tag),
            [&](std::string_view present) { return WithSignature(present, attachment); });
}

void PutReferrer(RegistryClient& registry, const DockerReference& name, const Digest& subject,
                 const SignatureManifest& referrer) {
  const std::string what = "referrer of " + Quoted(name.Repository() + "@" + subject.str());
  PutBlobs(registry, referrer.blobs, what);
  const std::string digest = referrer.descriptor.digest.str();
  if (PutManifest(registry, digest, referrer.bytes, referrer.descriptor, what) != PutResult::kListed)
    ListBehindTag(registry, subject, referrer.bytes, what);
}

void ListBehindTag(RegistryClient& registry, const Digest& subject, std::string_view referrer,
                   const std::string& what) {
  UpdateTag(registry, ReferrersTag(subject), what, [&](std::string_view present) -> std::optional<SignatureManifest> {
    std::optional<std::string> index = WithReferrer(present, referrer);
    if (!index)
      return std::nullopt;
    const Descriptor descriptor{
        .media_type = std::string(kOciIndexType), .digest = Digest::Of(*index), .size = index->size()};
    return SignatureManifest{descriptor, *std::move(index), {}};
  });
}

}  // namespace gantry::image
