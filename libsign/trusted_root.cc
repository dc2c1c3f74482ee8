#include "libsign/trusted_root.h"

#include <algorithm>
#include <array>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libsign/proto_json.h"

namespace gantry::sign {
namespace {

constexpr std::array<std::string_view, 4> kMediaTypes = {
    "application/vnd.dev.sigstore.trustedroot.v0.1+json", "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json", "application/vnd.dev.sigstore.trustedroot+json;version=0.2"};

struct KeyDetails {
  std::string_view name;
  Scheme scheme;
};
constexpr std::array kKeyDetails = {
    KeyDetails{"PKIX_ECDSA_P256_SHA_256", {Scheme::Kind::kEcdsaDer, KeyHash::kSha256}},
    KeyDetails{"PKIX_ECDSA_P384_SHA_384", {Scheme::Kind::kEcdsaDer, KeyHash::kSha384}},
    KeyDetails{"PKIX_ECDSA_P521_SHA_512", {Scheme::Kind::kEcdsaDer, KeyHash::kSha512}},
    KeyDetails{"PKIX_RSA_PKCS1V15_2048_SHA256", {Scheme::Kind::kRsaPkcs1v15, KeyHash::kSha256}},
    KeyDetails{"PKIX_RSA_PKCS1V15_3072_SHA256", {Scheme::Kind::kRsaPkcs1v15, KeyHash::kSha256}},
    KeyDetails{"PKIX_RSA_PKCS1V15_4096_SHA256", {Scheme::Kind::kRsaPkcs1v15, KeyHash::kSha256}},
    KeyDetails{"PKIX_RSA_PSS_2048_SHA256", {Scheme::Kind::kRsaPss, KeyHash::kSha256}},
    KeyDetails{"PKIX_RSA_PSS_3072_SHA256", {Scheme::Kind::kRsaPss, KeyHash::kSha256}},
    KeyDetails{"PKIX_RSA_PSS_4096_SHA256", {Scheme::Kind::kRsaPss, KeyHash::kSha256}},
    KeyDetails{"PKIX_ED25519", {Scheme::Kind::kEd25519, KeyHash::kSha256}},
    KeyDetails{"PKIX_ED25519_PH", {Scheme::Kind::kEd25519ph, KeyHash::kSha256}},
};

ValidFor ParseValidFor(const json::Cursor& from) {
  const json::Cursor period = from.At("validFor");
  ValidFor valid{ProtoTime(period.At("start")), {}};
  if (const auto end = period.Find("end")) {
    valid.until = ProtoTime(*end);
  }
  return valid;
}

// "https://rekor.example:3000/x" -> "rekor.example:3000".
std::string HostOf(std::string_view url) {
  if (const size_t scheme = url.find("://"); scheme != std::string_view::npos) {
    url.remove_prefix(scheme + 3);
  }
  return std::string(url.substr(0, url.find('/')));
}

// nullopt when the key is of a kind that is not accepted: such a log can vouch for nothing.
std::optional<TransparencyLog> ParseLog(const json::Cursor& from) {
  const json::Cursor key = from.At("publicKey");
  const ValidFor valid = ParseValidFor(key);
  const std::string& details = key.At("keyDetails").String(256);
  const std::string bytes = ProtoBytes(key.At("rawBytes"), kMaxPublicKeyBytes);
  const std::string id = ProtoBytes(from.At("logId").At("keyId"), 64);
  const auto url = from.Find("baseUrl");
  const auto known =
      std::find_if(kKeyDetails.begin(), kKeyDetails.end(), [&](const KeyDetails& row) { return row.name == details; });
  if (known == kKeyDetails.end()) {
    return std::nullopt;
  }
  PublicKey parsed = PublicKey::Parse(bytes, "a log's key");
  if (!parsed.Goes(known->scheme)) {
    key.Fail("the key does not go with " + Quoted(details));
  }
  return TransparencyLog{url ? HostOf(url->String(4096)) : "", id, std::move(parsed), known->scheme, valid};
}

std::vector<TransparencyLog> ParseLogs(const json::Cursor& root, std::string_view member,
                                       std::vector<std::string>& left_out) {
  std::vector<TransparencyLog> logs;
  const auto list = root.Find(member);
  for (const json::Cursor& element : list ? list->Elements(kMaxTrustedParties) : std::vector<json::Cursor>()) {
    if (auto log = ParseLog(element)) {
      logs.push_back(std::move(*log));
    } else {
      left_out.push_back(element.pointer());
    }
  }
  return logs;
}

std::vector<TrustedAuthority> ParseAuthorities(const json::Cursor& root, std::string_view member) {
  std::vector<TrustedAuthority> authorities;
  const auto list = root.Find(member);
  for (const json::Cursor& element : list ? list->Elements(kMaxTrustedParties) : std::vector<json::Cursor>()) {
    TrustedAuthority authority{{}, ParseValidFor(element)};
    for (const json::Cursor& certificate : element.At("certChain").At("certificates").Elements(kMaxAuthorityChain)) {
      authority.chain.push_back(Certificate::Parse(ProtoBytes(certificate.At("rawBytes"), kMaxCertificateBytes),
                                                   "certificate at " + certificate.pointer()));
    }
    if (authority.chain.empty()) {
      element.Fail("an authority without certificates");
    }
    authorities.push_back(std::move(authority));
  }
  return authorities;
}

}  // namespace

TransparencyLog TransparencyLog::OfKey(PublicKey key) {
  std::string id = Hash(KeyHash::kSha256, key.spki());
  const Scheme scheme = Scheme::DefaultFor(key.kind());
  return {{}, std::move(id), std::move(key), scheme, {}};
}

TrustedRoot TrustedRoot::Parse(std::string_view text, std::string_view what) {
  if (text.size() > kMaxTrustedRootBytes) {
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": over " + std::to_string(kMaxTrustedRootBytes) + " bytes");
  }
  const json::Value document = json::Parse(text, what);
  const json::Cursor root(document, std::string(what));
  const std::string& type = root.At("mediaType").String(256);
  if (std::find(kMediaTypes.begin(), kMediaTypes.end(), type) == kMediaTypes.end()) {
    throw Error(ErrorKind::kUnsupported, std::string(what) + ": a trusted root of type " + Quoted(type));
  }
  TrustedRoot trusted;
  trusted.tlogs = ParseLogs(root, "tlogs", trusted.left_out);
  trusted.ctlogs = ParseLogs(root, "ctlogs", trusted.left_out);
  trusted.certificate_authorities = ParseAuthorities(root, "certificateAuthorities");
  trusted.timestamp_authorities = ParseAuthorities(root, "timestampAuthorities");
  return trusted;
}

}  // namespace gantry::sign
