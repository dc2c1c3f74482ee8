#include "libimage/transport/attach.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <random>
#include <thread>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/stream.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/registry_upload.h"

namespace gantry::image {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kNotFoundStatus = 404;
constexpr std::chrono::milliseconds kTurnPause{10};
// By how much the wait after a put is longer than what it waits for took here.
constexpr int kSettlingFactor = 4;
// A look that took longer than this part of the shortest wait says little about now.
constexpr int kFreshPart = 4;

// Some of those who wait for each other wait longer.
Clock::duration Uneven(Clock::duration least) {
  thread_local std::minstd_rand random(std::random_device{}());
  return least + least * std::uniform_int_distribution(0, 50)(random) / 100;
}

// The turn of one writer among those of this user on this machine (of this network namespace): a name that one socket
// at a time can have, and that is free again when its process ends, however it does. Such a name has no owner, so that
// any other user here can hold it, too, on purpose. Who waits for it in vain goes on without turns, as if the others
// were on another machine.
class Turn {
 public:
  explicit Turn(const std::string& what) : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "gantry-tag-" + std::to_string(geteuid()) + "-" + Digest::Of(what).hex();
    static_assert(sizeof address.sun_path > 90);
    std::copy(name.begin(), name.end(), &address.sun_path[1]);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const Clock::time_point end = Clock::now() + kLongestTurn;
    while (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) < 0 && errno == EADDRINUSE &&
           !waited_in_vain_) {
      std::this_thread::sleep_for(Uneven(kTurnPause));
      if (Clock::now() >= end)
        waited_in_vain_ = true;
    }
  }

 private:
  static inline std::atomic<bool> waited_in_vain_ = false;

  UniqueFd socket_;
};

void PutBlobs(RegistryClient& registry, const std::vector<SignatureManifest::Blob>& blobs, const std::string& what) {
  for (const SignatureManifest::Blob& blob : blobs) {
    BlobUpload upload(registry, what, blob.descriptor.digest.algorithm());
    upload.Write(AsBytes(blob.bytes));
    upload.Finish(blob.descriptor.digest, true);
  }
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

void Attaching::AppendToTag(const std::string& tag, const Attachment& attachment) {
  Put({tag, "signatures at " + Quoted(registry_.repository() + ":" + tag),
       [attachment](std::string_view present) { return WithSignature(present, attachment); }});
}

void Attaching::PutReferrer(const Digest& subject, const SignatureManifest& referrer) {
  const std::string what = "referrer of " + Quoted(registry_.repository() + "@" + subject.str());
  PutBlobs(registry_, referrer.blobs, what);
  PutAndList(referrer.descriptor.digest.str(), referrer.bytes, referrer.descriptor, what);
}

void Attaching::PutAndList(const std::string& reference, std::string_view bytes, const Descriptor& manifest,
                           const std::string& what) {
  const std::optional<Referrer> referrer = ReferrerOf(bytes, manifest);
  const bool listed = PutManifest(registry_, reference, bytes, manifest, what) == PutResult::kListed;
  if (referrer && !listed)
    ListBehindTag(referrer->subject, bytes, what);
}

void Attaching::ListBehindTag(const Digest& subject, std::string_view referrer, const std::string& what) {
  Put({ReferrersTag(subject), what,
       [referrer = std::string(referrer)](std::string_view present) -> std::optional<SignatureManifest> {
         std::optional<std::string> index = WithReferrer(present, referrer);
         if (!index)
           return std::nullopt;
         const Descriptor descriptor{
             .media_type = std::string(kOciIndexType), .digest = Digest::Of(*index), .size = index->size()};
         return SignatureManifest{descriptor, *std::move(index), {}};
       }});
}

// False when somebody else changed the tag meanwhile.
bool Attaching::TryPut(Addition& addition) {
  const std::string& tag = addition.tag;
  const std::string& what = addition.what;
  const bool was_refused = std::exchange(addition.refused, false);
  const Turn turn(registry_.repository() + ":" + tag);
  const TaggedManifest present = ReadTag(registry_, tag, what);
  const std::optional<SignatureManifest> next = addition.change(present.bytes);
  if (!next)
    return true;
  if (addition.uploaded != next->descriptor.digest)
    PutBlobs(registry_, next->blobs, what);
  addition.uploaded = next->descriptor.digest;
  const Clock::time_point start = Clock::now();
  if (ReadTag(registry_, tag, what).bytes != present.bytes)
    return false;
  // Once: a machine that stood still goes on, a slow registry is slow for ever.
  if (Clock::now() - start > kShortestSettling / kFreshPart && addition.tries < 2)
    return false;
  // A registry whose condition fails although nothing has moved means something else by it.
  const std::string matches = present.etag.empty() ? "" : "If-Match: " + present.etag;
  const std::string condition = present.bytes.empty() ? "If-None-Match: *" : matches;
  const PutResult result =
      PutManifest(registry_, tag, next->bytes, next->descriptor, what, was_refused ? "" : condition);
  const Clock::duration took = Clock::now() - start;
  addition.settled =
      Clock::now() + Uneven(std::clamp<Clock::duration>(kSettlingFactor * took, kShortestSettling, kLongestSettling));
  addition.refused = result == PutResult::kConditionFailed;
  return !addition.refused;
}

void Attaching::Put(Addition addition) {
  do {
    if (++addition.tries > kMaxAttachTries)
      throw Error(ErrorKind::kFailed, addition.what + ": others change the tag faster than it can be added to",
                  "try again");
  } while (!TryPut(addition));
  if (addition.settled != Clock::time_point())
    unsettled_.push_back(std::move(addition));
}

void Attaching::Settle() {
  while (!unsettled_.empty()) {
    std::vector<Addition> looked_at = std::exchange(unsettled_, {});
    for (Addition& addition : looked_at) {
      std::this_thread::sleep_until(addition.settled);
      addition.settled = {};
      if (addition.change(ReadTag(registry_, addition.tag, addition.what).bytes))
        Put(std::move(addition));
    }
  }
}

}  // namespace gantry::image
