// X.509 certificates (RFC 5280) as values: read once, strictly, into what signatures need to know of them.
//
// A Certificate was parsed and nothing more: nobody vouches for it until BuildChain (libsign/x509_chain.h) led from it
// to an anchor. Strictly means: DER and no other encoding, no bytes behind it, no extension twice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/crypto.h"

namespace gantry::sign {

constexpr size_t kMaxCertificateBytes = 64 * 1024;
constexpr size_t kMaxCertificates = 1000;  // of one file
constexpr size_t kMaxCertificateFileBytes = 16 * 1024 * 1024;
constexpr size_t kMaxExtensions = 64;         // of one certificate
constexpr size_t kMaxAlternativeNames = 100;  // of one certificate

// OIDs of extended key usages.
inline constexpr std::string_view kAnyUsage = "2.5.29.37.0";
inline constexpr std::string_view kServerAuthUsage = "1.3.6.1.5.5.7.3.1";
inline constexpr std::string_view kClientAuthUsage = "1.3.6.1.5.5.7.3.2";
inline constexpr std::string_view kCodeSigningUsage = "1.3.6.1.5.5.7.3.3";
inline constexpr std::string_view kEmailUsage = "1.3.6.1.5.5.7.3.4";
inline constexpr std::string_view kTimestampingUsage = "1.3.6.1.5.5.7.3.8";
inline constexpr std::string_view kOcspUsage = "1.3.6.1.5.5.7.3.9";

// Bits of the extension keyUsage.
inline constexpr uint32_t kDigitalSignature = 1U << 0;
inline constexpr uint32_t kNonRepudiation = 1U << 1;
inline constexpr uint32_t kKeyCertSign = 1U << 5;
inline constexpr uint32_t kCrlSign = 1U << 6;

struct Extension {
  std::string oid;
  bool critical = false;
  std::string value;  // DER

  friend bool operator==(const Extension&, const Extension&) = default;
};

struct AlternativeName {
  enum class Kind { kEmail, kUri, kDns, kOther };
  Kind kind;
  std::string value;  // of kOther: the UTF8String that it holds, empty for other types
  std::string oid;    // of kOther

  friend bool operator==(const AlternativeName&, const AlternativeName&) = default;
};

struct NameAttribute {
  std::string type;  // "CN", "O", "C", "ST"; an OID where there is no short name
  std::string value;
  bool shares_rdn = false;  // its RDN has further attributes
};

class Certificate {
 public:
  // `what` names it in errors. kCorrupt for all that is no certificate.
  static Certificate Parse(std::string_view der, std::string_view what);
  // The CERTIFICATE blocks of a PEM text, at least one; other blocks are refused, text between them is not read.
  static std::vector<Certificate> ParsePem(std::string_view text, std::string_view what);
  // PEM, or one DER certificate.
  static std::vector<Certificate> ParseFile(std::string_view bytes, std::string_view what);

  const std::string& der() const { return der_; }
  std::string ToPem() const;

  // nullopt when it is too small, or of a kind that nothing here accepts (libsign/crypto.h).
  const std::optional<PublicKey>& key() const { return key_; }
  const std::string& spki() const { return spki_; }        // SubjectPublicKeyInfo, DER
  const std::string& subject() const { return subject_; }  // one line, RFC 2253: "CN=x,O=y"
  const std::string& issuer() const { return issuer_; }
  const std::vector<NameAttribute>& subject_attributes() const { return subject_attributes_; }
  const std::string& serial() const { return serial_; }  // upper-case hexadecimal

  int64_t not_before() const { return not_before_; }  // seconds since 1970, both ends valid
  int64_t not_after() const { return not_after_; }
  bool ValidAt(int64_t time) const { return time >= not_before_ && time <= not_after_; }

  bool self_signed() const { return self_signed_; }                // by its own key, which was checked
  const std::string& digest_name() const { return digest_name_; }  // of its signature: "SHA256"; empty for Ed25519
  // Signed over SHA-256, SHA-384, SHA-512 or with Ed25519.
  bool WellSigned() const;

  bool is_ca() const { return is_ca_; }
  std::optional<unsigned> path_length() const { return path_length_; }
  // nullopt when there is no keyUsage.
  std::optional<uint32_t> key_usage() const { return key_usage_; }
  // OIDs; nullopt when there is no extKeyUsage.
  const std::optional<std::vector<std::string>>& extended_key_usage() const { return extended_key_usage_; }
  const std::vector<AlternativeName>& alternative_names() const { return alternative_names_; }
  bool names_revocation() const { return names_revocation_; }  // a CRL distribution point or an OCSP responder

  // nullptr when there is none of that OID.
  const Extension* FindExtension(std::string_view oid) const;
  bool IsCritical(std::string_view oid) const;

  // The TBSCertificate as it was before the extension of that OID was added: what a CT log signs (RFC 6962, 3.2).
  std::string TbsWithout(std::string_view oid) const;

  friend bool operator==(const Certificate& a, const Certificate& b) { return a.der_ == b.der_; }

 private:
  friend class CertificateReader;
  std::string der_;
  std::optional<PublicKey> key_;
  std::string spki_;
  std::string subject_;
  std::string issuer_;
  std::vector<NameAttribute> subject_attributes_;
  std::string serial_;
  int64_t not_before_ = 0;
  int64_t not_after_ = 0;
  bool self_signed_ = false;
  std::string digest_name_;
  bool is_ca_ = false;
  std::optional<unsigned> path_length_;
  std::optional<uint32_t> key_usage_;
  std::optional<std::vector<std::string>> extended_key_usage_;
  std::vector<AlternativeName> alternative_names_;
  bool names_revocation_ = false;
  std::vector<Extension> extensions_;
};

inline constexpr std::string_view kKeyUsageOid = "2.5.29.15";
inline constexpr std::string_view kAlternativeNameOid = "2.5.29.17";
inline constexpr std::string_view kBasicConstraintsOid = "2.5.29.19";
inline constexpr std::string_view kExtendedKeyUsageOid = "2.5.29.37";

// The text of a DER value that is one UTF8String; nullopt for anything else.
std::optional<std::string> Utf8String(std::string_view der);

}  // namespace gantry::sign
