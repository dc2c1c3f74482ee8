// The decision in a process of its own; see libsign/verify.h.
#include <unistd.h>

#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libsign/crypto_start.h"
#include "libsign/verify.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using image::FetchedImage;
using image::Image;
using image::VerifiedImage;

constexpr char kVerified = 'v';
constexpr char kNothing = 'n';
constexpr size_t kMaxWordBytes = 1024 * 1024;  // all but the documents: names, and who vouched
constexpr MessageBounds kBounds{.fields = 8,
                                .bytes = image::kMaxManifestBytes + image::kMaxConfigBytes + kMaxWordBytes,
                                .who = "the process that decides"};

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol");
}

// A VerifiedImage on its way. Empty texts stand for what it does not have.
Message ToMessage(const VerifiedImage& verified) {
  const Image& image = verified.image();
  return {kVerified,
          {image.descriptor.media_type, image.manifest_bytes, image.config_bytes,
           verified.name() ? verified.name()->ToString() : "", verified.index() ? verified.index()->str() : "",
           verified.vouched_by(), verified.accepted() ? verified.accepted()->reference : "",
           verified.accepted() ? std::to_string(verified.accepted()->signed_at) : ""}};
}

FetchedImage FromFields(std::vector<std::string>& fields) {
  std::optional<DockerReference> name;
  if (!fields[3].empty()) {
    name = DockerReference::Parse(fields[3]);
  }
  std::optional<Digest> index;
  if (!fields[4].empty()) {
    index = Digest::Parse(fields[4]);
  }
  return {Image::FromBytes(std::move(fields[1]), fields[0], std::move(fields[2])), std::move(name), index};
}

[[noreturn]] void ThrowEndedEarly(const ExitStatus& status) {
  throw Error(ErrorKind::kFailed,
              std::string(kBounds.who) + " ended early, " +
                  (status.signalled ? "killed by signal " + std::to_string(status.code - 128)
                                    : "with exit code " + std::to_string(status.code)),
              status.signalled ? "was it killed? see the kernel's log for 'Out of memory'" : "see what it said above");
}

}  // namespace

std::optional<VerifiedImage> Verifier::VerifyInChild(const Policy& policy, const std::function<void()>& confine,
                                                     const std::function<std::optional<Candidate>()>& open) {
  return BeginInChild(policy, confine, open).Wait();
}

Verifier::Pending Verifier::BeginInChild(const Policy& policy, const std::function<void()>& confine,
                                         const std::function<std::optional<Candidate>()>& open) {
  Pipe answer = MakePipe();
  Process child = Process::Fork([&] {
    return ReportErrors(answer.write.get(), [&] {
      confine();
      LeaveErrorTextsOut();
      std::optional<Candidate> candidate = open();
      SendMessage(answer.write.get(), candidate
                                          ? ToMessage(Verify(std::move(candidate->image), policy, candidate->evidence))
                                          : Message{kNothing, {}});
      _exit(0);  // to take apart what is left takes time and, with the code for it, memory
    });
  });
  return {std::move(answer.read), std::move(child)};
}

std::optional<VerifiedImage> Verifier::Pending::Wait() {
  std::optional<Message> message = ReceiveMessage(answer_.get(), kBounds);
  if (!message) {
    ThrowEndedEarly(child_.Wait());
  }
  if (message->kind == kNothing) {
    return std::nullopt;
  }
  if (message->kind != kVerified || message->fields.size() != kBounds.fields) {
    ThrowBroken();
  }
  FetchedImage documents = FromFields(message->fields);
  std::optional<image::Accepted> accepted;
  if (!message->fields[6].empty()) {
    const auto signed_at = ParseDecimal<int64_t>(message->fields[7]);
    if (!signed_at) {
      ThrowBroken();
    }
    accepted = image::Accepted{std::move(message->fields[6]), *signed_at};
  }
  return VerifiedImage(std::move(documents), std::move(message->fields[5]), std::move(accepted));
}

}  // namespace gantry::sign
