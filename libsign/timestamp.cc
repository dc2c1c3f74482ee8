#include "libsign/timestamp.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/ess.h>
#include <openssl/objects.h>
#include <openssl/ts.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "libimage/base/error.h"
#include "libsign/free_by.h"
#include "libsign/x509_chain.h"
#include "libsign/x509_native.h"

namespace gantry::sign {
namespace {

using Cms = std::unique_ptr<CMS_ContentInfo, FreeBy<CMS_ContentInfo_free>>;
using Info = std::unique_ptr<TS_TST_INFO, FreeBy<TS_TST_INFO_free>>;
using SigningCertificates = std::unique_ptr<ESS_SIGNING_CERT_V2, FreeBy<ESS_SIGNING_CERT_V2_free>>;

const unsigned char* Unsigned(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

std::string Text(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

std::optional<KeyHash> HashOf(const X509_ALGOR* algorithm) {
  const ASN1_OBJECT* object = nullptr;
  X509_ALGOR_get0(&object, nullptr, nullptr, algorithm);
  switch (OBJ_obj2nid(object)) {
    case NID_sha256:
      return KeyHash::kSha256;
    case NID_sha384:
      return KeyHash::kSha384;
    case NID_sha512:
      return KeyHash::kSha512;
    default:
      return std::nullopt;
  }
}

// One DER element; `rest` is what follows it.
struct Element {
  int tag = 0;
  std::string_view whole;
  std::string_view body;
  std::string_view rest;
};

std::optional<Element> TakeElement(std::string_view bytes) {
  const unsigned char* at = Unsigned(bytes);
  long size = 0;
  int tag = 0;
  int of_class = 0;
  const int form = ASN1_get_object(&at, &size, &tag, &of_class, static_cast<long>(bytes.size()));
  ERR_clear_error();
  if (bytes.empty() || (form & 0x80) != 0 || form == 0x21 || of_class != V_ASN1_UNIVERSAL) {
    return std::nullopt;
  }
  const auto header = static_cast<size_t>(at - Unsigned(bytes));
  const size_t whole = header + static_cast<size_t>(size);
  return Element{tag, bytes.substr(0, whole), bytes.substr(header, static_cast<size_t>(size)), bytes.substr(whole)};
}

// One token, and what is found in it.
class TokenVerifier {
 public:
  TokenVerifier(std::string_view token, std::string_view message, const std::vector<Certificate>& candidates,
                const std::vector<Certificate>& anchors)
      : token_(token), message_(message), candidates_(candidates), anchors_(anchors) {}

  Timestamp Run() {
    try {
      if (Open() && CheckInfo() && FindSigner() && CheckChain() && CheckSignature()) {
        return std::move(out_);
      }
    } catch (const Error& error) {
      Refuse("bad-timestamp", error.message());
    }
    return Timestamp{out_.problem, 0, 0, 0, {}};
  }

 private:
  bool Refuse(std::string code, std::string text) {
    ERR_clear_error();
    out_.problem = Reason{std::move(code), std::move(text)};
    return false;
  }
  bool Bad(std::string text) { return Refuse("bad-timestamp", std::move(text)); }

  bool Open() {
    if (token_.size() > kMaxTimestampBytes) {
      return Bad("the timestamp is over " + std::to_string(kMaxTimestampBytes) + " bytes");
    }
    const unsigned char* at = Unsigned(token_);
    cms_.reset(d2i_CMS_ContentInfo(nullptr, &at, static_cast<long>(token_.size())));
    if (!cms_ || at != Unsigned(token_) + token_.size()) {
      return Bad("the timestamp is not one CMS structure");
    }
    if (OBJ_obj2nid(CMS_get0_type(cms_.get())) != NID_pkcs7_signed ||
        OBJ_obj2nid(CMS_get0_eContentType(cms_.get())) != NID_id_smime_ct_TSTInfo) {
      return Bad("the timestamp does not hold a signed TSTInfo");
    }
    ASN1_OCTET_STRING** content = CMS_get0_content(cms_.get());
    if (content == nullptr || *content == nullptr) {
      return Bad("the timestamp has no content");
    }
    const std::string bytes = Text(*content);
    at = Unsigned(bytes);
    info_.reset(d2i_TS_TST_INFO(nullptr, &at, static_cast<long>(bytes.size())));
    return (info_ && at == Unsigned(bytes) + bytes.size()) || Bad("the timestamp does not hold one TSTInfo");
  }

  bool CheckInfo() {
    if (TS_TST_INFO_get_version(info_.get()) != 1) {
      return Bad("the timestamp is not of version 1");
    }
    for (int i = 0; i < TS_TST_INFO_get_ext_count(info_.get()); ++i) {
      if (X509_EXTENSION_get_critical(TS_TST_INFO_get_ext(info_.get(), i)) == 1) {
        return Bad("the timestamp has a critical extension that is not understood");
      }
    }
    TS_MSG_IMPRINT* imprint = TS_TST_INFO_get_msg_imprint(info_.get());
    const auto hash = HashOf(TS_MSG_IMPRINT_get_algo(imprint));
    if (!hash) {
      return Bad("the timestamp rests on a digest that is not accepted");
    }
    if (Text(TS_MSG_IMPRINT_get_msg(imprint)) != Hash(*hash, message_)) {
      return Refuse("timestamp-mismatch", "the timestamp is of another signature");
    }
    return ReadTime();
  }

  bool ReadTime() {
    std::tm parts{};
    if (ASN1_TIME_to_tm(TS_TST_INFO_get_time(info_.get()), &parts) != 1) {
      return Bad("the time of the timestamp is not understood");
    }
    out_.time = timegm(&parts);
    int64_t accuracy = 0;
    if (const TS_ACCURACY* given = TS_TST_INFO_get_accuracy(info_.get())) {
      const ASN1_INTEGER* seconds = TS_ACCURACY_get_seconds(given);
      accuracy = seconds == nullptr ? 0 : ASN1_INTEGER_get(seconds);
      const bool more = TS_ACCURACY_get_millis(given) != nullptr || TS_ACCURACY_get_micros(given) != nullptr;
      accuracy += more ? 1 : 0;
    }
    constexpr int64_t kMaxAccuracy = 24 * 3600;
    if (accuracy < 0 || accuracy > kMaxAccuracy) {
      return Bad("the accuracy of the timestamp makes no sense");
    }
    out_.earliest = out_.time - accuracy;
    out_.latest = out_.time + accuracy;
    return true;
  }

  bool FindSigner() {
    STACK_OF(CMS_SignerInfo)* signers = CMS_get0_SignerInfos(cms_.get());
    if (sk_CMS_SignerInfo_num(signers) != 1) {
      return Bad("the timestamp does not have exactly one signer");
    }
    signer_info_ = sk_CMS_SignerInfo_value(signers, 0);
    const NativeCertificates embedded(CMS_get1_certs(cms_.get()));
    if (sk_X509_num(embedded.get()) > static_cast<int>(kMaxChainCandidates)) {
      return Bad("the timestamp has too many certificates");
    }
    for (int i = 0; i < sk_X509_num(embedded.get()); ++i) {
      pool_.push_back(FromNative(sk_X509_value(embedded.get(), i), "certificate of a timestamp"));
    }
    pool_.insert(pool_.end(), candidates_.begin(), candidates_.end());
    natives_ = ToNative(pool_);
    for (int i = 0; i < sk_X509_num(natives_.get()); ++i) {
      if (CMS_SignerInfo_cert_cmp(signer_info_, sk_X509_value(natives_.get(), i)) == 0) {
        signer_ = i;
        return true;
      }
    }
    return Bad("the certificate of the timestamp's signer is not there");
  }

  bool CheckChain() {
    const Certificate& signer = pool_[static_cast<size_t>(signer_)];
    const std::vector<std::string> sole = {std::string(kTimestampingUsage)};
    if (signer.extended_key_usage() != sole || !signer.IsCritical(kExtendedKeyUsageOid)) {
      return Refuse("wrong-usage", "the timestamp's signer is not a critical timestamper alone");
    }
    constexpr uint32_t kMay = kDigitalSignature | kNonRepudiation;
    if (signer.key_usage() && ((*signer.key_usage() & kMay) == 0 || (*signer.key_usage() & ~kMay) != 0)) {
      return Refuse("wrong-usage", "the key of the timestamp's signer is for more than signatures");
    }
    Chain chain = BuildChain(signer, pool_, anchors_, out_.time, kTimestampingUsage);
    if (chain.problem) {
      return Refuse(chain.problem->code, "timestamp authority: " + chain.problem->text);
    }
    out_.chain = std::move(chain.certificates);
    return true;
  }

  bool CheckSignature() {
    X509_ALGOR* digest = nullptr;
    CMS_SignerInfo_get0_algs(signer_info_, nullptr, nullptr, &digest, nullptr);
    if (!HashOf(digest)) {
      return Bad("the timestamp is signed over a digest that is not accepted");
    }
    if (!NamesItsSigner()) {
      return Bad("the timestamp does not name its signer's certificate (signingCertificateV2)");
    }
    const std::unique_ptr<BIO, FreeBy<BIO_free>> content(BIO_new(BIO_s_mem()));
    const unsigned flags = CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY;
    if (CMS_verify(cms_.get(), natives_.get(), nullptr, nullptr, content.get(), flags) != 1) {
      return Bad("the signature of the timestamp does not match");
    }
    ERR_clear_error();
    return true;
  }

  bool NamesItsSigner() {
    const auto* attribute = static_cast<ASN1_STRING*>(CMS_signed_get0_data_by_OBJ(
        signer_info_, OBJ_nid2obj(NID_id_smime_aa_signingCertificateV2), -3, V_ASN1_SEQUENCE));
    if (attribute == nullptr) {
      return false;
    }
    const unsigned char* at = ASN1_STRING_get0_data(attribute);
    const SigningCertificates named(d2i_ESS_SIGNING_CERT_V2(nullptr, &at, ASN1_STRING_length(attribute)));
    const NativeCertificates chain = ToNative(out_.chain);
    return named && OSSL_ESS_check_signing_certs(nullptr, named.get(), chain.get(), 1) == 1;
  }

  std::string_view token_;
  std::string_view message_;
  const std::vector<Certificate>& candidates_;
  const std::vector<Certificate>& anchors_;
  Cms cms_;
  Info info_;
  std::vector<Certificate> pool_;
  NativeCertificates natives_;
  CMS_SignerInfo* signer_info_ = nullptr;
  int signer_ = -1;
  Timestamp out_;
};

}  // namespace

Timestamp VerifyTimestampToken(std::string_view token, std::string_view message,
                               const std::vector<Certificate>& candidates, const std::vector<Certificate>& anchors) {
  return TokenVerifier(token, message, candidates, anchors).Run();
}

std::optional<std::string_view> TokenOfResponse(std::string_view response) {
  const auto outer = TakeElement(response);
  const auto info = outer && outer->tag == V_ASN1_SEQUENCE && outer->rest.empty() ? TakeElement(outer->body) : outer;
  if (!info || info->whole.size() == response.size() || info->tag != V_ASN1_SEQUENCE) {
    return std::nullopt;
  }
  const auto status = TakeElement(info->body);
  const bool granted = status && status->tag == V_ASN1_INTEGER && status->body.size() == 1 &&
                       (status->body[0] == 0 || status->body[0] == 1);
  return granted ? std::optional(info->rest) : std::nullopt;
}

}  // namespace gantry::sign
