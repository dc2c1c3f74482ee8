#include "libimage/transport/fetcher.h"

#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/layer/compression.h"
#include "libimage/model/media_type.h"
#include "libimage/model/schema1.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/store.h"
#include "libimage/transport/fetch_protocol.h"
#include "libimage/transport/image_documents.h"

namespace gantry::image {

namespace fetching {

void KeepBytes(Store& store, const Descriptor& descriptor, const std::string& bytes) {
  if (store.HasBlob(descriptor.digest))
    return;
  const std::unique_ptr<IncomingBlob> blob = store.AddBlob(descriptor.digest, bytes.size());
  blob->Write(AsBytes(bytes));
  blob->Finish();
}

}  // namespace fetching

namespace {

using namespace fetching;

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol");
}

size_t ParseCount(const std::string& text, size_t max) {
  const auto n = ParseDecimal<size_t>(text);
  if (!n || *n > max)
    ThrowBroken();
  return *n;
}

}  // namespace

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
  return {.fetched = FetchedImage(std::move(image), plan_.name),
          .signatures = {},
          .looked_at = {"nowhere: it was made of a manifest of schema 1, whose signatures do not cover it"}};
}

const FetchedImage& Offer::image() const {
  if (const auto* artifact = std::get_if<FetchedArtifact>(&fetched))
    ThrowNotAnImage(Quoted(artifact->name.value().ToString()), artifact->artifact.manifest);
  return std::get<FetchedImage>(fetched);
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
  return {.fetched = Assemble(std::move(documents), plan_.name, plan_.platform),
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

void Fetcher::FetchBlobs(const std::function<void()>& begun, const std::function<void()>& checked) {
  SendMessage(channel_.get(), {kGo, {}});
  ReceiveAnswer(kComing);
  begun();
  const char kind = TryReceive()->kind;
  if (kind == kChecked) {
    checked();
    ReceiveAnswer(kDone);
  } else if (kind != kDone) {
    ThrowBroken();
  }
}

void Fetcher::Release() {
  SendMessage(channel_.get(), {kDone, {}});
  process_.Wait();
}

}  // namespace gantry::image
