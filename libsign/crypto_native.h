// What libsign/crypto.cc, crypto_private_key.cc and crypto_pkcs11.cc share of OpenSSL. Internal to them.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

#include "libsign/crypto.h"
#include "libsign/free_by.h"

namespace gantry::sign {

using UniqueBio = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;
using UniqueContext = std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX_free>>;
using UniqueKey = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;

struct PublicKey::Native {
  UniqueKey key;
};

struct KindName {
  KeyKind kind;
  std::string_view name;
  std::string_view group;  // OpenSSL's
  size_t half;             // bytes of r and of s
};
const KindName& Row(KeyKind kind);

constexpr size_t kEd25519Bytes = 32;

inline const unsigned char* Raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
inline unsigned char* Raw(char* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

// OpenSSL's last word on what it could not do; kFailed.
[[noreturn]] void ThrowBroken(std::string_view what);

UniqueBio Reading(std::string_view bytes);
std::string Written(BIO* bio);

// Whether `text` is PEM and no DER.
bool IsPem(std::string_view text);

const EVP_MD* NativeHash(KeyHash hash);
inline bool IsPure(const Scheme& scheme) { return scheme.kind == Scheme::Kind::kEd25519; }
bool SetPadding(EVP_PKEY_CTX* context, const Scheme& scheme);

// Private numbers go where they are locked; OpenSSL finds the heap by itself once there is one.
void UseSecureHeap();

}  // namespace gantry::sign
