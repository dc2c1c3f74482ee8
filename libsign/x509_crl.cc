#include "libsign/x509_crl.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libsign/free_by.h"
#include "libsign/time_text.h"
#include "libsign/x509_native.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kBegin = "-----BEGIN X509 CRL-----";
constexpr std::string_view kEnd = "-----END X509 CRL-----";

using Integer = std::unique_ptr<ASN1_INTEGER, FreeBy<ASN1_INTEGER_free>>;

[[noreturn]] void Fail(std::string_view what, std::string_view problem) {
  ERR_clear_error();
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + std::string(problem));
}

std::string Der(std::string_view bytes, std::string_view what) {
  const size_t begin = bytes.find(kBegin);
  if (begin == std::string_view::npos) {
    return std::string(bytes);
  }
  const size_t end = bytes.find(kEnd, begin);
  if (end == std::string_view::npos || bytes.find(kBegin, end) != std::string_view::npos) {
    Fail(what, "expected one revocation list");
  }
  std::string body(bytes.substr(begin + kBegin.size(), end - begin - kBegin.size()));
  std::erase_if(body, [](char c) { return c == '\n' || c == '\r'; });
  const auto der = DecodeBase64(body);
  if (!der) {
    Fail(what, "a PEM block that is not base64");
  }
  return *der;
}

int64_t Time(const ASN1_TIME* time, std::string_view what) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    Fail(what, "a time that is not understood");
  }
  return timegm(&parts);
}

// Extensions that change what the list means; all others that are critical are refused.
bool Understood(const X509_CRL* crl) {
  for (int i = 0; i < X509_CRL_get_ext_count(crl); ++i) {
    X509_EXTENSION* extension = X509_CRL_get_ext(crl, i);
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    const bool known = nid == NID_delta_crl || nid == NID_crl_number || nid == NID_issuing_distribution_point;
    if (X509_EXTENSION_get_critical(extension) == 1 && !known) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct Crl::Parsed {
  std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> crl{nullptr, &X509_CRL_free};
  std::string issuer;
  int64_t this_update = 0;
  std::optional<int64_t> next_update;
  Integer number;
  Integer base;  // of a delta list: the number of the list that it adds to
  bool only_authorities = false;
  bool only_users = false;
};

const std::string& Crl::issuer() const { return parsed_->issuer; }
int64_t Crl::this_update() const { return parsed_->this_update; }
std::optional<int64_t> Crl::next_update() const { return parsed_->next_update; }

Crl Crl::Parse(std::string_view bytes, std::string_view what) {
  if (bytes.size() > kMaxCrlBytes) {
    Fail(what, "a revocation list over " + std::to_string(kMaxCrlBytes) + " bytes");
  }
  const std::string der = Der(bytes, what);
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const end = at + der.size();
  auto parsed = std::make_shared<Parsed>();
  parsed->crl.reset(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
  X509_CRL* crl = parsed->crl.get();
  if (crl == nullptr || at != end) {
    Fail(what, "not an X.509 revocation list");
  }
  if (!Understood(crl)) {
    Fail(what, "a critical extension that is not understood");
  }
  char name[1024] = "";
  X509_NAME_oneline(X509_CRL_get_issuer(crl), name, sizeof name);
  parsed->issuer = name;
  parsed->this_update = Time(X509_CRL_get0_lastUpdate(crl), what);
  if (X509_CRL_get0_nextUpdate(crl) != nullptr) {
    parsed->next_update = Time(X509_CRL_get0_nextUpdate(crl), what);
  }
  parsed->number.reset(static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, nullptr, nullptr)));
  parsed->base.reset(static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_delta_crl, nullptr, nullptr)));
  const std::unique_ptr<ISSUING_DIST_POINT, decltype(&ISSUING_DIST_POINT_free)> part(
      static_cast<ISSUING_DIST_POINT*>(X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, nullptr, nullptr)),
      &ISSUING_DIST_POINT_free);
  if (part) {
    if (part->indirectCRL > 0 || part->onlysomereasons != nullptr || part->onlyattr > 0) {
      Fail(what, "a revocation list that is indirect, or of some reasons only");
    }
    parsed->only_authorities = part->onlyCA > 0;
    parsed->only_users = part->onlyuser > 0;
  }
  ERR_clear_error();
  Crl out;
  out.parsed_ = std::move(parsed);
  return out;
}

// Asks the lists of one issuer about one certificate.
class RevocationChecker {
 public:
  RevocationChecker(const Certificate& certificate, const Certificate& issuer, int64_t time)
      : certificate_(ToNative(certificate)), issuer_(ToNative(issuer)), time_(time), is_ca_(certificate.is_ca()) {}

  Revocation Check(const std::vector<Crl>& lists) {
    const Crl::Parsed* complete = nullptr;
    std::string why = "no revocation list of its issuer";
    for (const Crl& list : lists) {
      const Crl::Parsed& parsed = *list.parsed_;
      if (!IsOfIssuer(parsed) || parsed.base) {
        continue;
      }
      if (const char* problem = Problem(parsed)) {
        why = problem;
      } else if (complete == nullptr || parsed.this_update > complete->this_update) {
        complete = &parsed;
      }
    }
    if (complete == nullptr) {
      return {RevocationStatus::kUnknown, why, {}};
    }
    if (const Crl::Parsed* delta = FindDelta(lists, *complete)) {
      X509_REVOKED* entry = nullptr;
      const int found = X509_CRL_get0_by_cert(delta->crl.get(), &entry, certificate_.get());
      if (found == 2) {  // removeFromCRL: a hold that ended
        return {RevocationStatus::kGood, "not revoked", {}};
      }
      if (found == 1) {
        return Revoked(entry);
      }
    }
    X509_REVOKED* entry = nullptr;
    return X509_CRL_get0_by_cert(complete->crl.get(), &entry, certificate_.get()) == 1
               ? Revoked(entry)
               : Revocation{RevocationStatus::kGood, "not revoked", {}};
  }

 private:
  bool IsOfIssuer(const Crl::Parsed& list) const {
    const bool covers = is_ca_ ? !list.only_users : !list.only_authorities;
    return covers && X509_NAME_cmp(X509_CRL_get_issuer(list.crl.get()), X509_get_subject_name(issuer_.get())) == 0;
  }

  // Why a list of the issuer does not count; nullptr when it does.
  const char* Problem(const Crl::Parsed& list) const {
    if (list.this_update > time_) {
      return "the revocation list is of a later time";
    }
    if (!list.next_update || *list.next_update < time_) {
      return "the revocation list is out of date";
    }
    int digest = NID_undef;
    const int signature = X509_CRL_get_signature_nid(list.crl.get());
    const bool known = OBJ_find_sigid_algs(signature, &digest, nullptr) == 1;
    if (known && digest != NID_undef && digest != NID_sha256 && digest != NID_sha384 && digest != NID_sha512) {
      return "the revocation list is signed over a weak digest";
    }
    const uint32_t usage = X509_get_key_usage(issuer_.get());
    const bool may = usage == UINT32_MAX || (usage & KU_CRL_SIGN) != 0;
    const bool good = may && X509_CRL_verify(list.crl.get(), X509_get0_pubkey(issuer_.get())) == 1;
    ERR_clear_error();
    return good ? nullptr : "the revocation list is not signed by the issuer";
  }

  const Crl::Parsed* FindDelta(const std::vector<Crl>& lists, const Crl::Parsed& complete) const {
    const Crl::Parsed* newest = nullptr;
    for (const Crl& list : lists) {
      const Crl::Parsed& delta = *list.parsed_;
      const bool fits = IsOfIssuer(delta) && delta.base && delta.number && complete.number &&
                        ASN1_INTEGER_cmp(delta.base.get(), complete.number.get()) <= 0 &&
                        ASN1_INTEGER_cmp(delta.number.get(), complete.number.get()) > 0 && Problem(delta) == nullptr;
      if (fits && (newest == nullptr || ASN1_INTEGER_cmp(delta.number.get(), newest->number.get()) > 0)) {
        newest = &delta;
      }
    }
    return newest;
  }

  static Revocation Revoked(const X509_REVOKED* entry) {
    const int64_t since = Time(X509_REVOKED_get0_revocationDate(entry), "revocation list");
    Revocation revoked{RevocationStatus::kRevoked, "revoked at " + TimeText(since), {}};
    const std::unique_ptr<ASN1_GENERALIZEDTIME, decltype(&ASN1_GENERALIZEDTIME_free)> invalid(
        static_cast<ASN1_GENERALIZEDTIME*>(X509_REVOKED_get_ext_d2i(entry, NID_invalidity_date, nullptr, nullptr)),
        &ASN1_GENERALIZEDTIME_free);
    if (invalid) {
      revoked.invalid_since = Time(invalid.get(), "revocation list");
    }
    return revoked;
  }

  NativeCertificate certificate_;
  NativeCertificate issuer_;
  int64_t time_;
  bool is_ca_;
};

Revocation CheckRevocation(const Certificate& certificate, const Certificate& issuer, const std::vector<Crl>& lists,
                           int64_t time) {
  return RevocationChecker(certificate, issuer, time).Check(lists);
}

}  // namespace gantry::sign
