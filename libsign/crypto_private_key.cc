// Private keys: made, read, written, signed with.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <cstring>
#include <utility>

#include "libimage/base/error.h"
#include "libsign/crypto.h"
#include "libsign/crypto_native.h"

namespace gantry::sign {
namespace {

using UniqueSignature = std::unique_ptr<ECDSA_SIG, FreeBy<ECDSA_SIG_free>>;

int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

int GivePassphrase(char* buffer, int size, int /*writing*/, void* user) {
  const auto* const passphrase = static_cast<const SecretBytes*>(user);
  if (passphrase->size() > static_cast<size_t>(size)) {
    return -1;
  }
  std::memcpy(buffer, passphrase->view().data(), passphrase->size());
  return static_cast<int>(passphrase->size());
}

[[noreturn]] void RefusePrivateKey(std::string_view what, bool encrypted, bool given) {
  ERR_clear_error();
  if (encrypted) {
    throw Error(ErrorKind::kRefused, std::string(what) + (given ? ": the passphrase does not open it"
                                                                : ": it is encrypted and there is no passphrase"));
  }
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": not a private key",
              "expected PKCS #8, as 'openssl genpkey' writes it, or a key that cosign or gantry-keygen wrote");
}

// A file names the public point beside the private number, and they may be those of two keys.
void RequirePair(EVP_PKEY* key, std::string_view what) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC)
    return;
  const std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  if (context == nullptr || EVP_PKEY_pairwise_check(context.get()) != 1) {
    ERR_clear_error();
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": its private and its public part belong to two keys");
  }
}

// Among PKCS #8 in DER, encrypted is the one whose first member is no version but an algorithm.
bool IsEncryptedDer(std::string_view der) {
  const unsigned char* at = Raw(der);
  X509_SIG* const box = d2i_X509_SIG(nullptr, &at, static_cast<long>(der.size()));
  X509_SIG_free(box);
  ERR_clear_error();
  return box != nullptr;
}

std::string HalvesOfDer(std::string_view der, size_t half) {
  const unsigned char* at = Raw(der);
  const UniqueSignature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  std::string halves(2 * half, '\0');
  if (signature == nullptr ||
      BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), Raw(halves.data()), static_cast<int>(half)) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), Raw(halves.data()) + half, static_cast<int>(half)) < 0) {
    ThrowBroken("split an ECDSA signature");
  }
  return halves;
}

}  // namespace

void UseSecureHeap() {
  constexpr size_t kHeapBytes = 1024 * 1024;
  constexpr size_t kSmallest = 32;
  static const int kMade = CRYPTO_secure_malloc_init(kHeapBytes, kSmallest);
  static_cast<void>(kMade);  // without it the numbers lie in ordinary memory, and are wiped all the same
}

PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

PrivateKey PrivateKey::FromNative(std::shared_ptr<const PublicKey::Native> native, std::string_view what) {
  return PrivateKey(PublicKey(std::move(native), what));
}

PrivateKey PrivateKey::Generate(KeyKind kind, unsigned rsa_bits) {
  UseSecureHeap();
  UniqueKey key;
  if (kind == KeyKind::kRsa) {
    if (rsa_bits < kMinRsaKeyBits || rsa_bits > kMaxRsaKeyBits) {
      throw Error(ErrorKind::kUsage, "an RSA key of " + std::to_string(rsa_bits) + " bits is not made",
                  "2048 to 16384 bits; 3072 is the default");
    }
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{rsa_bits}));
  } else if (kind == KeyKind::kEd25519) {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  } else {
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", Row(kind).group.data()));
  }
  if (key == nullptr) {
    ThrowBroken("make a key");
  }
  return FromNative(std::make_shared<PublicKey::Native>(PublicKey::Native{std::move(key)}), "the new key");
}

PrivateKey PrivateKey::Parse(std::string_view text, std::string_view what, const SecretBytes* passphrase) {
  UseSecureHeap();
  if (text.empty() || text.size() > kMaxPrivateKeyBytes) {
    RefusePrivateKey(what, false, false);
  }
  const bool pem = IsPem(text);
  const bool encrypted = pem ? text.find("ENCRYPTED") != std::string_view::npos : IsEncryptedDer(text);
  const UniqueBio bio = Reading(text);
  pem_password_cb* const give = passphrase != nullptr ? GivePassphrase : NoPassphrase;
  void* const user = const_cast<SecretBytes*>(passphrase);
  UniqueKey key;
  if (pem) {
    key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, give, user));
  } else if (encrypted) {
    key.reset(d2i_PKCS8PrivateKey_bio(bio.get(), nullptr, give, user));
  } else {
    key.reset(d2i_PrivateKey_bio(bio.get(), nullptr));
  }
  if (key == nullptr) {
    RefusePrivateKey(what, encrypted, passphrase != nullptr);
  }
  RequirePair(key.get(), what);
  return FromNative(std::make_shared<PublicKey::Native>(PublicKey::Native{std::move(key)}), what);
}

std::string PrivateKey::Sign(const Scheme& scheme, std::string_view message) const {
  if (!public_key_.Goes(scheme)) {
    throw Error(ErrorKind::kUnsupported,
                "a key of kind " + std::string(Name(public_key_.kind())) + " does not sign " + scheme.Name());
  }
  EVP_PKEY* const key = public_key_.native_->key.get();
  if (scheme.kind == Scheme::Kind::kEd25519ph) {
    SecretBytes seed(kEd25519Bytes);
    size_t size = seed.size();
    if (EVP_PKEY_get_raw_private_key(key, Raw(seed.data()), &size) != 1) {
      ThrowBroken("take out the Ed25519 key");
    }
    return SignEd25519ph(message, seed);
  }
  const UniqueContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  size_t size = 0;
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), &parameters, IsPure(scheme) ? nullptr : NativeHash(scheme.hash), nullptr,
                         key) != 1 ||
      !SetPadding(parameters, scheme) ||
      EVP_DigestSign(context.get(), nullptr, &size, Raw(message), message.size()) != 1) {
    ThrowBroken("sign");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), Raw(signature.data()), &size, Raw(message), message.size()) != 1) {
    ThrowBroken("sign");
  }
  signature.resize(size);
  return scheme.kind == Scheme::Kind::kEcdsaRaw ? HalvesOfDer(signature, Row(public_key_.kind()).half) : signature;
}

SecretBytes PrivateKey::ToPkcs8() const {
  PKCS8_PRIV_KEY_INFO* const info = EVP_PKEY2PKCS8(public_key_.native_->key.get());
  const int size = info == nullptr ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, nullptr);
  if (size <= 0) {
    PKCS8_PRIV_KEY_INFO_free(info);
    ThrowBroken("write a private key");
  }
  SecretBytes der(static_cast<size_t>(size));
  unsigned char* at = Raw(der.data());
  i2d_PKCS8_PRIV_KEY_INFO(info, &at);
  PKCS8_PRIV_KEY_INFO_free(info);
  return der;
}

std::string PrivateKey::ToEncryptedPem(const SecretBytes& passphrase) const {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_PKCS8PrivateKey(bio.get(), public_key_.native_->key.get(), EVP_aes_256_cbc(),
                                                      passphrase.view().data(), static_cast<int>(passphrase.size()),
                                                      nullptr, nullptr) != 1) {
    ThrowBroken("write a private key");
  }
  return Written(bio.get());
}

std::optional<SecretBytes> Scrypt(const SecretBytes& passphrase, std::string_view salt, uint64_t n, uint64_t r,
                                  uint64_t p, size_t size) {
  EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "SCRYPT", nullptr);
  EVP_KDF_CTX* const context = EVP_KDF_CTX_new(kdf);
  EVP_KDF_free(kdf);
  // What the numbers take, and slack: the default limit of OpenSSL is under what 2^15 takes.
  uint64_t memory = 128 * r * (n + p + 2) + 1024 * 1024;
  std::string_view secret = passphrase.empty() ? std::string_view("") : passphrase.view();
  const std::array<OSSL_PARAM, 7> parameters = {
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, const_cast<char*>(secret.data()), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<char*>(salt.data()), salt.size()),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_R, &r),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_P, &p),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
      OSSL_PARAM_construct_end()};
  SecretBytes out(size);
  const int made = context == nullptr ? 0 : EVP_KDF_derive(context, Raw(out.data()), size, parameters.data());
  EVP_KDF_CTX_free(context);
  ERR_clear_error();
  return made == 1 ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace gantry::sign
