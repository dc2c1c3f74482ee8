// PrivateKey::FromPkcs11: keys that stay in a token, by whatever of OpenSSL's serves PKCS #11 on this machine: a
// provider, or libp11's engine, which is what Debian 12 has. Both are loaded by OpenSSL itself.
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#include <cstdlib>
#include <cstring>
#include <exception>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/crypto.h"
#include "libsign/crypto_native.h"

namespace gantry::sign {
namespace {

constexpr size_t kMaxUriBytes = 4096;
constexpr size_t kMaxPinBytes = 256;
constexpr std::string_view kFileScheme = "file:";

using UniqueUi = std::unique_ptr<UI_METHOD, FreeBy<UI_destroy_method>>;
using UniqueStore = std::unique_ptr<OSSL_STORE_CTX, FreeBy<OSSL_STORE_close>>;
using UniqueLoader = std::unique_ptr<OSSL_STORE_LOADER, FreeBy<OSSL_STORE_LOADER_free>>;
using UniqueInfo = std::unique_ptr<OSSL_STORE_INFO, FreeBy<OSSL_STORE_INFO_free>>;

// RFC 7512. What it says about the module and the PIN is for us, the rest for who serves it.
struct Pkcs11Uri {
  std::string rest;
  std::string module;
  std::string pin_file;

  static Pkcs11Uri Parse(const std::string& text);
};

int HexDigit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0 || (high == 0 && low == 0)) {
      throw Error(ErrorKind::kUsage, "a pkcs11: URI with a broken '%': " + Quoted(std::string(text)));
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string PinFile(const std::string& source) {
  std::string path = source.starts_with(kFileScheme) ? source.substr(kFileScheme.size()) : source;
  if (!path.starts_with('/')) {
    throw Error(ErrorKind::kUnsupported, "pin-source " + Quoted(source) + " is no file", "write pin-source=file:/PATH");
  }
  return path;
}

Pkcs11Uri Pkcs11Uri::Parse(const std::string& text) {
  if (text.size() > kMaxUriBytes) {
    throw Error(ErrorKind::kUsage, "a pkcs11: URI of over " + std::to_string(kMaxUriBytes) + " bytes");
  }
  const size_t mark = std::min(text.find('?'), text.size());
  Pkcs11Uri uri{text.substr(0, mark), {}, {}};
  char joint = '?';
  for (size_t at = mark + 1; at < text.size();) {
    const size_t end = std::min(text.find('&', at), text.size());
    const std::string attribute = text.substr(at, end - at);
    const size_t equals = std::min(attribute.find('='), attribute.size());
    const std::string name = attribute.substr(0, equals);
    const std::string value = equals < attribute.size() ? PercentDecoded(attribute.substr(equals + 1)) : "";
    if (name == "pin-value") {
      throw Error(ErrorKind::kUsage, "a PIN in a command line can be read by everybody on this machine",
                  "write pin-source=file:/PATH into the URI, or give it with --passphrase-file or on the terminal");
    }
    if (name == "module-path") {
      uri.module = value;
    } else if (name == "pin-source") {
      uri.pin_file = PinFile(value);
    } else {
      uri.rest += joint + attribute;
      joint = '&';
    }
    at = end + 1;
  }
  return uri;
}

// Where the PIN comes from, for OpenSSL's callbacks, which nothing may be thrown through.
class PinSource {
 public:
  PinSource(const std::string& file, const AskPin& ask) : file_(file), ask_(ask) {
    method_.reset(UI_UTIL_wrap_read_pem_callback(&PinSource::Give, 0));
  }
  PinSource(const PinSource&) = delete;
  PinSource& operator=(const PinSource&) = delete;

  UI_METHOD* method() const { return method_.get(); }
  void* data() { return this; }
  // Throws what went wrong while it was asked for.
  void Rethrow() const {
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

 private:
  static int Give(char* buffer, int size, int /*writing*/, void* self) {
    auto& source = *static_cast<PinSource*>(self);
    try {
      const SecretBytes pin = source.Read();
      if (pin.size() > static_cast<size_t>(size)) {
        throw Error(ErrorKind::kUsage, "the PIN is over " + std::to_string(size) + " bytes");
      }
      std::memcpy(buffer, pin.view().data(), pin.size());
      return static_cast<int>(pin.size());
    } catch (...) {
      source.error_ = std::current_exception();
      return -1;
    }
  }

  SecretBytes Read() const {
    if (file_.empty()) {
      return ask_();
    }
    std::string text = ReadFile(file_, kMaxPinBytes);
    const SecretBytes pin(std::string_view(text).substr(0, text.find_first_of("\r\n")));
    WipeText(text);
    return SecretBytes(pin.view());
  }

  const std::string& file_;
  const AskPin& ask_;
  std::exception_ptr error_;
  UniqueUi method_;
};

bool ProviderServes() {
  const UniqueLoader loader(OSSL_STORE_LOADER_fetch(nullptr, "pkcs11", nullptr));
  ERR_clear_error();
  return loader != nullptr;
}

// One that openssl.cnf loads, or the one that has the name.
bool FindProvider(const std::string& module) {
  if (!module.empty()) {
    setenv("PKCS11_PROVIDER_MODULE", module.c_str(), 1);
  }
  if (ProviderServes()) {
    return true;
  }
  // The built-in provider is no longer implied when another one is loaded by name.
  static OSSL_PROVIDER* const kOwn = OSSL_PROVIDER_load(nullptr, "default");
  static OSSL_PROVIDER* const kPkcs11 = OSSL_PROVIDER_load(nullptr, "pkcs11");
  ERR_clear_error();
  return kOwn != nullptr && kPkcs11 != nullptr && ProviderServes();
}

UniqueKey KeyOfProvider(const std::string& uri, PinSource& pin) {
  const UniqueStore store(OSSL_STORE_open(uri.c_str(), pin.method(), pin.data(), nullptr, nullptr));
  UniqueKey key;
  while (store != nullptr && key == nullptr && OSSL_STORE_eof(store.get()) == 0) {
    const UniqueInfo info(OSSL_STORE_load(store.get()));
    if (info != nullptr && OSSL_STORE_INFO_get_type(info.get()) == OSSL_STORE_INFO_PKEY) {
      key.reset(OSSL_STORE_INFO_get1_PKEY(info.get()));
    }
  }
  return key;
}

// Engines are what OpenSSL had before providers; they work until OpenSSL 4.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#ifndef OPENSSL_NO_ENGINE
// Lives as long as the process, for keys of it may, with the module that was named first. nullptr where there is none.
ENGINE* FindEngine(const std::string& module) {
  static ENGINE* const kEngine = [&module]() -> ENGINE* {
    ENGINE_load_dynamic();
    ENGINE* const found = ENGINE_by_id("pkcs11");
    const bool told =
        found != nullptr && (module.empty() || ENGINE_ctrl_cmd_string(found, "MODULE_PATH", module.c_str(), 0) == 1);
    return told && ENGINE_init(found) == 1 ? found : nullptr;
  }();
  return kEngine;
}

UniqueKey KeyOfEngine(ENGINE* engine, const std::string& uri, PinSource& pin) {
  return UniqueKey(ENGINE_load_private_key(engine, uri.c_str(), pin.method(), pin.data()));
}
#else
ENGINE* FindEngine(const std::string&) { return nullptr; }
UniqueKey KeyOfEngine(ENGINE*, const std::string&, PinSource&) { return nullptr; }
#endif

#pragma GCC diagnostic pop

// Empties OpenSSL's queue of errors.
bool SaysWrongPin() {
  bool wrong = false;
  for (unsigned long error = ERR_get_error(); error != 0; error = ERR_get_error()) {
    const char* const reason = ERR_reason_error_string(error);
    wrong = wrong || (reason != nullptr && std::strstr(reason, "PIN incorrect") != nullptr);
  }
  return wrong;
}

}  // namespace

PrivateKey PrivateKey::FromPkcs11(const std::string& uri, const AskPin& ask) {
  const Pkcs11Uri parsed = Pkcs11Uri::Parse(uri);
  PinSource pin(parsed.pin_file, ask);
  UniqueKey key;
  const bool provider = FindProvider(parsed.module);
  if (provider) {
    key = KeyOfProvider(parsed.rest, pin);
  } else if (ENGINE* const engine = FindEngine(parsed.module)) {
    key = KeyOfEngine(engine, parsed.rest, pin);
  } else {
    ERR_clear_error();
    throw Error(ErrorKind::kUnsupported, "OpenSSL serves no PKCS #11 on this machine",
                "install pkcs11-provider or, on Debian 12, libengine-pkcs11-openssl; or use a key in a file");
  }
  pin.Rethrow();
  const bool wrong_pin = SaysWrongPin();
  if (key == nullptr && wrong_pin) {
    throw Error(ErrorKind::kRefused, "the PIN does not open " + Quoted(parsed.rest),
                "after a few wrong ones the token locks itself");
  }
  if (key == nullptr) {
    // The provider keeps to itself that a token was not opened.
    throw Error(ErrorKind::kNotFound,
                "no private key at " + Quoted(parsed.rest) + (provider ? ", or the PIN does not open it" : ""),
                "see 'p11tool --list-all' or 'pkcs11-tool --list-objects'; module-path= in the URI names the module");
  }
  return FromNative(std::make_shared<PublicKey::Native>(PublicKey::Native{std::move(key)}), "the PKCS #11 key");
}

}  // namespace gantry::sign
