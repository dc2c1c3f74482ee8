#include "libsign/fulcio.h"

#include <algorithm>

#include "libimage/base/error.h"
#include "libsign/big_endian.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kIssuerOid = "1.3.6.1.4.1.57264.1.8";
constexpr std::string_view kOldIssuerOid = "1.3.6.1.4.1.57264.1.1";
constexpr std::string_view kBuildSignerOid = "1.3.6.1.4.1.57264.1.9";
constexpr std::string_view kSourceRepositoryOid = "1.3.6.1.4.1.57264.1.12";
constexpr std::string_view kSourceRefOid = "1.3.6.1.4.1.57264.1.14";

std::string TextOf(const Certificate& certificate, std::string_view oid) {
  const Extension* extension = certificate.FindExtension(oid);
  return extension == nullptr ? "" : Utf8String(extension->value).value_or("");
}

// Both forms of the issuer; the second is the bare text. Empty when there is none, or they differ.
std::string IssuerOf(const Certificate& certificate) {
  const Extension* current = certificate.FindExtension(kIssuerOid);
  const Extension* old = certificate.FindExtension(kOldIssuerOid);
  if (current == nullptr) {
    return old == nullptr ? "" : old->value;
  }
  const auto text = Utf8String(current->value);
  return text && (old == nullptr || old->value == *text) ? *text : "";
}

// Takes numbers and lengths in front of bytes, as TLS writes them (RFC 5246, 4). Throws kCorrupt at the end.
class TlsReader {
 public:
  explicit TlsReader(std::string_view bytes) : rest_(bytes) {}

  std::string_view Take(size_t size) {
    if (size > rest_.size()) {
      throw Error(ErrorKind::kCorrupt, "a certificate timestamp ends early");
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  uint64_t Number(size_t size) {
    uint64_t number = 0;
    for (const char c : Take(size)) {
      number = number << 8 | static_cast<unsigned char>(c);
    }
    return number;
  }
  std::string_view Sized(size_t length_size) { return Take(Number(length_size)); }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

struct Sct {
  std::string log_id;
  uint64_t time = 0;  // milliseconds
  std::string extensions;
  uint64_t algorithm = 0;  // hash and signature
  std::string signature;
};

constexpr uint64_t kSha256Ecdsa = 0x0403;
constexpr uint64_t kSha256Rsa = 0x0401;

Sct ParseSct(std::string_view bytes) {
  TlsReader reader(bytes);
  if (reader.Number(1) != 0) {
    throw Error(ErrorKind::kCorrupt, "a certificate timestamp is not of version 1");
  }
  Sct sct;
  sct.log_id = reader.Take(32);
  sct.time = reader.Number(8);
  sct.extensions = reader.Sized(2);
  sct.algorithm = reader.Number(2);
  sct.signature = reader.Sized(2);
  if (!reader.done()) {
    throw Error(ErrorKind::kCorrupt, "a certificate timestamp is followed by other bytes");
  }
  return sct;
}

// The extension's value is an OCTET STRING around the list.
std::vector<Sct> ParseScts(std::string_view extension) {
  TlsReader der(extension);
  const bool octets = der.Number(1) == 0x04;
  uint64_t size = der.Number(1);
  if (const uint64_t form = size; form >= 0x80) {
    size = form > 0x82 ? 0 : der.Number(form & 0x7f);
    if (size < (form == 0x81 ? 0x80 : 0x100)) {
      throw Error(ErrorKind::kCorrupt, "the list of certificate timestamps is not in DER, or too large");
    }
  }
  TlsReader outer(der.Take(size));
  TlsReader list(outer.Sized(2));
  if (!octets || !der.done() || !outer.done()) {
    throw Error(ErrorKind::kCorrupt, "the list of certificate timestamps is not one");
  }
  std::vector<Sct> scts;
  while (!list.done()) {
    if (scts.size() == kMaxScts) {
      throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxScts) + " certificate timestamps");
    }
    scts.push_back(ParseSct(list.Sized(2)));
  }
  return scts;
}

// What the log signed: the certificate without its timestamps, and who issued it (RFC 6962, 3.2).
std::string SignedData(const Sct& sct, const std::string& tbs, const std::string& issuer_spki) {
  constexpr uint64_t kPrecertificate = 1;
  return BigEndian(0, 1) + BigEndian(0, 1) + BigEndian(sct.time, 8) + BigEndian(kPrecertificate, 2) +
         Hash(KeyHash::kSha256, issuer_spki) + BigEndian(tbs.size(), 3) + tbs + BigEndian(sct.extensions.size(), 2) +
         sct.extensions;
}

bool SignedBy(const TransparencyLog& log, const Sct& sct, const std::string& data) {
  const uint64_t algorithm = log.scheme.kind == Scheme::Kind::kRsaPkcs1v15 ? kSha256Rsa : kSha256Ecdsa;
  return sct.algorithm == algorithm && log.key.Accepts(log.scheme, data, sct.signature);
}

}  // namespace

bool FulcioIdentity::Is(std::string_view subject, bool email_only) const {
  return std::any_of(names.begin(), names.end(), [&](const AlternativeName& name) {
    return name.value == subject && (!email_only || name.kind == AlternativeName::Kind::kEmail);
  });
}

std::string FulcioIdentity::Describe() const {
  return Quoted(names.empty() ? "" : names.front().value) + " by " + Quoted(issuer);
}

FulcioIdentity ReadFulcioIdentity(const Certificate& certificate) {
  FulcioIdentity identity;
  identity.issuer = IssuerOf(certificate);
  for (const AlternativeName& name : certificate.alternative_names()) {
    const bool counts = name.kind != AlternativeName::Kind::kOther || name.oid == kFulcioUserNameOid;
    if (counts && !name.value.empty()) {
      identity.names.push_back(name);
    }
  }
  if (identity.issuer.empty() || identity.names.empty()) {
    identity = {};
    identity.problem = Reason{"no-identity", "the certificate does not say, in one voice, who it was issued to"};
    return identity;
  }
  identity.build_signer = TextOf(certificate, kBuildSignerOid);
  identity.source_repository = TextOf(certificate, kSourceRepositoryOid);
  identity.source_ref = TextOf(certificate, kSourceRefOid);
  return identity;
}

std::optional<Reason> CheckScts(const Certificate& certificate, const Certificate& issuer,
                                const std::vector<TransparencyLog>& logs) {
  const Extension* extension = certificate.FindExtension(kSctListOid);
  if (extension == nullptr) {
    return Reason{"sct-missing", "the certificate was not logged (no embedded timestamp)"};
  }
  try {
    const std::string tbs = certificate.TbsWithout(kSctListOid);
    size_t good = 0;
    for (const Sct& sct : ParseScts(extension->value)) {
      const auto log =
          std::find_if(logs.begin(), logs.end(), [&](const TransparencyLog& known) { return known.id == sct.log_id; });
      if (log == logs.end()) {
        continue;
      }
      const bool in_time =
          sct.time / 1000 <= INT64_MAX && log->valid_for.Contains(static_cast<int64_t>(sct.time / 1000));
      if (!in_time || !SignedBy(*log, sct, SignedData(sct, tbs, issuer.spki()))) {
        return Reason{"sct-invalid", "a timestamp in the certificate is not its log's"};
      }
      ++good;
    }
    if (good > 0) {
      return std::nullopt;
    }
  } catch (const Error& error) {
    return Reason{"sct-invalid", error.message()};
  }
  return Reason{"sct-missing", "no log that is trusted has the certificate"};
}

}  // namespace gantry::sign
