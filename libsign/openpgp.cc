#include "libsign/openpgp.h"

#include <fcntl.h>
#include <gpgme.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <memory>
#include <mutex>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/free_by.h"
#include "libsign/gpg_verify.h"
#include "libsign/openpgp_packets.h"
#include "libsign/openpgp_plain.h"
#include "libsign/simple_signing.h"

namespace gantry::sign {
namespace {

// No agent, no network, no web of trust: a key is good because the policy names it. The bound on the output is gpg's
// half of the defence against compression bombs; TextSink is ours.
constexpr std::string_view kGpgConf =
    "no-autostart\n"
    "no-auto-key-retrieve\n"
    "no-auto-key-locate\n"
    "disable-dirmngr\n"
    "trust-model always\n"
    "no-auto-check-trustdb\n"
    "require-cross-certification\n"
    "max-output 262145\n";

using Context = std::unique_ptr<gpgme_context, FreeBy<gpgme_release>>;
using Data = std::unique_ptr<gpgme_data, FreeBy<gpgme_data_release>>;
using Key = std::unique_ptr<_gpgme_key, FreeBy<gpgme_key_unref>>;

std::string Text(gpgme_error_t error) {
  char text[256] = "";
  gpgme_strerror_r(error, text, sizeof text);
  return text;
}

std::string OrEmpty(const char* text) { return text == nullptr ? "" : text; }

void Check(gpgme_error_t error, std::string_view what) {
  if (error == GPG_ERR_NO_ERROR) {
    return;
  }
  const bool no_gpg = gpgme_err_code(error) == GPG_ERR_INV_ENGINE;
  throw Error(ErrorKind::kFailed, std::string(what) + ": " + Text(error), no_gpg ? "install gpg (package gpg)" : "");
}

// Before anything else of GPGME.
void Start() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Only gpg is wanted; asking gpgconf for all the rest of GnuPG would start four more programs each time.
    gpgme_set_global_flag("disable-gpgconf", "1");
    gpgme_check_version(nullptr);
  });
}

Context NewContext(const std::string* home) {
  Start();
  gpgme_ctx_t raw = nullptr;
  Check(gpgme_new(&raw), "start GPGME");
  Context context(raw);
  Check(gpgme_set_protocol(raw, GPGME_PROTOCOL_OpenPGP), "find gpg");
  gpgme_set_offline(raw, 1);
  if (home != nullptr) {
    Check(gpgme_ctx_set_engine_info(raw, GPGME_PROTOCOL_OpenPGP, nullptr, home->c_str()), "use key ring");
  }
  return context;
}

Data InputData(std::string_view bytes) {
  Start();
  gpgme_data_t raw = nullptr;
  Check(gpgme_data_new_from_mem(&raw, bytes.data(), bytes.size(), 0), "allocate");
  return Data(raw);
}

// What gpg is to read. GPGME calls back from C, so that what the source throws is kept for Rethrow.
class SourceData {
 public:
  explicit SourceData(Source& source) : source_(source) {
    callbacks_.read = [](void* self, void* into, size_t size) -> ssize_t {
      return static_cast<SourceData*>(self)->Read(static_cast<std::byte*>(into), size);
    };
    gpgme_data_t raw = nullptr;
    Check(gpgme_data_new_from_cbs(&raw, &callbacks_, this), "read what is signed");
    data_.reset(raw);
  }
  SourceData(const SourceData&) = delete;
  SourceData& operator=(const SourceData&) = delete;

  gpgme_data_t data() const { return data_.get(); }
  // False when not all of the source was asked for.
  bool ended() const { return ended_; }
  void Rethrow() const {
    if (failure_) {
      std::rethrow_exception(failure_);
    }
  }

 private:
  ssize_t Read(std::byte* into, size_t size) noexcept {
    try {
      if (block_.empty()) {
        block_ = source_.Next();
        ended_ = block_.empty();
      }
      const size_t count = std::min(size, block_.size());
      std::copy_n(block_.bytes().data(), count, into);
      block_ = block_.Skip(count);
      return static_cast<ssize_t>(count);
    } catch (...) {
      failure_ = std::current_exception();
      errno = EIO;
      return -1;
    }
  }

  Source& source_;
  Block block_;
  bool ended_ = false;
  std::exception_ptr failure_;
  gpgme_data_cbs callbacks_{};
  Data data_;
};

// Collects at most kMaxPayloadBytes. GPGME calls back from C, so that nothing may throw: the buffer is reserved before.
class TextSink {
 public:
  explicit TextSink(size_t max_bytes) : max_bytes_(max_bytes) {
    text_.reserve(max_bytes);
    callbacks_.write = [](void* self, const void* bytes, size_t size) -> ssize_t {
      return static_cast<TextSink*>(self)->Append(static_cast<const char*>(bytes), size);
    };
    gpgme_data_t raw = nullptr;
    Check(gpgme_data_new_from_cbs(&raw, &callbacks_, this), "allocate");
    data_.reset(raw);
  }
  TextSink(const TextSink&) = delete;
  TextSink& operator=(const TextSink&) = delete;

  gpgme_data_t data() const { return data_.get(); }
  const std::string& text() const { return text_; }

 private:
  ssize_t Append(const char* bytes, size_t size) {
    if (size > max_bytes_ - text_.size()) {
      errno = EFBIG;
      return -1;
    }
    text_.append(bytes, size);
    return static_cast<ssize_t>(size);
  }

  size_t max_bytes_;
  std::string text_;
  gpgme_data_cbs callbacks_{};
  Data data_;
};

std::string TemporaryHome() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base != nullptr && *base == '/' ? base : "/tmp") + "/gantry-gpg-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    ThrowErrno("make a private directory " + Quoted(path));
  }
  return path;
}

void RemoveHome(const std::string& home) noexcept {
  try {
    const size_t slash = home.rfind('/');
    Dir::Open(home.substr(0, slash + 1)).RemoveTree(RelPath::Parse(home.substr(slash + 1)));
  } catch (const Error&) {
    // Public keys in a private directory: nothing is lost, and there is no one to tell.
  }
}

void Write(const std::string& path, std::string_view bytes) {
  const UniqueFd fd = OpenFile(path, O_WRONLY | O_CREAT | O_EXCL);
  WriteFull(fd.get(), AsBytes(bytes), path);
}

// A pubring.gpg is just the packets, so that no gpg has to run to import them. Only where one key came in two versions
// does gpg have to merge them.
void LayOutKeys(const std::string& home, std::string_view ring) {
  Write(home + "/gpg.conf", kGpgConf);
  if (!HasDuplicates(ring)) {
    Write(home + "/pubring.gpg", ring);
    return;
  }
  const Context context = NewContext(&home);
  // Twice: a bare key with its revocation is passed over until the same key is there with a user ID.
  for (int i = 0; i < 2; ++i)
    Check(gpgme_op_import(context.get(), InputData(ring).get()), "merge two versions of a key");
}

std::string HashName(gpgme_hash_algo_t algorithm) {
  const char* name = gpgme_hash_algo_name(algorithm);
  return name == nullptr ? "unknown hash " + std::to_string(algorithm) : name;
}

bool StrongHash(gpgme_hash_algo_t algorithm) {
  return algorithm == GPGME_MD_SHA224 || algorithm == GPGME_MD_SHA256 || algorithm == GPGME_MD_SHA384 ||
         algorithm == GPGME_MD_SHA512;
}

// All that must hold of what gpg says of a signature; `plaintexts`: as many messages there are with it.
std::optional<BadSignature> Judge(const GpgVerdict& verdict, int plaintexts) {
  constexpr auto kProblems = std::to_array<std::array<const char*, 3>>({
      {"BADSIG", "bad-signature", "it does not match the signed bytes"},
      {"EXPKEYSIG", "expired-key", "the key has expired"},
      {"EXPSIG", "expired-signature", "the signature has expired"},
      {"REVKEYSIG", "revoked-key", "the key is revoked"},
      {"ERRSIG", "bad-signature", "gpg cannot check it"},
  });
  const std::string key = " (key " + verdict.key + ")";
  if (verdict.outcomes != 1) {
    return BadSignature{"not-one-message",
                        verdict.outcomes == 0 ? "gpg finds no signature in it" : "it holds several signatures"};
  }
  if (verdict.no_key) {
    return BadSignature{"unknown-key", "it says that key " + verdict.key + " made it, which the policy does not name"};
  }
  if (verdict.bad_hash) {
    return BadSignature{"weak-digest", "it rests on a hash that is broken" + key};
  }
  for (const auto& [outcome, code, text] : kProblems) {
    if (verdict.outcome == outcome) {
      return BadSignature{code, text + key};
    }
  }
  if (verdict.signatures != 1 || verdict.valid != 1 || verdict.plaintexts != plaintexts) {
    return BadSignature{"not-one-message", "it is not one signature over one message"};
  }
  const auto hash = static_cast<gpgme_hash_algo_t>(verdict.hash);
  if (!StrongHash(hash)) {
    return BadSignature{"weak-digest", "it rests on " + HashName(hash)};
  }
  if (verdict.created > std::time(nullptr) + kMaxClockSkewSeconds) {
    return BadSignature{"future-signature", "it is dated in the future"};
  }
  if (verdict.unread) {
    return BadSignature{"bad-signature", "gpg ended before it had read all that is signed" + key};
  }
  return verdict.failed ? std::optional(BadSignature{"bad-signature", "gpg does not accept it" + key}) : std::nullopt;
}

SignedMessage Refused(std::string code, std::string reason) {
  SignedMessage answer;
  answer.problem = BadSignature{std::move(code), std::move(reason)};
  return answer;
}

SignedMessage Answer(const PlainDetached& plain) {
  if (!plain.good) {
    return Refused("bad-signature", "it does not match the signed bytes (key " + plain.key + ")");
  }
  return {std::nullopt, "", plain.fingerprint, plain.created};
}

// All but the payload.
SignedMessage Answer(const GpgVerdict& verdict, int plaintexts) {
  if (auto problem = Judge(verdict, plaintexts)) {
    return Refused(std::move(problem->code), std::move(problem->reason));
  }
  return {std::nullopt, "", verdict.primary, verdict.created};
}

std::string Problem(gpgme_key_t key) {
  return key->revoked    ? "revoked"
         : key->expired  ? "expired"
         : key->disabled ? "disabled"
         : key->invalid  ? "invalid"
                         : "";
}

std::vector<Key> ListKeys(gpgme_ctx_t context, const char* pattern, bool secret) {
  Check(gpgme_op_keylist_start(context, pattern, secret), "list keys");
  std::vector<Key> keys;
  while (true) {
    gpgme_key_t raw = nullptr;
    const gpgme_error_t error = gpgme_op_keylist_next(context, &raw);
    if (gpgme_err_code(error) == GPG_ERR_EOF) {
      return keys;
    }
    Check(error, "list keys");
    keys.emplace_back(raw);
  }
}

std::string Describe(gpgme_key_t key) {
  std::string text = OrEmpty(key->fpr);
  return key->uids == nullptr ? text : text + " (" + OrEmpty(key->uids->uid) + ")";
}

Key FindSigningKey(gpgme_ctx_t context, const SigningKey& with) {
  std::vector<Key> keys = ListKeys(context, with.key.c_str(), true);
  std::erase_if(keys, [](const Key& key) { return !key->can_sign || !Problem(key.get()).empty(); });
  if (keys.empty()) {
    throw Error(ErrorKind::kNotFound, "no usable secret signing key for " + Quoted(with.key),
                "'gpg --list-secret-keys' shows those there are; --homedir names another key ring");
  }
  if (keys.size() > 1) {
    throw Error(ErrorKind::kUsage, Quoted(with.key) + " fits " + std::to_string(keys.size()) + " secret keys",
                "name one by its fingerprint: " + Describe(keys[0].get()) + " or " + Describe(keys[1].get()));
  }
  return std::move(keys.front());
}

// GPGME asks again after a wrong passphrase; the file would only be wrong again.
gpgme_error_t GivePassphrase(void* passphrase, const char*, const char*, int previous_was_bad, int fd) {
  if (previous_was_bad) {
    return gpgme_error(GPG_ERR_BAD_PASSPHRASE);
  }
  const std::string_view line = static_cast<const SecretBytes*>(passphrase)->view();
  return gpgme_io_writen(fd, line.data(), line.size()) == 0 && gpgme_io_writen(fd, "\n", 1) == 0
             ? 0
             : gpgme_error_from_errno(errno);
}

MadeSignature Make(gpgme_data_t content, gpgme_sig_mode_t mode, const SigningKey& with) {
  const Context context = NewContext(with.home ? &*with.home : nullptr);
  if (with.passphrase != nullptr) {
    Check(gpgme_set_pinentry_mode(context.get(), GPGME_PINENTRY_MODE_LOOPBACK), "set up GPGME");
    gpgme_set_passphrase_cb(context.get(), &GivePassphrase, const_cast<SecretBytes*>(with.passphrase));
  }
  const Key key = FindSigningKey(context.get(), with);
  // Messages are kept as packets, detached signatures as text beside a file.
  gpgme_set_armor(context.get(), mode == GPGME_SIG_MODE_DETACH);
  Check(gpgme_signers_add(context.get(), key.get()), "choose key");
  TextSink message(kMaxPayloadBytes * 2);
  const gpgme_error_t error = gpgme_op_sign(context.get(), content, message.data(), mode);
  if (error != GPG_ERR_NO_ERROR) {
    throw Error(ErrorKind::kFailed, "sign with key " + Describe(key.get()) + ": " + Text(error),
                "a key with a passphrase needs a running pinentry or --passphrase-file");
  }
  const gpgme_sign_result_t result = gpgme_op_sign_result(context.get());
  if (result == nullptr || result->signatures == nullptr || result->invalid_signers != nullptr ||
      !StrongHash(result->signatures->hash_algo)) {
    throw Error(
        ErrorKind::kFailed, "gpg made no usable signature with key " + Describe(key.get()),
        "its digest must be SHA-256 or stronger: see 'digest-algo' and 'personal-digest-preferences' in gpg.conf");
  }
  return {message.text(), OrEmpty(key->fpr)};
}

}  // namespace

KeyRing::KeyRing(const std::vector<std::string>& keys, const std::vector<std::string>& names) {
  for (size_t i = 0; i < keys.size(); ++i) {
    ring_ += DecodePublicKeys(keys[i], names[i], kMinRsaBits);
  }
}

KeyRing::KeyRing(KeyRing&& other) noexcept : ring_(std::move(other.ring_)), home_(std::exchange(other.home_, {})) {}

const std::string& KeyRing::Home() const {
  if (home_.empty()) {
    const std::string home = TemporaryHome();
    try {
      LayOutKeys(home, ring_);
    } catch (...) {
      RemoveHome(home);
      throw;
    }
    home_ = home;
  }
  return home_;
}

KeyRing::~KeyRing() {
  if (!home_.empty()) {
    RemoveHome(home_);
  }
}

SignedMessage KeyRing::Verify(std::string_view message) const {
  if (auto plain = VerifyPlainMessage(ring_, message, kMaxPayloadBytes, std::time(nullptr))) {
    return {std::nullopt, std::move(plain->payload), std::move(plain->fingerprint), plain->created};
  }
  // The payload, a literal header and a signature of the largest keys.
  if (!IsOneSignedMessage(message, kMaxPayloadBytes + 65536)) {
    return Refused("not-one-message", "it is not exactly one binary OpenPGP signed message");
  }
  GpgVerdict verdict = VerifyWithGpg(Home(), message, kMaxPayloadBytes);
  if (verdict.payload.size() > kMaxPayloadBytes) {
    return Refused("too-large", "its content is over " + std::to_string(kMaxPayloadBytes) + " bytes");
  }
  SignedMessage answer = Answer(verdict, 1);
  if (!answer.problem) {
    answer.payload = std::move(verdict.payload);
  }
  return answer;
}

SignedMessage KeyRing::VerifyDetached(std::string_view signature, Source& content) const {
  const auto decoded = DecodeDetachedSignature(signature);
  if (!decoded) {
    return Refused("not-one-message", "it is not exactly one detached OpenPGP signature over bytes");
  }
  if (const auto plain = VerifyPlainDetached(ring_, *decoded, content, std::time(nullptr))) {
    return Answer(*plain);
  }
  return Answer(VerifyDetachedWithGpg(Home(), *decoded, content), 0);
}

std::optional<SignedMessage> KeyRing::VerifyHashed(std::string_view signature, const Hasher& content) const {
  const auto decoded = DecodeDetachedSignature(signature);
  const auto plain =
      decoded ? VerifyPlainHashed(ring_, *decoded, content, std::time(nullptr)) : std::optional<PlainDetached>();
  return plain ? std::optional(Answer(*plain)) : std::nullopt;
}

std::vector<KeyInfo> KeyRing::List() const {
  const Context context = NewContext(&Home());
  std::vector<KeyInfo> infos;
  for (const Key& key : ListKeys(context.get(), nullptr, false)) {
    KeyInfo info{OrEmpty(key->fpr), {}, Problem(key.get()).empty(), Problem(key.get())};
    for (gpgme_user_id_t uid = key->uids; uid != nullptr; uid = uid->next) {
      info.user_ids.push_back(OrEmpty(uid->uid));
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<KeyInfo> ReadKeyFile(const std::string& content, const std::string& what) {
  std::vector<KeyInfo> keys = KeyRing({content}, {what}).List();
  if (keys.empty()) {
    throw Error(ErrorKind::kCorrupt, what + ": gpg takes none of its keys", "see 'gpg --show-keys FILE'");
  }
  return keys;
}

MadeSignature SignMessage(std::string_view payload, const SigningKey& with) {
  return Make(InputData(payload).get(), GPGME_SIG_MODE_NORMAL, with);
}

MadeSignature SignDetached(Source& content, const SigningKey& with) {
  Start();
  const SourceData read(content);
  try {
    MadeSignature made = Make(read.data(), GPGME_SIG_MODE_DETACH, with);
    if (read.ended())
      return made;
  } catch (const Error&) {
    read.Rethrow();
    throw;
  }
  read.Rethrow();
  throw Error(ErrorKind::kFailed, "gpg did not read all that is signed");
}

}  // namespace gantry::sign
