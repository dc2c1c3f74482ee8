#include "serve/access.h"

#include <crypt.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/error.h"

namespace gantry::serve {
namespace {

constexpr size_t kMaxKnown = 10'000;
constexpr size_t kMaxPasswordBytes = 512;  // crypt(3) takes no more
// What nobody's password makes: who has no name here takes as long as others.
constexpr const char* kNobody = "$2b$10$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234";

void ForEachLine(const std::optional<std::string>& text, const std::function<void(std::string_view, size_t)>& take) {
  size_t number = 0;
  for (size_t at = 0; text && at < text->size();) {
    const size_t end = std::min(text->find('\n', at), text->size());
    const std::string_view line = Trimmed(std::string_view(*text).substr(at, end - at));
    ++number;
    if (!line.empty() && !line.starts_with('#'))
      take(line, number);
    at = end + 1;
  }
}

bool IsPassword(const std::string& password, const std::string& hash) {
  const auto data = std::make_unique<crypt_data>();
  const char* const made = crypt_r(password.c_str(), hash.c_str(), data.get());
  return made != nullptr && made[0] != '*' && Digest::Of(made) == Digest::Of(hash);
}

// What stands behind "Basic ", in any letter case.
std::optional<std::string> Behind(const std::string& authorization, std::string_view scheme) {
  const size_t space = authorization.find(' ');
  if (space == std::string::npos || LowerAscii(authorization.substr(0, space)) != scheme)
    return std::nullopt;
  return std::string(Trimmed(std::string_view(authorization).substr(space)));
}

}  // namespace

Access::Access(const std::optional<std::string>& passwords, const std::optional<std::string>& tokens)
    : open_(!passwords && !tokens) {
  ForEachLine(passwords, [this](std::string_view line, size_t number) {
    const size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos || colon + 1 == line.size()) {
      throw Error(ErrorKind::kCorrupt, "passwords: line " + std::to_string(number) + ": expected NAME:HASH",
                  "htpasswd -B FILE NAME writes one");
    }
    hashes_.insert_or_assign(std::string(line.substr(0, colon)), std::string(line.substr(colon + 1)));
  });
  ForEachLine(tokens, [this](std::string_view line, size_t number) {
    const size_t colon = line.find(':');
    const std::string_view token = colon == std::string_view::npos ? line : line.substr(colon + 1);
    if (token.size() < 16) {
      throw Error(ErrorKind::kCorrupt,
                  "tokens: line " + std::to_string(number) + ": a token of less than 16 characters",
                  "openssl rand -hex 32 makes one");
    }
    tokens_.insert_or_assign(Digest::Of(token),
                             colon == std::string_view::npos ? "token" : std::string(line.substr(0, colon)));
  });
}

std::optional<std::string> Access::WhoIs(const std::string& authorization) {
  if (const auto token = Behind(authorization, "bearer")) {
    const auto found = tokens_.find(Digest::Of(*token));
    return found == tokens_.end() ? std::nullopt : std::optional(found->second);
  }
  const auto encoded = Behind(authorization, "basic");
  return encoded && !hashes_.empty() ? ByPassword(*encoded) : std::nullopt;
}

std::optional<std::string> Access::ByPassword(const std::string& encoded) {
  const auto both = DecodeBase64(encoded);
  const size_t colon = both ? both->find(':') : std::string::npos;
  if (colon == std::string::npos || both->size() > kMaxPasswordBytes || both->find('\0') != std::string::npos)
    return std::nullopt;
  std::string name = both->substr(0, colon);
  const Digest digest = Digest::Of(*both);
  {
    const std::lock_guard lock(mutex_);
    if (known_.contains(digest))
      return name;
  }
  const auto found = hashes_.find(name);
  const bool right = IsPassword(both->substr(colon + 1), found == hashes_.end() ? kNobody : found->second);
  if (!right || found == hashes_.end())
    return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (known_.size() < kMaxKnown)
    known_.insert(digest);
  return name;
}

std::string Access::Challenge() const {
  return hashes_.empty() ? "Bearer realm=\"gantry\"" : "Basic realm=\"gantry\", charset=\"UTF-8\"";
}

}  // namespace gantry::serve
