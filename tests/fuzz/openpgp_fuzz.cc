// A length of two bytes, a signed message of that length, and the keys that may have made it.
#include "libsign/openpgp_packets.h"
#include "libsign/openpgp_plain.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

constexpr size_t kMaxPayload = 65536;
constexpr int64_t kNow = 2'000'000'000;

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
    const auto plain = gantry::sign::VerifyPlainMessage(ring, message, kMaxPayload, kNow);
    Require(!plain || (parts && parts->literal.ends_with(plain->payload) && plain->created <= kNow));
  });
  return 0;
}
