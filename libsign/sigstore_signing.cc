#include "libsign/sigstore_signing.h"

#include <utility>

#include "libimage/base/base64.h"
#include "libsign/bundle.h"
#include "libsign/dsse.h"
#include "libsign/simple_signing.h"
#include "libsign/statement.h"

namespace gantry::sign {

image::Attachment SignPayload(const SignedImage& image, const PrivateKey& key, const Scheme& scheme) {
  const SimpleClaim claim{image.name, image.manifest, image.creator, image.time};
  std::string payload = claim.ToJson(PayloadKind::kCosign);
  std::string signature = EncodeBase64(key.Sign(scheme, payload));
  return {std::string(image::kSimpleSigningType),
          std::move(payload),
          {{std::string(image::kSignatureAnnotation), std::move(signature)}}};
}

image::Attachment SignStatement(const SignedImage& image, const PrivateKey& key, const Scheme& scheme) {
  Subject subject{.name = image.name.ToString(),
                  .digests = {{std::string(Name(image.manifest.algorithm())), image.manifest.hex()}}};
  if (image.identity) {
    subject.digests.emplace(kIdentityDigest, image.identity->hex());
  }
  const json::Object predicate = {{"creator", image.creator}, {"timestamp", image.time}};
  const Statement statement{{subject}, std::string(image.identity ? kIdentityPredicate : kCosignPredicate), predicate};
  return SignAttestation(statement.ToJson(), key, scheme);
}

image::Attachment SignAttestation(std::string statement, const PrivateKey& key, const Scheme& scheme) {
  DsseEnvelope envelope{std::string(kInTotoType), std::move(statement)};
  envelope.signatures.push_back({{}, key.Sign(scheme, envelope.SignedBytes())});
  const Bundle bundle{.key_hint = Bundle::HintFor(key.public_key()), .envelope = std::move(envelope)};
  return {std::string(image::kBundleType), bundle.ToJson()};
}

}  // namespace gantry::sign
