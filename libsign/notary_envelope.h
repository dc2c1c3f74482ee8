// Signature envelopes of the Notary Project (notaryproject/specifications, signature-specification.md): JWS and COSE,
// read into one value; JWS written.
//
// Parsing is the first half of integrity: all critical attributes are ones that are understood, the algorithm is the
// one that the leaf's key has, the times are there that the signing scheme asks for. Nothing is vouched for before
// libsign/notary.h did so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/crypto.h"
#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxNotaryEnvelopeBytes = 4 * 1024 * 1024;

inline constexpr std::string_view kNotaryArtifactType = "application/vnd.cncf.notary.signature";
inline constexpr std::string_view kNotaryPayloadType = "application/vnd.cncf.notary.payload.v1+json";
inline constexpr std::string_view kJoseType = "application/jose+json";
inline constexpr std::string_view kCoseType = "application/cose";

enum class NotaryScheme { kX509, kSigningAuthority };

struct NotaryEnvelope {
  std::string content_type;
  std::string payload;
  std::vector<Certificate> chain;  // leaf first; not empty
  NotaryScheme scheme = NotaryScheme::kX509;
  int64_t signing_time = 0;  // the signer's word under kX509, the authority's under kSigningAuthority
  std::optional<int64_t> expiry;
  std::string timestamp;  // RFC 3161 token, DER; empty when absent
  std::string agent;      // for people
  Scheme algorithm;       // of the leaf's key
  std::string signed_bytes;
  std::string signature;

  // kCorrupt for what is no envelope, kUnsupported for another media type.
  static NotaryEnvelope Parse(std::string_view media_type, std::string_view bytes);
};

// The one algorithm that the specification gives a key; nullopt when it gives none.
std::optional<Scheme> NotaryAlgorithm(const PublicKey& key);

struct NotarySigning {
  int64_t time = 0;
  std::optional<int64_t> expiry;
  std::string agent;
};

// A JWS envelope over `payload`. `chain` begins with the certificate of `key` and ends with a self-signed one; kUsage
// when it does not hold together at `time`, or the leaf is not for signing.
std::string SignNotaryJws(std::string_view payload, const PrivateKey& key, const std::vector<Certificate>& chain,
                          const NotarySigning& signing);

}  // namespace gantry::sign
