#include "libsign/signed_note.h"

#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/error.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kDash = "\xE2\x80\x94 ";  // em dash and a space
constexpr size_t kHintBytes = 4;
constexpr size_t kRootHashBytes = 32;
constexpr size_t kEd25519SpkiPrefixBytes = 12;  // before the 32 bytes of the key

[[noreturn]] void Fail(std::string_view problem) {
  throw Error(ErrorKind::kCorrupt, "checkpoint: " + std::string(problem));
}

// The first line of `text`, which is shortened by it and its newline.
std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) {
    Fail("a line without an end");
  }
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

NoteSignature ParseSignature(std::string_view line) {
  if (!line.starts_with(kDash)) {
    Fail("expected a signature line");
  }
  line.remove_prefix(kDash.size());
  const size_t space = line.find(' ');
  const auto bytes = space == std::string_view::npos ? std::nullopt : DecodeBase64(line.substr(space + 1));
  if (!bytes || bytes->size() <= kHintBytes || space == 0) {
    Fail("a signature line that is not understood");
  }
  return {std::string(line.substr(0, space)), bytes->substr(0, kHintBytes), bytes->substr(kHintBytes)};
}

// The hints under which a key may sign.
std::vector<std::string> HintsOf(std::string_view name, const PublicKey& key) {
  std::vector<std::string> hints = {Hash(KeyHash::kSha256, key.spki()).substr(0, kHintBytes)};
  if (key.kind() == KeyKind::kEd25519) {
    hints.push_back(NoteKeyId(name, key).substr(0, kHintBytes));
  }
  return hints;
}

}  // namespace

std::string NoteKeyId(std::string_view name, const PublicKey& key) {
  return Hash(KeyHash::kSha256, std::string(name) + "\n\x01" + key.spki().substr(kEd25519SpkiPrefixBytes));
}

SignedNote SignedNote::Parse(std::string_view bytes) {
  if (bytes.size() > kMaxNoteBytes) {
    Fail("over " + std::to_string(kMaxNoteBytes) + " bytes");
  }
  if (std::any_of(bytes.begin(), bytes.end(), [](char c) { return c >= 0 && c < ' ' && c != '\n'; })) {
    Fail("a control byte");
  }
  const size_t split = bytes.rfind("\n\n");
  if (split == std::string_view::npos) {
    Fail("no signatures");
  }
  SignedNote note;
  note.text = bytes.substr(0, split + 1);
  std::string_view rest = bytes.substr(split + 2);
  while (!rest.empty()) {
    if (note.signatures.size() == kMaxNoteSignatures) {
      Fail("more than " + std::to_string(kMaxNoteSignatures) + " signatures");
    }
    note.signatures.push_back(ParseSignature(TakeLine(rest)));
  }
  if (note.signatures.empty()) {
    Fail("no signatures");
  }
  return note;
}

bool SignedNote::SignedBy(std::string_view name, const PublicKey& key) const {
  const std::vector<std::string> hints = HintsOf(name, key);
  return std::any_of(signatures.begin(), signatures.end(), [&](const NoteSignature& signature) {
    return signature.name == name && std::find(hints.begin(), hints.end(), signature.key_hint) != hints.end() &&
           key.Accepts(Scheme::DefaultFor(key.kind()), text, signature.signature);
  });
}

Checkpoint Checkpoint::Parse(std::string_view text) {
  Checkpoint checkpoint;
  checkpoint.origin = TakeLine(text);
  const std::string_view size_line = TakeLine(text);
  const auto size = ParseDecimal<uint64_t>(size_line);
  const auto root = DecodeBase64(TakeLine(text));
  if (checkpoint.origin.empty() || !size || (size_line.size() > 1 && size_line[0] == '0') || !root ||
      root->size() != kRootHashBytes) {
    Fail("expected origin, size and root hash");
  }
  checkpoint.size = *size;
  checkpoint.root_hash = *root;
  return checkpoint;
}

}  // namespace gantry::sign
