#include "libsign/x509.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libsign/free_by.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kBeginPem = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view kEndPem = "-----END CERTIFICATE-----";

using X509Ptr = std::unique_ptr<X509, FreeBy<X509_free>>;
using BioPtr = std::unique_ptr<BIO, FreeBy<BIO_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES_free>>;

[[noreturn]] void Fail(std::string_view what, std::string_view problem) {
  ERR_clear_error();
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + std::string(problem));
}

const unsigned char* Unsigned(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

std::string ToString(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

std::string Encode(auto encode, const auto* object) {
  unsigned char* bytes = nullptr;
  const int size = encode(object, &bytes);
  if (size < 0) {
    throw Error(ErrorKind::kFailed, "a certificate cannot be encoded");
  }
  std::string out(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return out;
}

std::string OidOf(const ASN1_OBJECT* object) {
  char text[256] = "";
  const int size = OBJ_obj2txt(text, sizeof text, object, 1);
  return size > 0 && static_cast<size_t>(size) < sizeof text ? text : "";
}

X509Ptr Decode(std::string_view der) {
  const unsigned char* at = Unsigned(der);
  X509Ptr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  return certificate && at == Unsigned(der) + der.size() ? std::move(certificate) : nullptr;
}

std::string NameText(const X509_NAME* name) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  char* text = nullptr;
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0) {
    ERR_clear_error();
    return "";
  }
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<size_t>(size)};
}

}  // namespace

// Fills a Certificate from OpenSSL's.
class CertificateReader {
 public:
  CertificateReader(std::string_view der, std::string_view what) : what_(what), x509_(Decode(der)) {
    if (!x509_) {
      Fail(what, "not an X.509 certificate in DER");
    }
    if (Encode(i2d_X509, x509_.get()) != der) {
      Fail(what, "a certificate that is not in DER");
    }
    out_.der_ = der;
  }

  Certificate Read() {
    ReadExtensions();
    ReadNames();
    out_.not_before_ = Time(X509_get0_notBefore(x509_.get()));
    out_.not_after_ = Time(X509_get0_notAfter(x509_.get()));
    ReadKey();
    ReadSignature();
    ReadUsage();
    ReadAlternativeNames();
    ERR_clear_error();
    return std::move(out_);
  }

 private:
  int64_t Time(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) {
      Fail(what_, "a time of its validity is not understood");
    }
    return timegm(&parts);
  }

  void ReadExtensions() {
    const int count = X509_get_ext_count(x509_.get());
    if (count > static_cast<int>(kMaxExtensions)) {
      Fail(what_, "more than " + std::to_string(kMaxExtensions) + " extensions");
    }
    for (int i = 0; i < count; ++i) {
      X509_EXTENSION* extension = X509_get_ext(x509_.get(), i);
      std::string oid = OidOf(X509_EXTENSION_get_object(extension));
      if (oid.empty() || out_.FindExtension(oid) != nullptr) {
        Fail(what_, "an extension twice: " + oid);
      }
      out_.extensions_.push_back(
          {std::move(oid), X509_EXTENSION_get_critical(extension) == 1, ToString(X509_EXTENSION_get_data(extension))});
    }
  }

  void ReadNames() {
    const X509_NAME* subject = X509_get_subject_name(x509_.get());
    out_.subject_ = NameText(subject);
    out_.issuer_ = NameText(X509_get_issuer_name(x509_.get()));
    std::vector<int> rdns;
    for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
      const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
      const ASN1_OBJECT* object = X509_NAME_ENTRY_get_object(entry);
      const int nid = OBJ_obj2nid(object);
      unsigned char* text = nullptr;
      const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
      if (size < 0) {
        Fail(what_, "a subject that is not text");
      }
      rdns.push_back(X509_NAME_ENTRY_set(entry));
      out_.subject_attributes_.push_back({nid == NID_undef ? OidOf(object) : OBJ_nid2sn(nid),
                                          {reinterpret_cast<const char*>(text), static_cast<size_t>(size)}});
      OPENSSL_free(text);
    }
    for (size_t i = 0; i < rdns.size(); ++i) {
      out_.subject_attributes_[i].shares_rdn = std::count(rdns.begin(), rdns.end(), rdns[i]) > 1;
    }
    const ASN1_INTEGER* serial = X509_get0_serialNumber(x509_.get());
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (const char c : ToString(serial)) {
      out_.serial_ += kDigits[static_cast<unsigned char>(c) >> 4];
      out_.serial_ += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }

  void ReadKey() {
    out_.spki_ = Encode(i2d_X509_PUBKEY, X509_get_X509_PUBKEY(x509_.get()));
    try {
      out_.key_ = PublicKey::Parse(out_.spki_, what_);
    } catch (const Error&) {
      // Said where it matters: a root that nobody uses may have any key.
    }
  }

  void ReadSignature() {
    int digest = NID_undef;
    if (X509_get_signature_info(x509_.get(), &digest, nullptr, nullptr, nullptr) == 1 && digest != NID_undef) {
      out_.digest_name_ = OBJ_nid2sn(digest);
    } else if (X509_get_signature_nid(x509_.get()) != EVP_PKEY_ED25519) {
      out_.digest_name_ = "unknown";
    }
    out_.self_signed_ = X509_self_signed(x509_.get(), 1) == 1;
  }

  void ReadUsage() {
    const uint32_t flags = X509_get_extension_flags(x509_.get());
    if ((flags & EXFLAG_INVALID) != 0) {
      Fail(what_, "an extension that is not understood");
    }
    out_.is_ca_ = (flags & EXFLAG_CA) != 0;
    if (const long length = X509_get_pathlen(x509_.get()); length >= 0) {
      out_.path_length_ = static_cast<unsigned>(length);
    }
    if ((flags & EXFLAG_KUSAGE) != 0) {
      out_.key_usage_ = ReadKeyUsage();
    }
    const std::unique_ptr<EXTENDED_KEY_USAGE, FreeBy<EXTENDED_KEY_USAGE_free>> usages(
        static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(x509_.get(), NID_ext_key_usage, nullptr, nullptr)));
    if (usages) {
      out_.extended_key_usage_.emplace();
      for (int i = 0; i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
        out_.extended_key_usage_->push_back(OidOf(sk_ASN1_OBJECT_value(usages.get(), i)));
      }
    }
    out_.names_revocation_ = out_.FindExtension("2.5.29.31") != nullptr || NamesOcsp();
  }

  // OpenSSL orders the bits within each byte; here bit n is bit n of RFC 5280.
  uint32_t ReadKeyUsage() {
    const std::unique_ptr<ASN1_BIT_STRING, FreeBy<ASN1_BIT_STRING_free>> bits(
        static_cast<ASN1_BIT_STRING*>(X509_get_ext_d2i(x509_.get(), NID_key_usage, nullptr, nullptr)));
    uint32_t usage = 0;
    for (int bit = 0; bit < 9; ++bit) {
      usage |= bits && ASN1_BIT_STRING_get_bit(bits.get(), bit) == 1 ? 1U << bit : 0U;
    }
    return usage;
  }

  bool NamesOcsp() {
    const std::unique_ptr<AUTHORITY_INFO_ACCESS, FreeBy<AUTHORITY_INFO_ACCESS_free>> places(
        static_cast<AUTHORITY_INFO_ACCESS*>(X509_get_ext_d2i(x509_.get(), NID_info_access, nullptr, nullptr)));
    for (int i = 0; places && i < sk_ACCESS_DESCRIPTION_num(places.get()); ++i) {
      if (OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(places.get(), i)->method) == NID_ad_OCSP) {
        return true;
      }
    }
    return false;
  }

  void ReadAlternativeNames() {
    if (out_.FindExtension(kAlternativeNameOid) == nullptr) {
      return;
    }
    const NamesPtr names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509_.get(), NID_subject_alt_name, nullptr, nullptr)));
    if (!names || sk_GENERAL_NAME_num(names.get()) > static_cast<int>(kMaxAlternativeNames)) {
      Fail(what_, "alternative names that are not understood, or too many");
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
      ReadAlternativeName(*sk_GENERAL_NAME_value(names.get(), i));
    }
  }

  void ReadAlternativeName(const GENERAL_NAME& name) {
    using Kind = AlternativeName::Kind;
    AlternativeName read{Kind::kOther, {}, {}};
    switch (name.type) {
      case GEN_EMAIL:
        read = {Kind::kEmail, ToString(name.d.rfc822Name), {}};
        break;
      case GEN_URI:
        read = {Kind::kUri, ToString(name.d.uniformResourceIdentifier), {}};
        break;
      case GEN_DNS:
        read = {Kind::kDns, ToString(name.d.dNSName), {}};
        break;
      case GEN_OTHERNAME:
        read.oid = OidOf(name.d.otherName->type_id);
        if (name.d.otherName->value->type == V_ASN1_UTF8STRING) {
          read.value = ToString(name.d.otherName->value->value.utf8string);
        }
        break;
      default:
        return;
    }
    if (read.value.find('\0') != std::string::npos) {
      Fail(what_, "a zero byte in an alternative name");
    }
    out_.alternative_names_.push_back(std::move(read));
  }

  std::string_view what_;
  X509Ptr x509_;
  Certificate out_;
};

Certificate Certificate::Parse(std::string_view der, std::string_view what) {
  if (der.size() > kMaxCertificateBytes) {
    Fail(what, "a certificate over " + std::to_string(kMaxCertificateBytes) + " bytes");
  }
  return CertificateReader(der, what).Read();
}

std::vector<Certificate> Certificate::ParsePem(std::string_view text, std::string_view what) {
  std::vector<Certificate> out;
  for (size_t at = text.find("-----BEGIN "); at != std::string_view::npos; at = text.find("-----BEGIN ", at)) {
    const size_t end = text.find(kEndPem, at);
    if (!text.substr(at).starts_with(kBeginPem) || end == std::string_view::npos) {
      Fail(what, "a PEM block that is no certificate");
    }
    if (out.size() == kMaxCertificates) {
      Fail(what, "more than " + std::to_string(kMaxCertificates) + " certificates");
    }
    std::string body(text.substr(at + kBeginPem.size(), end - at - kBeginPem.size()));
    std::erase_if(body, [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; });
    const auto der = DecodeBase64(body);
    if (!der) {
      Fail(what, "a PEM block that is not base64");
    }
    out.push_back(Parse(*der, what));
    at = end + kEndPem.size();
  }
  if (out.empty()) {
    Fail(what, "no certificate in PEM");
  }
  return out;
}

std::vector<Certificate> Certificate::ParseFile(std::string_view bytes, std::string_view what) {
  if (bytes.find(kBeginPem) != std::string_view::npos) {
    return ParsePem(bytes, what);
  }
  return {Parse(bytes, what)};
}

std::string Certificate::ToPem() const {
  const std::string base64 = EncodeBase64(der_);
  std::string text(kBeginPem);
  for (size_t at = 0; at < base64.size(); at += 64) {
    text += "\n" + base64.substr(at, 64);
  }
  return text + "\n" + std::string(kEndPem) + "\n";
}

bool Certificate::WellSigned() const {
  return digest_name_.empty() || digest_name_ == "SHA256" || digest_name_ == "SHA384" || digest_name_ == "SHA512";
}

const Extension* Certificate::FindExtension(std::string_view oid) const {
  const auto at = std::find_if(extensions_.begin(), extensions_.end(),
                               [&](const Extension& extension) { return extension.oid == oid; });
  return at == extensions_.end() ? nullptr : &*at;
}

bool Certificate::IsCritical(std::string_view oid) const {
  const Extension* extension = FindExtension(oid);
  return extension != nullptr && extension->critical;
}

std::string Certificate::TbsWithout(std::string_view oid) const {
  const X509Ptr copy = Decode(der_);
  for (int i = copy ? X509_get_ext_count(copy.get()) - 1 : -1; i >= 0; --i) {
    if (OidOf(X509_EXTENSION_get_object(X509_get_ext(copy.get(), i))) == oid) {
      X509_EXTENSION_free(X509_delete_ext(copy.get(), i));
    }
  }
  unsigned char* bytes = nullptr;
  const int size = copy ? i2d_re_X509_tbs(copy.get(), &bytes) : -1;
  if (size < 0) {
    throw Error(ErrorKind::kFailed, "a certificate cannot be encoded");
  }
  std::string tbs(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return tbs;
}

std::optional<std::string> Utf8String(std::string_view der) {
  const unsigned char* at = Unsigned(der);
  const std::unique_ptr<ASN1_UTF8STRING, FreeBy<ASN1_UTF8STRING_free>> text(
      d2i_ASN1_UTF8STRING(nullptr, &at, static_cast<long>(der.size())));
  if (!text || at != Unsigned(der) + der.size() || Encode(i2d_ASN1_UTF8STRING, text.get()) != der) {
    ERR_clear_error();
    return std::nullopt;
  }
  return ToString(text.get());
}

}  // namespace gantry::sign
