#include "libsign/x509_chain.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "libimage/base/error.h"
#include "libsign/free_by.h"
#include "libsign/time_text.h"
#include "libsign/x509_native.h"

namespace gantry::sign {
namespace {

constexpr int kSecurityLevel = 2;  // OpenSSL's: 112 bits, which leaves out SHA-1 and RSA under 2048 bits

std::string CodeOf(int error) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "certificate-expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "certificate-not-yet-valid";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return "untrusted-chain";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "bad-certificate-signature";
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
      return "not-a-ca";
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return "path-too-long";
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
      return "unknown-critical-extension";
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
      return "weak-key";
    case X509_V_ERR_CA_MD_TOO_WEAK:
      return "weak-digest";
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
    case X509_V_ERR_SUBTREE_MINMAX:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX:
    case X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
      return "name-constraints";
    default:
      return "bad-chain";
  }
}

Reason ReasonOf(X509_STORE_CTX* context, int64_t time) {
  const int error = X509_STORE_CTX_get_error(context);
  const X509* at = X509_STORE_CTX_get_current_cert(context);
  std::string name = "the chain";
  if (at != nullptr) {
    name = "certificate " + Quoted(FromNative(at, "certificate").subject());
  }
  return {CodeOf(error), name + " at " + TimeText(time) + ": " + X509_verify_cert_error_string(error)};
}

// Called by OpenSSL with what is wrong. The last second of a certificate belongs to its validity (RFC 5280, 4.1.2.5);
// OpenSSL counts it as expired.
int AcceptLastSecond(int good, X509_STORE_CTX* context) {
  const X509* at = X509_STORE_CTX_get_current_cert(context);
  const std::time_t time = X509_VERIFY_PARAM_get_time(X509_STORE_CTX_get0_param(context));
  const bool last = X509_STORE_CTX_get_error(context) == X509_V_ERR_CERT_HAS_EXPIRED && at != nullptr &&
                    ASN1_TIME_cmp_time_t(X509_get0_notAfter(at), time) == 0;
  return last ? 1 : good;
}

// The rules that OpenSSL does not have, for an authority that vouches for `below` others of the chain.
std::optional<Reason> CheckAuthority(const Certificate& authority, std::string_view usage) {
  const std::string name = "authority " + Quoted(authority.subject());
  if (!authority.is_ca() || !authority.IsCritical(kBasicConstraintsOid)) {
    return Reason{"not-a-ca", name + " does not say critically that it is one"};
  }
  if ((authority.key_usage().value_or(0) & kKeyCertSign) == 0) {
    return Reason{"not-a-ca", name + " may not sign certificates"};
  }
  const auto& usages = authority.extended_key_usage();
  const auto has = [&](std::string_view oid) {
    return std::find(usages->begin(), usages->end(), oid) != usages->end();
  };
  if (usages && !usage.empty() && !has(usage) && !has(kAnyUsage)) {
    return Reason{"wrong-usage", name + " may not issue certificates for this use"};
  }
  return std::nullopt;
}

std::optional<Reason> CheckStrength(const std::vector<Certificate>& chain) {
  for (size_t i = 0; i < chain.size(); ++i) {
    const std::string name = "certificate " + Quoted(chain[i].subject());
    if (!chain[i].key()) {
      return Reason{"weak-key", name + " has a key that is too small or of a kind that is not accepted"};
    }
    // What signed the anchor does not matter: it is trusted for being the anchor.
    if (i + 1 < chain.size() && !chain[i].WellSigned()) {
      return Reason{"weak-digest", name + " is signed over " + chain[i].digest_name()};
    }
  }
  return std::nullopt;
}

std::optional<Reason> CheckChain(const std::vector<Certificate>& chain, std::string_view usage) {
  if (auto weak = CheckStrength(chain)) {
    return weak;
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (auto problem = CheckAuthority(chain[i], usage)) {
      return problem;
    }
  }
  const auto& usages = chain.front().extended_key_usage();
  if (!usage.empty() && (!usages || std::find(usages->begin(), usages->end(), usage) == usages->end())) {
    return Reason{"wrong-usage", "certificate " + Quoted(chain.front().subject()) + " is not meant for this use"};
  }
  return std::nullopt;
}

}  // namespace

Chain BuildChain(const Certificate& leaf, const std::vector<Certificate>& candidates,
                 const std::vector<Certificate>& anchors, int64_t time, std::string_view usage) {
  if (candidates.size() > kMaxChainCandidates) {
    return {{}, Reason{"bad-chain", "more than " + std::to_string(kMaxChainCandidates) + " certificates"}};
  }
  const NativeCertificates pool = ToNative(candidates);
  const NativeCertificates trusted = ToNative(anchors);
  const NativeCertificate target = ToNative(leaf);
  const std::unique_ptr<X509_STORE, FreeBy<X509_STORE_free>> store(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, FreeBy<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  if (!store || !context || X509_STORE_CTX_init(context.get(), store.get(), target.get(), pool.get()) != 1) {
    throw Error(ErrorKind::kFailed, "out of memory");
  }
  X509_STORE_CTX_set0_trusted_stack(context.get(), trusted.get());
  X509_STORE_CTX_set_verify_cb(context.get(), AcceptLastSecond);
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(param, time);
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_auth_level(param, kSecurityLevel);
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(kMaxChainLength) - 2);  // counts what is between the two ends
  if (X509_verify_cert(context.get()) != 1) {
    Chain refused{{}, ReasonOf(context.get(), time)};
    ERR_clear_error();
    return refused;
  }
  Chain chain;
  const STACK_OF(X509)* built = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(built); ++i) {
    chain.certificates.push_back(FromNative(sk_X509_value(built, i), "certificate"));
  }
  chain.problem = CheckChain(chain.certificates, usage);
  if (chain.problem) {
    chain.certificates.clear();
  }
  return chain;
}

std::optional<Reason> CheckOrderedChain(const std::vector<Certificate>& chain, int64_t time, std::string_view usage) {
  if (chain.empty() || chain.size() > kMaxChainLength) {
    return Reason{"bad-chain", "a chain of " + std::to_string(chain.size()) + " certificates"};
  }
  if (!chain.back().self_signed()) {
    return Reason{"bad-chain", "the last certificate of the chain is not self-signed"};
  }
  Chain built = BuildChain(chain.front(), {chain.begin() + 1, chain.end()}, {chain.back()}, time, usage);
  if (!built.problem && built.certificates != chain) {
    return Reason{"bad-chain", "the certificates are not one chain in order"};
  }
  return built.problem;
}

}  // namespace gantry::sign
