#include "libimage/transport/registry.h"

#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "libimage/model/schema1.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxErrorsShown = 3;
constexpr int kNotModified = 304;

// Docker Hub answers at another name than it is called by.
std::string WireHost(const std::string& host) { return host == "docker.io" ? "registry-1.docker.io" : host; }

// "MANIFEST_UNKNOWN: manifest unknown" out of an error body (distribution-spec, "Error Codes"); empty when it is none.
std::string ErrorsOf(const std::string& body) {
  try {
    const json::Value document = json::Parse(body, "error");
    std::string out;
    for (const json::Cursor& error : json::Cursor(document, "error").At("errors").Elements(kMaxErrorsShown)) {
      const auto code = error.Find("code");
      const auto message = error.Find("message");
      out += out.empty() ? "" : "; ";
      out += (code ? code->String() : "") + (message ? ": " + message->String() : "");
    }
    return out;
  } catch (const Error&) {
    return {};
  }
}

Url WithoutTls(const Url& url) {
  return *Url::Parse("http://" + url.str().substr(std::string_view("https://").size()));
}

}  // namespace

std::string AcceptedManifests() {
  std::string out = "Accept: ";
  for (const std::string_view type :
       {kOciIndexType, kOciManifestType, kDockerListType, kDockerManifestType, kOciArtifactManifestType})
    out += std::string(type) + ", ";
  return out + "*/*;q=0.1";
}

std::optional<Url> RegistryClient::Shared::Base() const {
  const std::lock_guard lock(mutex);
  return base;
}

std::shared_ptr<RegistryClient::Shared> RegistryClient::MakeShared(const DockerReference& name,
                                                                   std::optional<Credentials> credentials,
                                                                   std::string_view actions) {
  const std::string host = WireHost(name.host);
  const std::optional<Url> secure = Url::Parse("https://" + host + "/v2/");
  const std::optional<Url> plain = Url::Parse("http://" + host + "/v2/");
  if (!secure || !plain)
    throw Error(ErrorKind::kUsage, Quoted(name.host) + " is no name of a registry");
  std::vector<std::string> scopes;
  if (!name.path.empty())
    scopes.push_back("repository:" + name.path + ":" + std::string(actions));
  return std::shared_ptr<Shared>(new Shared{.repository = name.Repository(),
                                            .host = name.host,
                                            .path = name.path,
                                            .secure = *secure,
                                            .plain = *plain,
                                            .authorizer{name.host, std::move(scopes), std::move(credentials)}});
}

RegistryClient::RegistryClient(HttpClient& http, const DockerReference& name, std::optional<Credentials> credentials,
                               std::string_view actions)
    : http_(http), shared_(MakeShared(name, std::move(credentials), actions)) {}

RegistryClient::RegistryClient(HttpClient& http, const RegistryClient& other) : http_(http), shared_(other.shared_) {}

RegistryClient::~RegistryClient() = default;

void RegistryClient::RequireAccess() {
  const std::string what = "log in";
  const HttpResponse response =
      Send({.url = shared_->secure, .max_body_bytes = kMaxManifestBytes, .what = what, .may_be_plain = true});
  if (!response.ok())
    ThrowStatus(response, what);
}

void RegistryClient::MayAlsoPull(const std::string& path, bool wanted) {
  shared_->authorizer.SetScope("repository:" + path + ":pull", wanted);
}

HttpRequest RegistryClient::RequestFor(const std::string& path, const std::string& what) const {
  const std::optional<Url> base = shared_->Base();
  const std::optional<Url> url = Url::Parse(base.value_or(shared_->secure).str() + shared_->path + "/" + path);
  if (!url)
    throw Error(ErrorKind::kUsage, Quoted(shared_->repository) + " makes no web address");
  return {.url = *url, .what = what, .may_be_plain = !base};
}

// What the first one finds out the others wait for.
Url RegistryClient::FindBase(const HttpRequest& request) {
  const Url& secure = shared_->secure;
  const bool may_be_plain = ZoneOfHost(secure.host()) == NetworkZone::kLoopback || http_.options().allow_http;
  const std::lock_guard first(shared_->first);
  if (const std::optional<Url> base = shared_->Base())
    return *base;
  const Url base = may_be_plain && !http_.SpeaksTls(request) ? shared_->plain : secure;
  const std::lock_guard lock(shared_->mutex);
  shared_->base = base;
  return base;
}

HttpResponse RegistryClient::SendOnce(HttpRequest& request) {
  const std::optional<Url> known = shared_->Base();
  const Url base = known ? *known : FindBase({.url = shared_->secure, .what = request.what});
  if (std::exchange(request.may_be_plain, false) && !base.https())
    request.url = WithoutTls(request.url);
  const bool ours = request.url.Origin() == base.Origin();
  request.authorization = ours ? shared_->authorizer.Header(http_) : "";
  return http_.Send(request);
}

void RegistryClient::Ping() {
  HttpRequest request{
      .url = shared_->secure, .max_body_bytes = kMaxManifestBytes, .what = "registry " + Quoted(shared_->host)};
  request.url = FindBase(request);
  // Only its challenge matters: what the registry allows shows at the real request.
  const HttpResponse response = http_.Send(request);
  shared_->authorizer.Learn(request.url, response);
}

// Docker Hub's "100;w=21600" is 100 in six hours; a Warning (RFC 7234) is `299 - "text"`.
void RegistryClient::TellNotes(const HttpResponse& response) const {
  constexpr size_t kMaxNotes = 16;
  if (!http_.options().note)
    return;
  std::vector<std::string> notes;
  if (const std::string_view left = response.Header("ratelimit-remaining"); !left.empty()) {
    notes.push_back("requests left: " + Quoted(left) + " of " + Quoted(response.Header("ratelimit-limit")));
  }
  for (const std::string& warning : response.AllHeaders("warning")) {
    if (warning.starts_with("299 "))
      notes.push_back("warning: " +
                      Quoted(warning.substr(warning.find('"') == std::string::npos ? 4 : warning.find('"'))));
  }
  for (const std::string& note : notes) {
    {
      const std::lock_guard lock(shared_->mutex);
      if (shared_->told.size() == kMaxNotes || !shared_->told.insert(note).second)
        continue;
    }
    http_.options().note("registry " + Quoted(shared_->host) + ": " + note);
  }
}

HttpResponse RegistryClient::Send(HttpRequest request) {
  bool renewed = false;
  while (true) {
    HttpResponse response = SendOnce(request);
    TellNotes(response);
    const std::string& sent = request.authorization;
    if (response.status != 401 || request.url.Origin() != shared_->Base()->Origin() ||
        (!sent.empty() && std::exchange(renewed, true)))
      return response;
    // Some say how they want to be asked at their root only.
    const bool silent = sent.empty() && response.Header("www-authenticate").empty();
    if (silent)
      Ping();
    const bool again =
        silent ? !shared_->authorizer.Header(http_).empty() : shared_->authorizer.Retry(request.url, response, sent);
    if (!again)
      return response;
  }
}

HttpResponse RegistryClient::Get(HttpRequest request) {
  const std::string what = request.what;
  HttpResponse response = Send(std::move(request));
  if (!response.ok())
    ThrowStatus(response, what);
  return response;
}

void RegistryClient::ThrowStatus(const HttpResponse& response, const std::string& what) const {
  const std::string said = ErrorsOf(response.body);
  const std::string tail = said.empty() || shared_->authorizer.Discloses(said) ? "" : " (" + Quoted(said) + ")";
  const std::string at = what + ": registry " + Quoted(shared_->host);
  switch (response.status) {
    case 404:
      throw Error(ErrorKind::kNotFound, at + " does not have it" + tail, "check the name and the tag");
    case 401:
    case 403:
      throw Error(
          ErrorKind::kFailed, at + " denies access" + tail,
          shared_->authorizer.has_credentials()
              ? "check the name; if it is right, log in as someone who may do this (gantry login " + shared_->host + ")"
              : "check the name; if it is private, log in first (gantry login " + shared_->host + ")");
    case 429:
      throw Error(ErrorKind::kNetwork, at + " takes no more requests for now" + tail,
                  "wait, or log in if it counts requests of strangers (gantry login " + shared_->host + ")");
    default:
      throw Error(ErrorKind::kNetwork, at + " answers with status " + std::to_string(response.status) + tail,
                  response.status >= 500 ? "the registry is not well; try again later" : "is this a registry?");
  }
}

RawManifest RegistryClient::GetManifest(const DockerReference& name) {
  const std::string selector = name.digest ? name.digest->str() : name.WithDefaultTag().tag;
  const std::string what = "manifest of " + Quoted(name.ToString());
  HttpRequest request = RequestFor("manifests/" + selector, what);
  request.headers = {AcceptedManifests()};
  request.max_body_bytes = kMaxManifestBytes;
  HttpResponse response = Get(std::move(request));
  const HashAlgorithm algorithm = name.digest ? name.digest->algorithm() : HashAlgorithm::kSha256;
  std::string type(response.Header("content-type"));
  Digest digest = IsSchema1(response.body, type) ? Digest::Of(Schema1::Parse(response.body).payload(), algorithm)
                                                 : Digest::Of(response.body, algorithm);
  if (name.digest && digest != *name.digest) {
    throw Error(ErrorKind::kCorrupt, what + ": the registry sent bytes whose digest is " + digest.str(),
                "the registry is broken or hostile; nothing of it was kept");
  }
  return {.bytes = std::move(response.body), .content_type = std::move(type), .digest = digest};
}

std::string RegistryClient::GetBlob(const Descriptor& blob, size_t max_bytes, const std::string& what) {
  if (blob.size > max_bytes) {
    throw Error(ErrorKind::kCorrupt, what + ": its size is " + std::to_string(blob.size) + " bytes, more than the " +
                                         std::to_string(max_bytes) + " allowed");
  }
  HttpRequest request = RequestFor("blobs/" + blob.digest.str(), what);
  request.max_body_bytes = static_cast<size_t>(blob.size);
  HttpResponse response = Get(std::move(request));
  if (response.body.size() != blob.size || Digest::Of(response.body, blob.digest.algorithm()) != blob.digest) {
    throw Error(ErrorKind::kCorrupt, what + ": the registry sent bytes that are not " + blob.digest.str(),
                "the registry is broken or hostile; nothing of it was kept");
  }
  return std::move(response.body);
}

std::optional<HttpResponse> RegistryClient::Head(const std::string& reference, const std::string& what,
                                                 const std::optional<Digest>& known) {
  HttpRequest request = RequestFor("manifests/" + reference, what);
  request.method = "HEAD";
  request.headers = {AcceptedManifests()};
  // Manifests have their digests for entity tags.
  if (known)
    request.headers.push_back("If-None-Match: \"" + known->str() + "\"");
  HttpResponse response = Send(std::move(request));
  if (response.status == 404)
    return std::nullopt;
  if (!response.ok() && !(known && response.status == kNotModified))
    ThrowStatus(response, what);
  return response;
}

std::optional<Digest> RegistryClient::HeadManifest(const DockerReference& name, const std::optional<Digest>& known) {
  const std::optional<HttpResponse> response = Head(name.digest ? name.digest->str() : name.WithDefaultTag().tag,
                                                    "manifest of " + Quoted(name.ToString()), known);
  if (response && response->status == kNotModified)
    return known;
  return response ? Digest::TryParse(response->Header("docker-content-digest")) : std::nullopt;
}

bool RegistryClient::HasTag(const std::string& tag) {
  return Head(tag, "tag " + Quoted(tag) + " of " + Quoted(shared_->repository)).has_value();
}

void RegistryClient::ReadBlob(const Descriptor& blob, const std::string& what, const HttpClient::BodyWriter& write) {
  if (!shared_->Base())
    Ping();
  for (bool asked_again = false;; asked_again = true) {
    HttpRequest request = RequestFor("blobs/" + blob.digest.str(), what);
    request.authorization = shared_->authorizer.Header(http_);
    request.expected_bytes = blob.size;
    const std::string sent = request.authorization;
    Hasher hasher(blob.digest.algorithm());
    uint64_t size = 0;
    const int number = http_.Start(std::move(request), [&](std::span<const std::byte> bytes) {
      hasher.Update(bytes);
      size += bytes.size();
      write(bytes);
    });
    const HttpClient::Finished finished = http_.WaitAny();
    if (finished.transfer != number)
      throw Error(ErrorKind::kFailed, what + ": another transfer ended");
    if (finished.error)
      std::rethrow_exception(finished.error);
    if (finished.response.ok()) {
      if (size == blob.size && hasher.Finish() == blob.digest)
        return;
      throw Error(ErrorKind::kCorrupt, what + ": the registry sent bytes that are not " + blob.digest.str(),
                  "the registry is broken or hostile; nothing of it was kept");
    }
    if (finished.response.status != 401 || asked_again ||
        !shared_->authorizer.Retry(*shared_->Base(), finished.response, sent))
      ThrowStatus(finished.response, what);
  }
}

std::vector<std::string> FetchSignatures(HttpClient& http, const std::function<std::string(size_t n)>& url) {
  std::vector<std::string> out;
  size_t total = 0;
  for (size_t n = 1;; ++n) {
    const std::string text = url(n);
    const std::optional<Url> parsed = Url::Parse(text);
    if (!parsed)
      throw Error(ErrorKind::kCorrupt, "lookaside " + Quoted(text) + " is no web address", "see registries.d");
    HttpResponse response =
        http.Get({.url = *parsed, .max_body_bytes = kMaxSignatureBytes, .what = "signature " + std::to_string(n)});
    if (response.status == 404)
      return out;
    if (!response.ok()) {
      throw Error(ErrorKind::kNetwork, "signature " + std::to_string(n) + ": " + Quoted(parsed->Shown()) +
                                           " answers with status " + std::to_string(response.status));
    }
    total += response.body.size();
    if (n > kMaxSignatures || total > kMaxSignatureBytesInAll)
      throw Error(ErrorKind::kCorrupt, "too many signatures at " + Quoted(parsed->Shown()));
    out.push_back(std::move(response.body));
  }
}

}  // namespace gantry::image
