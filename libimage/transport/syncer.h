// Many images from registries into one, in two processes: one has the network, the other decides.
//
// The bytes of layers go from registry to registry through the process with the network, checked on their way, and
// touch no disk. The other process gets the documents of each image, checks them, asks the policy, and says which blobs
// and manifests are to be copied. Neither has files. Whichever process dies takes the other along, as with Fetcher.
//
//   Syncer syncer = Syncer::Start(plan);                  // before the first thread
//   SyncJob job = syncer.Copy(0, from, to, {...});        // several at a time, each over a socket of its own
//   while (!job.Step(decide)) poll(job.fd());             // decide: documents -> what to copy, or an Error
//   job.result()
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/model/blobs.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/fetcher.h"

namespace gantry::image {

constexpr size_t kMaxSyncJobs = 32;  // at a time; each has two connections

// A repository that images come from.
struct SyncOrigin {
  DockerReference name;
  std::vector<FetchSource> sources;                       // FetchPlan has more on them
  std::optional<Credentials> credentials = std::nullopt;  // in place of those of the auth files
  std::vector<std::string> lookasides = {};
};

struct SyncPlan {
  std::vector<SyncOrigin> origins;
  DockerReference destination;  // images go below it; its path may be empty
  HttpOptions http;             // for the destination
  size_t jobs = 8;              // at a time, at most kMaxSyncJobs
  std::function<std::string(const std::string& lookaside, const DockerReference& name, const Digest& manifest,
                            size_t n)>
      signature_url;
  std::function<void()> confine;  // run in the process with the network before its first byte comes
};

// What is to be done with one image.
struct SyncSelection {
  std::vector<Platform> platforms = {};  // none: all that the name leads to
  bool referrers = false;                // what refers to it, too
  bool dry_run = false;                  // compare only
};

// What is to be copied of one image.
struct SyncCopy {
  struct Document {
    Descriptor descriptor;
    std::string bytes;
  };
  std::vector<Descriptor> blobs;
  std::vector<Document> manifests;  // an index after what it lists; the last gets the name
};

enum class SyncState { kCopied, kSame, kWouldCopy };

struct SyncResult {
  SyncState state = SyncState::kCopied;
  std::string digest = {};  // of what has the name now, or would have
  uint64_t blobs = 0;       // that were sent
  uint64_t bytes = 0;
  uint64_t referrers = 0;
};

// The documents of one image, and what speaks for it.
class SyncOffer : public Blobs {
 public:
  explicit SyncOffer(int channel) : channel_(channel) {}

  const Descriptor& top() const { return top_.value(); }
  // The documents; anything else is empty, for it is not here.
  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;
  // As Fetcher has them.
  FoundSignatures FindSignatures(const Digest& manifest) const;
  FoundSignatures FetchAttachments(const Digest& manifest) const;

 private:
  friend class SyncJob;
  int channel_;
  std::optional<Descriptor> top_;
  std::map<Digest, std::string> documents_;
  uint64_t bytes_ = 0;
};

class SyncJob {
 public:
  using Decide = std::function<SyncCopy(const SyncOffer&)>;

  explicit SyncJob(UniqueFd channel) : channel_(std::move(channel)), offer_(channel_.get()) {}

  int fd() const { return channel_.get(); }
  // Takes one message, which has begun to come; true when the job is done. Throws the Error of the other process, or of
  // `decide`; the job is over then.
  bool Step(const Decide& decide);
  const SyncResult& result() const { return result_; }

 private:
  void Answer(const SyncCopy& copy) const;

  UniqueFd channel_;
  SyncOffer offer_;
  SyncResult result_;
};

class Syncer {
 public:
  // For single-threaded callers.
  static Syncer Start(const SyncPlan& plan);

  // All tags of an origin, by its number.
  std::vector<std::string> ListTags(size_t origin);

  // `from` is an image of the origin; `to` is below the destination.
  SyncJob Copy(size_t origin, const DockerReference& from, const DockerReference& to, const SyncSelection& selection);

 private:
  Syncer(UniqueFd channel, Process process) : channel_(std::move(channel)), process_(std::move(process)) {}
  UniqueFd Begin();

  UniqueFd channel_;
  Process process_;
};

// The half with the network, over the socket `channel`, until the other half is done. Returns the exit code.
int ServeSync(const SyncPlan& plan, int channel);

}  // namespace gantry::image
