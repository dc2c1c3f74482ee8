#include "libsign/notary_envelope.h"

#include <algorithm>
#include <array>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libsign/cose.h"
#include "libsign/notary.h"
#include "libsign/proto_json.h"
#include "libsign/time_text.h"
#include "libsign/timestamp.h"
#include "libsign/x509_chain.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kSchemeKey = "io.cncf.notary.signingScheme";
constexpr std::string_view kTimeKey = "io.cncf.notary.signingTime";
constexpr std::string_view kAuthenticTimeKey = "io.cncf.notary.authenticSigningTime";
constexpr std::string_view kExpiryKey = "io.cncf.notary.expiry";
constexpr std::string_view kTimestampKey = "io.cncf.notary.timestampSignature";
constexpr std::string_view kAgentKey = "io.cncf.notary.signingAgent";
constexpr std::string_view kX509Name = "notary.x509";
constexpr std::string_view kAuthorityName = "notary.x509.signingAuthority";
constexpr size_t kMaxCritical = 16;
constexpr int64_t kCoseAlgorithm = 1;
constexpr int64_t kCoseCritical = 2;
constexpr int64_t kCoseContentType = 3;
constexpr int64_t kCoseChain = 33;

struct Algorithm {
  std::string_view jws;
  int64_t cose;
  Scheme scheme;
};
constexpr std::array kAlgorithms = {
    Algorithm{"PS256", -37, {Scheme::Kind::kRsaPss, KeyHash::kSha256}},
    Algorithm{"PS384", -38, {Scheme::Kind::kRsaPss, KeyHash::kSha384}},
    Algorithm{"PS512", -39, {Scheme::Kind::kRsaPss, KeyHash::kSha512}},
    Algorithm{"ES256", -7, {Scheme::Kind::kEcdsaRaw, KeyHash::kSha256}},
    Algorithm{"ES384", -35, {Scheme::Kind::kEcdsaRaw, KeyHash::kSha384}},
    Algorithm{"ES512", -36, {Scheme::Kind::kEcdsaRaw, KeyHash::kSha512}},
};

[[noreturn]] void Fail(std::string_view problem) {
  throw Error(ErrorKind::kCorrupt, "notary envelope: " + std::string(problem));
}

// The signed attributes, in whichever encoding they came.
struct Attributes {
  std::string content_type;
  std::string scheme;
  std::vector<std::string> critical;
  std::optional<int64_t> time;
  std::optional<int64_t> authentic_time;
  std::optional<int64_t> expiry;
};

bool Contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// What the specification asks of the attributes, whatever the encoding.
void Apply(const Attributes& attributes, NotaryEnvelope& envelope) {
  for (const std::string& name : attributes.critical) {
    const bool known = name == kSchemeKey || name == kAuthenticTimeKey || name == kExpiryKey;
    if (!known || std::count(attributes.critical.begin(), attributes.critical.end(), name) != 1) {
      Fail("critical attribute " + Quoted(name) + " is not understood, or listed twice");
    }
  }
  const bool authority = attributes.scheme == kAuthorityName;
  if ((!authority && attributes.scheme != kX509Name) || !Contains(attributes.critical, kSchemeKey)) {
    Fail("no critical signing scheme that is known");
  }
  if (attributes.expiry.has_value() != Contains(attributes.critical, kExpiryKey)) {
    Fail("an expiry that is not critical, or critical and absent");
  }
  if (attributes.authentic_time.has_value() != authority ||
      Contains(attributes.critical, kAuthenticTimeKey) != authority || attributes.time.has_value() == authority) {
    Fail("not the signing time of its scheme");
  }
  envelope.scheme = authority ? NotaryScheme::kSigningAuthority : NotaryScheme::kX509;
  envelope.signing_time = authority ? *attributes.authentic_time : *attributes.time;
  envelope.expiry = attributes.expiry;
  envelope.content_type = attributes.content_type;
  if (envelope.expiry && *envelope.expiry <= envelope.signing_time) {
    Fail("it expires before it was signed");
  }
}

// The algorithm follows from the key; the envelope only repeats it.
void ApplyAlgorithm(NotaryEnvelope& envelope, const auto& says) {
  if (envelope.chain.empty() || !envelope.chain.front().key()) {
    Fail("no certificate, or one with a key that is not accepted");
  }
  const auto of_key = NotaryAlgorithm(*envelope.chain.front().key());
  const auto row = std::find_if(kAlgorithms.begin(), kAlgorithms.end(), says);
  if (!of_key || row == kAlgorithms.end() || row->scheme != *of_key) {
    Fail("its algorithm is not that of the certificate's key");
  }
  envelope.algorithm = *of_key;
}

std::optional<int64_t> FindTime(const json::Cursor& header, std::string_view key) {
  const auto member = header.Find(key);
  return member ? std::optional(ProtoTime(*member)) : std::nullopt;
}

NotaryEnvelope ParseJws(std::string_view bytes) {
  const json::Value document = json::Parse(bytes, "notary envelope", 16);
  const json::Cursor root(document, "notary envelope");
  root.OnlyKeys({"payload", "protected", "header", "signature"});
  const std::string& encoded_header = root.At("protected").String();
  const std::string& encoded_payload = root.At("payload").String();
  const auto header_text = DecodeBase64Url(encoded_header);
  const auto payload = DecodeBase64Url(encoded_payload);
  const auto signature = DecodeBase64Url(root.At("signature").String());
  if (!header_text || !payload || !signature) {
    Fail("expected base64url");
  }
  NotaryEnvelope envelope;
  envelope.payload = *payload;
  envelope.signature = *signature;
  envelope.signed_bytes = encoded_header + "." + encoded_payload;

  const json::Cursor unprotected = root.At("header");
  for (const json::Cursor& certificate : unprotected.At("x5c").Elements(kMaxChainLength)) {
    envelope.chain.push_back(
        Certificate::Parse(DecodeBase64(certificate.String()).value_or(""), "certificate of the signature"));
  }
  if (const auto timestamp = unprotected.Find(kTimestampKey)) {
    envelope.timestamp = ProtoBytes(*timestamp, kMaxTimestampBytes);
  }
  if (const auto agent = unprotected.Find(kAgentKey)) {
    envelope.agent = agent->String(1024);
  }

  const json::Value header_document = json::Parse(*header_text, "protected header of a notary envelope", 8);
  const json::Cursor header(header_document, "protected header of a notary envelope");
  Apply({.content_type = header.At("cty").String(256),
         .scheme = header.At(kSchemeKey).String(256),
         .critical = header.At("crit").Strings(kMaxCritical),
         .time = FindTime(header, kTimeKey),
         .authentic_time = FindTime(header, kAuthenticTimeKey),
         .expiry = FindTime(header, kExpiryKey)},
        envelope);
  const std::string& algorithm = header.At("alg").String(16);
  ApplyAlgorithm(envelope, [&](const Algorithm& row) { return row.jws == algorithm; });
  return envelope;
}

const CborValue& AtKey(const CborValue& map, const CborValue& key, CborValue::Kind kind) {
  const CborValue* value = map.Find(key);
  if (value == nullptr || value->kind != kind) {
    Fail("a header is missing, or of another type");
  }
  return *value;
}

// Tag 1: seconds since 1970.
std::optional<int64_t> CoseTime(const CborValue& map, std::string_view key) {
  const CborValue* value = map.Find(CborValue::Text(std::string(key)));
  if (value == nullptr) {
    return std::nullopt;
  }
  constexpr uint64_t kLastSecond = 253402300799;  // of the year 9999
  if (value->kind != CborValue::Kind::kTag || value->number != 1 ||
      value->items[0].kind != CborValue::Kind::kUnsigned || value->items[0].number > kLastSecond) {
    Fail("a time that is not one");
  }
  return static_cast<int64_t>(value->items[0].number);
}

std::vector<std::string> CoseCritical(const CborValue& header) {
  std::vector<std::string> names;
  for (const CborValue& item : AtKey(header, CborValue::Integer(kCoseCritical), CborValue::Kind::kArray).items) {
    // Numbers are headers of COSE itself, none of which is critical here.
    names.push_back(item.kind == CborValue::Kind::kText ? item.text : "#" + std::to_string(item.number));
  }
  return names;
}

NotaryEnvelope ParseCose(std::string_view bytes) {
  using Kind = CborValue::Kind;
  const CoseSign1 cose = CoseSign1::Parse(bytes);
  NotaryEnvelope envelope;
  envelope.payload = cose.payload;
  envelope.signature = cose.signature;
  envelope.signed_bytes = cose.signed_bytes;
  const CborValue& chain = AtKey(cose.unprotected_header, CborValue::Integer(kCoseChain), Kind::kArray);
  if (chain.items.size() > kMaxChainLength) {
    Fail("too many certificates");
  }
  for (const CborValue& certificate : chain.items) {
    envelope.chain.push_back(Certificate::Parse(certificate.text, "certificate of the signature"));
  }
  if (const CborValue* timestamp = cose.unprotected_header.Find(CborValue::Text(std::string(kTimestampKey)))) {
    envelope.timestamp = timestamp->text;
  }
  if (const CborValue* agent = cose.unprotected_header.Find(CborValue::Text(std::string(kAgentKey)))) {
    envelope.agent = agent->text;
  }
  const CborValue& header = cose.protected_header;
  Apply({.content_type = AtKey(header, CborValue::Integer(kCoseContentType), Kind::kText).text,
         .scheme = AtKey(header, CborValue::Text(std::string(kSchemeKey)), Kind::kText).text,
         .critical = CoseCritical(header),
         .time = CoseTime(header, kTimeKey),
         .authentic_time = CoseTime(header, kAuthenticTimeKey),
         .expiry = CoseTime(header, kExpiryKey)},
        envelope);
  const CborValue* algorithm = header.Find(CborValue::Integer(kCoseAlgorithm));
  ApplyAlgorithm(envelope, [&](const Algorithm& row) {
    return algorithm != nullptr && *algorithm == CborValue::Integer(row.cose);
  });
  return envelope;
}

}  // namespace

std::optional<Scheme> NotaryAlgorithm(const PublicKey& key) {
  const auto ecdsa = [](KeyHash hash) { return Scheme{Scheme::Kind::kEcdsaRaw, hash}; };
  const auto rsa = [](KeyHash hash) { return Scheme{Scheme::Kind::kRsaPss, hash}; };
  switch (key.kind()) {
    case KeyKind::kEcdsaP256:
      return ecdsa(KeyHash::kSha256);
    case KeyKind::kEcdsaP384:
      return ecdsa(KeyHash::kSha384);
    case KeyKind::kEcdsaP521:
      return ecdsa(KeyHash::kSha512);
    case KeyKind::kRsa:
      return key.bits() == 2048   ? std::optional(rsa(KeyHash::kSha256))
             : key.bits() == 3072 ? std::optional(rsa(KeyHash::kSha384))
             : key.bits() == 4096 ? std::optional(rsa(KeyHash::kSha512))
                                  : std::nullopt;
    default:
      return std::nullopt;
  }
}

NotaryEnvelope NotaryEnvelope::Parse(std::string_view media_type, std::string_view bytes) {
  if (bytes.size() > kMaxNotaryEnvelopeBytes) {
    Fail("over " + std::to_string(kMaxNotaryEnvelopeBytes) + " bytes");
  }
  if (media_type == kJoseType) {
    return ParseJws(bytes);
  }
  if (media_type == kCoseType) {
    return ParseCose(bytes);
  }
  throw Error(ErrorKind::kUnsupported, "a notary envelope of type " + Quoted(media_type));
}

std::string SignNotaryJws(std::string_view payload, const PrivateKey& key, const std::vector<Certificate>& chain,
                          const NotarySigning& signing) {
  const auto scheme = NotaryAlgorithm(key.public_key());
  if (!scheme) {
    throw Error(ErrorKind::kUsage, "the Notary Project has no algorithm for keys of this kind",
                "use RSA of 2048, 3072 or 4096 bits, or ECDSA on P-256, P-384 or P-521");
  }
  if (chain.empty() || chain.front().spki() != key.public_key().spki()) {
    throw Error(ErrorKind::kUsage, "the first certificate of the chain is not that of the key");
  }
  if (const auto problem = CheckNotaryChain(chain, signing.time)) {
    throw Error(ErrorKind::kUsage, "the chain cannot be used: " + problem->text);
  }
  const auto row = std::find_if(kAlgorithms.begin(), kAlgorithms.end(),
                                [&](const Algorithm& known) { return known.scheme == *scheme; });
  json::Array critical = {std::string(kSchemeKey)};
  json::Object header = {{"alg", row->jws}, {"cty", kNotaryPayloadType}, {std::string(kSchemeKey), kX509Name}};
  header.Append(std::string(kTimeKey), TimeText(signing.time));
  if (signing.expiry) {
    critical.emplace_back(std::string(kExpiryKey));
    header.Append(std::string(kExpiryKey), TimeText(*signing.expiry));
  }
  header.Append("crit", critical);
  const std::string encoded_header = EncodeBase64Url(json::Print(header));
  const std::string encoded_payload = EncodeBase64Url(payload);
  json::Array certificates;
  for (const Certificate& certificate : chain) {
    certificates.emplace_back(EncodeBase64(certificate.der()));
  }
  json::Object unprotected = {{"x5c", certificates}};
  if (!signing.agent.empty()) {
    unprotected.Append(std::string(kAgentKey), signing.agent);
  }
  return json::Print(
      json::Object{{"payload", encoded_payload},
                   {"protected", encoded_header},
                   {"header", unprotected},
                   {"signature", EncodeBase64Url(key.Sign(*scheme, encoded_header + "." + encoded_payload))}});
}

}  // namespace gantry::sign
