// A push in two processes: one has the network, the other has the image.
//
// The process that reads the image, applies the policy and converts has no network; the one that talks to the registry
// gets bytes and digests over a socket, can read nothing but what it is given there, and never sees a policy. A blob
// that lies in a file is given as the file, to be read only: all of it is visible there, what surrounds the blob, too.
// All it can do with that is to put it into the one repository that it was started for. Whichever process dies takes
// the other along, as with Fetcher.
//
//   Pusher pusher = Pusher::Start(plan);          // before the first thread
//   if (pusher.Has(manifest)) ...                 // one request: nothing to do
//   std::unique_ptr<ImageSink> sink = MakeRegistrySink(pusher);
//   Conversion::Copy(verified, blobs, *sink, options); sink->Name(top, tag); sink->Commit();
//
// Each blob has a socket of its own, so that several are on their way at once and each is slowed down by its own upload
// alone. A blob that is there already is not asked for; one whose digest comes out at its end streams all the same.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/model/attachment.h"
#include "libimage/model/image_sink.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/http.h"

namespace gantry::image {

constexpr size_t kMaxUploads = 6;  // blobs on their way at once; each has a chunk in memory

struct PushPlan {
  DockerReference name;  // the repository; its tag and its digest, and tags made of digests, are all that manifests may
                         // be put under
  // Repositories below it count, too (Pusher::Target); the path of `name` may be empty then.
  bool below = false;
  HttpOptions http;
  // Run in the process with the network before the first byte comes from it.
  std::function<void()> confine;
};

// The half with the network, over the socket `channel`, until the other half is done. Returns the exit code.
int ServePush(const PushPlan& plan, int channel);

class Pusher {
 public:
  // Forks that half. For single-threaded callers.
  static Pusher Start(const PushPlan& plan);
  // That half is another program at the other end of `channel`, which knows the repository.
  Pusher(UniqueFd channel, Process process) : channel_(std::move(channel)), process_(std::move(process)) {}
  Pusher(Pusher&& other) noexcept : channel_(std::move(other.channel_)), process_(std::move(other.process_)) {}

  // For a plan of what is below a name: what follows is for this one of its repositories, and this tag. All blobs
  // before it have been finished.
  void Target(const DockerReference& name);

  // Whether the name leads to this manifest already; kUsage when it has the digest of another.
  bool Has(const Digest& manifest);

  // A repository of the same registry that may have the same blobs: the registry is asked to take them from there.
  void MountFrom(const std::string& path);

  // A socket for one blob. An empty `digest` is one that comes out at the end; one that is known may lie in a file.
  // Thread-safe.
  UniqueFd OpenBlob(const std::string& digest, const std::string& what,
                    std::optional<uint64_t> size_in_file = std::nullopt);

  // Puts a manifest, under its digest or, with `by_name`, under the name.
  // One that has a subject is listed among its referrers (referrers.h).
  void PutManifest(const Descriptor& manifest, const std::string& bytes, bool by_name);
  // Puts it under a tag that is made of a digest (DigestTags), as signatures are; the other half takes no other.
  void PutUnderTag(const Descriptor& manifest, const std::string& bytes, const std::string& tag);

  // Signatures of `subject` into the repository (attach.h): behind the tag of signatures or of attestations, or as a
  // manifest that refers to it. Each returns the place, for people; Settle comes after them, and after manifests that
  // have a subject.
  enum class SignatureTagKind { kSignatures, kAttestations };
  std::string AppendToTag(const Digest& subject, SignatureTagKind kind, const Attachment& attachment);
  std::string PutReferrer(const Digest& subject, const SignatureManifest& referrer);
  void Settle();

 private:
  void Send(const Message& message);
  Message Receive();
  bool Answer();

  std::mutex mutex_;  // for what is sent
  UniqueFd channel_;
  Process process_;
};

// Takes images of any form. Name lists what was added last under the name that the pusher was started for, or under
// `ref` where that is a tag made of a digest. What was pushed before a failure stays in the registry, but no name leads
// to it.
std::unique_ptr<ImageSink> MakeRegistrySink(Pusher& pusher);

}  // namespace gantry::image
