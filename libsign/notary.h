// Verification by the rules of the Notary Project (trust-store-trust-policy.md, signing-and-verification-workflow.md).
//
// Five checks in this order: integrity, authenticity, timestamp, expiry, revocation. What a statement of the policy
// says happens when one fails: it refuses, or is only noted. Integrity, and that the envelope is about this image,
// refuse at every level but "skip". Revocation is judged by the lists that are on this machine; a certificate that
// names a list or a responder of which there is none here is of unknown standing, which is a failure of that check.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/descriptor.h"
#include "libsign/notary_envelope.h"
#include "libsign/notary_policy.h"
#include "libsign/step.h"
#include "libsign/x509.h"
#include "libsign/x509_crl.h"

namespace gantry::sign {

constexpr size_t kMaxStoreFiles = 1000;  // of one trust store

// Whom one statement trusts, as bytes; kept apart by what they are trusted for.
struct NotaryTrust {
  std::vector<Certificate> ca;
  std::vector<Certificate> signing_authority;
  std::vector<Certificate> tsa;
  std::vector<Crl> revocation_lists;

  // The stores that `statement` names below `directory` (that of notation's configuration), trust-store/x509/TYPE/NAME,
  // and all lists in `directory`/crl. Symbolic links and directories in a store are refused (kCorrupt), and
  // certificates that can anchor nothing: neither self-signed nor of an authority.
  static NotaryTrust Load(const std::string& directory, const NotaryStatement& statement);
};

struct NotaryVerdict {
  bool accepted = false;
  std::string code;  // "signed", or why not
  std::string reason;
  std::string signer;       // the leaf's subject
  std::vector<Step> steps;  // failed ones that are only noted, too
};

// Codes: "not-about-this-image", "bad-payload", "bad-signature", "bad-envelope", "untrusted-signer",
// "identity-mismatch", "no-timestamp", "expired-signature", "revoked-certificate", "revocation-unknown", and those of
// VerifyTimestampToken, BuildChain and CheckNotaryChain.
NotaryVerdict VerifyNotary(std::string_view media_type, std::string_view envelope, const image::Descriptor& target,
                           const NotaryStatement& statement, const NotaryTrust& trust, int64_t now);

// Whether a chain is one that may sign: whole, in order, self-signed at its end, valid at `time`, the leaf for digital
// signatures alone and for no use that is another's. Codes of BuildChain, and "wrong-usage".
std::optional<Reason> CheckNotaryChain(const std::vector<Certificate>& chain, int64_t time);

// What an envelope signs: the descriptor of the image's manifest.
std::string NotaryPayload(const image::Descriptor& target);

}  // namespace gantry::sign
