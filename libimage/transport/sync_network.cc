// The half of a sync that has the network.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/find_signatures.h"
#include "libimage/transport/referrers.h"
#include "libimage/transport/registry_upload.h"
#include "libimage/transport/sync_parts.h"
#include "libimage/transport/sync_protocol.h"

namespace gantry::image {
namespace {

using namespace sync;

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, "the other process of this sync does not keep to its protocol");
}

const std::string& Field(const Message& message, size_t index) {
  if (index >= message.fields.size())
    ThrowBroken();
  return message.fields[index];
}

Descriptor ParseDescriptorText(const std::string& text) {
  const json::Value value = json::Parse(text, "descriptor");
  return Descriptor::Parse(json::Cursor(value, "descriptor"));
}

// One image, over the socket of its job.
class CopyJob {
 public:
  CopyJob(SyncShared& shared, int channel, const Message& job) : shared_(shared), channel_(channel) {
    const auto origin = ParseDecimal<size_t>(Field(job, 0));
    if (!origin || *origin >= shared.plan().origins.size())
      ThrowBroken();
    origin_ = *origin;
    from_ = shared.plan().origins[origin_].name;
    from_.tag = Field(job, 1);
    if (!Field(job, 2).empty())
      from_.digest = Digest::Parse(Field(job, 2));
    to_ = Below(Field(job, 3), Field(job, 4));
    for (size_t begin = 0; begin < Field(job, 5).size();) {
      const size_t end = std::min(job.fields[5].find(',', begin), job.fields[5].size());
      platforms_.push_back(Platform::Parse(job.fields[5].substr(begin, end - begin)));
      begin = end + 1;
    }
    referrers_ = !Field(job, 6).empty();
    dry_run_ = !Field(job, 7).empty();
  }

  void Run() {
    into_http_ = shared_.ClientInto();
    into_ = shared_.Open(*into_http_, to_, shared_.to_credentials(), "pull,push");
    const std::optional<Digest> present = platforms_.empty() ? Present() : std::nullopt;
    FindSource(present);
    if (present && head_ == present)
      return Finish();
    if (dry_run_)
      return Answer(kWould, (head_ ? *head_ : tree_.top.digest).str());
    Offer();
    if (Decided())
      CopyAll();
  }

 private:
  DockerReference Below(const std::string& path, const std::string& tag) const {
    const DockerReference& above = shared_.plan().destination;
    if (!above.path.empty() && path != above.path && !path.starts_with(above.path + "/"))
      ThrowBroken();
    return DockerReference::Parse(above.host + "/" + path + (tag.empty() ? "" : ":" + tag));
  }

  // By its digest where it has one and no tag.
  std::string Reference() const {
    return to_.tag.empty() && from_.digest ? from_.digest->str() : to_.WithDefaultTag().tag;
  }

  const SyncOrigin& Origin() const { return shared_.plan().origins[origin_]; }

  // The first source that has the image, and its documents unless they are not needed: what goes wrong at one is told
  // only when all fail.
  void FindSource(const std::optional<Digest>& present) {
    const size_t count = Origin().sources.size();
    std::string passed_over;
    for (size_t i = 0; i < count; ++i) {
      try {
        FindAt(i, present);
        if (!head_ || !(dry_run_ || head_ == present))
          tree_ = FetchTreeDocuments(*registry_, at_->name, platforms_, documents_);
        return;
      } catch (const Error& error) {
        if (i + 1 == count)
          throw passed_over.empty()
              ? error
              : Error(error.kind(), error.message() + " (before that: " + passed_over + ")", error.hint());
        passed_over += (passed_over.empty() ? "" : "; ") + error.message();
      }
    }
  }

  void FindAt(size_t number, const std::optional<Digest>& present) {
    const FetchSource& source = Origin().sources[number];
    // What the image is called there, for this tag or digest.
    at_ = source;
    at_->name.tag = from_.tag;
    at_->name.digest = from_.digest;
    registry_.reset();
    from_http_ = shared_.ClientFrom(source);
    registry_ = shared_.Open(*from_http_, source.name, shared_.CredentialsOf(origin_, number), "pull");
    documents_ = {};
    head_ = from_.digest;
    // Where there is nothing to compare with, the manifest itself is asked for.
    if (!head_ && (present || dry_run_))
      head_ = registry_->HeadManifest(at_->name, present);
  }

  // What the name leads to at the destination.
  std::optional<Digest> Present() {
    if (shared_.IsNew(to_))
      return std::nullopt;
    DockerReference there = to_;
    if (Reference().find(':') != std::string::npos)
      there.digest = from_.digest;
    const std::optional<Digest> present = into_->HeadManifest(there);
    if (!present)
      shared_.LearnWhetherNew(to_, *into_);
    return present;
  }

  void Finish() {
    uint64_t referrers = 0;
    if (referrers_ && !dry_run_) {
      PartsCopy copy(shared_, *at_, *registry_, to_, *into_);
      referrers = CopyReferrersOf({*head_}, copy);
      copy.Settle();
    }
    Answer(kSame, head_->str(), 0, 0, referrers);
  }

  void Answer(char kind, const std::string& digest, uint64_t blobs = 0, uint64_t bytes = 0,
              uint64_t referrers = 0) const {
    SendMessage(channel_, {kind, {digest, std::to_string(blobs), std::to_string(bytes), std::to_string(referrers)}});
  }

  void Offer() const {
    for (const auto& [digest, bytes] : documents_.documents())
      SendMessage(channel_, {kDocument, {digest.str(), bytes}});
    SendMessage(channel_, {kTop, {json::Print(tree_.top.ToJson())}});
  }

  // Answers until all is said that is to be copied; false for a refusal, which is the end of the stream.
  bool Decided() {
    while (const std::optional<Message> message = ReceiveMessage(channel_, kBounds)) {
      switch (message->kind) {
        case kAsk:
          Tell(LookAside(*shared_.ClientAside(Origin().sources.back().http), Origin().lookasides,
                         [&, manifest = Digest::Parse(Field(*message, 0))](const std::string& base, size_t n) {
                           return shared_.plan().signature_url(base, from_, manifest, n);
                         }));
          break;
        case kLook:
          Tell(FindAttachments(*registry_, at_->name, Digest::Parse(Field(*message, 0))));
          break;
        case kBlob:
          wanted_.blobs.push_back(ParseDescriptorText(Field(*message, 0)));
          break;
        case kManifest:
          wanted_.manifests.push_back({ParseDescriptorText(Field(*message, 0)), Field(*message, 1)});
          break;
        case kEnd:
          return true;
        default:
          ThrowBroken();
      }
    }
    return false;
  }
  void Tell(FoundSignatures found) const { SendMessage(channel_, {kFound, ToFields(std::move(found))}); }

  void CopyAll() {
    if (wanted_.manifests.empty())
      ThrowBroken();
    const Descriptor top = wanted_.manifests.back().descriptor;
    PartsCopy copy(shared_, *at_, *registry_, to_, *into_);
    const bool same = !platforms_.empty() && !shared_.IsNew(to_) &&
                      HasManifest(*into_, Reference(), top.digest, "manifest of " + Quoted(to_.ToString()));
    std::vector<Digest> subjects;
    if (!same)
      copy.CopyBlobs(wanted_.blobs, documents_);
    for (const SyncCopy::Document& manifest : wanted_.manifests) {
      subjects.push_back(manifest.descriptor.digest);
      if (!same)
        copy.Put(manifest.descriptor, manifest.bytes, &manifest == &wanted_.manifests.back() ? Reference() : "");
    }
    const uint64_t referrers = referrers_ ? CopyReferrersOf(subjects, copy) : 0;
    copy.Settle();
    Answer(same ? kSame : kDone, top.digest.str(), copy.blobs(), copy.bytes(), referrers);
  }

  // What refers to `subjects`, and to that.
  uint64_t CopyReferrersOf(std::vector<Digest> subjects, PartsCopy& copy) {
    std::set<Digest> done;
    WalkReferrers(*registry_, at_->name, std::move(subjects),
                  [&](const DockerReference& name, const Digest& subject, const std::string& tag) {
                    return CopyReferrer(name, subject, tag, copy, done);
                  });
    return done.size();
  }

  std::optional<Digest> CopyReferrer(const DockerReference& name, const Digest& subject, const std::string& tag,
                                     PartsCopy& copy, std::set<Digest>& done) {
    MemoryKeeper documents;
    FetchedTree tree = FetchTreeDocuments(*registry_, name, {}, documents);
    const std::string& bytes = documents.documents().at(tree.top.digest);
    const std::optional<Referrer> referrer = ReferrerOf(bytes, tree.top);
    if (tag.empty() && (!referrer || referrer->subject != subject))
      return std::nullopt;
    if (!done.insert(tree.top.digest).second && tag.empty())
      return std::nullopt;
    for (const auto& [digest, document] : documents.documents()) {
      const bool manifest = std::any_of(tree.manifests.begin(), tree.manifests.end(),
                                        [&, d = digest](const Descriptor& one) { return one.digest == d; });
      if (!manifest)
        tree.blobs.push_back({.media_type = {}, .digest = digest, .size = document.size()});
    }
    copy.CopyBlobs(tree.blobs, documents);
    for (auto at = tree.manifests.rbegin(); at != tree.manifests.rend(); ++at)
      copy.Put(*at, documents.documents().at(at->digest), at->digest == tree.top.digest ? tag : "");
    return tree.top.digest;
  }

  SyncShared& shared_;
  const int channel_;
  size_t origin_ = 0;
  DockerReference from_, to_;
  std::vector<Platform> platforms_;
  bool referrers_ = false, dry_run_ = false;

  std::optional<FetchSource> at_;
  HttpClients::Taken from_http_, into_http_;
  std::unique_ptr<RegistryClient> registry_, into_;
  std::optional<Digest> head_;
  MemoryKeeper documents_;
  FetchedTree tree_{{.media_type = {}, .digest = Digest::Of(""), .size = 0}, {}, {}};
  SyncCopy wanted_;
};

// Threads that take jobs.
class Pool {
 public:
  Pool(const SyncPlan& plan, SyncShared& shared) : shared_(shared) {
    for (size_t i = 0; i < plan.jobs; ++i) threads_.emplace_back([this] { Work(); });
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    waiting_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Add(UniqueFd socket) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(socket));
    waiting_.notify_one();
  }

 private:
  std::optional<UniqueFd> Take() {
    std::unique_lock lock(mutex_);
    waiting_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (jobs_.empty())
      return std::nullopt;
    UniqueFd job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

  void Work() {
    while (const std::optional<UniqueFd> socket = Take()) ReportErrors(socket->get(), [&] { Serve(socket->get()); });
  }

  void Serve(int socket) {
    const std::optional<Message> job = ReceiveMessage(socket, kBounds);
    if (!job)
      return;
    if (job->kind == kCopy)
      return CopyJob(shared_, socket, *job).Run();
    if (job->kind != kTags)
      ThrowBroken();
    SendTags(socket, *job);
  }

  void SendTags(int socket, const Message& job) {
    const auto origin = ParseDecimal<size_t>(Field(job, 0));
    if (!origin || *origin >= shared_.plan().origins.size())
      ThrowBroken();
    // Of the registry itself, which comes last: a mirror may have a part of them.
    const std::vector<FetchSource>& sources = shared_.plan().origins[*origin].sources;
    const FetchSource& source = sources.back();
    const HttpClients::Taken http = shared_.ClientFrom(source);
    const auto registry = shared_.Open(*http, source.name, shared_.CredentialsOf(*origin, sources.size() - 1), "pull");
    const std::vector<std::string> tags = registry->ListTags();
    for (size_t at = 0; at < tags.size(); at += kTagsOfAMessage) {
      const auto first = tags.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end = tags.begin() + static_cast<std::ptrdiff_t>(std::min(tags.size(), at + kTagsOfAMessage));
      SendMessage(socket, {kTags, {first, end}});
    }
    SendMessage(socket, {kEnd, {}});
  }

  SyncShared& shared_;
  std::mutex mutex_;
  std::condition_variable waiting_;
  std::deque<UniqueFd> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

int ServeSync(const SyncPlan& plan, int channel) {
  return ReportErrors(channel, [&] {
    SyncShared shared(plan);
    plan.confine();
    Pool pool(plan, shared);
    while (const std::optional<Message> message = ReceiveMessage(channel, kBounds)) {
      if (message->kind != kJob)
        ThrowBroken();
      pool.Add(ReceiveDescriptor(channel, kBounds.who));
    }
  });
}

}  // namespace gantry::image
