#include "libimage/transport/fetcher.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/store/store.h"
#include "libimage/transport/attachments.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/fetch_tree.h"
#include "libimage/transport/registry.h"

namespace gantry::image {
namespace {

// Of one message between the two.
constexpr size_t kMaxFields = 2 * (kMaxSignatures + 32);
constexpr size_t kMaxMessageBytes =
    (kMaxIndexDepth + 1) * kMaxManifestBytes + kMaxConfigBytes + 2 * kMaxSignatureBytesInAll + 1024 * 1024;
constexpr MessageBounds kBounds{kMaxFields, kMaxMessageBytes, "the process that fetches"};
constexpr size_t kMaxLookasides = 32;

constexpr char kOffer = 'o';
constexpr char kTop = 't';
constexpr char kAsk = 'a';
constexpr char kLook = 'l';
constexpr char kFound = 'f';
constexpr char kGo = 'g';
constexpr char kDone = 'd';

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol");
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
    std::optional<Credentials> credentials = FindCredentials(plan_.name);
    // Before the walls: to open the store is to look at the directories above it.
    const std::unique_ptr<Store> store = Store::Open(plan_.store_root);
    plan_.confine();
    HttpClient http(plan_.http);
    RegistryClient registry(http, plan_.name, std::move(credentials));
    if (plan_.many)
      return WorkForMany(http, registry, *store);
    ImageDocuments documents = FetchDocuments(registry, plan_.name, plan_.platform, store.get());
    const FetchedImage fetched = AssembleImage(documents, plan_.name, plan_.platform);
    SendOffer(http, std::move(documents), fetched.image().descriptor.digest);
    if (!ServeEvidence(http, registry))
      return;
    const std::unique_ptr<Lease> lease = store->NewLease();
    FetchAll(registry, *store, *lease, fetched.image());
    SendMessage(channel_, {kDone, {}});
    // The lease holds until the parent has given the image its name.
    ReceiveMessage(channel_, kBounds);
  }

  void WorkForMany(HttpClient& http, RegistryClient& registry, Store& store) {
    const std::unique_ptr<Lease> lease = store.NewLease();
    const FetchedTree tree = FetchTreeDocuments(registry, plan_.name, *plan_.many, store, *lease);
    SendMessage(channel_, {kTop, {tree.top.digest.str(), std::to_string(tree.top.size), tree.top.media_type}});
    if (!ServeEvidence(http, registry))
      return;
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    registry.FetchBlobs(tree.blobs, store, *progress);
    SendMessage(channel_, {kDone, {}});
    ReceiveMessage(channel_, kBounds);
  }

  // Answers until the blobs are asked for; false when they are not, for the end of the stream is a refusal.
  bool ServeEvidence(HttpClient& http, RegistryClient& registry) {
    while (const std::optional<Message> request = ReceiveMessage(channel_, kBounds)) {
      const bool about_one = request->fields.size() == 1;
      if (request->kind == kAsk && about_one)
        SendFound(http, Digest::Parse(request->fields[0]));
      else if (request->kind == kLook && about_one)
        SendAttachments(registry, Digest::Parse(request->fields[0]));
      else
        return request->kind == kGo;
    }
    return false;
  }

  void SendAttachments(RegistryClient& registry, const Digest& manifest) {
    FoundAttachments attached = image::FetchAttachments(registry, plan_.name, manifest, kMaxSignatureBytesInAll);
    Message found{kFound, {std::to_string(attached.attachments.size())}};
    for (const Attachment& attachment : attached.attachments) found.fields.push_back(attachment.ToStored());
    for (std::string& place : attached.looked_at) found.fields.push_back(std::move(place));
    SendMessage(channel_, found);
  }

  void SendFound(HttpClient& http, const Digest& manifest) {
    room_ = kMaxSignatureBytesInAll;
    std::vector<std::string> signatures;
    std::vector<std::string> looked_at;
    for (const std::string& base : plan_.lookasides) Look(http, base, manifest, signatures, looked_at);
    Message found{kFound, {std::to_string(signatures.size())}};
    for (std::vector<std::string>* texts : {&signatures, &looked_at}) {
      for (std::string& text : *texts) found.fields.push_back(std::move(text));
    }
    SendMessage(channel_, found);
  }

  void SendOffer(HttpClient& http, ImageDocuments documents, const Digest& manifest) {
    std::vector<std::string> signatures;
    std::vector<std::string> looked_at;
    for (const std::string& base : plan_.lookasides) Look(http, base, manifest, signatures, looked_at);
    Message offer{kOffer, {std::to_string(documents.manifests.size()), std::to_string(signatures.size())}};
    offer.fields.push_back(std::move(documents.content_type));
    for (std::vector<std::string>* texts : {&documents.manifests, &signatures, &looked_at}) {
      for (std::string& text : *texts) offer.fields.push_back(std::move(text));
    }
    offer.fields.push_back(std::move(documents.config));
    SendMessage(channel_, offer);
  }

  // A place that fails is one without signatures: whether that matters is the policy's to say.
  void Look(HttpClient& http, const std::string& base, const Digest& manifest, std::vector<std::string>& signatures,
            std::vector<std::string>& looked_at) {
    std::string place = plan_.signature_url(base, manifest, 1);
    place.erase(place.rfind('/'));
    try {
      for (std::string& found :
           FetchSignatures(http, [&](size_t n) { return plan_.signature_url(base, manifest, n); })) {
        if (found.size() > room_)
          throw Error(ErrorKind::kCorrupt, "more signatures than fit");
        room_ -= found.size();
        signatures.push_back(std::move(found));
      }
    } catch (const Error& error) {
      place += " (" + error.message() + ")";
    }
    looked_at.push_back(std::move(place));
  }

  void FetchAll(RegistryClient& registry, Store& store, Lease& lease, const Image& image) {
    const std::set<Digest> digests = BlobsOf(image);
    lease.Add({digests.begin(), digests.end()});
    Keep(store, image.descriptor, image.manifest_bytes);
    Keep(store, image.manifest.config, image.config_bytes);
    const std::unique_ptr<Progress> progress = plan_.make_progress();
    registry.FetchBlobs(image.manifest.layers, store, *progress);
  }

  static void Keep(Store& store, const Descriptor& descriptor, const std::string& bytes) {
    if (store.HasBlob(descriptor.digest))
      return;
    const std::unique_ptr<IncomingBlob> blob = store.AddBlob(descriptor.digest, bytes.size());
    blob->Write(AsBytes(bytes));
    blob->Finish();
  }

  const FetchPlan& plan_;
  int channel_;
  size_t room_ = kMaxSignatureBytesInAll;  // of one offer
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

std::vector<std::string> Fetcher::ReceiveAnswer(char kind) {
  std::optional<Message> answer = ReceiveMessage(channel_.get(), kBounds);
  if (!answer) {
    const ExitStatus status = process_.Wait();
    throw Error(ErrorKind::kFailed,
                "the process that fetches ended early, " +
                    (status.signalled ? "killed by signal " + std::to_string(status.code - 128)
                                      : "with exit code " + std::to_string(status.code)),
                "nothing was named; run it again");
  }
  if (answer->kind != kind)
    ThrowBroken();
  return std::move(answer->fields);
}

Offer Fetcher::Receive() {
  std::vector<std::string> fields = ReceiveAnswer(kOffer);
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
  std::vector<std::string> fields = ReceiveAnswer(kFound);
  if (fields.empty())
    ThrowBroken();
  const size_t count = ParseCount(fields[0], max_count);
  if (fields.size() < 1 + count)
    ThrowBroken();
  const auto first = std::make_move_iterator(fields.begin() + 1);
  const auto middle = first + static_cast<std::ptrdiff_t>(count);
  return {{first, middle}, {middle, std::make_move_iterator(fields.end())}};
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
