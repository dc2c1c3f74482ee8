#include "libimage/transport/auth.h"

#include <algorithm>
#include <cstring>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/percent.h"
#include "libimage/base/time_text.h"

namespace gantry::image {
namespace {

using std::chrono::seconds;

constexpr seconds kShortestTokenLife{60};
constexpr seconds kLongestTokenLife{24 * 3600};
// A token that ends this soon is renewed first.
constexpr seconds kTokenMargin{10};

bool IsTokenChar(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (static_cast<unsigned char>(c) < 0x80 && isalnum(static_cast<unsigned char>(c)) != 0) ||
         kMarks.find(c) != std::string_view::npos;
}

// Reads one header. Schemes and parameters are told apart by the '=' after the name.
class ChallengeReader {
 public:
  ChallengeReader(std::string_view text, std::vector<Challenge>& out) : rest_(text), out_(out) {}

  void Read() {
    const size_t before = out_.size();
    while (true) {
      SkipAny(" \t,");
      const std::string name = Token();
      if (name.empty())
        return;
      SkipAny(" \t");
      if (rest_.starts_with('=')) {
        if (out_.size() == before || !ReadValue(name))
          return;
      } else {
        if (out_.size() >= kMaxChallenges)
          return;
        out_.push_back({.scheme = LowerAscii(name), .params = {}});
        SkipToken68();
      }
    }
  }

 private:
  void SkipAny(std::string_view set) { rest_.remove_prefix(std::min(rest_.find_first_not_of(set), rest_.size())); }

  std::string Token() {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), IsTokenChar);
    const auto size = static_cast<size_t>(end - rest_.begin());
    std::string out(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return out;
  }

  // "Negotiate abc/d==": one word, padded at its end only, that is the whole challenge.
  void SkipToken68() {
    const size_t size = std::min(rest_.find_first_of(" \t,"), rest_.size());
    const std::string_view word = rest_.substr(0, size);
    const std::string_view unpadded = word.substr(0, word.find_last_not_of('=') + 1);
    const size_t next = rest_.find_first_not_of(" \t", size);
    const bool ends_here = next == std::string_view::npos || rest_[next] == ',';
    if (ends_here && unpadded.find_first_of("=\"") == std::string_view::npos)
      rest_.remove_prefix(size);
  }

  bool ReadValue(const std::string& name) {
    rest_.remove_prefix(1);
    SkipAny(" \t");
    std::string value;
    if (!rest_.starts_with('"')) {
      value = Token();
    } else if (!ReadQuoted(value)) {
      return false;
    }
    out_.back().params.emplace(LowerAscii(name), std::move(value));
    return true;
  }

  bool ReadQuoted(std::string& value) {
    for (size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        return true;
      }
      if (rest_[i] == '\\' && ++i == rest_.size())
        return false;
      value.push_back(rest_[i]);
    }
    return false;
  }

  std::string_view rest_;
  std::vector<Challenge>& out_;
};

std::string FormText(const std::vector<std::pair<std::string, std::string>>& form) {
  std::string text;
  for (const auto& [name, value] : form) text += (text.empty() ? "" : "&") + name + "=" + PercentEncoded(value);
  return text;
}

std::string WithQuery(const Url& url, const std::vector<std::pair<std::string, std::string>>& query) {
  return url.str() + (url.str().find('?') == std::string::npos ? "?" : "&") + FormText(query);
}

// A server that answers so does not know the method.
bool LacksMethod(const HttpResponse& response) { return response.status == 404 || response.status == 405; }

// How long a token is good from now on: for expires_in seconds from issued_at, as far as that lies behind us, but never
// under a minute, for clocks differ; a token that is refused is renewed all the same.
seconds LifeOf(const json::Cursor& token) {
  const auto life = token.Find("expires_in");
  const uint64_t given =
      life && std::holds_alternative<uint64_t>(life->value().data()) ? std::get<uint64_t>(life->value().data()) : 0;
  const seconds whole(std::min<uint64_t>(given, 1'000'000));
  const auto issued = token.Find("issued_at");
  const auto at = issued && issued->value().string() != nullptr ? ParseRfc3339(issued->String()) : std::nullopt;
  const int64_t now = std::chrono::duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const seconds gone(at ? std::clamp<int64_t>(now - *at, 0, whole.count()) : 0);
  return std::clamp(whole - gone, kShortestTokenLife, kLongestTokenLife);
}

}  // namespace

std::string Challenge::Param(const std::string& name) const {
  const auto found = params.find(name);
  return found == params.end() ? "" : found->second;
}

std::vector<Challenge> ParseChallenges(const std::vector<std::string>& headers) {
  std::vector<Challenge> out;
  for (const std::string& header : headers) ChallengeReader(header, out).Read();
  return out;
}

Authorizer::Authorizer(std::string host, std::vector<std::string> scopes, std::optional<Credentials> credentials)
    : host_(std::move(host)),
      credentials_(std::move(credentials)),
      scopes_(std::move(scopes)),
      refresh_token_(credentials_ ? credentials_->identity_token : "") {}

void Authorizer::Learn(const Url& url, const HttpResponse& response) {
  const std::lock_guard lock(mutex_);
  LearnLocked(url, response);
}

void Authorizer::LearnLocked(const Url& url, const HttpResponse& response) {
  for (const Challenge& challenge : ParseChallenges(response.AllHeaders("www-authenticate"))) {
    if (challenge.scheme == "basic" && way_ == Way::kNone) {
      way_ = Way::kBasic;
    } else if (challenge.scheme == "bearer" && !challenge.Param("realm").empty()) {
      const std::string realm = challenge.Param("realm");
      const std::optional<Url> parsed = Url::Parse(realm);
      if (!parsed || (url.https() && !parsed->https())) {
        throw Error(ErrorKind::kNetwork, Quoted(host_) + ": sends us for a token to " +
                                             Quoted(realm.substr(0, realm.find('?'))) + ", which is no https address");
      }
      way_ = Way::kBearer;
      realm_ = parsed;
      service_ = challenge.Param("service");
      zone_ = response.zone;
      const std::string named = challenge.Param("scope");
      asked_scope_ = std::find(scopes_.begin(), scopes_.end(), named) != scopes_.end() ? "" : named;
    }
  }
}

void Authorizer::SetScope(const std::string& scope, bool wanted) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find(scopes_.begin(), scopes_.end(), scope);
  if ((found != scopes_.end()) == wanted)
    return;
  if (wanted)
    scopes_.insert(scopes_.begin(), scope);
  else
    scopes_.erase(found);
  token_.clear();
}

std::string Authorizer::BasicValue() const {
  return "Basic " + EncodeBase64(credentials_->username + ":" + credentials_->password);
}

bool Authorizer::Discloses(std::string_view text) const {
  const std::lock_guard lock(mutex_);
  const auto holds = [&](std::string_view secret) { return !secret.empty() && text.find(secret) != text.npos; };
  return holds(token_) || holds(refresh_token_) ||
         (credentials_ && (holds(credentials_->password) || holds(credentials_->identity_token) ||
                           holds(BasicValue().substr(std::strlen("Basic ")))));
}

std::string Authorizer::Header(HttpClient& http) {
  const std::lock_guard lock(mutex_);
  if (way_ == Way::kBasic)
    return credentials_ && !credentials_->username.empty() ? BasicValue() : "";
  if (way_ == Way::kNone)
    return "";
  if (token_.empty() || std::chrono::steady_clock::now() > expires_ - kTokenMargin)
    FetchToken(http);
  return "Bearer " + token_;
}

bool Authorizer::Retry(const Url& url, const HttpResponse& refused, const std::string& sent) {
  const std::lock_guard lock(mutex_);
  if (way_ == Way::kBearer && !token_.empty() && sent != "Bearer " + token_)
    return true;  // another thread has a new one already
  const Way before = way_;
  token_.clear();
  LearnLocked(url, refused);
  if (way_ == Way::kBearer)
    return !sent.empty() || before != Way::kBearer;
  return way_ == Way::kBasic && before == Way::kNone && credentials_;
}

std::vector<std::string> Authorizer::Scopes() const {
  std::vector<std::string> scopes = scopes_;
  if (!asked_scope_.empty())
    scopes.push_back(asked_scope_);
  return scopes;
}

HttpResponse Authorizer::AskByGet(HttpClient& http) const {
  Form query;
  if (credentials_)
    query.emplace_back("account", credentials_->username);
  if (!service_.empty())
    query.emplace_back("service", service_);
  for (const std::string& scope : Scopes()) query.emplace_back("scope", scope);
  const std::string what = "token for " + Quoted(host_);
  const std::optional<Url> url = Url::Parse(WithQuery(*realm_, query));
  if (!url)
    throw Error(ErrorKind::kNetwork, what + ": the address of the token server is too long");
  return http.Send({.url = *url,
                    .headers = {"Accept: application/json"},
                    .authorization = credentials_ ? BasicValue() : "",
                    .led_by = zone_,
                    .max_body_bytes = kMaxTokenResponseBytes,
                    .what = what});
}

// The scopes in one parameter with blanks between them, as RFC 6749 has it.
HttpResponse Authorizer::AskByPost(HttpClient& http, Form form) const {
  std::string scope;
  for (const std::string& one : Scopes()) scope += (scope.empty() ? "" : " ") + one;
  form.insert(form.end(), {{"service", service_}, {"client_id", "gantry"}, {"scope", scope}});
  const std::string body = FormText(form);
  return http.Send({.method = "POST",
                    .url = *realm_,
                    .headers = {"Accept: application/json", "Content-Type: application/x-www-form-urlencoded"},
                    .body = AsBytes(body),
                    .led_by = zone_,
                    .max_body_bytes = kMaxTokenResponseBytes,
                    .what = "token for " + Quoted(host_)});
}

void Authorizer::ThrowRefused(const HttpResponse& response) const {
  const std::string what = "token for " + Quoted(host_);
  if (response.status == 400 || response.status == 401 || response.status == 403) {
    throw Error(ErrorKind::kFailed,
                what + ": " + Quoted(realm_->Shown()) + " says no, status " + std::to_string(response.status),
                credentials_ ? "the stored password may be wrong: log in again (gantry login " + host_ + ")"
                             : "log in first (gantry login " + host_ + ")");
  }
  throw Error(ErrorKind::kNetwork,
              what + ": status " + std::to_string(response.status) + " from " + Quoted(realm_->Shown()),
              "the token server of this registry is not well; try again later");
}

void Authorizer::FetchToken(HttpClient& http) {
  const std::string what = "token for " + Quoted(host_);
  HttpResponse response = refresh_token_.empty()
                              ? AskByGet(http)
                              : AskByPost(http, {{"grant_type", "refresh_token"}, {"refresh_token", refresh_token_}});
  if (refresh_token_.empty() && credentials_ && LacksMethod(response)) {
    response = AskByPost(
        http, {{"grant_type", "password"}, {"username", credentials_->username}, {"password", credentials_->password}});
  } else if (!refresh_token_.empty() && LacksMethod(response) && !credentials_->password.empty()) {
    response = AskByGet(http);
  }
  if (!response.ok())
    ThrowRefused(response);
  const json::Value document = json::Parse(response.body, what);
  const json::Cursor cursor(document, what);
  const auto token = cursor.Find("token");
  token_ = token && !token->String().empty() ? token->String() : cursor.At("access_token").String();
  if (const auto refresh = cursor.Find("refresh_token"); refresh && !refresh_token_.empty())
    refresh_token_ = refresh->String();
  expires_ = std::chrono::steady_clock::now() + LifeOf(cursor);
}

}  // namespace gantry::image
