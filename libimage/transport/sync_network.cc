// The half of a sync that has the network.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <semaphore>
#include <set>
#include <thread>
#include <tuple>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/base/workers.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/attach.h"
#include "libimage/transport/fetch_tree.h"
#include "libimage/transport/find_signatures.h"
#include "libimage/transport/pusher.h"
#include "libimage/transport/referrers.h"
#include "libimage/transport/registry_upload.h"
#include "libimage/transport/sync_protocol.h"
#include "libimage/transport/syncer.h"

namespace gantry::image {
namespace {

using namespace sync;

constexpr size_t kBlobsAtOnce = 3;  // of one image
// An image that is smaller gains nothing by more threads.
constexpr uint64_t kWorthThreads = 4 * 1024 * 1024;
constexpr uint64_t kLargeBlob = 1024 * 1024;

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

class MemoryKeeper : public DocumentKeeper {
 public:
  void Expect(const Digest&) override {}
  bool Has(const Digest& digest) const override { return documents_.contains(digest); }
  std::string Read(const Digest& digest, size_t) const override { return documents_.at(digest); }
  void Keep(const Digest& digest, const std::string& bytes) override { documents_.emplace(digest, bytes); }
  const std::map<Digest, std::string>& documents() const { return documents_; }

 private:
  std::map<Digest, std::string> documents_;
};

// The HTTP clients of one thread, which keep their connections from job to job.
class ClientsOfThread {
 public:
  // One host may be trusted without certificates for some of its repositories, and for those alone (registries.conf).
  HttpClient& For(const std::string& host, const HttpOptions& options) {
    auto& client = clients_[{host, options.verify_tls, options.allow_http}];
    if (!client)
      client = std::make_unique<HttpClient>(options);
    return *client;
  }

 private:
  std::map<std::tuple<std::string, bool, bool>, std::unique_ptr<HttpClient>> clients_;
};

// Runs at the end of a scope.
class Deferred {
 public:
  explicit Deferred(std::function<void()> work) : work_(std::move(work)) {}
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() { work_(); }

 private:
  std::function<void()> work_;
};

// What all jobs know: who may ask what, and which blobs are at the destination already.
class Shared {
 public:
  explicit Shared(const SyncPlan& plan) : plan_(plan) {
    for (const SyncOrigin& origin : plan.origins) {
      auto& of_origin = credentials_.emplace_back();
      for (const FetchSource& source : origin.sources) {
        const bool own = origin.credentials && source.name.host == origin.name.host;
        of_origin.push_back(own ? origin.credentials : FindCredentials(source.name));
      }
    }
    to_credentials_ = FindCredentials(plan.destination);
  }

  const SyncPlan& plan() const { return plan_; }

  // A client for `name`, with the tokens that others had for its repository.
  std::unique_ptr<RegistryClient> Open(HttpClient& http, const DockerReference& name,
                                       const std::optional<Credentials>& credentials, std::string_view actions) {
    const std::lock_guard lock(mutex_);
    auto& known = clients_[name.Repository() + " " + std::string(actions)];
    if (!known)
      known = std::make_unique<RegistryClient>(http, name, credentials, actions);
    return std::make_unique<RegistryClient>(http, *known);
  }
  const std::optional<Credentials>& CredentialsOf(size_t origin, size_t source) const {
    return credentials_[origin][source];
  }
  const std::optional<Credentials>& to_credentials() const { return to_credentials_; }

  // One job at a time sends a blob: who waited finds it there, and registries do not bear well the same one twice at
  // once.
  void BeginBlob(const Digest& blob) {
    std::unique_lock lock(mutex_);
    blob_ended_.wait(lock, [&] { return !blobs_on_their_way_.contains(blob); });
    blobs_on_their_way_.insert(blob);
  }
  void EndBlob(const Digest& blob) {
    const std::lock_guard lock(mutex_);
    blobs_on_their_way_.erase(blob);
    blob_ended_.notify_all();
  }

  // How many uploads may have a whole chunk in memory.
  std::counting_semaphore<kMaxUploads>& large_uploads() { return large_uploads_; }

  // A repository of the destination that has the blob; empty when none is known.
  std::string RepositoryWith(const Digest& blob) const {
    const std::lock_guard lock(mutex_);
    const auto found = there_.find(blob);
    return found == there_.end() ? std::string() : found->second;
  }
  bool IsThere(const std::string& path, const Digest& blob) const {
    const std::lock_guard lock(mutex_);
    return all_there_.contains({path, blob});
  }
  void SetThere(const std::string& path, const Digest& blob) {
    const std::lock_guard lock(mutex_);
    there_.emplace(blob, path);
    all_there_.emplace(path, blob);
  }

 private:
  const SyncPlan& plan_;
  std::vector<std::vector<std::optional<Credentials>>> credentials_;
  std::optional<Credentials> to_credentials_;
  std::counting_semaphore<kMaxUploads> large_uploads_{kMaxUploads};
  mutable std::mutex mutex_;
  std::condition_variable blob_ended_;
  std::set<Digest> blobs_on_their_way_;
  std::map<std::string, std::unique_ptr<RegistryClient>> clients_;
  std::map<Digest, std::string> there_;
  std::set<std::pair<std::string, Digest>> all_there_;
};

// The copying of one image's parts into one repository.
class PartsCopy {
 public:
  PartsCopy(Shared& shared, const FetchSource& source, const RegistryClient& from, const DockerReference& to,
            RegistryClient& into)
      : shared_(shared), source_(source), from_(from), to_(to), into_(into), attaching_(into) {}

  void CopyBlobs(const std::vector<Descriptor>& blobs, const MemoryKeeper& keeper) {
    std::vector<Descriptor> wanted;
    std::set<Digest> seen;
    uint64_t bytes = 0;
    for (const Descriptor& blob : blobs) {
      // Foreign layers stay where their manifest says that they are.
      if ((IsForeignLayer(blob.media_type) && !blob.urls.empty()) || !seen.insert(blob.digest).second)
        continue;
      wanted.push_back(blob);
      bytes += blob.size;
    }
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const Descriptor& a, const Descriptor& b) { return a.size > b.size; });
    if (bytes < kWorthThreads) {
      for (const Descriptor& blob : wanted) CopyBlob(blob, keeper, from_.http(), into_.http());
      return;
    }
    RunParallel(wanted.size(), kBlobsAtOnce, [&](size_t i) {
      HttpClient from(source_.http);
      HttpClient into(shared_.plan().http);
      CopyBlob(wanted[i], keeper, from, into);
    });
  }

  void Put(const Descriptor& manifest, const std::string& bytes, const std::string& under) {
    attaching_.PutAndList(under.empty() ? manifest.digest.str() : under, bytes, manifest,
                          "manifest of " + Quoted(to_.ToString()));
  }
  void Settle() { attaching_.Settle(); }

  uint64_t blobs() const { return blobs_; }
  uint64_t bytes() const { return bytes_; }

 private:
  void CopyBlob(const Descriptor& blob, const MemoryKeeper& keeper, HttpClient& from_http, HttpClient& into_http) {
    shared_.BeginBlob(blob.digest);
    const Deferred end([&] { shared_.EndBlob(blob.digest); });
    if (shared_.IsThere(to_.path, blob.digest))
      return;
    const std::string what = "blob " + blob.digest.hex().substr(0, 12) + " of " + Quoted(to_.ToString());
    RegistryClient into(into_http, into_);
    const std::string elsewhere = PlaceToMountFrom(blob.digest);
    // Who lacks the manifest lacks its configuration, too; and where the image comes from the same registry, a mount
    // finds out.
    const bool asked = !keeper.Has(blob.digest) && (elsewhere.empty() || elsewhere != source_.name.path);
    const bool there = asked && HasBlob(into, blob.digest, what);
    if (!there && (elsewhere.empty() || !Mount(into, blob.digest, elsewhere, what)))
      Send(blob, keeper, from_http, into, what);
    shared_.SetThere(to_.path, blob.digest);
  }

  // In the registry that the image goes to; a repository that the image came from is sure to have the blob.
  std::string PlaceToMountFrom(const Digest& blob) const {
    if (source_.name.host == to_.host)
      return source_.name.path;
    return shared_.RepositoryWith(blob);
  }

  // A registry that will not hear of the other repository gets the bytes.
  bool Mount(RegistryClient& into, const Digest& blob, const std::string& path, const std::string& what) {
    if (path == to_.path)
      return false;
    try {
      into.MayAlsoPull(path, true);
      BlobUpload upload(into, what, blob.algorithm());
      return upload.Mount(blob, path);
    } catch (const Error&) {
      into.MayAlsoPull(path, false);
      return false;
    }
  }

  void Send(const Descriptor& blob, const MemoryKeeper& keeper, HttpClient& from_http, RegistryClient& into,
            const std::string& what) {
    const bool large = blob.size >= kLargeBlob;
    if (large)
      shared_.large_uploads().acquire();
    const Deferred release([&] {
      if (large)
        shared_.large_uploads().release();
    });
    BlobUpload upload(into, what, blob.digest.algorithm());
    if (keeper.Has(blob.digest)) {
      upload.Write(AsBytes(keeper.documents().at(blob.digest)));
    } else {
      RegistryClient from(from_http, from_);
      from.ReadBlob(blob, what, [&](std::span<const std::byte> bytes) { upload.Write(bytes); });
    }
    upload.Finish(blob.digest, false);
    ++blobs_;
    bytes_ += blob.size;
  }

  Shared& shared_;
  const FetchSource& source_;
  const RegistryClient& from_;
  const DockerReference& to_;
  RegistryClient& into_;
  Attaching attaching_;
  std::atomic<uint64_t> blobs_ = 0;
  std::atomic<uint64_t> bytes_ = 0;
};

// One image, over the socket of its job.
class CopyJob {
 public:
  CopyJob(Shared& shared, ClientsOfThread& clients, int channel, const Message& job)
      : shared_(shared), clients_(clients), channel_(channel) {
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
    into_ =
        shared_.Open(clients_.For("to " + to_.host, shared_.plan().http), to_, shared_.to_credentials(), "pull,push");
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
        FindAt(i);
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

  void FindAt(size_t number) {
    const FetchSource& source = Origin().sources[number];
    // What the image is called there, for this tag or digest.
    at_ = source;
    at_->name.tag = from_.tag;
    at_->name.digest = from_.digest;
    registry_ = shared_.Open(clients_.For("from " + source.name.host, source.http), source.name,
                             shared_.CredentialsOf(origin_, number), "pull");
    head_ = from_.digest ? from_.digest : registry_->HeadManifest(at_->name);
    documents_ = {};
  }

  // What the name leads to at the destination.
  std::optional<Digest> Present() {
    DockerReference there = to_;
    if (Reference().find(':') != std::string::npos)
      there.digest = from_.digest;
    return into_->HeadManifest(there);
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
          Tell(LookAside(clients_.For("aside", Origin().sources.back().http), Origin().lookasides,
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
    const bool same =
        !platforms_.empty() && HasManifest(*into_, Reference(), top.digest, "manifest of " + Quoted(to_.ToString()));
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
    for (size_t depth = 0; depth < kMaxReferrerDepth && !subjects.empty(); ++depth) {
      std::vector<Digest> next;
      for (const Digest& subject : subjects) {
        for (const Descriptor& listed : ListReferrers(*registry_, subject)) {
          DockerReference pinned = at_->name;
          pinned.tag.clear();
          pinned.digest = listed.digest;
          CopyReferrer(pinned, subject, "", copy, done, next);
        }
        for (const std::string& tag : DigestTags(subject)) {
          DockerReference tagged = at_->name;
          tagged.digest.reset();
          tagged.tag = tag;
          if (tag != ReferrersTag(subject) && registry_->HasTag(tag))
            CopyReferrer(tagged, subject, tag, copy, done, next);
        }
      }
      subjects = std::move(next);
    }
    return done.size();
  }

  void CopyReferrer(const DockerReference& name, const Digest& subject, const std::string& tag, PartsCopy& copy,
                    std::set<Digest>& done, std::vector<Digest>& next) {
    MemoryKeeper documents;
    FetchedTree tree = FetchTreeDocuments(*registry_, name, {}, documents);
    const std::string& bytes = documents.documents().at(tree.top.digest);
    const std::optional<Referrer> referrer = ReferrerOf(bytes, tree.top);
    if (tag.empty() && (!referrer || referrer->subject != subject))
      return;
    if (!done.insert(tree.top.digest).second && tag.empty())
      return;
    if (done.size() > kMaxReferrers)
      throw Error(ErrorKind::kCorrupt,
                  Quoted(name.ToString()) + ": more than " + std::to_string(kMaxReferrers) + " referrers");
    for (const auto& [digest, document] : documents.documents()) {
      const bool manifest = std::any_of(tree.manifests.begin(), tree.manifests.end(),
                                        [&, d = digest](const Descriptor& one) { return one.digest == d; });
      if (!manifest)
        tree.blobs.push_back({.media_type = {}, .digest = digest, .size = document.size()});
    }
    copy.CopyBlobs(tree.blobs, documents);
    for (auto at = tree.manifests.rbegin(); at != tree.manifests.rend(); ++at)
      copy.Put(*at, documents.documents().at(at->digest), at->digest == tree.top.digest ? tag : "");
    next.push_back(tree.top.digest);
  }

  Shared& shared_;
  ClientsOfThread& clients_;
  const int channel_;
  size_t origin_ = 0;
  DockerReference from_, to_;
  std::vector<Platform> platforms_;
  bool referrers_ = false, dry_run_ = false;

  std::optional<FetchSource> at_;
  std::unique_ptr<RegistryClient> registry_, into_;
  std::optional<Digest> head_;
  MemoryKeeper documents_;
  FetchedTree tree_{{.media_type = {}, .digest = Digest::Of(""), .size = 0}, {}, {}};
  SyncCopy wanted_;
};

// Threads that take jobs.
class Pool {
 public:
  Pool(const SyncPlan& plan, Shared& shared) : shared_(shared) {
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
    ClientsOfThread clients;
    while (const std::optional<UniqueFd> socket = Take())
      ReportErrors(socket->get(), [&] { Serve(clients, socket->get()); });
  }

  void Serve(ClientsOfThread& clients, int socket) {
    const std::optional<Message> job = ReceiveMessage(socket, kBounds);
    if (!job)
      return;
    if (job->kind == kCopy)
      return CopyJob(shared_, clients, socket, *job).Run();
    if (job->kind != kTags)
      ThrowBroken();
    SendTags(clients, socket, *job);
  }

  void SendTags(ClientsOfThread& clients, int socket, const Message& job) {
    const auto origin = ParseDecimal<size_t>(Field(job, 0));
    if (!origin || *origin >= shared_.plan().origins.size())
      ThrowBroken();
    // Of the registry itself, which comes last: a mirror may have a part of them.
    const std::vector<FetchSource>& sources = shared_.plan().origins[*origin].sources;
    const FetchSource& source = sources.back();
    const auto registry = shared_.Open(clients.For("from " + source.name.host, source.http), source.name,
                                       shared_.CredentialsOf(*origin, sources.size() - 1), "pull");
    const std::vector<std::string> tags = registry->ListTags();
    for (size_t at = 0; at < tags.size(); at += kTagsOfAMessage) {
      const auto first = tags.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end = tags.begin() + static_cast<std::ptrdiff_t>(std::min(tags.size(), at + kTagsOfAMessage));
      SendMessage(socket, {kTags, {first, end}});
    }
    SendMessage(socket, {kEnd, {}});
  }

  Shared& shared_;
  std::mutex mutex_;
  std::condition_variable waiting_;
  std::deque<UniqueFd> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

int ServeSync(const SyncPlan& plan, int channel) {
  return ReportErrors(channel, [&] {
    Shared shared(plan);
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
