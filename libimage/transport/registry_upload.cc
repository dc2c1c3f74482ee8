#include "libimage/transport/registry_upload.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/percent.h"

namespace gantry::image {
namespace {

constexpr int kCreated = 201;
constexpr int kAccepted = 202;
constexpr int kBadRequest = 400;
constexpr int kNotFound = 404;
constexpr int kConditionFailed = 412;
constexpr int kTooLarge = 413;
constexpr int kRangeRefused = 416;
constexpr std::string_view kUploads = "blobs/uploads/";

// The last byte of "0-N", as answers of an upload say how much there is; some write a unit before it.
std::optional<uint64_t> LastByte(std::string_view range) {
  const size_t dash = range.rfind('-');
  const std::string_view first = range.substr(0, dash == std::string_view::npos ? 0 : dash);
  if (first != "0" && first != "bytes=0")
    return std::nullopt;
  return ParseDecimal<uint64_t>(range.substr(dash + 1));
}

bool LacksABlob(const HttpResponse& response) {
  return (response.status == kBadRequest || response.status == kNotFound) &&
         response.body.find("MANIFEST_BLOB_UNKNOWN") != std::string::npos;
}

// Some take a blob only whole, in the request that closes its upload.
bool TakesNoChunks(const HttpResponse& response) {
  constexpr int kNoSuchMethod = 405;
  constexpr int kNotImplemented = 501;
  return response.status == kNoSuchMethod || response.status == kNotImplemented ||
         (response.status >= kBadRequest && response.body.find("\"UNSUPPORTED\"") != std::string::npos);
}

// What it says is no evidence, but it may know that it has got something else.
void ThrowIfOther(const HttpResponse& response, const Digest& digest, const std::string& what) {
  const std::string_view got = response.Header("docker-content-digest");
  if (!got.starts_with(Name(digest.algorithm())) || got == digest.str())
    return;
  throw Error(ErrorKind::kNetwork,
              what + ": the registry says that it got " + Quoted(got) + " in place of " + digest.str(),
              "something on the way, or the registry, changes what is sent");
}

// What a proxy says that lost patience, or the server.
bool MayBeThePath(int status) { return status == 408 || status == 502 || status == 504; }

bool IsDenied(int status) { return status == 401 || status == 403 || status == 429 || status >= 500; }

}  // namespace

bool HasBlob(RegistryClient& registry, const Digest& digest, const std::string& what) {
  HttpRequest request = registry.RequestFor("blobs/" + digest.str(), what);
  request.method = "HEAD";
  const HttpResponse response = registry.Send(std::move(request));
  if (IsDenied(response.status))
    registry.ThrowStatus(response, what);
  return response.ok();
}

bool HasManifest(RegistryClient& registry, const std::string& reference, const Digest& digest,
                 const std::string& what) {
  HttpRequest request = registry.RequestFor("manifests/" + reference, what);
  request.method = "HEAD";
  request.headers = {AcceptedManifests()};
  HttpResponse response = registry.Send(request);
  if (response.ok() && response.Header("docker-content-digest").empty()) {
    request.method = "GET";
    request.max_body_bytes = kMaxManifestBytes;
    response = registry.Send(request);
    return response.ok() && Digest::Of(response.body, digest.algorithm()) == digest;
  }
  if (IsDenied(response.status))
    registry.ThrowStatus(response, what);
  return response.ok() && response.Header("docker-content-digest") == digest.str();
}

PutResult PutManifest(RegistryClient& registry, const std::string& reference, std::string_view bytes,
                      const Descriptor& manifest, const std::string& what, const std::string& condition) {
  HttpRequest request = registry.RequestFor("manifests/" + reference, what);
  request.method = "PUT";
  request.headers = {"Content-Type: " + manifest.media_type};
  if (!condition.empty())
    request.headers.push_back(condition);
  request.body = AsBytes(bytes);
  request.max_body_bytes = kMaxErrorBodyBytes;
  const HttpOptions& options = registry.http().options();
  HttpResponse response = registry.Send(request);
  for (int tries = 1; tries < options.max_tries && LacksABlob(response); ++tries) {
    std::this_thread::sleep_for(PauseAfter(tries, options));
    response = registry.Send(request);
  }
  if (response.status == kConditionFailed && !condition.empty())
    return PutResult::kConditionFailed;
  if (!response.ok())
    registry.ThrowStatus(response, what);
  ThrowIfOther(response, manifest.digest, what);
  return response.Header("oci-subject").empty() ? PutResult::kDone : PutResult::kListed;
}

BlobUpload::BlobUpload(RegistryClient& registry, std::string what, HashAlgorithm algorithm)
    : registry_(registry), what_(std::move(what)), algorithm_(algorithm) {}

BlobUpload::~BlobUpload() {
  if (!session_)
    return;
  try {
    registry_.Send(Request("DELETE"));
  } catch (const std::exception&) {
    // The registry forgets unfinished uploads by itself.
  }
}

void BlobUpload::ThrowBroken(const std::string& problem) const {
  throw Error(ErrorKind::kNetwork, what_ + ": registry " + Quoted(registry_.repository()) + " " + problem,
              "the registry, or a proxy before it, breaks the protocol of uploads");
}

// To the session. How it goes on after a failure depends on what has arrived, so the client is not to try again.
HttpRequest BlobUpload::Request(std::string method) const {
  return {.method = std::move(method),
          .url = *session_,
          .retries = false,
          .led_by = zone_,
          .max_body_bytes = kMaxErrorBodyBytes,
          .what = what_};
}

// With the rest of a chunk of which `confirmed` bytes have arrived.
HttpRequest BlobUpload::RequestWithChunk(std::string method, size_t confirmed) {
  HttpRequest request = Request(std::move(method));
  request.headers = {"Content-Type: application/octet-stream"};
  offered_ = std::max(offered_, sent_ + ChunkBytes());
  if (!file_) {
    request.body = std::span(buffer_).subspan(confirmed);
    return request;
  }
  const uint64_t first = sent_ + confirmed;
  request.file = FileRange{file_->fd, file_->offset + first, ChunkBytes() - confirmed};
  request.sent = [this, first](uint64_t bytes) {
    if (first + bytes <= told_)
      return;
    took_(first + bytes - told_);
    told_ = first + bytes;
  };
  return request;
}

size_t BlobUpload::ChunkBytes() const {
  if (!file_)
    return buffer_.size();
  const uint64_t rest = file_->size - sent_;
  return static_cast<size_t>(takes_chunks_ ? std::min<uint64_t>(chunk_bytes_, rest) : rest);
}

void BlobUpload::TakeLocation(const HttpRequest& request, const HttpResponse& response) {
  const std::string location(response.Header("location"));
  const std::optional<Url> next = request.url.Resolve(location);
  if (!next)
    ThrowBroken("does not say where to upload to");
  if (request.url.https() && !next->https())
    ThrowBroken("wants the upload at " + Quoted(next->Shown()) + ", over plain http");
  session_ = next;
  zone_ = response.zone;
}

// Begins a session if the registry accepts one.
HttpResponse BlobUpload::Post(const std::string& mount) {
  std::string query = mount;
  if (algorithm_ != HashAlgorithm::kSha256)
    query += (query.empty() ? "?" : "&") + ("digest-algorithm=" + std::string(Name(algorithm_)));
  const std::string path = std::string(kUploads) + query;
  HttpRequest request = registry_.RequestFor(path, what_);
  request.method = "POST";
  request.max_body_bytes = kMaxErrorBodyBytes;
  HttpResponse response = registry_.Send(request);
  if (response.status != kAccepted)
    return response;
  request.url = registry_.RequestFor(path, what_).url;  // with the scheme that the first answer told
  TakeLocation(request, response);
  offered_ = 0;
  if (const auto least = ParseDecimal<uint64_t>(response.Header("oci-chunk-min-length"))) {
    if (*least > kMaxUploadChunkBytes)
      ThrowBroken("wants chunks of " + std::to_string(*least) + " bytes");
    least_chunk_bytes_ = static_cast<size_t>(*least);
    chunk_bytes_ = std::max(chunk_bytes_, least_chunk_bytes_);
  }
  return response;
}

void BlobUpload::Begin() {
  const HttpResponse response = Post();
  if (response.status != kAccepted)
    registry_.ThrowStatus(response, what_);
}

bool BlobUpload::Mount(const Digest& digest, const std::string& from) {
  return Post("?mount=" + PercentEncoded(digest.str()) + "&from=" + PercentEncoded(from)).status == kCreated;
}

void BlobUpload::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (buffer_.size() == chunk_bytes_ && !SendChunk())
      Keep();
    const size_t n = std::min(chunk_bytes_ - buffer_.size(), bytes.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    bytes = bytes.subspan(n);
  }
}

// What cannot be sent in part is kept until it is whole.
void BlobUpload::Keep() {
  if (std::exchange(chunk_bytes_, kMaxUploadChunkBytes) < kMaxUploadChunkBytes)
    return;
  throw Error(ErrorKind::kUnsupported,
              what_ + ": registry " + Quoted(registry_.repository()) +
                  " takes blobs only whole, and this one is longer than " + std::to_string(kMaxUploadChunkBytes) +
                  " bytes and in no file",
              "write the image to an OCI layout first, and push that");
}

// nullopt when there was no answer, or one that may be another a moment later.
std::optional<HttpResponse> BlobUpload::TrySend(HttpRequest request, const char* doing) {
  std::optional<HttpResponse> response;
  path_broke_ = true;
  try {
    response = registry_.Send(std::move(request));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNetwork)
      throw;
    last_loss_ = error.message();
    return std::nullopt;
  }
  path_broke_ = MayBeThePath(response->status);
  if (!IsTransientStatus(response->status))
    return response;
  last_loss_ = what_ + ": " + doing + ": status " + std::to_string(response->status);
  const HttpOptions& options = registry_.http().options();
  const auto asked = ParseRetryAfter(response->Header("retry-after"), std::chrono::system_clock::now());
  if (asked && *asked > options.longest_pause)
    registry_.ThrowStatus(*response, what_);
  if (asked)
    options.pauses->Ask(session_->Origin(), std::chrono::steady_clock::now() + *asked);
  return std::nullopt;
}

// Before the next try, of which there is one if `tries` allows.
void BlobUpload::PauseOrThrow(int& tries, const std::optional<HttpResponse>& response) const {
  const HttpOptions& options = registry_.http().options();
  if (++tries >= options.max_tries) {
    if (response)
      registry_.ThrowStatus(*response, what_);
    throw Error(ErrorKind::kNetwork, last_loss_, "the upload broke on every try; try again later");
  }
  if (!response)
    std::this_thread::sleep_for(PauseAfter(tries, options));
}

// Sends the whole chunk, in as many requests as it takes. False, and nothing is sent, where no chunks are taken.
bool BlobUpload::SendChunk() {
  if (!takes_chunks_)
    return false;
  if (!session_)
    Begin();
  size_t confirmed = 0;
  int tries = 0;
  while (confirmed < ChunkBytes()) {
    const uint64_t first = sent_ + confirmed;
    HttpRequest request = RequestWithChunk("PATCH", confirmed);
    request.headers.push_back("Content-Range: " + std::to_string(first) + "-" +
                              std::to_string(sent_ + ChunkBytes() - 1));
    const HttpRequest asked = request;
    const std::optional<HttpResponse> response = TrySend(std::move(request), "upload");
    // What libcurl repeats by itself after a loss, the registry refuses for what came before.
    const bool path_broke = path_broke_ || (response && response->status == kRangeRefused);
    if (response && response->ok()) {
      if (!response->Header("location").empty())
        TakeLocation(asked, *response);
      confirmed = AfterChunk(*response, confirmed);
    } else if (response && first == 0 && TakesNoChunks(*response)) {
      takes_chunks_ = false;
      return false;
    } else if (response && response->status == kTooLarge && MayShrink()) {
      sent_ += std::exchange(confirmed, 0);
      Shrink();
    } else {
      // docker-registry knows a session no more once a part of a chunk has come.
      const bool forgotten = response && response->status == kNotFound && MayBeginAnew();
      if (response && response->status != kRangeRefused && !forgotten)
        registry_.ThrowStatus(*response, what_);
      PauseOrThrow(tries, response);
      confirmed = forgotten ? BeginAnew() : AskHowFar(confirmed, response.has_value() && first == 0);
      // A path that breaks loses less of smaller ones.
      if (path_broke && MayShrink()) {
        sent_ += std::exchange(confirmed, 0);
        Shrink();
      }
    }
    if (sent_ + confirmed > first)
      tries = 0;
  }
  sent_ += confirmed;
  buffer_.clear();
  return true;
}

// Proxies have limits that are seldom below the chunks of what is in no file.
bool BlobUpload::MayShrink() const { return file_ && takes_chunks_ && chunk_bytes_ > SmallChunkBytes(); }

void BlobUpload::Shrink() { chunk_bytes_ = SmallChunkBytes(); }

size_t BlobUpload::AfterChunk(const HttpResponse& response, size_t confirmed) {
  const std::string_view range = response.Header("range");
  if (range.empty())
    return ChunkBytes();
  const std::optional<uint64_t> last = LastByte(range);
  // Less than what was sent may be taken, but not nothing, and not what was confirmed before. There is more where a
  // larger chunk, which was given up, has come after all.
  if (!last || *last >= offered_ || *last + 1 <= sent_ + confirmed)
    ThrowBroken("confirms " + Quoted(range) + " of an upload of " + std::to_string(offered_) + " bytes");
  return static_cast<size_t>(*last + 1 - sent_);
}

// While nothing but the chunk was sent, or all can be read again.
bool BlobUpload::MayBeginAnew() const {
  return (sent_ == 0 || file_) && begun_anew_ < registry_.http().options().max_tries;
}

// Returns how much of the chunk, which is the first one again, has arrived.
size_t BlobUpload::BeginAnew() {
  ++begun_anew_;
  sent_ = 0;
  session_.reset();
  Begin();
  return 0;
}

// How much from the beginning of the chunk on has arrived, by the registry's word. "0-0" is how some say "nothing",
// too; `start_refused` tells that it is not.
size_t BlobUpload::AskHowFar(size_t confirmed, bool start_refused) {
  HttpRequest request = Request("GET");
  request.retries = true;
  const HttpRequest asked = request;
  const HttpResponse response = registry_.Send(std::move(request));
  if (response.status == kNotFound && MayBeginAnew())
    return BeginAnew();
  if (!response.ok())
    registry_.ThrowStatus(response, what_);
  if (!response.Header("location").empty())
    TakeLocation(asked, response);
  const std::string_view range = response.Header("range");
  if (range.empty())
    return sent_ == 0 ? 0 : confirmed;
  const std::optional<uint64_t> last = LastByte(range);
  if (!last || *last >= offered_)
    ThrowBroken("has " + Quoted(range) + " of an upload of " + std::to_string(offered_) + " bytes");
  const uint64_t there = *last == 0 && !start_refused ? 0 : *last + 1;
  if (there < sent_)
    ThrowBroken("has only " + Quoted(range) + " where it confirmed " + std::to_string(sent_) + " bytes");
  return static_cast<size_t>(there - sent_);
}

Url BlobUpload::ClosingUrl(const Digest& digest) const {
  const std::string& at = session_->str();
  const std::optional<Url> url =
      Url::Parse(at + (at.find('?') == std::string::npos ? "?" : "&") + "digest=" + PercentEncoded(digest.str()));
  if (!url)
    ThrowBroken("names an address that is too long");
  return *url;
}

// All of it in one request. What a broken one has left in its session is not known, so another try begins anew. libcurl
// repeats by itself what a kept connection has lost: a session that is unknown, or has too much, may be due to that.
//
// False when that is too much at once, for a proxy or for a path that breaks, and there will be chunks.
bool BlobUpload::PutWhole(const Digest& digest) {
  bool repeated = false;
  for (int tries = 0;;) {
    if (!session_)
      Begin();
    HttpRequest request = RequestWithChunk("PUT", 0);
    request.url = ClosingUrl(digest);
    const std::optional<HttpResponse> response = TrySend(std::move(request), "upload");
    const bool path_broke = path_broke_;
    if (response && response->ok()) {
      ThrowIfOther(*response, digest, what_);
      break;
    }
    if (response && response->status == kTooLarge && MayShrink() && ChunkBytes() > SmallChunkBytes()) {
      Shrink();
      return false;
    }
    if (response &&
        ((response->status != kNotFound && response->status != kBadRequest) || std::exchange(repeated, true)))
      registry_.ThrowStatus(*response, what_);
    PauseOrThrow(tries, response);
    session_.reset();
    if (HasBlob(registry_, digest, what_))  // it was the answer that got lost
      break;
    if ((path_broke || response) && MayShrink() && ChunkBytes() > SmallChunkBytes()) {
      Shrink();
      return false;
    }
  }
  session_.reset();
  return true;
}

// A session that is unknown may have been closed by a request whose answer got lost.
void BlobUpload::Close(const Digest& digest) {
  for (int tries = 0;;) {
    HttpRequest request = Request("PUT");
    request.url = ClosingUrl(digest);
    const std::optional<HttpResponse> response = TrySend(std::move(request), "close the upload");
    if (response && response->ok()) {
      ThrowIfOther(*response, digest, what_);
      break;
    }
    if (response && response->status != kNotFound)
      registry_.ThrowStatus(*response, what_);
    PauseOrThrow(tries, response);
    if (HasBlob(registry_, digest, what_))
      break;
    if (response)
      registry_.ThrowStatus(*response, what_);
  }
  session_.reset();
}

void BlobUpload::Finish(const Digest& digest, bool may_be_there) {
  if (sent_ == 0) {
    if (!may_be_there || !HasBlob(registry_, digest, what_))
      PutWhole(digest);
    return;
  }
  if (!buffer_.empty())
    SendChunk();
  Close(digest);
}

void BlobUpload::SendFile(FileRange file, const Digest& digest, std::function<void(uint64_t)> took,
                          size_t chunk_bytes) {
  file_ = std::move(file);
  took_ = std::move(took);
  chunk_bytes_ = std::max(chunk_bytes_, chunk_bytes);
  do {
    while (file_->size > chunk_bytes_ && sent_ < file_->size && SendChunk()) {
    }
  } while (sent_ == 0 && !PutWhole(digest));
  if (sent_ > 0)
    Close(digest);
  if (told_ < file_->size)
    took_(file_->size - told_);
}

}  // namespace gantry::image
