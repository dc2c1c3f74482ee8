// One repository of a registry, over the OCI distribution protocol (distribution-spec 1.1; Docker Registry HTTP API
// V2).
//
// What comes out of here has been checked: a manifest's digest is computed from its bytes (Docker-Content-Digest is
// never believed), every blob against digest and size while it streams, straight into the store. What the registry says
// no to becomes an Error: absent is kNotFound, a denial kFailed with the command that logs in, all else kNetwork.
//
// TLS unless the host is loopback, or HttpOptions::allow_http is set, and does not speak it. A handshake before the
// first request finds that out where it is in question; the request itself, how to authorize.
// A client is for one thread; its copies for others share what it found out, and its tokens.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/progress.h"
#include "libimage/model/image.h"
#include "libimage/store/store.h"
#include "libimage/transport/auth.h"
#include "libimage/transport/http.h"
#include "libimage/transport/image_documents.h"

namespace gantry::image {

constexpr size_t kMaxConnections = 6;  // blobs on their way at once
constexpr size_t kMaxTags = 1'000'000;
constexpr size_t kMaxTagPages = 10'000;
constexpr size_t kMaxTagPageBytes = 4 * 1024 * 1024;

// A manifest or index as the registry has it.
struct RawManifest {
  std::string bytes;
  std::string content_type;  // of the answer; may be empty or wrong
  Digest digest;             // of `bytes`
};

// The header that asks for manifests and indexes of every kind that we read.
std::string AcceptedManifests();

class RegistryClient {
 public:
  // For the repository of `name`; its tag and digest do not matter. `credentials` come from FindCredentials. `actions`
  // are what tokens are asked for.
  RegistryClient(HttpClient& http, const DockerReference& name, std::optional<Credentials> credentials,
                 std::string_view actions = "pull");
  // The same for another thread, over an HTTP client of its own.
  RegistryClient(HttpClient& http, const RegistryClient& other);
  ~RegistryClient();
  RegistryClient(const RegistryClient&) = delete;
  RegistryClient& operator=(const RegistryClient&) = delete;

  // Throws when the registry does not take the credentials. For a `name` whose path may be empty.
  void RequireAccess();

  // By digest if `name` has one, else by tag. At most kMaxManifestBytes. kCorrupt when the bytes do not have the digest
  // that was asked for.
  RawManifest GetManifest(const DockerReference& name);

  // The digest of what `name` leads to, as the registry says, by HEAD: for comparing, never for believing. nullopt when
  // there is nothing, or the registry does not tell. One that it is the same as `known` takes less of many registries.
  std::optional<Digest> HeadManifest(const DockerReference& name, const std::optional<Digest>& known = std::nullopt);

  // Whether the tag leads to anything. Only "not found" is a no; a registry that denies or fails throws.
  bool HasTag(const std::string& tag);

  // All tags of the repository, page after page, in the order of the registry; kMaxTags at most.
  std::vector<std::string> ListTags();

  // False only where the registry says that the repository has no tag, or that there is no such repository. One
  // request, for what is only good to know: whatever goes wrong with it is a yes, and throws nothing.
  bool MayHaveTags();

  // A small blob whole, at most `max_bytes`; `what` names it in errors.
  std::string GetBlob(const Descriptor& blob, size_t max_bytes, const std::string& what);

  // A blob of any size, in order, each byte once. kCorrupt after the last byte when it was not the blob.
  void ReadBlob(const Descriptor& blob, const std::string& what, const HttpClient::BodyWriter& write);

  // Fetches what is missing of `blobs` into `store`, the largest first, kMaxConnections at once; a large one that is
  // left alone comes by several requests (registry_ranges.h). The caller holds a lease on them. When one fails the
  // others are dropped; blobs that were complete stay. `checked` is called, by any thread, when all were checked
  // (IncomingBlob) and `progress` was told of all of them, while some are still on their way to the disk.
  void FetchBlobs(
      std::span<const Descriptor> blobs, Store& store, Progress& progress,
      const std::function<void()>& checked = [] {});

  // For those who build on this. A request for `path` below the repository, and the answer to one, whatever its status;
  // a request to another origin goes without credentials.
  HttpRequest RequestFor(const std::string& path, const std::string& what) const;
  HttpResponse Send(HttpRequest request);
  // What asks for the page after `response`, the answer to `request` for a list at `path`; nullopt after the last.
  std::optional<HttpRequest> NextRequest(const HttpRequest& request, const HttpResponse& response,
                                         const std::string& path) const;
  // Throws what an answer that is no success means for `what`.
  [[noreturn]] void ThrowStatus(const HttpResponse& response, const std::string& what) const;
  // Whether tokens are to be for another repository, too.
  void MayAlsoPull(const std::string& path, bool wanted);
  HttpClient& http() const { return http_; }
  const std::string& repository() const { return shared_->repository; }  // "host/path"

 private:
  struct Download;
  class Downloads;
  friend class RangedDownload;

  // What copies share.
  struct Shared {
    std::string repository;
    std::string host;
    std::string path;
    Url secure, plain;  // "https://host/v2/", "http://host/v2/"
    Authorizer authorizer;
    std::mutex first;  // held while the base is found out
    mutable std::mutex mutex;
    std::optional<Url> base;             // one of both, once it is known
    mutable std::set<std::string> told;  // notes, each once

    std::optional<Url> Base() const;
  };
  static std::shared_ptr<Shared> MakeShared(const DockerReference& name, std::optional<Credentials> credentials,
                                            std::string_view actions);

  Url FindBase(const HttpRequest& request);
  HttpResponse SendOnce(HttpRequest& request);
  void TellNotes(const HttpResponse& response) const;
  // Learns the way to authorize from the root of the registry.
  void Ping();
  HttpResponse Get(HttpRequest request);
  std::optional<HttpResponse> Head(const std::string& reference, const std::string& what,
                                   const std::optional<Digest>& known = std::nullopt);

  HttpClient& http_;
  std::shared_ptr<Shared> shared_;
};

// Fetches the documents that lead from a name to an image of one platform. What `cache` already has is not fetched, and
// where it has an image of that name the registry is first asked by HEAD whether it is still the same; it may be null.
// kNotFound lists the platforms that there are.
ImageDocuments FetchDocuments(RegistryClient& registry, const DockerReference& name, const Platform& platform,
                              const Store* cache);

// The size of a blob, as the registry says; for manifests that do not tell it. kNetwork when it does not say.
uint64_t HeadBlobSize(RegistryClient& registry, const Digest& digest, const std::string& what);

// The address in the Link header (RFC 8288) that is related as "next", as it stands there; nullopt when there is none.
std::optional<std::string> NextPage(std::string_view link);

// Signatures that lie beside a registry under numbers, from 1 up to the first that is absent: at most kMaxSignatures of
// at most kMaxSignatureBytes, and kMaxSignatureBytesInAll together. `url` makes the address of number n. No credentials
// are sent. A place that cannot be read is an error.
std::vector<std::string> FetchSignatures(HttpClient& http, const std::function<std::string(size_t n)>& url);

}  // namespace gantry::image
