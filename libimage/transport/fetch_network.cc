// The half of a fetch that has the network; what decides is in fetcher.cc, without it.
#include <signal.h>

#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/layer/compression.h"
#include "libimage/model/media_type.h"
#include "libimage/model/schema1.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/store.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/fetch_protocol.h"
#include "libimage/transport/fetch_tree.h"
#include "libimage/transport/fetcher.h"
#include "libimage/transport/find_signatures.h"
#include "libimage/transport/pull_sources.h"
#include "libimage/transport/registry.h"

namespace gantry::image {
namespace {

using namespace fetching;

// The half that has the network.
class Network {
 public:
  Network(const FetchPlan& plan, int channel) : plan_(plan), channel_(channel) {}

  int Run() {
    return ReportErrors(channel_, [this] { Work(); });
  }

 private:
  void Work() {
    if (plan_.lookasides.size() > kMaxLookasides)
      throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxLookasides) + " lookasides for one image");
    std::vector<std::optional<Credentials>> credentials;
    for (const FetchSource& source : plan_.sources) credentials.push_back(FindCredentials(source.name));
    // Before the walls: to open the store is to look at the directories above it.
    const std::unique_ptr<Store> store = Store::Open(plan_.store_root, plan_.pace);
    plan_.confine();
    if (plan_.waits && !IsBegun())
      return;
    PullSources sources(plan_.sources, std::move(credentials));
    HttpClient http(plan_.http);
    if (plan_.many)
      return WorkForMany(http, sources, *store);
    ImageDocuments documents = sources.FirstThatHas<ImageDocuments>([&](PullConnection& from) {
      ImageDocuments found = FetchDocuments(from.registry, from.name, plan_.platform, store.get());
      if (!found.schema1)
        Assemble(found, plan_.name, plan_.platform);
      return found;
    });
    if (documents.schema1)
      return WorkForSchema1(http, sources, documents.manifests.front(), *store);
    const Fetched fetched = Assemble(documents, plan_.name, plan_.platform);
    const auto* const image = std::get_if<FetchedImage>(&fetched);
    SendOffer(http, std::move(documents),
              image != nullptr ? image->image().descriptor.digest
                               : std::get<FetchedArtifact>(fetched).artifact.descriptor.digest);
    if (!ServeEvidence(http, sources))
      return;
    const std::unique_ptr<Lease> lease = store->NewLease();
    if (image != nullptr)
      FetchAll(sources, *store, *lease, *image);
    else
      FetchAll(sources, *store, *lease, std::get<FetchedArtifact>(fetched));
    SendMessage(channel_, {kDone, {}});
    // The lease holds until the parent has given the image its name.
    ReceiveMessage(channel_, kBounds);
  }

  void WorkForSchema1(HttpClient& http, PullSources& sources, const std::string& bytes, Store& store) {
    const std::string what = "layer of " + Quoted(plan_.name.ToString());
    std::string sizes;
    std::vector<Descriptor> blobs;
    for (const Digest& digest : Schema1::Parse(bytes).Blobs()) {
      const uint64_t size = HeadBlobSize(sources.current().registry, digest, what);
      blobs.push_back({.media_type = std::string(kDockerLayerGzipType), .digest = digest, .size = size});
      sizes += std::to_string(size) + ",";
    }
    SendMessage(channel_, {kOld, {bytes, sizes}});
    const std::unique_ptr<Lease> lease = store.NewLease();
    for (const Descriptor& blob : blobs) lease->Add({blob.digest});
    if (!ServeEvidence(http, sources))
      return;
    SendMessage(channel_, {kComing, {}});
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    sources.FetchBlobs(blobs, store, *progress);
    SendMessage(channel_, {kDone, {}});
    if (!ServeEvidence(http, sources))
      return;
    SendMessage(channel_, {kComing, {}});
    SendMessage(channel_, {kDone, {}});
    ReceiveMessage(channel_, kBounds);
  }

  bool IsBegun() const {
    const std::optional<Message> message = ReceiveMessage(channel_, kBounds);
    return message && message->kind == kBegin;
  }

  void WorkForMany(HttpClient& http, PullSources& sources, Store& store) {
    const std::unique_ptr<Lease> lease = store.NewLease();
    const auto tree = sources.FirstThatHas<FetchedTree>(
        [&](PullConnection& from) { return FetchTreeDocuments(from.registry, from.name, *plan_.many, store, *lease); });
    SendMessage(channel_, {kTop, {tree.top.digest.str(), std::to_string(tree.top.size), tree.top.media_type}});
    if (!ServeEvidence(http, sources))
      return;
    SendMessage(channel_, {kComing, {}});
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    sources.FetchBlobs(tree.blobs, store, *progress);
    if (plan_.referrers) {
      PullConnection& from = sources.current();
      std::vector<Digest> subjects;
      for (const Descriptor& manifest : tree.manifests) subjects.push_back(manifest.digest);
      FetchReferrers(from.registry, from.name, subjects, store, *lease, *progress);
    }
    SendMessage(channel_, {kDone, {}});
    ReceiveMessage(channel_, kBounds);
  }

  // Answers until the blobs are asked for; false when they are not, for the end of the stream is a refusal.
  bool ServeEvidence(HttpClient& http, PullSources& sources) {
    while (const std::optional<Message> request = ReceiveMessage(channel_, kBounds)) {
      const bool about_one = request->fields.size() == 1;
      if (request->kind == kAsk && about_one)
        SendMessage(channel_, {kFound, ToFields(Look(http, Digest::Parse(request->fields[0])))});
      else if (request->kind == kLook && about_one)
        SendAttachments(sources.current(), Digest::Parse(request->fields[0]));
      else
        return request->kind == kGo;
    }
    return false;
  }

  void SendAttachments(PullConnection& from, const Digest& manifest) {
    SendMessage(channel_, {kFound, ToFields(FindAttachments(from.registry, from.name, manifest))});
  }

  FoundSignatures Look(HttpClient& http, const Digest& manifest) const {
    return LookAside(http, plan_.lookasides,
                     [&](const std::string& base, size_t n) { return plan_.signature_url(base, manifest, n); });
  }

  void SendOffer(HttpClient& http, ImageDocuments documents, const Digest& manifest) {
    FoundSignatures found = Look(http, manifest);
    Message offer{kOffer, {std::to_string(documents.manifests.size()), std::to_string(found.signatures.size())}};
    offer.fields.push_back(std::move(documents.content_type));
    for (std::vector<std::string>* texts : {&documents.manifests, &found.signatures, &found.looked_at}) {
      for (std::string& text : *texts) offer.fields.push_back(std::move(text));
    }
    offer.fields.push_back(std::move(documents.config));
    SendMessage(channel_, offer);
  }

  void FetchAll(PullSources& sources, Store& store, Lease& lease, const FetchedImage& fetched) {
    const Image& image = fetched.image();
    const std::set<Digest> digests = BlobsOf(image);
    lease.Add({digests.begin(), digests.end()});
    KeepBytes(store, image.descriptor, image.manifest_bytes);
    KeepBytes(store, image.manifest.config, image.config_bytes);
    FetchBlobs(sources, image.manifest.layers, store, lease, image.descriptor.digest, fetched.index());
  }

  // The configuration of an artifact is a blob like the others, of any size.
  void FetchAll(PullSources& sources, Store& store, Lease& lease, const FetchedArtifact& fetched) {
    const Artifact& artifact = fetched.artifact;
    const std::set<Digest> digests = BlobsOf(artifact);
    lease.Add({digests.begin(), digests.end()});
    KeepBytes(store, artifact.descriptor, artifact.manifest_bytes);
    FetchBlobs(sources, artifact.manifest.Blobs(), store, lease, artifact.descriptor.digest, fetched.index);
  }

  void FetchBlobs(PullSources& sources, const std::vector<Descriptor>& blobs, Store& store, Lease& lease,
                  const Digest& manifest, const std::optional<Digest>& index) {
    SendMessage(channel_, {kComing, {}});
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    sources.FetchBlobs(blobs, store, *progress, [this] {
      // What is left is the disk's: who interrupts what was made of the blobs has them all the same.
      signal(SIGINT, SIG_IGN);
      SendMessage(channel_, {kChecked, {}});
    });
    if (!plan_.referrers)
      return;
    std::vector<Digest> subjects{manifest};
    if (index)
      subjects.push_back(*index);
    PullConnection& from = sources.current();
    FetchReferrers(from.registry, from.name, subjects, store, lease, *progress);
  }

  const FetchPlan& plan_;
  int channel_;
};

}  // namespace

int ServeFetch(const FetchPlan& plan, int channel) { return Network(plan, channel).Run(); }

Fetcher Fetcher::Start(FetchPlan plan) {
  auto [channel, process] = ForkOverSocket([&plan](int theirs) { return ServeFetch(plan, theirs); });
  return {std::move(plan), std::move(channel), std::move(process)};
}

}  // namespace gantry::image
