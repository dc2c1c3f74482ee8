#include "tools/signers.h"

#include <unistd.h>

#include <cstdlib>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/sealed_key.h"

namespace gantry::tools {
namespace {

constexpr std::string_view kEnvironment = "env://";
constexpr std::string_view kPkcs11 = "pkcs11:";

// The text of a private key, wiped when it goes.
struct KeyText {
  std::string text;
  KeyText(std::string_view from) : text(from) {}
  KeyText(std::string&& from) : text(std::move(from)) {}
  KeyText(const KeyText&) = delete;
  KeyText& operator=(const KeyText&) = delete;
  ~KeyText() { sign::WipeText(text); }
};

sign::PrivateKey Open(const KeyText& text, const std::string& what, const PassphraseSource& source) {
  if (text.text.find("BEGIN PGP") != std::string::npos) {
    throw Error(ErrorKind::kUsage, what + " holds an OpenPGP key", "gpg --import it, and name it by its fingerprint");
  }
  if (!sign::IsEncryptedKey(text.text)) {
    return sign::ReadPrivateKey(text.text, what, nullptr);
  }
  const sign::SecretBytes passphrase = ReadPassphrase(source, "key " + what);
  return sign::ReadPrivateKey(text.text, what, &passphrase);
}

sign::PrivateKey FromEnvironment(const std::string& name, const PassphraseSource& source) {
  const char* const text = std::getenv(name.c_str());
  if (text == nullptr) {
    throw Error(ErrorKind::kNotFound, "the environment has no " + Quoted(name), "export it with the private key in it");
  }
  return Open(KeyText(std::string_view(text)), Quoted(name), source);
}

// User IDs are no paths; what looks like one is meant as one, whether it is there or not.
bool IsFile(const std::string& key) {
  return key.find('/') != std::string::npos || key.ends_with(".key") || key.ends_with(".pem") ||
         access(key.c_str(), F_OK) == 0;
}

}  // namespace

std::vector<Signer> OpenSigners(const std::vector<std::string>& keys, const PassphraseSource& passphrase) {
  if (keys.size() > kMaxSigners) {
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(kMaxSigners) + " keys at once");
  }
  std::vector<Signer> signers;
  for (const std::string& key : keys) {
    Signer signer;
    if (key.starts_with(kEnvironment)) {
      signer.key = FromEnvironment(key.substr(kEnvironment.size()), passphrase);
    } else if (key.starts_with(kPkcs11)) {
      signer.key = sign::PrivateKey::FromPkcs11(key, [&passphrase] { return ReadPin(passphrase); });
    } else if (IsFile(key)) {
      signer.key = Open(KeyText(ReadFile(key, sign::kMaxPrivateKeyBytes)), Quoted(key), passphrase);
    } else {
      signer.openpgp = key;
      if (!passphrase.file.empty()) {
        signer.passphrase = ReadPassphrase(passphrase, "key " + Quoted(key));
      }
    }
    signers.push_back(std::move(signer));
  }
  return signers;
}

}  // namespace gantry::tools
