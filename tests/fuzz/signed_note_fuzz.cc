#include "libsign/inclusion_proof.h"
#include "libsign/signed_note.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::Checkpoint;
using gantry::sign::SignedNote;

// A note's text is the beginning of it, and the root of a tree of one leaf is that leaf alone.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = gantry::fuzz::Text(data, size);
  Accepts([&] {
    const SignedNote note = SignedNote::Parse(bytes);
    Require(bytes.starts_with(note.text) && note.text.ends_with('\n') && !note.signatures.empty());
    const Checkpoint checkpoint = Checkpoint::Parse(note.text);
    Require(checkpoint.root_hash.size() == 32 && !checkpoint.origin.empty());
    const std::string leaf = gantry::sign::LeafHash("leaf");
    Require(!gantry::sign::ProvesInclusion(leaf, checkpoint.size, checkpoint.size, {}, leaf));
    Require(gantry::sign::ProvesInclusion(leaf, 0, 1, {}, checkpoint.root_hash) == (checkpoint.root_hash == leaf));
  });
  return 0;
}
