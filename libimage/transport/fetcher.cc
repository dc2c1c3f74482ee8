#include "libimage/transport/fetcher.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/layer/compression.h"
#include "libimage/model/media_type.h"
#include "libimage/model/schema1.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/store.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/fetch_tree.h"
#include "libimage/transport/pull_sources.h"
#include "libimage/transport/registry.h"

namespace gantry::image {
namespace {

// Of one message between the two.
constexpr size_t kMaxFields = 2 * (kMaxSignatures + 32);
constexpr size_t kMaxMessageBytes =
    (kMaxIndexDepth + 1) * kMaxManifestBytes + kMaxConfigBytes + 2 * kMaxSignatureBytesInAll + 1024 * 1024;
constexpr MessageBounds kBounds{kMaxFields, kMaxMessageBytes, "the process that fetches"};

constexpr char kOffer = 'o';
constexpr char kOld = '1';  // schema 1: its bytes, the sizes of its blobs, each with a comma
constexpr char kTop = 't';
constexpr char kAsk = 'a';
constexpr char kLook = 'l';
constexpr char kFound = 'f';
constexpr char kBegin = 'b';
constexpr char kGo = 'g';
constexpr char kDone = 'd';

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol");
}

void KeepBytes(Store& store, const Descriptor& descriptor, const std::string& bytes) {
  if (store.HasBlob(descriptor.digest))
    return;
  const std::unique_ptr<IncomingBlob> blob = store.AddBlob(descriptor.digest, bytes.size());
  blob->Write(AsBytes(bytes));
  blob->Finish();
}

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
    const std::unique_ptr<Store> store = Store::Open(plan_.store_root);
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
        AssembleImage(found, plan_.name, plan_.platform);
      return found;
    });
    if (documents.schema1)
      return WorkForSchema1(http, sources, documents.manifests.front(), *store);
    const FetchedImage fetched = AssembleImage(documents, plan_.name, plan_.platform);
    SendOffer(http, std::move(documents), fetched.image().descriptor.digest);
    if (!ServeEvidence(http, sources))
      return;
    const std::unique_ptr<Lease> lease = store->NewLease();
    FetchAll(sources, *store, *lease, fetched);
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
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    sources.FetchBlobs(blobs, store, *progress);
    SendMessage(channel_, {kDone, {}});
    if (!ServeEvidence(http, sources))
      return;
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
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    sources.FetchBlobs(image.manifest.layers, store, *progress);
    if (!plan_.referrers)
      return;
    std::vector<Digest> subjects{image.descriptor.digest};
    if (fetched.index())
      subjects.push_back(*fetched.index());
    PullConnection& from = sources.current();
    FetchReferrers(from.registry, from.name, subjects, store, lease, *progress);
  }

  const FetchPlan& plan_;
  int channel_;
};

size_t ParseCount(const std::string& text, size_t max) {
  const auto n = ParseDecimal<size_t>(text);
  if (!n || *n > max)
    ThrowBroken();
  return *n;
}

}  // namespace

int ServeFetch(const FetchPlan& plan, int channel) { return Network(plan, channel).Run(); }

Fetcher Fetcher::Start(FetchPlan plan) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0)
    ThrowErrno("make a socket pair");
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  Process process = Process::Fork([&] {
    // Nothing of the parent's is wanted here, least of all its ends of other channels.
    ours.Reset();
    const auto kept = static_cast<unsigned>(theirs.get());
    if (close_range(kept + 1, ~0U, 0) < 0 || (kept > 3 && close_range(3, kept - 1, 0) < 0))
      return 1;
    return ServeFetch(plan, theirs.get());
  });
  return {std::move(plan), std::move(ours), std::move(process)};
}

std::optional<Message> Fetcher::TryReceive() {
  std::optional<Message> answer = ReceiveMessage(channel_.get(), kBounds);
  if (!answer) {
    const ExitStatus status = process_.Wait();
    throw Error(ErrorKind::kFailed,
                "the process that fetches ended early, " +
                    (status.signalled ? "killed by signal " + std::to_string(status.code - 128)
                                      : "with exit code " + std::to_string(status.code)),
                "nothing was named; run it again");
  }
  return answer;
}

std::vector<std::string> Fetcher::ReceiveAnswer(char kind) {
  std::optional<Message> answer = TryReceive();
  if (answer->kind != kind)
    ThrowBroken();
  return std::move(answer->fields);
}

namespace {

// The diff ID, and the type by what the bytes are.
Digest DiffIdOf(const Store& store, Descriptor& layer) {
  const std::string what = "layer " + layer.digest.str();
  Compression compression = Compression::kNone;
  auto bytes = DetectCompression(store.Open(layer, what), compression);
  layer.media_type = LayerType(kDockerManifestType, compression);
  const auto plain = Decompress(std::move(bytes), compression, what);
  Hasher hasher;
  for (Block block = plain->Next(); !block.empty(); block = plain->Next()) hasher.Update(block.bytes());
  return hasher.Finish();
}

}  // namespace

Offer Fetcher::ConvertSchema1(std::vector<std::string> fields, Store& store) {
  if (fields.size() != 2)
    ThrowBroken();
  const Schema1 old = Schema1::Parse(fields[0]);
  if (plan_.name.digest && Digest::Of(old.payload(), plan_.name.digest->algorithm()) != *plan_.name.digest)
    ThrowBroken();
  const std::vector<Digest> blobs = old.Blobs();
  FetchBlobs();
  lease_ = store.NewLease();
  std::vector<Descriptor> layers;
  std::vector<Digest> diff_ids;
  std::string_view sizes = fields[1];
  for (const Digest& blob : blobs) {
    const size_t comma = sizes.find(',');
    const auto size = ParseDecimal<uint64_t>(sizes.substr(0, comma));
    if (!size || comma == std::string_view::npos)
      ThrowBroken();
    sizes.remove_prefix(comma + 1);
    lease_->Add({blob});
    layers.push_back({.media_type = {}, .digest = blob, .size = *size});
    diff_ids.push_back(DiffIdOf(store, layers.back()));
  }
  Image image = old.ToImage(layers, diff_ids);
  RequirePlatform(image.config.platform, plan_.platform, plan_.name);
  lease_->Add({image.descriptor.digest, image.manifest.config.digest});
  KeepBytes(store, image.descriptor, image.manifest_bytes);
  KeepBytes(store, image.manifest.config, image.config_bytes);
  return {.image = FetchedImage(std::move(image), plan_.name),
          .signatures = {},
          .looked_at = {"nowhere: it was made of a manifest of schema 1, whose signatures do not cover it"}};
}

void Fetcher::Begin() {
  if (plan_.waits)
    SendMessage(channel_.get(), {kBegin, {}});
}

Offer Fetcher::Receive(Store* store) {
  std::optional<Message> answer = TryReceive();
  if (answer->kind == kOld && store == nullptr) {
    throw Error(ErrorKind::kUnsupported, Quoted(plan_.name.ToString()) + " is a manifest of Docker's schema 1",
                "gantry fetch makes an image of today of it");
  }
  if (answer->kind == kOld)
    return ConvertSchema1(std::move(answer->fields), *store);
  if (answer->kind != kOffer)
    ThrowBroken();
  std::vector<std::string> fields = std::move(answer->fields);
  if (fields.size() < 4)
    ThrowBroken();
  const size_t manifests = ParseCount(fields[0], kMaxIndexDepth + 1);
  const size_t signatures = ParseCount(fields[1], kMaxSignatures * kMaxLookasides);
  if (fields.size() < 3 + manifests + signatures + 1)
    ThrowBroken();
  const size_t places = fields.size() - (3 + manifests + signatures + 1);
  auto next = std::make_move_iterator(fields.begin() + 2);
  const auto take = [&next](size_t n) {
    std::vector<std::string> out(next, next + static_cast<std::ptrdiff_t>(n));
    next += static_cast<std::ptrdiff_t>(n);
    return out;
  };
  ImageDocuments documents{.content_type = *next++, .manifests = take(manifests), .config = std::move(fields.back())};
  std::vector<std::string> found = take(signatures);
  return {.image = AssembleImage(std::move(documents), plan_.name, plan_.platform),
          .signatures = std::move(found),
          .looked_at = take(places)};
}

Descriptor Fetcher::ReceiveTop() {
  std::vector<std::string> fields = ReceiveAnswer(kTop);
  const auto size = fields.size() == 3 ? ParseDecimal<uint64_t>(fields[1]) : std::nullopt;
  if (!size || *size > kMaxManifestBytes)
    ThrowBroken();
  Descriptor top{.media_type = std::move(fields[2]), .digest = Digest::Parse(fields[0]), .size = *size};
  if (plan_.name.digest && *plan_.name.digest != top.digest)
    ThrowBroken();
  return top;
}

FoundSignatures Fetcher::ReceiveFound(size_t max_count) {
  auto found = FromFields(ReceiveAnswer(kFound), max_count);
  if (!found)
    ThrowBroken();
  return *std::move(found);
}

FoundSignatures Fetcher::FindSignatures(const Digest& manifest) {
  SendMessage(channel_.get(), {kAsk, {manifest.str()}});
  return ReceiveFound(kMaxSignatures * kMaxLookasides);
}

FoundSignatures Fetcher::FetchAttachments(const Digest& manifest) {
  SendMessage(channel_.get(), {kLook, {manifest.str()}});
  return ReceiveFound(kMaxSignatureLayers);
}

void Fetcher::FetchBlobs() {
  SendMessage(channel_.get(), {kGo, {}});
  ReceiveAnswer(kDone);
}

void Fetcher::Release() {
  SendMessage(channel_.get(), {kDone, {}});
  process_.Wait();
}

}  // namespace gantry::image
