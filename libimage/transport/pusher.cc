#include "libimage/transport/pusher.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/push_protocol.h"

namespace gantry::image {

namespace pushing {

void ThrowBroken() { throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol"); }

const std::string& Field(const Message& message, size_t index) {
  if (index >= message.fields.size())
    ThrowBroken();
  return message.fields[index];
}

}  // namespace pushing

namespace {

using namespace pushing;

// One blob on its way to the half with the network.
class BlobChannel {
 public:
  explicit BlobChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  bool AnswersYes() {
    const Message answer = Receive();
    if (answer.kind != kYes && answer.kind != kNo)
      ThrowBroken();
    return answer.kind == kYes;
  }

  void Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto frame = bytes.first(std::min(bytes.size(), kBlockBytes));
      SendFrame(frame);
      bytes = bytes.subspan(frame.size());
    }
  }

  // They are hashed here while the other half sends them. What they are comes before what the registry said of them.
  void SendFile(const FileRange& file, Source& from, const Descriptor& blob, const std::string& what) {
    OrSayWhyNot([&] {
      SendMessage(socket_.get(), {kFile, {std::to_string(file.offset), std::to_string(file.size)}});
      if (!PassDescriptor(socket_.get(), file.fd->get()))
        ThrowErrno("hand " + what + " to the process that pushes");
    });
    const auto checked =
        VerifyingSource(FdRangeSource(file.fd, file.offset, file.size, what), blob.digest, blob.size, what);
    try {
      bool hashed = false;
      do {
        while (!hashed && !HasAnswer()) hashed = checked->Next().empty();
      } while (!TakesAnswer(from));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kCorrupt)
        ReadToEnd(*checked);
      throw;
    }
    ReadToEnd(*checked);
  }

  void End(const Digest& digest) {
    SendFrame({});
    OrSayWhyNot([&] { SendMessage(socket_.get(), {kEnd, {digest.str()}}); });
    if (!AnswersYes())
      ThrowBroken();
  }

 private:
  Message Receive() {
    std::optional<Message> answer = ReceiveMessage(socket_.get(), kBounds);
    if (!answer)
      throw Error(ErrorKind::kFailed, "the process that pushes ended early", "nothing was named; run it again");
    return *std::move(answer);
  }

  bool HasAnswer() const {
    pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return poll(&ready, 1, 0) > 0;
  }

  // Whether it was the last about a file.
  bool TakesAnswer(Source& from) {
    const Message answer = Receive();
    if (answer.kind == kSent)
      from.Took(ParseDecimal<uint64_t>(Field(answer, 0)).value_or(0));
    else if (answer.kind != kYes)
      ThrowBroken();
    return answer.kind == kYes;
  }

  static void ReadToEnd(Source& source) {
    while (!source.Next().empty()) {
    }
  }

  void SendFrame(std::span<const std::byte> bytes) {
    const auto size = static_cast<FrameSize>(bytes.size());
    OrSayWhyNot([&] {
      WriteFull(socket_.get(), std::as_bytes(std::span(&size, 1)), kBounds.who);
      WriteFull(socket_.get(), bytes, kBounds.who);
    });
  }

  // A side that hung up may have said why before.
  template <typename Sending>
  void OrSayWhyNot(Sending send) {
    try {
      send();
    } catch (const Error&) {
      AnswersYes();
      throw;
    }
  }

  UniqueFd socket_;
};

class PushedBlob : public NewBlob {
 public:
  explicit PushedBlob(BlobChannel channel) : channel_(std::move(channel)) {
    if (channel_.AnswersYes())
      ThrowBroken();
  }

  void Write(std::span<const std::byte> bytes) override {
    channel_.Write(bytes);
    hasher_.Update(bytes);
    size_ += bytes.size();
  }
  void Finish() override {
    digest_ = hasher_.Finish();
    RequireExpected(*digest_);
    channel_.End(*digest_);
  }
  Digest digest() const override { return digest_.value(); }
  uint64_t size() const override { return size_; }

 private:
  BlobChannel channel_;
  Hasher hasher_;
  uint64_t size_ = 0;
  std::optional<Digest> digest_;
};

class RegistrySink : public ImageSink {
 public:
  explicit RegistrySink(Pusher& pusher) : pusher_(pusher) {}

  Form form() const override { return {}; }

  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override {
    const std::unique_ptr<Source> checked = VerifyingSource(std::move(from), blob.digest, blob.size, std::string(what));
    const TypeKind kind = KindOf(blob.media_type);
    if (kind == TypeKind::kManifest || kind == TypeKind::kIndex) {
      std::string bytes = Drain(*checked, kMaxManifestBytes, what);
      const std::lock_guard lock(mutex_);
      manifests_.push_back({blob, std::move(bytes)});
      return;
    }
    std::optional<FileRange> file = checked->File();
    if (file && file->size != blob.size)
      file.reset();  // which its bytes will tell
    BlobChannel channel(
        pusher_.OpenBlob(blob.digest.str(), std::string(what), file ? std::optional(file->size) : std::nullopt));
    if (channel.AnswersYes())
      return;
    if (file)
      return channel.SendFile(*file, *checked, blob, std::string(what));
    for (Block block = checked->Next(); !block.empty(); block = checked->Next()) channel.Write(block.bytes());
    channel.End(blob.digest);
  }

  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override {
    return std::make_unique<PushedBlob>(BlobChannel(pusher_.OpenBlob("", std::string(what))));
  }

  void Name(const Descriptor& top, const std::string& ref) override {
    if (SubjectOfTag(ref))
      tagged_[top.digest] = ref;
    else
      named_.insert(top.digest);
  }

  // In the order in which they came: an index after what it lists. Those with the name last of all.
  void Commit() override {
    std::stable_partition(manifests_.begin(), manifests_.end(),
                          [this](const Added& added) { return !named_.contains(added.manifest.digest); });
    for (const Added& added : manifests_) {
      const auto tag = tagged_.find(added.manifest.digest);
      if (tag != tagged_.end())
        pusher_.PutUnderTag(added.manifest, added.bytes, tag->second);
      else
        pusher_.PutManifest(added.manifest, added.bytes, named_.contains(added.manifest.digest));
    }
    pusher_.Settle();
  }

 private:
  struct Added {
    Descriptor manifest;
    std::string bytes;
  };

  Pusher& pusher_;
  std::mutex mutex_;
  std::vector<Added> manifests_;
  std::set<Digest> named_;
  std::map<Digest, std::string> tagged_;
};

}  // namespace

Message Pusher::Receive() {
  std::optional<Message> answer = ReceiveMessage(channel_.get(), kBounds);
  if (!answer) {
    const ExitStatus status = process_.Wait();
    throw Error(ErrorKind::kFailed,
                "the process that pushes ended early, " + (status.signalled
                                                               ? "killed by signal " + std::to_string(status.code - 128)
                                                               : "with exit code " + std::to_string(status.code)),
                "nothing was named; run it again");
  }
  if (answer->kind != kYes && answer->kind != kNo)
    ThrowBroken();
  return *std::move(answer);
}

bool Pusher::Answer() { return Receive().kind == kYes; }

// One that is gone may have said why before.
void Pusher::Send(const Message& message) {
  try {
    SendMessage(channel_.get(), message);
  } catch (const Error&) {
    Answer();
    throw;
  }
}

bool Pusher::Has(const Digest& manifest) {
  Send({kAsk, {manifest.str()}});
  return Answer();
}

void Pusher::Target(const DockerReference& name) { Send({kTarget, {name.path, name.tag}}); }

void Pusher::MountFrom(const std::string& path) { Send({kMount, {path}}); }

UniqueFd Pusher::OpenBlob(const std::string& digest, const std::string& what, std::optional<uint64_t> size_in_file) {
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  const std::lock_guard lock(mutex_);
  Send({kBlob, {digest, what, size_in_file ? std::to_string(*size_in_file) : ""}});
  if (!PassDescriptor(channel_.get(), theirs.get()))
    ThrowErrno("hand a socket to the process that pushes");
  return std::move(ours);
}

void Pusher::PutManifest(const Descriptor& manifest, const std::string& bytes, bool by_name) {
  PutUnderTag(manifest, bytes, by_name ? std::string(kByName) : "");
}

void Pusher::PutUnderTag(const Descriptor& manifest, const std::string& bytes, const std::string& tag) {
  Send({kManifest, {tag, manifest.digest.str(), manifest.media_type, bytes}});
  Answer();
}

std::string Pusher::AppendToTag(const Digest& subject, SignatureTagKind kind, const Attachment& attachment) {
  const bool attestation = kind == SignatureTagKind::kAttestations;
  Send({kAppend, {subject.str(), std::string(attestation ? kAttestations : kSignatures), attachment.ToStored()}});
  return Field(Receive(), 0);
}

std::string Pusher::PutReferrer(const Digest& subject, const SignatureManifest& referrer) {
  Message message{kRefer, {subject.str(), referrer.bytes}};
  for (const SignatureManifest::Blob& blob : referrer.blobs) message.fields.push_back(blob.bytes);
  Send(message);
  return Field(Receive(), 0);
}

void Pusher::Settle() {
  Send({kSettle, {}});
  Answer();
}

std::unique_ptr<ImageSink> MakeRegistrySink(Pusher& pusher) { return std::make_unique<RegistrySink>(pusher); }

}  // namespace gantry::image
