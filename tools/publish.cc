#include "tools/publish.h"

#include <optional>

#include "libimage/base/error.h"
#include "libimage/model/signature_manifest.h"
#include "libsign/referrer.h"

namespace gantry::tools {
namespace {

using image::Attachment;
using image::Pusher;

// nullopt for what is damaged: it speaks for nothing in a registry either.
std::optional<Attachment> ReadWhole(const std::string& stored, const image::Descriptor& subject) {
  try {
    auto attachment = Attachment::FromStored(stored);
    if (attachment && image::IsAttachmentType(attachment->media_type)) {
      static_cast<void>(sign::ReferrerOf(subject, *attachment));
      return attachment;
    }
  } catch (const Error&) {
  }
  return std::nullopt;
}

}  // namespace

std::string Publish(Pusher& pusher, const image::Descriptor& subject, const Attachment& attachment) {
  if (const auto referrer = sign::ReferrerOf(subject, attachment))
    return pusher.PutReferrer(subject.digest, *referrer);
  const auto kind = attachment.media_type == image::kDsseType ? Pusher::SignatureTagKind::kAttestations
                                                              : Pusher::SignatureTagKind::kSignatures;
  return pusher.AppendToTag(subject.digest, kind, attachment);
}

size_t PublishAll(Pusher& pusher, const image::Descriptor& subject, const sign::Evidence& evidence) {
  size_t published = 0;
  for (const std::string& stored : evidence.signatures) {
    if (const auto attachment = ReadWhole(stored, subject)) {
      Publish(pusher, subject, *attachment);
      ++published;
    }
  }
  pusher.Settle();
  return published;
}

}  // namespace gantry::tools
