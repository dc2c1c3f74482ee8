#include "libsign/sealed_key.h"

#include <algorithm>
#include <array>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kSigstoreLabel = "ENCRYPTED SIGSTORE PRIVATE KEY";
constexpr std::string_view kCosignLabel = "ENCRYPTED COSIGN PRIVATE KEY";
constexpr uint64_t kWrittenN = 65536;
constexpr std::array<uint64_t, 3> kKnownN = {32768, 65536, 131072};
constexpr uint64_t kR = 8;
constexpr uint64_t kP = 1;
constexpr size_t kSaltBytes = 32;
constexpr size_t kLineBytes = 64;
constexpr std::string_view kKdf = "scrypt";
constexpr std::string_view kCipher = "nacl/secretbox";

std::string Begin(std::string_view label) { return "-----BEGIN " + std::string(label) + "-----"; }
std::string End(std::string_view label) { return "-----END " + std::string(label) + "-----"; }

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

[[noreturn]] void Refuse(std::string_view what, const std::string& problem) {
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + problem,
              "expected a private key that cosign or gantry-keygen wrote");
}

// What the PEM block holds.
std::string Unwrapped(std::string_view text, std::string_view what) {
  const std::string_view block = Trimmed(text);
  for (const std::string_view label : {kSigstoreLabel, kCosignLabel}) {
    const std::string begin = Begin(label);
    const std::string end = End(label);
    if (block.starts_with(begin) && block.ends_with(end) && block.size() > begin.size() + end.size()) {
      std::string base64(block.substr(begin.size(), block.size() - begin.size() - end.size()));
      std::erase_if(base64, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
      if (auto json = DecodeBase64(base64)) {
        return *std::move(json);
      }
    }
  }
  Refuse(what, "the PEM is damaged");
}

std::string Bytes(const json::Cursor& from, size_t size) {
  const auto decoded = DecodeBase64(from.String(kMaxPrivateKeyBytes * 2));
  if (!decoded || (size != 0 && decoded->size() != size)) {
    from.Fail(size == 0 ? "expected base64" : "expected the base64 of " + std::to_string(size) + " bytes");
  }
  return *decoded;
}

void Expect(const json::Cursor& from, std::string_view value) {
  if (from.String() != value) {
    from.Fail("expected '" + std::string(value) + "'");
  }
}

uint64_t CheckedN(const json::Cursor& params) {
  params.OnlyKeys({"N", "r", "p"});
  const uint64_t n = params.At("N").Unsigned(UINT32_MAX);
  const bool known = std::find(kKnownN.begin(), kKnownN.end(), n) != kKnownN.end();
  if (!known || params.At("r").Unsigned(UINT32_MAX) != kR || params.At("p").Unsigned(UINT32_MAX) != kP) {
    throw Error(ErrorKind::kUnsupported, "scrypt numbers that cosign never wrote: N=" + std::to_string(n),
                "N is 32768, 65536 or 131072, r is 8, p is 1");
  }
  return n;
}

SecretBytes BoxKey(const SecretBytes& passphrase, std::string_view salt, uint64_t n) {
  auto key = Scrypt(passphrase, salt, n, kR, kP, kBoxKeyBytes);
  if (!key) {
    throw Error(ErrorKind::kFailed, "scrypt does not run", "it needs " + std::to_string(n >> 10) + " MiB of memory");
  }
  return *std::move(key);
}

SecretBytes OpenSealed(std::string_view text, std::string_view what, const SecretBytes& passphrase) {
  const std::string unwrapped = Unwrapped(text, what);
  const json::Value document = json::Parse(unwrapped, what, 8);
  const json::Cursor root(document, std::string(what));
  root.OnlyKeys({"kdf", "cipher", "ciphertext"});
  const json::Cursor kdf = root.At("kdf");
  kdf.OnlyKeys({"name", "params", "salt"});
  Expect(kdf.At("name"), kKdf);
  const json::Cursor cipher = root.At("cipher");
  cipher.OnlyKeys({"name", "nonce"});
  Expect(cipher.At("name"), kCipher);
  const uint64_t n = CheckedN(kdf.At("params"));
  const SecretBytes key = BoxKey(passphrase, Bytes(kdf.At("salt"), kSaltBytes), n);
  auto opened = OpenBox(Bytes(root.At("ciphertext"), 0), Bytes(cipher.At("nonce"), kBoxNonceBytes), key);
  if (!opened) {
    throw Error(ErrorKind::kRefused, std::string(what) + ": the passphrase does not open it");
  }
  return *std::move(opened);
}

}  // namespace

std::string SealKey(const PrivateKey& key, const SecretBytes& passphrase) {
  const std::string salt = RandomBytes(kSaltBytes);
  const std::string nonce = RandomBytes(kBoxNonceBytes);
  const std::string box = SealBox(key.ToPkcs8().view(), nonce, BoxKey(passphrase, salt, kWrittenN));
  const json::Object params = {{"N", kWrittenN}, {"r", kR}, {"p", kP}};
  const std::string base64 = EncodeBase64(json::Print(json::Object{
      {"kdf", json::Object{{"name", kKdf}, {"params", params}, {"salt", EncodeBase64(salt)}}},
      {"cipher", json::Object{{"name", kCipher}, {"nonce", EncodeBase64(nonce)}}},
      {"ciphertext", EncodeBase64(box)},
  }));
  std::string pem = Begin(kSigstoreLabel) + "\n";
  for (size_t at = 0; at < base64.size(); at += kLineBytes) {
    pem += base64.substr(at, kLineBytes) + "\n";
  }
  return pem + End(kSigstoreLabel) + "\n";
}

bool IsSealedKey(std::string_view text) {
  const std::string_view block = Trimmed(text);
  return block.starts_with(Begin(kSigstoreLabel)) || block.starts_with(Begin(kCosignLabel));
}

bool IsEncryptedKey(std::string_view text) {
  return text.find("ENCRYPTED") != std::string_view::npos;  // of "Proc-Type: 4,ENCRYPTED" too
}

PrivateKey ReadPrivateKey(std::string_view text, std::string_view what, const SecretBytes* passphrase) {
  if (text.size() > kMaxPrivateKeyBytes) {
    Refuse(what, "over " + std::to_string(kMaxPrivateKeyBytes) + " bytes");
  }
  if (!IsSealedKey(text)) {
    return PrivateKey::Parse(text, what, passphrase);
  }
  const SecretBytes none;
  return PrivateKey::Parse(OpenSealed(text, what, passphrase != nullptr ? *passphrase : none).view(), what);
}

}  // namespace gantry::sign
