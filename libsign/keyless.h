// Signatures whose key is vouched for by a certificate: sigstore with Fulcio, and with an authority of one's own.
//
// The key of such a signature lives for minutes, so all turns on the time: log and timestamp authorities say when the
// signature was there, and the certificate must have been valid at each of these times. The order is: the log entries
// are about this signature and in their logs; the timestamps are of it; the chain at each time; the certificate itself
// was logged; the signature; who signed. Nothing is asked of the network, and nothing of the clock but for PkiRules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libsign/fulcio.h"
#include "libsign/rekor.h"
#include "libsign/step.h"
#include "libsign/trusted_root.h"
#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxBundleTimestamps = 32;

// What came with a signature. Nothing is vouched for.
struct CertificateMaterial {
  std::vector<Certificate> chain;  // leaf first; what follows may fill gaps
  std::vector<RekorEntry> entries;
  std::vector<std::string> timestamps;  // RFC 3161 responses

  // The member verificationMaterial of a sigstore bundle that holds a certificate; "publicKey" is not for here.
  // kCorrupt, also for chains that bring their own root.
  static CertificateMaterial Parse(const json::Cursor& from);
  // The same in parts: the leaf in DER, "tlogEntries" and "timestampVerificationData" (null when absent).
  static CertificateMaterial FromParts(std::string_view leaf, const json::Value& log_entries,
                                       const json::Value& timestamps);
  // The annotations dev.sigstore.cosign/certificate, chain (PEM), bundle and rfc3161timestamp (JSON) of a layer, the
  // last three empty when absent. A chain that ends in a root is read without it.
  static CertificateMaterial FromAnnotations(std::string_view certificate, std::string_view chain,
                                             std::string_view bundle, std::string_view timestamp);
};

struct KeylessRules {
  std::string issuer;   // of the OpenID identity, exactly
  std::string subject;  // exactly
  bool email_only = false;
  bool require_sct = true;    // containers policy.json asks for none
  bool require_entry = true;  // else a timestamp is enough
  bool require_proof = true;  // of each entry; before bundles 0.2 the signed entry timestamp was all there was
  // The hash of an ECDSA key: of its curve, or SHA-256 whatever the curve, as the containers tools have it.
  bool hash_of_curve = true;
};

// An authority of one's own, without any log: valid now, and named so.
struct PkiRules {
  std::string email;     // empty: any
  std::string hostname;  // empty: any; one of the two is given
  int64_t now = 0;
  bool hash_of_curve = false;
};

struct CertificateVerdict {
  bool accepted = false;
  std::string code;  // "signed", or why not
  std::string reason;
  std::string signer;       // who, for people
  std::vector<Step> steps;  // in their order; the last one failed when not accepted
};

// `content.verifier` is set here. Codes beside those of CheckEntry, VerifyTimestampToken, BuildChain, CheckScts and
// ReadFulcioIdentity: "no-log-entry", "duplicate-log-entry", "no-trusted-time", "bad-signature", "issuer-mismatch",
// "subject-mismatch".
CertificateVerdict VerifyKeyless(SignedContent content, const CertificateMaterial& material, const TrustedRoot& trust,
                                 const KeylessRules& rules);

CertificateVerdict VerifyPki(const SignedContent& content, const CertificateMaterial& material,
                             const std::vector<Certificate>& roots, const std::vector<Certificate>& intermediates,
                             const PkiRules& rules);

// How keys of this kind sign under a certificate.
Scheme SchemeUnderCertificate(KeyKind kind, bool hash_of_curve);

}  // namespace gantry::sign
