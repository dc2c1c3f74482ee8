// The half of a push that has the network; what decides and reads is in pusher.cc, without it.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/base/process.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/attach.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/http_clients.h"
#include "libimage/transport/push_protocol.h"
#include "libimage/transport/pusher.h"
#include "libimage/transport/registry_upload.h"
#include "libimage/transport/upload_turns.h"

namespace gantry::image {
namespace {

using namespace pushing;

// The half that has the network.
class Network {
 public:
  Network(const PushPlan& plan, int channel)
      : plan_(plan), name_(plan.name), channel_(channel), clients_(plan.http, kMaxUploads) {}
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  ~Network() { Join(); }

  void Work() {
    credentials_ = FindCredentials(name_);
    plan_.confine();
    http_.emplace(plan_.http);
    Open();
    while (const std::optional<Message> message = ReceiveMessage(channel_, kBounds)) Obey(*message);
  }

 private:
  void Obey(const Message& message) {
    switch (message.kind) {
      case kAsk:
        Answer(Has(Digest::Parse(Field(message, 0))));
        break;
      case kMount:
        AddMountSource(Field(message, 0));
        break;
      case kTarget:
        Turn(Field(message, 0), Field(message, 1));
        break;
      case kBlob:
        TakeBlob(message);
        break;
      case kManifest:
        Put(message);
        Answer(true);
        break;
      case kAppend:
        SendMessage(channel_, {kYes, {Append(message)}});
        break;
      case kRefer:
        SendMessage(channel_, {kYes, {Refer(message)}});
        break;
      case kSettle:
        attaching_->Settle();
        Answer(true);
        break;
      default:
        ThrowBroken();
    }
  }

  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // To another repository below the one of the plan.
  void Turn(const std::string& path, const std::string& tag) {
    const std::string& above = plan_.name.path;
    if (!plan_.below || (!above.empty() && path != above && !path.starts_with(above + "/")))
      ThrowBroken();
    Join();
    name_ = DockerReference::Parse(plan_.name.host + "/" + path + (tag.empty() ? "" : ":" + tag));
    mount_from_.clear();
    attaching_->Settle();
    Open();
  }

  void Open() {
    registry_.emplace(*http_, name_, credentials_, "pull,push");
    attaching_.emplace(*registry_);
  }

  std::string Append(const Message& message) {
    const Digest subject = Digest::Parse(Field(message, 0));
    const auto attachment = Attachment::FromStored(Field(message, 2));
    if (!attachment)
      ThrowBroken();
    const std::string tag = Field(message, 1) == kAttestations ? AttestationTag(subject) : SignatureTag(subject);
    attaching_->AppendToTag(tag, *attachment);
    return name_.Repository() + ":" + tag;
  }

  std::string Refer(const Message& message) {
    const Digest subject = Digest::Parse(Field(message, 0));
    SignatureManifest referrer{DescriptorOf(Field(message, 1), kOciManifestType), Field(message, 1), {}};
    for (size_t i = 2; i < message.fields.size(); ++i)
      referrer.blobs.push_back({DescriptorOf(message.fields[i], ""), message.fields[i]});
    attaching_->PutReferrer(subject, referrer);
    return name_.Repository() + "@" + referrer.descriptor.digest.str();
  }
  static Descriptor DescriptorOf(const std::string& bytes, std::string_view type) {
    return {.media_type = std::string(type), .digest = Digest::Of(bytes), .size = bytes.size()};
  }

  void Answer(bool yes) const { SendMessage(channel_, {yes ? kYes : kNo, {}}); }
  std::string Shown() const { return "manifest of " + Quoted(name_.ToString()); }
  std::string NameReference() const {
    const DockerReference name = name_.WithDefaultTag();
    return name.tag.empty() ? name.digest.value().str() : name.tag;
  }

  // A name with a digest is of nothing else, whatever its tag leads to.
  void RequireNamed(const Digest& digest) const {
    if (!name_.digest || *name_.digest == digest)
      return;
    throw Error(ErrorKind::kUsage, Quoted(name_.ToString()) + " is not what would be pushed, " + digest.str(),
                "leave the digest out, or push the image that has it");
  }

  bool Has(const Digest& digest) {
    RequireNamed(digest);
    return HasManifest(*registry_, NameReference(), digest, Shown());
  }

  // Parsed, for it becomes a part of addresses and of the scope of tokens.
  void AddMountSource(const std::string& path) {
    const DockerReference from = DockerReference::Parse(name_.host + "/" + path);
    if (from.path == name_.path)
      return;
    mount_from_ = from.path;
    registry_->MayAlsoPull(from.path, true);
  }

  void Put(const Message& message) {
    const std::string& bytes = Field(message, 3);
    const Digest digest = Digest::Parse(Field(message, 1));
    if (Digest::Of(bytes, digest.algorithm()) != digest)
      ThrowBroken();
    const Descriptor manifest{.media_type = Field(message, 2), .digest = digest, .size = bytes.size()};
    const std::string& under = Field(message, 0);
    const bool by_name = under == kByName;
    if (!under.empty() && !by_name && !SubjectOfTag(under))
      ThrowBroken();
    if (by_name)
      RequireNamed(digest);
    const std::string other = under.empty() ? digest.str() : under;
    attaching_->PutAndList(by_name ? NameReference() : other, bytes, manifest, Shown());
  }

  void TakeBlob(const Message& message) {
    UniqueFd socket = ReceiveDescriptor(channel_, kBounds.who);
    const std::string& text = Field(message, 0);
    const std::optional<Digest> digest = text.empty() ? std::nullopt : std::optional(Digest::Parse(text));
    const std::string& size = Field(message, 2);
    HttpClients::Taken http = clients_.Take();
    std::optional<UploadTurns::Turn> turn = size.empty() ? std::nullopt : std::optional(turns_.Announce(Number(size)));
    threads_.emplace_back([this, digest, what = Field(message, 1), turn = std::move(turn), socket = std::move(socket),
                           http = std::move(http)]() mutable {
      ReportErrors(socket.get(), [&] { Upload(RegistryClient(*http, *registry_), digest, what, turn, socket.get()); });
      turn.reset();
      socket.Reset();
      http.reset();
    });
  }
  static uint64_t Number(const std::string& text) {
    const auto number = ParseDecimal<uint64_t>(text);
    if (!number)
      ThrowBroken();
    return *number;
  }

  // One that lies in a file has a turn.
  void Upload(RegistryClient registry, const std::optional<Digest>& digest, const std::string& what,
              std::optional<UploadTurns::Turn>& turn, int socket) {
    BlobUpload upload(registry, what, digest ? digest->algorithm() : HashAlgorithm::kSha256);
    if (digest && (HasBlob(registry, *digest, what) || Mount(upload, *digest))) {
      SendMessage(socket, {kYes, {}});
      return;
    }
    SendMessage(socket, {kNo, {}});
    if (turn)
      return SendFile(upload, digest, *turn, socket);
    if (!TakeFrames(socket, upload))
      return;
    const std::optional<Message> end = ReceiveMessage(socket, kBounds);
    if (!end)
      return;
    if (end->kind != kEnd)
      ThrowBroken();
    upload.Finish(Digest::Parse(Field(*end, 0)), !digest.has_value());
    SendMessage(socket, {kYes, {}});
  }

  static void SendFile(BlobUpload& upload, const std::optional<Digest>& digest, UploadTurns::Turn& turn, int socket) {
    const std::optional<Message> place = ReceiveMessage(socket, kBounds);
    if (!place)
      return;
    if (place->kind != kFile || !digest)
      ThrowBroken();
    FileRange file{.offset = Number(Field(*place, 0)), .size = Number(Field(*place, 1))};
    file.fd = std::make_shared<const UniqueFd>(ReceiveDescriptor(socket, kBounds.who));
    turn.Await();
    upload.SendFile(std::move(file), *digest, [&](uint64_t bytes) {
      turn.Sent(bytes);
      SendMessage(socket, {kSent, {std::to_string(bytes)}});
    });
    SendMessage(socket, {kYes, {}});
  }

  // False when the other half has given up.
  static bool TakeFrames(int socket, BlobUpload& upload) {
    std::vector<std::byte> buffer(kBlockBytes);
    while (true) {
      FrameSize size = 0;
      if (ReadFull(socket, std::as_writable_bytes(std::span(&size, 1)), kBounds.who) < sizeof size)
        return false;
      if (size == 0)
        return true;
      if (size > buffer.size())
        ThrowBroken();
      const std::span<std::byte> frame = std::span(buffer).first(size);
      if (ReadFull(socket, frame, kBounds.who) < size)
        return false;
      upload.Write(frame);
    }
  }

  // A registry that will not hear of the other repository gets the bytes.
  bool Mount(BlobUpload& upload, const Digest& digest) {
    const std::string from = MountSource();
    if (from.empty())
      return false;
    try {
      return upload.Mount(digest, from);
    } catch (const Error&) {
      const std::lock_guard lock(mount_mutex_);
      mount_from_.clear();
      registry_->MayAlsoPull(from, false);
      return false;
    }
  }
  std::string MountSource() {
    const std::lock_guard lock(mount_mutex_);
    return mount_from_;
  }

  const PushPlan& plan_;
  DockerReference name_;  // of now
  int channel_;
  std::optional<Credentials> credentials_;
  HttpClients clients_;  // of the threads that upload
  std::optional<HttpClient> http_;
  std::optional<RegistryClient> registry_;
  std::optional<Attaching> attaching_;  // to that
  std::mutex mount_mutex_;
  std::string mount_from_;
  UploadTurns turns_{std::clamp<size_t>(std::thread::hardware_concurrency(), 2, kMaxUploads)};
  std::vector<std::thread> threads_;
};

}  // namespace

int ServePush(const PushPlan& plan, int channel) {
  // Outlives the report: its end waits for threads that wait for the other half.
  Network network(plan, channel);
  return ReportErrors(channel, [&] { network.Work(); });
}

Pusher Pusher::Start(const PushPlan& plan) {
  auto [channel, process] = ForkOverSocket([&plan](int theirs) { return ServePush(plan, theirs); });
  return {std::move(channel), std::move(process)};
}

}  // namespace gantry::image
