#include "libsign/crypto.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "libimage/base/error.h"
#include "libsign/crypto_native.h"
#include "libsign/free_by.h"

namespace gantry::sign {
namespace {

using namespace std::string_view_literals;
using UniqueKeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>>;
using UniqueSignature = std::unique_ptr<ECDSA_SIG, FreeBy<ECDSA_SIG_free>>;

constexpr std::array kKinds = {
    KindName{KeyKind::kEcdsaP256, "ecdsa-p256", "prime256v1", 32},
    KindName{KeyKind::kEcdsaP384, "ecdsa-p384", "secp384r1", 48},
    KindName{KeyKind::kEcdsaP521, "ecdsa-p521", "secp521r1", 66},
    KindName{KeyKind::kRsa, "rsa", "", 0},
    KindName{KeyKind::kEd25519, "ed25519", "", 0},
};

// What the DER of a public key begins with whose kind says its length: all but the point, uncompressed, or the number.
struct FixedForm {
  KeyKind kind;
  std::string_view begin;
  size_t size;  // of what follows
};
constexpr std::array kFixedForms = {
    FixedForm{
        KeyKind::kEcdsaP256,
        "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"sv,
        65},
    FixedForm{KeyKind::kEcdsaP384,
              "\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00"sv, 97},
    FixedForm{KeyKind::kEcdsaP521,
              "\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00"sv,
              133},
    FixedForm{KeyKind::kEd25519, "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"sv, 32},
};

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

constexpr std::array<std::string_view, 3> kHashNames = {"sha256", "sha384", "sha512"};
constexpr std::array<std::string_view, 6> kSchemeNames = {"ecdsa",   "ecdsa-raw", "rsa-pkcs1v15",
                                                          "rsa-pss", "ed25519",   "ed25519ph"};

[[noreturn]] void RefuseKey(std::string_view what, std::string_view problem) {
  ERR_clear_error();
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + std::string(problem),
              "a public key is PEM 'PUBLIC KEY', as 'openssl pkey -pubout' writes it, or its DER");
}

// Exactly one block of that label and nothing else.
bool IsOneBlock(std::string_view text, std::string_view label) {
  const std::string_view block = Trimmed(text);
  const std::string begin = "-----BEGIN " + std::string(label) + "-----";
  const std::string end = "-----END " + std::string(label) + "-----";
  return block.starts_with(begin) && block.ends_with(end) && block.find("-----END ") == block.size() - end.size();
}

// Null for a point that is not on the curve, and for one that is not written out whole.
UniqueKey FromPoint(std::string_view group, std::string_view point) {
  const UniqueKeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  const std::array parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(group.data()), group.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<char*>(point.data()), point.size()),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  if (point.front() != POINT_CONVERSION_UNCOMPRESSED || context == nullptr ||
      EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, const_cast<OSSL_PARAM*>(parameters.data())) != 1) {
    return nullptr;
  }
  return UniqueKey(key);
}

// Without OpenSSL's decoders, to gather which takes longer than to verify a signature. Null for what is in no fixed
// form, or is no key: they know what is wrong with it.
UniqueKey ReadFixedForm(std::string_view der) {
  for (const FixedForm& form : kFixedForms) {
    if (der.size() != form.begin.size() + form.size || !der.starts_with(form.begin)) {
      continue;
    }
    const std::string_view rest = der.substr(form.begin.size());
    return form.kind == KeyKind::kEd25519
               ? UniqueKey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Raw(rest), rest.size()))
               : FromPoint(Row(form.kind).group, rest);
  }
  return nullptr;
}

UniqueKey ReadDer(std::string_view der, std::string_view what) {
  if (UniqueKey key = ReadFixedForm(der)) {
    return key;
  }
  const unsigned char* at = Raw(der);
  UniqueKey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  if (key == nullptr || at != Raw(der) + der.size()) {
    RefuseKey(what, "the public key is damaged");
  }
  return key;
}

// What OpenSSL wrote before there were other keys.
UniqueKey ReadRsaDer(std::string_view der, std::string_view what) {
  const unsigned char* at = Raw(der);
  UniqueKey key(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, static_cast<long>(der.size())));
  if (key == nullptr || at != Raw(der) + der.size()) {
    RefuseKey(what, "the public key is damaged");
  }
  return key;
}

UniqueKey ReadPem(std::string_view text, std::string_view what) {
  const bool rsa = IsOneBlock(text, "RSA PUBLIC KEY");
  if (!rsa && !IsOneBlock(text, "PUBLIC KEY")) {
    RefuseKey(what, "expected one public key in PEM and nothing else");
  }
  const UniqueBio bio = Reading(Trimmed(text));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* bytes = nullptr;
  long size = 0;
  if (PEM_read_bio(bio.get(), &name, &header, &bytes, &size) != 1) {
    RefuseKey(what, "the PEM is damaged");
  }
  const bool bare = *header == '\0';
  const std::string der(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(bytes);
  if (!bare) {
    RefuseKey(what, "the public key is damaged");
  }
  return rsa ? ReadRsaDer(der, what) : ReadDer(der, what);
}

// As ReadFixedForm.
std::optional<std::string> WriteFixedForm(const EVP_PKEY* key, KeyKind kind) {
  const auto* const form = std::ranges::find(kFixedForms, kind, &FixedForm::kind);
  if (form == kFixedForms.end()) {
    return std::nullopt;
  }
  std::string rest(form->size + 1, '\0');
  size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, Raw(rest.data()), rest.size(), &size) != 1 ||
      size != form->size) {
    ERR_clear_error();
    return std::nullopt;
  }
  rest.resize(size);
  return std::string(form->begin) + rest;
}

std::string SpkiOf(const EVP_PKEY* key, KeyKind kind) {
  if (auto written = WriteFixedForm(key, kind)) {
    return *std::move(written);
  }
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

// As OpenSSL takes it.
std::optional<std::string> Encoded(const Scheme& scheme, std::string_view signature, KeyKind kind) {
  return scheme.kind == Scheme::Kind::kEcdsaRaw ? DerOfHalves(signature, Row(kind).half) : std::string(signature);
}

std::string RawHash(const EVP_MD* hash, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), raw.data(), &size, hash, nullptr) != 1) {
    throw Error(ErrorKind::kFailed, "a hash cannot be computed");
  }
  return {reinterpret_cast<const char*>(raw.data()), size};
}

}  // namespace

const KindName& Row(KeyKind kind) {
  return *std::find_if(kKinds.begin(), kKinds.end(), [kind](const KindName& row) { return row.kind == kind; });
}

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

bool IsPem(std::string_view text) { return Trimmed(text).starts_with("-----BEGIN "); }

const EVP_MD* NativeHash(KeyHash hash) {
  switch (hash) {
    case KeyHash::kSha384:
      return EVP_sha384();
    case KeyHash::kSha512:
      return EVP_sha512();
    default:
      return EVP_sha256();
  }
}

bool SetPadding(EVP_PKEY_CTX* context, const Scheme& scheme) {
  if (scheme.kind != Scheme::Kind::kRsaPss) {
    return scheme.kind != Scheme::Kind::kRsaPkcs1v15 || EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
  }
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, NativeHash(scheme.hash)) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

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

std::string Hash(KeyHash hash, std::string_view bytes) { return RawHash(NativeHash(hash), bytes); }

struct MessageHash::State {
  UniqueContext context;  // null where there is the other
  std::optional<Hasher> begun = {};
};
MessageHash::MessageHash(KeyHash hash) : state_(std::make_unique<State>(State{UniqueContext(EVP_MD_CTX_new())})) {
  if (state_->context == nullptr || EVP_DigestInit_ex(state_->context.get(), NativeHash(hash), nullptr) != 1) {
    ThrowBroken("hash");
  }
}
MessageHash::MessageHash(Hasher begun) : state_(std::make_unique<State>(State{nullptr, std::move(begun)})) {}
MessageHash::MessageHash(MessageHash&&) noexcept = default;
MessageHash& MessageHash::operator=(MessageHash&&) noexcept = default;
MessageHash::~MessageHash() = default;

void MessageHash::Update(std::string_view bytes) {
  if (state_->begun) {
    state_->begun->Update(AsBytes(bytes));
  } else if (EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) != 1) {
    ThrowBroken("hash");
  }
}

std::string MessageHash::Finish() {
  if (state_->begun) {
    return std::string(AsText(state_->begun->Finish().raw()));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_->context.get(), raw.data(), &size) != 1) {
    ThrowBroken("hash");
  }
  return {reinterpret_cast<const char*>(raw.data()), size};
}

std::string Sha1(std::string_view bytes) { return RawHash(EVP_sha1(), bytes); }

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
      spki_(SpkiOf(native_->key.get(), kind_)),
      fingerprint_(Digest::Of(spki_).hex()) {}

PublicKey PublicKey::Parse(std::string_view text, std::string_view what) {
  if (text.empty() || text.size() > kMaxPublicKeyBytes) {
    RefuseKey(what, "not a public key");
  }
  UniqueKey key = IsPem(text) ? ReadPem(text, what) : ReadDer(text, what);
  PublicKey parsed(std::make_shared<Native>(Native{std::move(key)}), what);
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
  const auto encoded = Encoded(scheme, signature, kind_);
  if (!encoded) {
    return false;
  }
  const UniqueContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (context == nullptr ||
      EVP_DigestVerifyInit(context.get(), &parameters, IsPure(scheme) ? nullptr : NativeHash(scheme.hash), nullptr,
                           native_->key.get()) != 1) {
    ThrowBroken("verify with this key");
  }
  const bool accepted =
      SetPadding(parameters, scheme) &&
      EVP_DigestVerify(context.get(), Raw(*encoded), encoded->size(), Raw(message), message.size()) == 1;
  ERR_clear_error();
  return accepted;
}

bool PublicKey::AcceptsDigest(const Scheme& scheme, std::string_view digest, std::string_view signature) const {
  if (scheme.kind == Scheme::Kind::kEd25519) {
    return Accepts(scheme, digest, signature);
  }
  const auto encoded = Goes(scheme) ? Encoded(scheme, signature, kind_) : std::nullopt;
  if (!encoded || scheme.kind == Scheme::Kind::kEd25519ph) {
    return false;
  }
  const UniqueKeyContext context(EVP_PKEY_CTX_new(native_->key.get(), nullptr));
  if (context == nullptr || EVP_PKEY_verify_init(context.get()) != 1) {
    ThrowBroken("verify with this key");
  }
  const bool accepted = SetPadding(context.get(), scheme) &&
                        EVP_PKEY_CTX_set_signature_md(context.get(), NativeHash(scheme.hash)) == 1 &&
                        EVP_PKEY_verify(context.get(), Raw(*encoded), encoded->size(), Raw(digest), digest.size()) == 1;
  ERR_clear_error();
  return accepted;
}

}  // namespace gantry::sign
