// How a registry is told who asks: challenges (RFC 9110, section 11), Basic, and the Bearer tokens of the distribution
// project (its docs/spec/auth/token.md, and oauth.md for those who have an identity token in place of a password).
//
// A token server is named by the registry, so its address is as little trusted as a redirect: https only unless the
// registry itself is plain http, and never inwards (NetworkZone). Passwords go to it and to the registry, nowhere else.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/transport/auth_file.h"
#include "libimage/transport/http.h"

namespace gantry::image {

constexpr size_t kMaxTokenResponseBytes = 1024 * 1024;
constexpr size_t kMaxChallenges = 32;

struct Challenge {
  std::string scheme;                         // in lower case
  std::map<std::string, std::string> params;  // names in lower case, the first of equals
  // Empty when absent.
  std::string Param(const std::string& name) const;
};

// All challenges of all WWW-Authenticate headers, in order; what follows a syntax error in a header is left out.
std::vector<Challenge> ParseChallenges(const std::vector<std::string>& headers);

// The credentials for some repositories of one registry, turned into Authorization headers. Thread-safe: all threads
// share one token.
class Authorizer {
 public:
  // `host` names the registry in errors; `scopes` are what tokens are asked for ("repository:a/b:pull").
  Authorizer(std::string host, std::vector<std::string> scopes, std::optional<Credentials> credentials);
  Authorizer(const Authorizer&) = delete;
  Authorizer& operator=(const Authorizer&) = delete;

  // Remembers how the registry at `url` wants to be asked; `response` is any answer of it.
  void Learn(const Url& url, const HttpResponse& response);

  // The value for the next request, empty when none is called for. Fetches a token over `http` when there is none or it
  // is about to expire. kFailed when the token server says no.
  std::string Header(HttpClient& http);

  // After a 401 to a request with the header `sent`: whether it pays to ask again with a new Header(). Takes up the
  // scope that the registry names.
  bool Retry(const Url& url, const HttpResponse& refused, const std::string& sent);

  // Whether tokens are for this scope, too, from now on. A new one goes first, for some servers read no more than that.
  void SetScope(const std::string& scope, bool wanted);

  bool has_credentials() const { return credentials_.has_value(); }

  // Whether `text`, which the other side made, repeats a secret that it was sent: such a text is not to be shown.
  bool Discloses(std::string_view text) const;

 private:
  using Form = std::vector<std::pair<std::string, std::string>>;
  void LearnLocked(const Url& url, const HttpResponse& response);
  std::string BasicValue() const;
  void FetchToken(HttpClient& http);
  HttpResponse AskByGet(HttpClient& http) const;
  HttpResponse AskByPost(HttpClient& http, Form form) const;
  std::vector<std::string> Scopes() const;
  [[noreturn]] void ThrowRefused(const HttpResponse& response) const;

  const std::string host_;
  const std::optional<Credentials> credentials_;

  mutable std::mutex mutex_;
  std::vector<std::string> scopes_;
  enum class Way { kNone, kBasic, kBearer } way_ = Way::kNone;
  std::optional<Url> realm_;
  std::string service_;
  std::string asked_scope_;  // that the registry named beyond scopes_
  NetworkZone zone_ = NetworkZone::kPublic;
  std::string refresh_token_;
  std::string token_;
  std::chrono::steady_clock::time_point expires_;
};

}  // namespace gantry::image
