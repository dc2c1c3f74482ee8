// A length of two bytes, a signed message or a detached signature of that length, and the keys that may have made it.
#include "libimage/base/stream.h"
#include "libsign/openpgp_packets.h"
#include "libsign/openpgp_plain.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

constexpr size_t kMaxPayload = 65536;
constexpr int64_t kNow = 2'000'000'000;

// The signature over what its seeds are over. In its decoded form it is the same; whoever made a good one is known by
// a whole fingerprint, and nobody made it over other bytes too.
void CheckDetached(std::string_view ring, std::string_view file) {
  const auto signature = gantry::sign::DecodeDetachedSignature(file);
  if (!signature)
    return;
  Require(gantry::sign::DecodeDetachedSignature(*signature) == signature);
  const auto judge = [&](std::string content) {
    return gantry::sign::VerifyPlainDetached(ring, *signature, *gantry::StringSource(std::move(content)), kNow);
  };
  const auto plain = judge("content\n");
  Require(!plain || (plain->created <= kNow && plain->key.size() == 40 && plain->fingerprint.size() == 40));
  const auto other = judge("other");
  Require(plain.has_value() == other.has_value() && !(plain && plain->good && other->good));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2)
    return 0;
  const std::string_view text = gantry::fuzz::Text(data + 2, size - 2);
  const size_t length = static_cast<size_t>(data[0]) << 8 | data[1];
  const std::string_view message = text.substr(0, length);
  const std::string_view keys = text.substr(message.size());
  const auto parts = gantry::sign::TakeApart(message, kMaxPayload);
  Require(!parts || gantry::sign::IsOneSignedMessage(message, kMaxPayload));
  static_cast<void>(gantry::sign::VerifyPlainMessage(keys, message, kMaxPayload, kNow));
  Accepts([&] {
    const std::string ring = gantry::sign::DecodePublicKeys(keys, "fuzz", 2048);
    CheckDetached(ring, message);
    const auto plain = gantry::sign::VerifyPlainMessage(ring, message, kMaxPayload, kNow);
    Require(!plain || (parts && parts->literal.ends_with(plain->payload) && plain->created <= kNow));
  });
  return 0;
}
