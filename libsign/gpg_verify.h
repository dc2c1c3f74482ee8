// One run of gpg over one signed message, or one signature and what it is over. GPGME would ask gpg for its version
// twice before, which costs more than the run does. Internal to libsign/openpgp.cc, which says what is good enough.
//
// What gpg found comes by its status channel, a file of its own that nothing else writes to: not by its exit code
// alone, and never by what it says to people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "libimage/base/stream.h"

namespace gantry::sign {

struct GpgVerdict {
  int plaintexts = 0;     // messages in it
  int signatures = 0;     // that were begun
  int outcomes = 0;       // that were judged
  int valid = 0;          // of those: whose cryptography holds
  std::string outcome;    // the keyword of the last one judged: "GOODSIG", "BADSIG", "ERRSIG", "EXPKEYSIG", ...
  bool no_key = false;    // of ERRSIG: the key is not in the ring
  bool bad_hash = false;  // of ERRSIG: gpg does not take its hash
  std::string key;        // who made it, as far as that is known
  // Of the last valid one.
  std::string primary;  // fingerprint of the primary key
  int64_t created = 0;
  unsigned hash = 0;    // RFC 4880, 9.4
  bool failed = false;  // gpg's exit code
  bool unread = false;  // it ended before it had read all, whatever it said; seen only of more than a pipe holds
  std::string payload;  // at most the bytes that were asked for, and one more when there are more
};

// `home` holds the key ring and gpg.conf, with a max-output. kFailed when gpg cannot be run.
GpgVerdict VerifyWithGpg(const std::string& home, std::string_view message, size_t max_payload);

// The same of a detached signature, binary, over all of `content`; no payload. Throws what `content` throws.
GpgVerdict VerifyDetachedWithGpg(const std::string& home, std::string_view signature, Source& content);

// What the status channel said; the rest of the verdict is left alone.
GpgVerdict ParseGpgStatus(std::string_view status);

}  // namespace gantry::sign
