// Certificate revocation lists (RFC 5280, section 5), from disk: which certificates of a chain were taken back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxCrlBytes = 32 * 1024 * 1024;

class Crl {
 public:
  // One list, PEM or DER. kCorrupt when it is none, and when it is split by reason or indirect, for then its silence
  // means nothing.
  static Crl Parse(std::string_view bytes, std::string_view what);

  const std::string& issuer() const;
  int64_t this_update() const;
  std::optional<int64_t> next_update() const;

 private:
  friend class RevocationChecker;
  struct Parsed;
  std::shared_ptr<const Parsed> parsed_;
};

enum class RevocationStatus { kGood, kRevoked, kUnknown };

struct Revocation {
  RevocationStatus status = RevocationStatus::kUnknown;
  std::string text;
  std::optional<int64_t> invalid_since;  // of kRevoked: invalidityDate, where the list has one
};

// Whether `certificate` was revoked by its `issuer`, by the lists of that issuer that are current at `time`. The newest
// complete list counts, and with it the newest delta list to it. kUnknown when there is none, and when one is not
// signed well by the issuer.
Revocation CheckRevocation(const Certificate& certificate, const Certificate& issuer, const std::vector<Crl>& lists,
                           int64_t time);

}  // namespace gantry::sign
