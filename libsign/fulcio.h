// Certificates of Fulcio, sigstore's authority: whom they were issued to, and that they were logged when they were.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libsign/step.h"
#include "libsign/trusted_root.h"
#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxScts = 32;  // of one certificate

// The extension with the embedded timestamps of certificate transparency logs (RFC 6962, 3.3).
inline constexpr std::string_view kSctListOid = "1.3.6.1.4.1.11129.2.4.2";
// Of the alternative name that holds a user name.
inline constexpr std::string_view kFulcioUserNameOid = "1.3.6.1.4.1.57264.1.7";

// Who signed, as Fulcio was told by the OpenID issuer.
struct FulcioIdentity {
  std::optional<Reason> problem;  // when set, nothing below is
  std::string issuer;
  std::vector<AlternativeName> names;  // one at least
  // Of signatures made by workflows, for people; empty when absent.
  std::string build_signer;
  std::string source_repository;
  std::string source_ref;

  // Whether it is exactly that subject. With `email_only`, names of other kinds do not count.
  bool Is(std::string_view subject, bool email_only) const;
  std::string Describe() const;  // "'a@b.example' by 'https://issuer.example'"
};

// Codes: "no-identity".
FulcioIdentity ReadFulcioIdentity(const Certificate& certificate);

// One embedded timestamp of a log that was trusted at its time, at least, and no false one of a trusted log. `issuer`
// is the certificate that the chain led to. Codes: "sct-missing", "sct-invalid".
std::optional<Reason> CheckScts(const Certificate& certificate, const Certificate& issuer,
                                const std::vector<TransparencyLog>& logs);

}  // namespace gantry::sign
