#include "libsign/crypto.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libsign/free_by.h"

namespace gantry::sign {
namespace {

using UniqueBio = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;
using UniqueContext = std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX_free>>;
using UniqueKeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>>;
using UniqueSignature = std::unique_ptr<ECDSA_SIG, FreeBy<ECDSA_SIG_free>>;
using UniqueKey = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;

struct KindName {
  KeyKind kind;
  std::string_view name;
  std::string_view group;  // OpenSSL's
  size_t half;             // bytes of r and of s
};
constexpr std::array kKinds = {
    KindName{KeyKind::kEcdsaP256, "ecdsa-p256", "prime256v1", 32},
    KindName{KeyKind::kEcdsaP384, "ecdsa-p384", "secp384r1", 48},
    KindName{KeyKind::kEcdsaP521, "ecdsa-p521", "secp521r1", 66},
    KindName{KeyKind::kRsa, "rsa", "", 0},
    KindName{KeyKind::kEd25519, "ed25519", "", 0},
};
constexpr size_t kEd25519Bytes = 32;

const KindName& Row(KeyKind kind) {
  return *std::find_if(kKinds.begin(), kKinds.end(), [kind](const KindName& row) { return row.kind == kind; });
}

constexpr std::array<std::string_view, 3> kHashNames = {"sha256", "sha384", "sha512"};
constexpr std::array<std::string_view, 6> kSchemeNames = {"ecdsa",   "ecdsa-raw", "rsa-pkcs1v15",
                                                          "rsa-pss", "ed25519",   "ed25519ph"};

const EVP_MD* Native(KeyHash hash) {
  switch (hash) {
    case KeyHash::kSha384:
      return EVP_sha384();
    case KeyHash::kSha512:
      return EVP_sha512();
    default:
      return EVP_sha256();
  }
}

const unsigned char* Raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* Raw(char* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

[[noreturn]] void ThrowBroken(std::string_view what) {
  std::array<char, 200> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  throw Error(ErrorKind::kFailed, "OpenSSL cannot " + std::string(what) + ": " + text.data());
}

UniqueBio Reading(std::string_view bytes) {
  UniqueBio bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  if (bio == nullptr) {
    ThrowBroken("read from memory");
  }
  return bio;
}

std::string Written(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<size_t>(size)};
}

// Private numbers go where they are locked; OpenSSL finds the heap by itself once there is one.
void UseSecureHeap() {
  constexpr size_t kHeapBytes = 1024 * 1024;
  constexpr size_t kSmallest = 32;
  static const int made = CRYPTO_secure_malloc_init(kHeapBytes, kSmallest);
  static_cast<void>(made);  // without it the numbers lie in ordinary memory, and are wiped all the same
}

[[noreturn]] void RefuseKey(std::string_view what, std::string_view problem) {
  ERR_clear_error();
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + std::string(problem),
              "a public key is PEM 'PUBLIC KEY', as 'openssl pkey -pubout' writes it, or its DER");
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

bool IsPem(std::string_view text) { return Trimmed(text).starts_with("-----BEGIN "); }

// Exactly one block of that label and nothing else.
bool IsOneBlock(std::string_view text, std::string_view label) {
  const std::string_view block = Trimmed(text);
  const std::string begin = "-----BEGIN " + std::string(label) + "-----";
  const std::string end = "-----END " + std::string(label) + "-----";
  return block.starts_with(begin) && block.ends_with(end) && block.find("-----END ") == block.size() - end.size();
}

UniqueKey ReadPem(std::string_view text, std::string_view what) {
  const bool rsa = IsOneBlock(text, "RSA PUBLIC KEY");
  if (!rsa && !IsOneBlock(text, "PUBLIC KEY")) {
    RefuseKey(what, "expected one public key in PEM and nothing else");
  }
  const UniqueBio bio = Reading(Trimmed(text));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  if (PEM_read_bio(bio.get(), &name, &header, &der, &size) != 1) {
    RefuseKey(what, "the PEM is damaged");
  }
  const bool bare = *header == '\0';
  const unsigned char* at = der;
  UniqueKey key(rsa ? d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, size) : d2i_PUBKEY(nullptr, &at, size));
  const bool whole = at == der + size;
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(der);
  if (key == nullptr || !whole || !bare) {
    RefuseKey(what, "the public key is damaged");
  }
  return key;
}

UniqueKey ReadDer(std::string_view der, std::string_view what) {
  const unsigned char* at = Raw(der);
  UniqueKey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  if (key == nullptr || at != Raw(der) + der.size()) {
    RefuseKey(what, "the public key is damaged");
  }
  return key;
}

std::string SpkiOf(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) {
    ThrowBroken("write a public key");
  }
  std::string spki(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return spki;
}

[[noreturn]] void RefuseKind(std::string_view what, const std::string& kind) {
  ERR_clear_error();
  throw Error(ErrorKind::kUnsupported, std::string(what) + ": " + kind + " is not accepted",
              "use ECDSA on P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519");
}

KeyKind CurveOf(const EVP_PKEY* key, std::string_view what) {
  std::array<char, 80> group{};
  size_t length = 0;
  int is_explicit = 0;
  EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit);
  if (is_explicit != 0 ||
      EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size(), &length) != 1) {
    RefuseKind(what, "a curve without a name");
  }
  for (const KindName& row : kKinds) {
    if (!row.group.empty() && row.group == group.data()) {
      return row.kind;
    }
  }
  RefuseKind(what, "the curve " + Quoted(group.data()));
}

// By name: keys of providers other than OpenSSL's own have no number.
KeyKind KindOf(const EVP_PKEY* key, std::string_view what) {
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    const int bits = EVP_PKEY_get_bits(key);
    if (bits < static_cast<int>(kMinRsaKeyBits) || bits > static_cast<int>(kMaxRsaKeyBits)) {
      RefuseKind(what, "an RSA key of " + std::to_string(bits) + " bits");
    }
    return KeyKind::kRsa;
  }
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    return CurveOf(key, what);
  }
  if (EVP_PKEY_is_a(key, "ED25519") == 1) {
    return KeyKind::kEd25519;
  }
  RefuseKind(what, "a key of this kind");
}

// DER out of two halves; nullopt when they are not halves of that length.
std::optional<std::string> DerOfHalves(std::string_view raw, size_t half) {
  if (raw.size() != 2 * half) {
    return std::nullopt;
  }
  const UniqueSignature signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(Raw(raw), static_cast<int>(half), nullptr);
  BIGNUM* s = BN_bin2bn(Raw(raw) + half, static_cast<int>(half), nullptr);
  if (signature == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return std::nullopt;
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) {
    return std::nullopt;
  }
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
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

bool IsPure(const Scheme& scheme) { return scheme.kind == Scheme::Kind::kEd25519; }

bool SetPadding(EVP_PKEY_CTX* context, const Scheme& scheme) {
  if (scheme.kind != Scheme::Kind::kRsaPss) {
    return scheme.kind != Scheme::Kind::kRsaPkcs1v15 || EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
  }
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, Native(scheme.hash)) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

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

// Among PKCS #8 in DER, encrypted is the one whose first member is no version but an algorithm.
bool IsEncryptedDer(std::string_view der) {
  const unsigned char* at = Raw(der);
  X509_SIG* const box = d2i_X509_SIG(nullptr, &at, static_cast<long>(der.size()));
  X509_SIG_free(box);
  ERR_clear_error();
  return box != nullptr;
}

}  // namespace

struct PublicKey::Native {
  UniqueKey key;
};

std::string_view Name(KeyKind kind) { return Row(kind).name; }

KeyKind ParseKeyKind(std::string_view name) {
  for (const KindName& row : kKinds) {
    if (row.name == name) {
      return row.kind;
    }
  }
  throw Error(ErrorKind::kUsage, "no such kind of key: " + Quoted(name),
              "use ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa or ed25519");
}

std::string Hash(KeyHash hash, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), raw.data(), &size, Native(hash), nullptr) != 1) {
    throw Error(ErrorKind::kFailed, "a hash cannot be computed");
  }
  return {reinterpret_cast<const char*>(raw.data()), size};
}

std::string Scheme::Name() const {
  const std::string name(kSchemeNames.at(static_cast<size_t>(kind)));
  const bool hashed = kind != Kind::kEd25519 && kind != Kind::kEd25519ph;
  return hashed ? name + "-" + std::string(kHashNames.at(static_cast<size_t>(hash))) : name;
}

std::optional<Scheme> Scheme::Parse(std::string_view name) {
  for (const Kind kind : {Kind::kEcdsaDer, Kind::kRsaPkcs1v15, Kind::kRsaPss, Kind::kEd25519, Kind::kEd25519ph}) {
    for (const KeyHash hash : {KeyHash::kSha256, KeyHash::kSha384, KeyHash::kSha512}) {
      const Scheme scheme{kind, hash};
      if (scheme.Name() == name) {
        return scheme;
      }
    }
  }
  return std::nullopt;
}

Scheme Scheme::DefaultFor(KeyKind kind) {
  switch (kind) {
    case KeyKind::kRsa:
      return {Kind::kRsaPkcs1v15, KeyHash::kSha256};
    case KeyKind::kEd25519:
      return {Kind::kEd25519, KeyHash::kSha256};
    default:
      return {Kind::kEcdsaDer, KeyHash::kSha256};
  }
}

PublicKey::PublicKey(std::shared_ptr<const Native> native, std::string_view what)
    : native_(std::move(native)),
      kind_(KindOf(native_->key.get(), what)),
      bits_(static_cast<unsigned>(EVP_PKEY_get_bits(native_->key.get()))),
      spki_(SpkiOf(native_->key.get())),
      fingerprint_(Digest::Of(spki_).hex()) {}

PublicKey PublicKey::Parse(std::string_view text, std::string_view what) {
  if (text.empty() || text.size() > kMaxPublicKeyBytes) {
    RefuseKey(what, "not a public key");
  }
  UniqueKey key = IsPem(text) ? ReadPem(text, what) : ReadDer(text, what);
  const PublicKey parsed(std::make_shared<Native>(Native{std::move(key)}), what);
  if (!IsPem(text) && parsed.spki_ != text) {
    RefuseKey(what, "the public key is not in its one encoding");
  }
  return parsed;
}

std::string PublicKey::ToPem() const {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_PUBKEY(bio.get(), native_->key.get()) != 1) {
    ThrowBroken("write a public key");
  }
  return Written(bio.get());
}

bool PublicKey::Goes(const Scheme& scheme) const {
  switch (scheme.kind) {
    case Scheme::Kind::kEcdsaDer:
    case Scheme::Kind::kEcdsaRaw:
      return Row(kind_).half != 0;
    case Scheme::Kind::kRsaPkcs1v15:
    case Scheme::Kind::kRsaPss:
      return kind_ == KeyKind::kRsa;
    default:
      return kind_ == KeyKind::kEd25519;
  }
}

bool PublicKey::Accepts(const Scheme& scheme, std::string_view message, std::string_view signature) const {
  if (!Goes(scheme)) {
    return false;
  }
  if (scheme.kind == Scheme::Kind::kEd25519ph) {
    std::string raw(kEd25519Bytes, '\0');
    size_t size = raw.size();
    return EVP_PKEY_get_raw_public_key(native_->key.get(), Raw(raw.data()), &size) == 1 &&
           VerifyEd25519ph(message, signature, raw);
  }
  std::string der;
  if (scheme.kind == Scheme::Kind::kEcdsaRaw) {
    auto joined = DerOfHalves(signature, Row(kind_).half);
    if (!joined) {
      return false;
    }
    der = std::move(*joined);
    signature = der;
  }
  const UniqueContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (context == nullptr ||
      EVP_DigestVerifyInit(context.get(), &parameters, IsPure(scheme) ? nullptr : sign::Native(scheme.hash), nullptr,
                           native_->key.get()) != 1) {
    ThrowBroken("verify with this key");
  }
  const bool accepted =
      SetPadding(parameters, scheme) &&
      EVP_DigestVerify(context.get(), Raw(signature), signature.size(), Raw(message), message.size()) == 1;
  ERR_clear_error();
  return accepted;
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
  return FromNative(std::make_shared<PublicKey::Native>(PublicKey::Native{std::move(key)}), what);
}

PrivateKey PrivateKey::FromProvider(const std::string& uri) {
  // The built-in provider is no longer implied when another one is loaded by name.
  static OSSL_PROVIDER* const own = OSSL_PROVIDER_load(nullptr, "default");
  static OSSL_PROVIDER* const pkcs11 = OSSL_PROVIDER_load(nullptr, "pkcs11");
  ERR_clear_error();
  if (own == nullptr || pkcs11 == nullptr) {
    throw Error(ErrorKind::kUnsupported, "OpenSSL has no provider for PKCS #11 on this machine",
                "install pkcs11-provider, or use a key in a file");
  }
  const std::unique_ptr<OSSL_STORE_CTX, FreeBy<OSSL_STORE_close>> store(
      OSSL_STORE_open(uri.c_str(), nullptr, nullptr, nullptr, nullptr));
  UniqueKey key;
  while (store != nullptr && key == nullptr && OSSL_STORE_eof(store.get()) == 0) {
    const std::unique_ptr<OSSL_STORE_INFO, FreeBy<OSSL_STORE_INFO_free>> info(OSSL_STORE_load(store.get()));
    if (info != nullptr && OSSL_STORE_INFO_get_type(info.get()) == OSSL_STORE_INFO_PKEY) {
      key.reset(OSSL_STORE_INFO_get1_PKEY(info.get()));
    }
  }
  ERR_clear_error();
  if (key == nullptr) {
    throw Error(ErrorKind::kNotFound, "no private key at " + Quoted(uri),
                "see 'pkcs11-tool --list-objects'; pin-source= in the URI names the file of a PIN");
  }
  return FromNative(std::make_shared<PublicKey::Native>(PublicKey::Native{std::move(key)}), "the PKCS #11 key");
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
      EVP_DigestSignInit(context.get(), &parameters, IsPure(scheme) ? nullptr : sign::Native(scheme.hash), nullptr,
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
