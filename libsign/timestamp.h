// RFC 3161 timestamps: a third party's word that some bytes existed at a time.
//
// A token counts when, in this order: it is one CMS signature over TSTInfo, its imprint is that of the bytes, its
// signer is named by the signed attribute signingCertificateV2 and leads to an anchor at the time itself, that
// certificate is for timestamping alone and says so critically, and the signature is good. SHA-1 is nowhere accepted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/step.h"
#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxTimestampBytes = 64 * 1024;

struct Timestamp {
  std::optional<Reason> problem;  // when set, nothing below is
  int64_t time = 0;
  int64_t earliest = 0;            // the time less the accuracy, where the token has one, in whole seconds outwards
  int64_t latest = 0;              // as above
  std::vector<Certificate> chain;  // of the signer, up to the anchor
};

// `token` is the CMS structure. `candidates` may hold the signer and what is between it and the anchors; the token's
// own certificates are candidates too. Codes: "bad-timestamp", "timestamp-mismatch", and those of BuildChain.
Timestamp VerifyTimestampToken(std::string_view token, std::string_view message,
                               const std::vector<Certificate>& candidates, const std::vector<Certificate>& anchors);

// The token in a TimeStampResp whose status is "granted"; nullopt otherwise. Borrows.
std::optional<std::string_view> TokenOfResponse(std::string_view response);

}  // namespace gantry::sign
