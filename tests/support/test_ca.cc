#include "tests/support/test_ca.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/conf.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ts.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "libsign/free_by.h"

namespace gantry::testing {
namespace {

using sign::Certificate;

using sign::FreeBy;
using Key = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, FreeBy<X509_free>>;
using Bio = std::unique_ptr<BIO, FreeBy<BIO_free>>;

// A fault of the test itself.
void Must(bool condition, const char* what) {
  if (!condition)
    throw std::runtime_error(std::string("test_ca: ") + what);
}

std::string Der(auto encode, auto* object) {
  unsigned char* bytes = nullptr;
  const int size = encode(object, &bytes);
  Must(size > 0, "encode");
  std::string out(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return out;
}

Key ReadKey(const std::string& pkcs8) {
  const auto* at = reinterpret_cast<const unsigned char*>(pkcs8.data());
  return Key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(pkcs8.size())));
}

Key MakeKey(const std::string& kind) {
  Key key;
  if (kind.starts_with("RSA:")) {
    key.reset(EVP_RSA_gen(static_cast<unsigned>(std::stoul(kind.substr(4)))));
  } else if (kind == "ED25519") {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  } else {
    key.reset(EVP_EC_gen(kind.c_str()));
  }
  Must(key != nullptr, "make a key");
  return key;
}

std::string Pkcs8(EVP_PKEY* key) {
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, FreeBy<PKCS8_PRIV_KEY_INFO_free>> info(EVP_PKEY2PKCS8(key));
  return Der(i2d_PKCS8_PRIV_KEY_INFO, info.get());
}

X509Ptr Decode(const Certificate& certificate) {
  const auto* at = reinterpret_cast<const unsigned char*>(certificate.der().data());
  X509Ptr decoded(d2i_X509(nullptr, &at, static_cast<long>(certificate.der().size())));
  Must(decoded != nullptr, "decode");
  return decoded;
}

void SetSubject(X509_NAME* name, const std::string& subject) {
  size_t at = 0;
  int set = 0;
  while (at < subject.size()) {
    const size_t end = std::min(subject.find_first_of(",+", at), subject.size());
    const size_t equals = subject.find('=', at);
    const std::string type = subject.substr(at, equals - at);
    const std::string value = subject.substr(equals + 1, end - equals - 1);
    Must(X509_NAME_add_entry_by_txt(name, type.c_str(), MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1, set) == 1,
         "subject");
    set = end < subject.size() && subject[end] == '+' ? -1 : 0;
    at = end + 1;
  }
}

X509_EXTENSION* MakeExtension(const ExtensionSpec& spec, X509* issuer, X509* subject, X509_CRL* crl = nullptr) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, subject, nullptr, crl, 0);
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION* extension = X509V3_EXT_nconf(nullptr, &context, spec.name.c_str(), spec.value.c_str());
  Must(extension != nullptr, ("extension " + spec.name + "=" + spec.value).c_str());
  return extension;
}

void AddExtension(X509* to, X509* issuer, const ExtensionSpec& spec) {
  X509_EXTENSION* extension = MakeExtension(spec, issuer, to);
  Must(X509_add_ext(to, extension, -1) == 1, "add extension");
  X509_EXTENSION_free(extension);
}

const EVP_MD* DigestFor(EVP_PKEY* key, const std::string& name) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_get_digestbyname(name.c_str());
}

Issued Finish(X509* certificate, EVP_PKEY* own, EVP_PKEY* signer, const std::string& digest) {
  Must(X509_sign(certificate, signer, DigestFor(signer, digest)) > 0, "sign");
  return {Certificate::Parse(Der(i2d_X509, certificate), "test certificate"), Pkcs8(own)};
}

Issued Make(const Issued* issuer, const CertificateSpec& spec) {
  const Key key = MakeKey(spec.key);
  const X509Ptr made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  unsigned char serial[16];
  RAND_bytes(serial, sizeof serial);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);
  const std::unique_ptr<BIGNUM, FreeBy<BN_free>> number(BN_bin2bn(serial, sizeof serial, nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(made.get()));
  ASN1_TIME_set(X509_getm_notBefore(made.get()), spec.not_before);
  ASN1_TIME_set(X509_getm_notAfter(made.get()), spec.not_after);
  SetSubject(X509_get_subject_name(made.get()), spec.subject);
  X509_set_pubkey(made.get(), key.get());
  const X509Ptr by = issuer == nullptr ? nullptr : Decode(issuer->certificate);
  X509* const issuing = by ? by.get() : made.get();
  X509_set_issuer_name(made.get(), X509_get_subject_name(issuing));
  for (const ExtensionSpec& extension : spec.extensions) {
    AddExtension(made.get(), issuing, extension);
  }
  const Key signer = issuer == nullptr ? nullptr : ReadKey(issuer->pkcs8);
  return Finish(made.get(), key.get(), signer ? signer.get() : key.get(), spec.digest);
}

}  // namespace

CertificateSpec CertificateSpec::With(std::string name, std::string value) const {
  CertificateSpec changed = Without(name);
  changed.extensions.push_back({std::move(name), std::move(value)});
  return changed;
}

CertificateSpec CertificateSpec::Without(std::string_view name) const {
  CertificateSpec changed = *this;
  std::erase_if(changed.extensions, [&](const ExtensionSpec& extension) { return extension.name == name; });
  return changed;
}

CertificateSpec CertificateSpec::Authority(std::string subject, const std::string& path_length) {
  return {std::move(subject),
          {{"basicConstraints", "critical,CA:TRUE" + path_length},
           {"keyUsage", "critical,keyCertSign,cRLSign"},
           {"subjectKeyIdentifier", "hash"}}};
}

CertificateSpec CertificateSpec::CodeSigner(std::string subject) {
  return {std::move(subject),
          {{"keyUsage", "critical,digitalSignature"},
           {"extendedKeyUsage", "codeSigning"},
           {"subjectKeyIdentifier", "hash"},
           {"authorityKeyIdentifier", "keyid"}}};
}

CertificateSpec CertificateSpec::Timestamper(std::string subject) {
  return CodeSigner(std::move(subject)).With("extendedKeyUsage", "critical,timeStamping");
}

sign::PrivateKey Issued::key() const { return sign::PrivateKey::Parse(pkcs8, "test key"); }

Issued SelfSigned(const CertificateSpec& spec) { return Make(nullptr, spec); }

Issued IssueBy(const Issued& issuer, const CertificateSpec& spec) { return Make(&issuer, spec); }

Issued Reissue(const Issued& issuer, const Issued& issued, const ExtensionSpec& more) {
  const X509Ptr again = Decode(issued.certificate);
  const X509Ptr by = Decode(issuer.certificate);
  AddExtension(again.get(), by.get(), more);
  return Finish(again.get(), ReadKey(issued.pkcs8).get(), ReadKey(issuer.pkcs8).get(), "SHA256");
}

namespace {

using CrlPtr = std::unique_ptr<X509_CRL, FreeBy<X509_CRL_free>>;

void AddToCrl(X509_CRL* crl, X509* issuer, const ExtensionSpec& spec) {
  X509_EXTENSION* extension = MakeExtension(spec, issuer, nullptr, crl);
  Must(X509_CRL_add_ext(crl, extension, -1) == 1, "add extension");
  X509_EXTENSION_free(extension);
}

void AddNumber(X509_CRL* crl, int nid, int number, int critical) {
  const std::unique_ptr<ASN1_INTEGER, FreeBy<ASN1_INTEGER_free>> value(ASN1_INTEGER_new());
  ASN1_INTEGER_set(value.get(), number);
  Must(X509_CRL_add1_ext_i2d(crl, nid, value.get(), critical, 0) == 1, "add number");
}

void AddRevoked(X509_CRL* crl, const CrlSpec& spec, const std::string& serial) {
  X509_REVOKED* entry = X509_REVOKED_new();
  BIGNUM* number = nullptr;
  BN_hex2bn(&number, serial.c_str());
  const std::unique_ptr<ASN1_INTEGER, FreeBy<ASN1_INTEGER_free>> value(BN_to_ASN1_INTEGER(number, nullptr));
  BN_free(number);
  X509_REVOKED_set_serialNumber(entry, value.get());
  const std::unique_ptr<ASN1_TIME, FreeBy<ASN1_TIME_free>> when(ASN1_TIME_set(nullptr, spec.this_update));
  X509_REVOKED_set_revocationDate(entry, when.get());
  if (!spec.reason.empty()) {
    const std::unique_ptr<ASN1_ENUMERATED, FreeBy<ASN1_ENUMERATED_free>> reason(ASN1_ENUMERATED_new());
    ASN1_ENUMERATED_set(reason.get(), spec.reason == "removeFromCRL" ? 8 : 1);
    X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason.get(), 0, 0);
  }
  if (spec.invalid_since != 0) {
    const std::unique_ptr<ASN1_GENERALIZEDTIME, FreeBy<ASN1_GENERALIZEDTIME_free>> since(
        ASN1_GENERALIZEDTIME_set(nullptr, spec.invalid_since));
    X509_REVOKED_add1_ext_i2d(entry, NID_invalidity_date, since.get(), 0, 0);
  }
  Must(X509_CRL_add0_revoked(crl, entry) == 1, "add revoked");
}

}  // namespace

std::string MakeCrl(const Issued& issuer, const CrlSpec& spec) {
  const CrlPtr crl(X509_CRL_new());
  const X509Ptr by = Decode(issuer.certificate);
  X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(by.get()));
  const std::unique_ptr<ASN1_TIME, FreeBy<ASN1_TIME_free>> from(ASN1_TIME_set(nullptr, spec.this_update));
  const std::unique_ptr<ASN1_TIME, FreeBy<ASN1_TIME_free>> until(ASN1_TIME_set(nullptr, spec.next_update));
  X509_CRL_set1_lastUpdate(crl.get(), from.get());
  X509_CRL_set1_nextUpdate(crl.get(), until.get());
  for (const std::string& serial : spec.revoked) {
    AddRevoked(crl.get(), spec, serial);
  }
  AddNumber(crl.get(), NID_crl_number, spec.number, 0);
  if (spec.delta_of != 0) {
    AddNumber(crl.get(), NID_delta_crl, spec.delta_of, 1);
  }
  if (!spec.distribution.empty()) {
    AddToCrl(crl.get(), by.get(), {"issuingDistributionPoint", spec.distribution});
  }
  const Key key = ReadKey(issuer.pkcs8);
  Must(X509_CRL_sign(crl.get(), key.get(), DigestFor(key.get(), spec.digest)) > 0, "sign");
  return Der(i2d_X509_CRL, crl.get());
}

namespace {

std::string Hash(const std::string& name, std::string_view message) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  Must(EVP_Digest(message.data(), message.size(), digest, &size, EVP_get_digestbyname(name.c_str()), nullptr) == 1,
       "hash");
  return {reinterpret_cast<const char*>(digest), size};
}

std::string MakeTstInfo(std::string_view message, const TimestampSpec& spec) {
  const std::unique_ptr<TS_TST_INFO, FreeBy<TS_TST_INFO_free>> info(TS_TST_INFO_new());
  TS_TST_INFO_set_version(info.get(), 1);
  const std::unique_ptr<ASN1_OBJECT, FreeBy<ASN1_OBJECT_free>> policy(OBJ_txt2obj("1.3.6.1.4.1.57264.2", 1));
  TS_TST_INFO_set_policy_id(info.get(), policy.get());
  const std::unique_ptr<TS_MSG_IMPRINT, FreeBy<TS_MSG_IMPRINT_free>> imprint(TS_MSG_IMPRINT_new());
  const std::unique_ptr<X509_ALGOR, FreeBy<X509_ALGOR_free>> algorithm(X509_ALGOR_new());
  X509_ALGOR_set_md(algorithm.get(), EVP_get_digestbyname(spec.digest.c_str()));
  TS_MSG_IMPRINT_set_algo(imprint.get(), algorithm.get());
  std::string digest = Hash(spec.digest, message);
  TS_MSG_IMPRINT_set_msg(imprint.get(), reinterpret_cast<unsigned char*>(digest.data()),
                         static_cast<int>(digest.size()));
  TS_TST_INFO_set_msg_imprint(info.get(), imprint.get());
  const std::unique_ptr<ASN1_INTEGER, FreeBy<ASN1_INTEGER_free>> serial(ASN1_INTEGER_new());
  ASN1_INTEGER_set(serial.get(), 7);
  TS_TST_INFO_set_serial(info.get(), serial.get());
  const std::unique_ptr<ASN1_GENERALIZEDTIME, FreeBy<ASN1_GENERALIZEDTIME_free>> time(
      ASN1_GENERALIZEDTIME_set(nullptr, spec.time));
  TS_TST_INFO_set_time(info.get(), time.get());
  if (spec.accuracy_seconds != 0) {
    const std::unique_ptr<TS_ACCURACY, FreeBy<TS_ACCURACY_free>> accuracy(TS_ACCURACY_new());
    const std::unique_ptr<ASN1_INTEGER, FreeBy<ASN1_INTEGER_free>> seconds(ASN1_INTEGER_new());
    ASN1_INTEGER_set(seconds.get(), spec.accuracy_seconds);
    TS_ACCURACY_set_seconds(accuracy.get(), seconds.get());
    TS_TST_INFO_set_accuracy(info.get(), accuracy.get());
  }
  return Der(i2d_TS_TST_INFO, info.get());
}

}  // namespace

std::string MakeTimestampToken(const Issued& tsa, std::string_view message, const TimestampSpec& spec) {
  const std::string info = MakeTstInfo(message, spec);
  const std::unique_ptr<CMS_ContentInfo, FreeBy<CMS_ContentInfo_free>> cms(
      CMS_sign(nullptr, nullptr, nullptr, nullptr, CMS_PARTIAL | CMS_BINARY));
  if (!spec.cms_data_type) {
    CMS_set1_eContentType(cms.get(), OBJ_nid2obj(NID_id_smime_ct_TSTInfo));
  }
  CMS_set_detached(cms.get(), 0);
  unsigned flags = CMS_BINARY | CMS_NOSMIMECAP;
  flags |= spec.signing_certificate ? CMS_CADES : 0U;
  flags |= spec.with_certificates ? 0U : CMS_NOCERTS;
  const X509Ptr signer = Decode(tsa.certificate);
  const Key key = ReadKey(tsa.pkcs8);
  Must(CMS_add1_signer(cms.get(), signer.get(), key.get(), EVP_sha256(), flags) != nullptr, "add signer");
  for (const Certificate& certificate : spec.embedded) {
    Must(CMS_add1_cert(cms.get(), Decode(certificate).get()) == 1, "add certificate");
  }
  const Bio content(BIO_new_mem_buf(info.data(), static_cast<int>(info.size())));
  Must(CMS_final(cms.get(), content.get(), nullptr, flags) == 1, "sign timestamp");
  return Der(i2d_CMS_ContentInfo, cms.get());
}

std::string TimestampResponse(std::string_view token, int status) {
  // TimeStampResp ::= SEQUENCE { SEQUENCE { INTEGER status }, token }
  const std::string info = {0x30, 0x03, 0x02, 0x01, static_cast<char>(status)};
  const size_t size = info.size() + token.size();
  Must(size > 255 && size < 65536, "size of a timestamp");
  const std::string header = {0x30, static_cast<char>(0x82), static_cast<char>(size >> 8), static_cast<char>(size)};
  return header + info + std::string(token);
}

}  // namespace gantry::testing
