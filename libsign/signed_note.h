// Signed notes (golang.org/x/mod/sumdb/note) and the checkpoints of transparency logs in them (C2SP tlog-checkpoint):
// a log's word on how large it is and what its root hash is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/crypto.h"

namespace gantry::sign {

constexpr size_t kMaxNoteBytes = 64 * 1024;
constexpr size_t kMaxNoteSignatures = 64;

struct NoteSignature {
  std::string name;
  std::string key_hint;  // 4 bytes
  std::string signature;
};

struct SignedNote {
  std::string text;  // what is signed, with the newline at its end
  std::vector<NoteSignature> signatures;

  // kCorrupt for what is no note.
  static SignedNote Parse(std::string_view bytes);

  // Whether `key` signed under `name`. Signatures of others, and those under the name with another hint, do not count.
  // An Ed25519 key has the hint of signed notes; others, and Ed25519 as well, that of their SubjectPublicKeyInfo.
  bool SignedBy(std::string_view name, const PublicKey& key) const;
};

// What an Ed25519 key is known by under a name; the hint is the beginning of it, and of a log it is the ID.
std::string NoteKeyId(std::string_view name, const PublicKey& key);

struct Checkpoint {
  std::string origin;
  uint64_t size = 0;
  std::string root_hash;  // 32 bytes

  // Of the text of a note. kCorrupt.
  static Checkpoint Parse(std::string_view text);
};

}  // namespace gantry::sign
