// How a registry is told who asks: challenges (RFC 9110, section 11), Basic, and the Bearer tokens of the distribution
// project (its docs/spec/auth/token.md).
//
// A token server is named by the registry, so its address is as little trusted as a redirect: https only unless the
// registry itself is plain http, and never inwards (NetworkZone). Passwords go to it and to the registry, nowhere else.
#pragma once

#include <chrono>
#include <map>
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

// The credentials of one repository of one registry, turned into Authorization headers.
class Authorizer {
 public:
  // `host` names the registry in errors; `scope` is what tokens are asked for ("repository:a/b:pull").
  Authorizer(HttpClient& http, std::string host, std::string scope, std::optional<Credentials> credentials);

  // Remembers how the registry at `url` wants to be asked; `response` is any answer of it.
  void Learn(const Url& url, const HttpResponse& response);

  // The value for the next request, empty when none is called for. Fetches a token when there is none or it is about to
  // expire. kFailed when the token server says no.
  std::string Header();

  // After a 401: whether it pays to ask again with a new Header(). Takes up the scope that the registry names.
  bool Retry(const Url& url, const HttpResponse& refused);

  bool has_credentials() const { return credentials_.has_value(); }

  // Whether `text`, which the other side made, repeats a secret that it was sent: such a text is not to be shown.
  bool Discloses(std::string_view text) const;

 private:
  std::string BasicValue() const;
  void FetchToken();

  HttpClient& http_;
  std::string host_;
  std::string scope_;
  std::optional<Credentials> credentials_;

  enum class Way { kNone, kBasic, kBearer } way_ = Way::kNone;
  std::optional<Url> realm_;
  std::string service_;
  std::string asked_scope_;  // that the registry named beyond scope_
  NetworkZone zone_ = NetworkZone::kPublic;
  std::string token_;
  std::chrono::steady_clock::time_point expires_;
};

}  // namespace gantry::image
