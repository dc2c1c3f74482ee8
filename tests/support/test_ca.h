// Certificates, revocation lists and timestamps that are there for a test, right or deliberately wrong. Made with
// OpenSSL directly and not by libsign, which has no code to make them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/crypto.h"
#include "libsign/x509.h"

namespace gantry::testing {

constexpr int64_t kNow = 1'750'000'000;  // what tests call now: 2025-06-15
constexpr int64_t kDay = 86'400;

// An extension as openssl's configuration writes it ("basicConstraints", "critical,CA:TRUE"), or by OID with raw DER
// ("1.2.3", "DER:0500", "critical,DER:...").
struct ExtensionSpec {
  std::string name;
  std::string value;
};

struct CertificateSpec {
  std::string subject = "CN=leaf";  // "C=US,O=x,CN=y"; "+" joins the attributes of one RDN; empty for none
  std::vector<ExtensionSpec> extensions;
  int64_t not_before = kNow - 100 * kDay;
  int64_t not_after = kNow + 100 * kDay;
  std::string key = "P-256";  // a curve of OpenSSL's, "RSA:2048", "ED25519"
  std::string digest = "SHA256";

  CertificateSpec With(std::string name, std::string value) const;  // replaces the extension of that name
  CertificateSpec Without(std::string_view name) const;

  static CertificateSpec Authority(std::string subject, const std::string& path_length = "");
  static CertificateSpec CodeSigner(std::string subject);  // as Fulcio issues them, but for the identity
  static CertificateSpec Timestamper(std::string subject);
};

struct Issued {
  sign::Certificate certificate;
  std::string pkcs8;  // DER

  sign::PrivateKey key() const;
};

Issued SelfSigned(const CertificateSpec& spec);
Issued IssueBy(const Issued& issuer, const CertificateSpec& spec);
// The same key and extensions, and one more, signed again: what a CA does with the SCTs that it got.
Issued Reissue(const Issued& issuer, const Issued& issued, const ExtensionSpec& more);

struct CrlSpec {
  std::vector<std::string> revoked;  // serials, hexadecimal
  int64_t this_update = kNow - kDay;
  int64_t next_update = kNow + kDay;
  int number = 1;
  int delta_of = 0;               // number of the base list; 0 for a complete one
  std::string reason;             // of each entry, as openssl writes it: "removeFromCRL"
  int64_t invalid_since = 0;      // invalidityDate of each entry
  std::string distribution = "";  // the value of issuingDistributionPoint, if any
  std::string digest = "SHA256";
};
std::string MakeCrl(const Issued& issuer, const CrlSpec& spec);  // DER

struct TimestampSpec {
  int64_t time = kNow;
  std::string digest = "SHA256";            // of the message
  int accuracy_seconds = 0;                 // 0 for none
  bool signing_certificate = true;          // with the attribute signingCertificateV2
  bool with_certificates = true;            // in the token
  bool cms_data_type = false;               // the content says that it is plain data
  std::vector<sign::Certificate> embedded;  // more certificates in the token
};
// An RFC 3161 token (CMS) over `message`, and the response that holds it.
std::string MakeTimestampToken(const Issued& tsa, std::string_view message, const TimestampSpec& spec = {});
std::string TimestampResponse(std::string_view token, int status = 0);

// A self-signed root, an authority below it, and a leaf: what most tests begin with.
struct TestPki {
  Issued root = SelfSigned(CertificateSpec::Authority("O=gantry test,CN=root"));
  Issued authority = IssueBy(root, CertificateSpec::Authority("O=gantry test,CN=authority", ",pathlen:0"));
  Issued leaf = IssueBy(authority, CertificateSpec::CodeSigner("O=gantry test,CN=leaf"));
};

}  // namespace gantry::testing
