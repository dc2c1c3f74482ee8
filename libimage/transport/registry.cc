#include "libimage/transport/registry.h"

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxErrorsShown = 3;
constexpr size_t kMaxPlatformsShown = 40;
// How many blobs are being synced to disk beside the transfers.
constexpr size_t kMaxFinishing = 8;
// A blob of this size is worth going on with when another process has left a part of it.
constexpr uint64_t kMinResumedBytes = 1024 * 1024;

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

std::string ShortDigest(const Digest& digest) { return digest.hex().substr(0, 12); }

std::string PlatformsOf(const Index& index) {
  std::string out;
  size_t shown = 0;
  for (const Descriptor& entry : index.manifests) {
    if (!entry.platform || entry.platform->os == "unknown")
      continue;
    if (++shown > kMaxPlatformsShown)
      return out + ", ...";
    out += (out.empty() ? "" : ", ") + entry.platform->ToString();
  }
  return out.empty() ? "none" : out;
}

}  // namespace

std::string AcceptedManifests() {
  std::string out = "Accept: ";
  for (const std::string_view type : {kOciIndexType, kOciManifestType, kDockerListType, kDockerManifestType})
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
  const HttpResponse response = Send({.url = shared_->secure, .max_body_bytes = kMaxManifestBytes, .what = what});
  if (!response.ok())
    ThrowStatus(response, what);
}

void RegistryClient::MayAlsoPull(const std::string& path, bool wanted) {
  shared_->authorizer.SetScope("repository:" + path + ":pull", wanted);
}

HttpRequest RegistryClient::RequestFor(const std::string& path, const std::string& what) const {
  const std::optional<Url> url =
      Url::Parse(shared_->Base().value_or(shared_->secure).str() + shared_->path + "/" + path);
  if (!url)
    throw Error(ErrorKind::kUsage, Quoted(shared_->repository) + " makes no web address");
  return {.url = *url, .what = what};
}

HttpResponse RegistryClient::SendFirst(HttpRequest request) {
  const Url& secure = shared_->secure;
  const bool may_be_plain = ZoneOfHost(secure.host()) == NetworkZone::kLoopback || http_.options().allow_http;
  std::optional<HttpResponse> response = may_be_plain ? http_.SendOverTls(request) : http_.Send(request);
  const bool plain = !response;
  if (plain) {
    request.url = *Url::Parse("http://" + request.url.str().substr(std::string_view("https://").size()));
    response = http_.Send(request);
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->base = plain ? shared_->plain : secure;
  return *std::move(response);
}

HttpResponse RegistryClient::SendOnce(HttpRequest& request) {
  const std::optional<Url> base = shared_->Base();
  if (!base) {
    HttpResponse response = SendFirst(request);
    if (!shared_->Base()->https() && request.url.Origin() == shared_->secure.Origin())
      request.url = *Url::Parse("http://" + request.url.str().substr(std::string_view("https://").size()));
    return response;
  }
  const bool ours = request.url.Origin() == base->Origin();
  request.authorization = ours ? shared_->authorizer.Header(http_) : "";
  return http_.Send(request);
}

void RegistryClient::Ping() {
  HttpRequest request{.url = shared_->Base().value_or(shared_->secure),
                      .max_body_bytes = kMaxManifestBytes,
                      .what = "registry " + Quoted(shared_->host)};
  const HttpResponse response = shared_->Base() ? http_.Send(request) : SendFirst(request);
  // Only its challenge matters: what the registry allows shows at the real request.
  shared_->authorizer.Learn(*shared_->Base(), response);
}

HttpResponse RegistryClient::Send(HttpRequest request) {
  bool renewed = false;
  while (true) {
    HttpResponse response = SendOnce(request);
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
  Digest digest = Digest::Of(response.body, algorithm);
  if (name.digest && digest != *name.digest) {
    throw Error(ErrorKind::kCorrupt, what + ": the registry sent bytes whose digest is " + digest.str(),
                "the registry is broken or hostile; nothing of it was kept");
  }
  std::string type(response.Header("content-type"));
  return {.bytes = std::move(response.body), .content_type = std::move(type), .digest = std::move(digest)};
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

// One blob on its way.
struct RegistryClient::Download {
  Descriptor blob;
  std::string what;
  std::unique_ptr<IncomingBlob> into;
  int task = 0;
  std::string sent;          // the Authorization header
  bool asked_again = false;  // with a new token
};

// The blobs of one FetchBlobs: some waiting, some in transfer, some being synced.
class RegistryClient::Downloads {
 public:
  Downloads(RegistryClient& registry, Store& store, Progress& progress)
      : registry_(registry), store_(store), progress_(progress) {}

  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;
  // Waits for those that are being finished.
  ~Downloads() {
    for (const auto& [number, download] : running_) registry_.http_.Cancel(number);
  }

  void Run(std::deque<Descriptor> waiting) {
    waiting_ = std::move(waiting);
    while (!waiting_.empty() || !running_.empty() || !finishing_.empty()) {
      while (!waiting_.empty() && running_.size() < kMaxConnections) {
        const Descriptor blob = std::move(waiting_.front());
        waiting_.pop_front();
        Begin(blob);
      }
      if (!running_.empty())
        Advance();
      else if (!finishing_.empty())
        AwaitOldest();
    }
  }

 private:
  void Begin(const Descriptor& blob) {
    auto download = std::make_unique<Download>(
        Download{.blob = blob, .what = "blob " + ShortDigest(blob.digest) + " of " + Quoted(registry_.repository())});
    download->into = blob.size >= kMinResumedBytes ? store_.ResumeBlob(blob.digest, blob.size)
                                                   : store_.AddBlob(blob.digest, blob.size);
    download->task = progress_.Begin(ShortDigest(blob.digest), blob.size);
    progress_.Advance(download->task, download->into->received());
    if (download->into->received() == blob.size)
      Finish(std::move(download));
    else
      Send(std::move(download));
  }

  void Send(std::unique_ptr<Download> download) {
    HttpRequest request = registry_.RequestFor("blobs/" + download->blob.digest.str(), download->what);
    request.authorization = download->sent = registry_.shared_->authorizer.Header(registry_.http_);
    request.expected_bytes = download->blob.size;
    request.first_byte = download->into->received();
    const int number =
        registry_.http_.Start(std::move(request), [this, &into = *download](std::span<const std::byte> bytes) {
          into.into->Write(bytes);
          progress_.Advance(into.task, bytes.size());
        });
    running_.emplace(number, std::move(download));
  }

  // Waits for one transfer to end.
  void Advance() {
    HttpClient::Finished finished = registry_.http_.WaitAny();
    const auto found = running_.find(finished.transfer);
    std::unique_ptr<Download> download = std::move(found->second);
    running_.erase(found);
    if (finished.error)
      std::rethrow_exception(finished.error);
    if (finished.response.ok()) {
      Finish(std::move(download));
      return;
    }
    if (finished.response.status != 401 || std::exchange(download->asked_again, true) ||
        !registry_.shared_->authorizer.Retry(*registry_.shared_->Base(), finished.response, download->sent)) {
      registry_.ThrowStatus(finished.response, download->what);
    }
    Send(std::move(download));
  }

  // Syncing takes as long as the disk likes; the transfers go on meanwhile.
  void Finish(std::unique_ptr<Download> download) {
    if (finishing_.size() >= kMaxFinishing)
      AwaitOldest();
    finishing_.push_back(std::async(
        std::launch::async, [this, done = std::move(download)]() mutable { return FinishOne(std::move(done)); }));
  }

  // The blob, if it has to be fetched once more: the part of it that was here was not its own. The store has forgotten
  // that part.
  std::optional<Descriptor> FinishOne(std::unique_ptr<Download> done) {
    const bool resumed = done->into->received() > 0;
    try {
      done->into->Finish();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kCorrupt || !resumed)
        throw;
      progress_.End(done->task, "damaged; once more");
      return done->blob;
    }
    progress_.End(done->task, "done");
    return std::nullopt;
  }

  void AwaitOldest() {
    std::future<std::optional<Descriptor>> oldest = std::move(finishing_.front());
    finishing_.pop_front();
    if (const std::optional<Descriptor> again = oldest.get())
      waiting_.push_back(*again);
  }

  RegistryClient& registry_;
  Store& store_;
  Progress& progress_;
  std::map<int, std::unique_ptr<Download>> running_;
  std::deque<std::future<std::optional<Descriptor>>> finishing_;
  std::deque<Descriptor> waiting_;
};

void RegistryClient::FetchBlobs(std::span<const Descriptor> blobs, Store& store, Progress& progress) {
  std::map<Digest, Descriptor> missing;
  for (const Descriptor& blob : blobs) {
    const auto [entry, added] = missing.emplace(blob.digest, blob);
    if (!added && entry->second.size != blob.size) {
      throw Error(ErrorKind::kCorrupt, Quoted(repository()) + ": " + blob.digest.str() + " is listed with two sizes");
    }
  }
  std::deque<Descriptor> waiting;
  for (const auto& [digest, blob] : missing) {
    if (store.HasBlob(digest)) {
      progress.End(progress.Begin(ShortDigest(digest), blob.size), "already here");
    } else {
      waiting.push_back(blob);
    }
  }
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const Descriptor& a, const Descriptor& b) { return a.size > b.size; });
  if (!waiting.empty() && !shared_->Base())
    Ping();
  Downloads(*this, store, progress).Run(std::move(waiting));
}

namespace {

// What an index chooses for `platform`; nullopt for a manifest.
std::optional<Descriptor> Next(const ManifestOrIndex& document, const DockerReference& name, const Platform& platform) {
  const auto* index = std::get_if<Index>(&document);
  if (index == nullptr)
    return std::nullopt;
  const Descriptor* chosen = index->Choose(platform);
  if (chosen == nullptr) {
    throw Error(ErrorKind::kNotFound, Quoted(name.ToString()) + " has no image for " + platform.ToString(),
                "it has " + PlatformsOf(*index) + "; choose one with --platform");
  }
  return *chosen;
}

void CheckDepth(size_t indexes, const DockerReference& name) {
  if (indexes > kMaxIndexDepth) {
    throw Error(ErrorKind::kUnsupported, Quoted(name.ToString()) + ": more than " + std::to_string(kMaxIndexDepth) +
                                             " indexes, one in the other");
  }
}

void CheckIsImage(const Manifest& manifest, const DockerReference& name) {
  if (!manifest.IsArtifact())
    return;
  const std::string& type = manifest.artifact_type.empty() ? manifest.config.media_type : manifest.artifact_type;
  throw Error(ErrorKind::kUnsupported, Quoted(name.ToString()) + " is an artifact of type " + Quoted(type),
              "only images can be fetched");
}

// An image that no index led to says itself what it is for. What it leaves open fits.
void CheckPlatform(const Platform& has, const Platform& wanted, const DockerReference& name) {
  const bool fits =
      (has.os.empty() || has.os == wanted.os) && (has.architecture.empty() || has.architecture == wanted.architecture);
  if (!fits) {
    throw Error(ErrorKind::kNotFound,
                Quoted(name.ToString()) + " is for " + has.ToString() + ", not for " + wanted.ToString(),
                "--platform " + has.ToString() + " fetches it all the same");
  }
}

// The manifest that `name` pins, from the store if it is there.
RawManifest ManifestOf(RegistryClient& registry, const DockerReference& name, const Store* cache) {
  if (cache != nullptr && name.digest && cache->HasBlob(*name.digest))
    return {.bytes = cache->ReadBlob(*name.digest, kMaxManifestBytes), .content_type = {}, .digest = *name.digest};
  return registry.GetManifest(name);
}

std::string ConfigOf(RegistryClient& registry, const DockerReference& name, const Manifest& manifest,
                     const Store* cache) {
  if (cache != nullptr && cache->HasBlob(manifest.config.digest))
    return cache->ReadBlob(manifest.config.digest, kMaxConfigBytes);
  return registry.GetBlob(manifest.config, kMaxConfigBytes, "configuration of " + Quoted(name.ToString()));
}

}  // namespace

ImageDocuments FetchDocuments(RegistryClient& registry, const DockerReference& name, const Platform& platform,
                              const Store* cache) {
  RawManifest raw = ManifestOf(registry, name, cache);
  ImageDocuments out{.content_type = raw.content_type, .manifests = {}, .config = {}};
  ManifestOrIndex parsed = ParseManifest(raw.bytes, raw.content_type);
  while (const std::optional<Descriptor> next = Next(parsed, name, platform)) {
    out.manifests.push_back(std::move(raw.bytes));
    CheckDepth(out.manifests.size(), name);
    DockerReference pinned = name;
    pinned.tag.clear();
    pinned.digest = next->digest;
    raw = ManifestOf(registry, pinned, cache);
    parsed = ParseManifest(raw.bytes, next->media_type);
  }
  const auto& manifest = std::get<Manifest>(parsed);
  CheckIsImage(manifest, name);
  out.config = ConfigOf(registry, name, manifest, cache);
  out.manifests.push_back(std::move(raw.bytes));
  return out;
}

FetchedImage AssembleImage(ImageDocuments documents, const DockerReference& name, const Platform& platform) {
  std::optional<Digest> index;
  std::optional<Digest> wanted = name.digest;
  std::optional<uint64_t> size;
  std::string type = documents.content_type;
  for (std::string& bytes : documents.manifests) {
    const Digest digest = Digest::Of(bytes, wanted ? wanted->algorithm() : HashAlgorithm::kSha256);
    if ((wanted && digest != *wanted) || (size && bytes.size() != *size)) {
      throw Error(ErrorKind::kCorrupt,
                  "manifest of " + Quoted(name.ToString()) + ": " + std::to_string(bytes.size()) +
                      " bytes with digest " + digest.str() + " where " + (wanted ? wanted->str() : digest.str()) +
                      " was expected",
                  "the registry is broken or hostile; nothing of it was kept");
    }
    const ManifestOrIndex parsed = ParseManifest(bytes, type);
    const std::optional<Descriptor> next = Next(parsed, name, platform);
    if (!next) {
      CheckIsImage(std::get<Manifest>(parsed), name);
      Image image = Image::FromBytes(std::move(bytes), type, std::move(documents.config));
      CheckPlatform(image.config.platform, platform, name);
      return {std::move(image), name, index};
    }
    if (!index)
      index = digest;
    wanted = next->digest;
    size = next->size;
    type = next->media_type;
  }
  throw Error(ErrorKind::kCorrupt, "manifest of " + Quoted(name.ToString()) + ": none after its index");
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
