// Entries of Rekor, sigstore's transparency log, versions 1 and 2: that the log has one, since when, and that it speaks
// of exactly the signature at hand.
//
// The last is what verifiers forget (CVE-2022-36056, CVE-2026-22703): an entry that the log vouches for says nothing as
// long as its digest, its signature and its key are not ours. CheckEntry is the only way to use an entry, and begins
// with that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libsign/step.h"
#include "libsign/trusted_root.h"

namespace gantry::sign {

constexpr size_t kMaxEntryBodyBytes = 1024 * 1024;
constexpr size_t kMaxLogEntries = 32;  // of one signature

// A signature, and what an entry about it must say.
struct SignedContent {
  std::string message;                      // what the signature covers: the artifact, or the PAE of an envelope
  std::string signature;                    // raw
  std::string verifier;                     // DER: the certificate, or the SubjectPublicKeyInfo of a bare key
  std::optional<std::string> dsse_payload;  // where the message is the PAE of a DSSE envelope
};

struct InclusionProof {
  uint64_t index = 0;  // in the tree; the entry's own log index may count earlier shards
  uint64_t tree_size = 0;
  std::string root_hash;
  std::vector<std::string> hashes;
  std::string checkpoint;  // a signed note
};

// As it came; nothing is vouched for.
struct RekorEntry {
  std::string body;
  std::string kind;     // empty where the body alone says
  std::string version;  // as above
  std::string log_id;   // raw
  uint64_t log_index = 0;
  std::optional<int64_t> integrated_time;
  std::string signed_entry_timestamp;  // empty when absent
  std::optional<InclusionProof> proof;

  // An element of tlogEntries in a sigstore bundle.
  static RekorEntry Parse(const json::Cursor& from);
  // The annotation dev.sigstore.cosign/bundle.
  static RekorEntry ParseCosign(std::string_view text);
};

struct EntryCheck {
  std::optional<Reason> problem;
  std::optional<int64_t> time;  // when the log says that it took the entry; only with its signature over that
  std::string log;              // who vouched, for people
  ValidFor log_valid_for;
  std::vector<Step> steps;  // of what passed
};

// Version 2 entries, and those that have no signed entry timestamp, need the proof; `require_proof` asks for it always.
// Codes: "bad-entry", "entry-mismatch", "unknown-log", "bad-entry-timestamp", "no-inclusion-proof", "bad-checkpoint",
// "bad-inclusion-proof".
EntryCheck CheckEntry(const RekorEntry& entry, const SignedContent& content, const std::vector<TransparencyLog>& logs,
                      bool require_proof);

// Only that the entry speaks of `content`; nullopt when it does.
std::optional<Reason> CheckBinding(const RekorEntry& entry, const SignedContent& content);

}  // namespace gantry::sign
