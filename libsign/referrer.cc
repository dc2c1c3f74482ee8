#include "libsign/referrer.h"

#include <map>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/json.h"
#include "libsign/bundle.h"
#include "libsign/dsse.h"
#include "libsign/notary_envelope.h"
#include "libsign/statement.h"
#include "libsign/time_text.h"

namespace gantry::sign {
namespace {

using Annotations = std::map<std::string, std::string>;

std::string Thumbprints(const std::vector<Certificate>& chain) {
  json::Array list;
  for (const Certificate& certificate : chain) list.emplace_back(Digest::Of(certificate.der()).hex());
  return json::Print(list);
}

Annotations AnnotationsOfEnvelope(const image::Attachment& attachment) {
  const NotaryEnvelope envelope = NotaryEnvelope::Parse(attachment.media_type, attachment.payload);
  return {{"io.cncf.notary.x509chain.thumbprint#S256", Thumbprints(envelope.chain)},
          {"org.opencontainers.image.created", TimeText(envelope.signing_time)}};
}

Annotations AnnotationsOfBundle(const image::Attachment& attachment) {
  const Bundle bundle = Bundle::Parse(attachment.payload);
  if (!bundle.envelope)
    return {{"dev.sigstore.bundle.content", "message-signature"}};
  Annotations annotations = {{"dev.sigstore.bundle.content", "dsse-envelope"}};
  if (bundle.envelope->payload_type == kInTotoType)
    annotations.emplace("dev.sigstore.bundle.predicateType", Statement::Parse(bundle.envelope->payload).predicate_type);
  return annotations;
}

}  // namespace

std::optional<image::SignatureManifest> ReferrerOf(const image::Descriptor& subject,
                                                   const image::Attachment& attachment) {
  if (attachment.media_type == image::kBundleType)
    return image::MakeReferrer(subject, attachment, AnnotationsOfBundle(attachment));
  if (attachment.media_type == kJoseType || attachment.media_type == kCoseType)
    return image::MakeReferrer(subject, attachment, AnnotationsOfEnvelope(attachment), kNotaryArtifactType);
  return std::nullopt;
}

}  // namespace gantry::sign
