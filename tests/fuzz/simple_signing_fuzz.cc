#include "libsign/openpgp_packets.h"
#include "libsign/simple_signing.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::SimpleClaim;
using gantry::sign::StoredSignature;

namespace {

// A claim that was read prints to one that reads the same.
void CheckClaim(std::string_view text) {
  Accepts([&] {
    const SimpleClaim claim = SimpleClaim::Parse(text);
    const SimpleClaim again = SimpleClaim::Parse(claim.ToJson());
    Require(again.reference == claim.reference && again.manifest == claim.manifest && again.creator == claim.creator &&
            again.timestamp == claim.timestamp);
  });
}

// Packets cover their input exactly, and a ring made of keys is a ring again.
void CheckPackets(std::string_view text) {
  if (const auto packets = gantry::sign::WalkPackets(text)) {
    size_t covered = 0;
    for (const auto& packet : *packets) covered += packet.bytes.size();
    Require(covered == text.size());
  }
  static_cast<void>(gantry::sign::IsOneSignedMessage(text, 65536));
  if (const auto detached = gantry::sign::DecodeDetachedSignature(text))
    Require(gantry::sign::DecodeDetachedSignature(*detached) == detached);
  std::string ring;
  if (Accepts([&] { ring = gantry::sign::DecodePublicKeys(text, "fuzz", 2048); })) {
    Require(gantry::sign::DecodePublicKeys(ring, "fuzz", 2048) == ring);
    Require(!gantry::sign::PrimaryKeys(ring).empty());
    Require(gantry::sign::DecodePublicKeys(gantry::sign::ArmorPublicKeys(ring), "fuzz", 2048) == ring);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  CheckClaim(text);
  CheckPackets(StoredSignature::Detect(text).message);
  CheckPackets(text);
  return 0;
}
