#include "libimage/base/base64.h"
#include "libimage/model/attachment.h"
#include "libsign/verify.h"
#include "tests/fuzz/fuzz.h"

using gantry::EncodeBase64;
using gantry::fuzz::Require;
using gantry::image::Attachment;
using gantry::sign::Decision;
using gantry::sign::Policy;

namespace {

// Of Ed25519 (RFC 8410, 10.1), as a log's and as a bare key.
constexpr std::string_view kKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n";
constexpr std::string_view kEmptyRoot = R"({"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"})";

gantry::image::FetchedImage Image() {
  const std::string config = R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}})";
  const gantry::Digest digest = gantry::Digest::Of(config);
  const std::string manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":)"
      R"("application/vnd.oci.image.config.v1+json","digest":")" +
      digest.str() + R"(","size":)" + std::to_string(config.size()) + R"(},"layers":[]})";
  return {gantry::image::Image::FromBytes(manifest, "", config),
          gantry::image::DockerReference::Parse("h.example/foo:v1")};
}

// Every requirement where certificates and logs decide; nobody who could meet one of them is about.
Policy Asking() {
  const std::string key = EncodeBase64(kKey);
  const std::string who = R"("oidcIssuer":"https://i.example","subjectEmail":"a@b.example")";
  const std::string type = R"({"type":"sigstoreSigned",)";
  return Policy::Parse(R"({"default":[{"type":"anyOf","requirements":[)" + type + R"("keyData":")" + key +
                           R"(","rekorPublicKeyData":")" + key + R"("},)" + type + R"("trustedRootData":")" +
                           EncodeBase64(kEmptyRoot) + R"(","fulcio":{)" + who + "}}," + type + R"("keyData":")" + key +
                           R"("},{"type":"identitySigned","keyData":")" + key + R"("}]}]})",
                       "fuzz");
}

// One stored signature in a decision: whatever it is, it is refused with a reason.
void Decide(const std::string& stored) {
  static const Policy kPolicy = Asking();
  static const gantry::image::FetchedImage kImage = Image();
  gantry::sign::Evidence evidence;
  evidence.signatures.push_back(stored);
  const Decision decision = gantry::sign::Verifier::Decide(kImage, kPolicy, evidence, gantry::sign::Detail::kWhole);
  Require(!decision.allowed && !decision.code.empty() && !decision.Explain().empty());
}

}  // namespace

// As it stands, and as the payload of each type that a policy looks at.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(gantry::fuzz::Text(data, size));
  Decide(text);
  for (const std::string_view type :
       {gantry::image::kSimpleSigningType, gantry::image::kDsseType, gantry::image::kBundleType}) {
    Decide(Attachment{std::string(type), text}.ToStored());
  }
  for (const char* annotation : {"dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate",
                                 "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"}) {
    const std::string signature = EncodeBase64("signature");
    const Attachment annotated{std::string(gantry::image::kSimpleSigningType),
                               "{}",
                               {{"dev.cosignproject.cosign/signature", signature}, {annotation, text}}};
    // What is not UTF-8 cannot come that way.
    gantry::fuzz::Accepts([&] { Decide(annotated.ToStored()); });
  }
  return 0;
}
