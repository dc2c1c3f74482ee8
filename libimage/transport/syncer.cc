#include "libimage/transport/syncer.h"

#include <sys/socket.h>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/message.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/base/process.h"
#include "libimage/model/image_tree.h"
#include "libimage/transport/sync_protocol.h"

namespace gantry::image {
namespace {

using namespace sync;

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol");
}

const std::string& Field(const Message& message, size_t index) {
  if (index >= message.fields.size())
    ThrowBroken();
  return message.fields[index];
}

uint64_t Number(const Message& message, size_t index) {
  const auto number = ParseDecimal<uint64_t>(Field(message, index));
  if (!number)
    ThrowBroken();
  return *number;
}

Message ReceiveOrThrow(int channel) {
  std::optional<Message> message = ReceiveMessage(channel, kBounds);
  if (!message)
    throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " ended early", "run it again; what is done stays done");
  return *std::move(message);
}

FoundSignatures AskFor(int channel, char kind, const Digest& manifest, size_t max_count) {
  SendMessage(channel, {kind, {manifest.str()}});
  Message answer = ReceiveOrThrow(channel);
  auto found = answer.kind == kFound ? FromFields(std::move(answer.fields), max_count) : std::nullopt;
  if (!found)
    ThrowBroken();
  return *std::move(found);
}

std::string PlatformsText(const std::vector<Platform>& platforms) {
  std::string text;
  for (const Platform& platform : platforms) text += (text.empty() ? "" : ",") + platform.ToString();
  return text;
}

}  // namespace

std::unique_ptr<Source> SyncOffer::Open(const Descriptor& blob, std::string_view) const {
  const auto found = documents_.find(blob.digest);
  return StringSource(found == documents_.end() ? std::string() : found->second);
}

FoundSignatures SyncOffer::FindSignatures(const Digest& manifest) const {
  return AskFor(channel_, kAsk, manifest, kMaxSignatures * kMaxLookasides);
}

FoundSignatures SyncOffer::FetchAttachments(const Digest& manifest) const {
  return AskFor(channel_, kLook, manifest, kMaxSignatures);
}

void SyncJob::Answer(const SyncCopy& copy) const {
  for (const Descriptor& blob : copy.blobs) SendMessage(channel_.get(), {kBlob, {json::Print(blob.ToJson())}});
  for (const SyncCopy::Document& manifest : copy.manifests)
    SendMessage(channel_.get(), {kManifest, {json::Print(manifest.descriptor.ToJson()), manifest.bytes}});
  SendMessage(channel_.get(), {kEnd, {}});
}

bool SyncJob::Step(const Decide& decide) {
  Message message = ReceiveOrThrow(channel_.get());
  switch (message.kind) {
    case kDocument: {
      const Digest digest = Digest::Parse(Field(message, 0));
      offer_.bytes_ += Field(message, 1).size();
      if (offer_.bytes_ > kMaxTreeBytes || offer_.documents_.size() >= 2 * kMaxTreeNodes)
        ThrowBroken();
      offer_.documents_.insert_or_assign(digest, std::move(message.fields[1]));
      return false;
    }
    case kTop: {
      const json::Value top = json::Parse(Field(message, 0), "descriptor");
      offer_.top_ = Descriptor::Parse(json::Cursor(top, "descriptor"));
      Answer(decide(offer_));
      return false;
    }
    case kSame:
    case kWould:
    case kDone:
      result_.state = message.kind == kSame    ? SyncState::kSame
                      : message.kind == kWould ? SyncState::kWouldCopy
                                               : SyncState::kCopied;
      if (const auto digest = Digest::TryParse(Field(message, 0)))
        result_.digest = digest->str();
      result_.blobs = Number(message, 1);
      result_.bytes = Number(message, 2);
      result_.referrers = Number(message, 3);
      return true;
    default:
      ThrowBroken();
  }
}

Syncer Syncer::Start(const SyncPlan& plan) {
  if (plan.jobs == 0 || plan.jobs > kMaxSyncJobs)
    throw Error(ErrorKind::kUsage, "from 1 to " + std::to_string(kMaxSyncJobs) + " images at a time");
  auto [channel, process] = ForkOverSocket([&plan](int theirs) { return ServeSync(plan, theirs); });
  return {std::move(channel), std::move(process)};
}

UniqueFd Syncer::Begin() {
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  SendMessage(channel_.get(), {kJob, {}});
  if (!PassDescriptor(channel_.get(), theirs.get())) {
    ReceiveMessage(channel_.get(), kBounds);  // throws what the other half has said
    throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " ended early");
  }
  return std::move(ours);
}

std::vector<std::string> Syncer::ListTags(size_t origin) {
  const UniqueFd channel = Begin();
  SendMessage(channel.get(), {kTags, {std::to_string(origin)}});
  std::vector<std::string> tags;
  while (true) {
    Message message = ReceiveOrThrow(channel.get());
    if (message.kind == kEnd)
      return tags;
    if (message.kind != kTags || tags.size() + message.fields.size() > kMaxTags)
      ThrowBroken();
    tags.insert(tags.end(), std::make_move_iterator(message.fields.begin()),
                std::make_move_iterator(message.fields.end()));
  }
}

SyncJob Syncer::Copy(size_t origin, const DockerReference& from, const DockerReference& to,
                     const SyncSelection& selection) {
  UniqueFd channel = Begin();
  SendMessage(channel.get(), {kCopy,
                              {std::to_string(origin), from.tag, from.digest ? from.digest->str() : "", to.path, to.tag,
                               PlatformsText(selection.platforms), selection.referrers ? "referrers" : "",
                               selection.dry_run ? "dry" : ""}});
  return SyncJob(std::move(channel));
}

}  // namespace gantry::image
