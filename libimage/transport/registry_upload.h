// Pushing into one repository of a registry: blobs, then the manifests that name them (distribution-spec 1.1, "Push").
//
// A small blob goes whole with the request that closes its upload, a larger one in chunks. No chunk is forgotten before
// the registry has confirmed it: after a loss, a 416 or a passing failure the registry is asked how far it has got, and
// the upload goes on from there. So nothing but one chunk of a blob is ever in memory, and no blob has to be read
// twice. One that lies in a file can be: it needs no memory, and its chunks are larger. A registry that takes no chunks
// gets it whole.
//
// Nothing is hashed here, and no registry is believed about a digest: the caller knows what it sends. A registry that
// says itself that it got another one is a kNetwork error.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/model/descriptor.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr size_t kUploadChunkBytes = 8 * 1024 * 1024;
constexpr size_t kMaxUploadChunkBytes = 64 * 1024 * 1024;  // that a registry may ask for (OCI-Chunk-Min-Length)
constexpr size_t kUploadFileChunkBytes = 64 * 1024 * 1024;

// Whether the repository has the blob. One request.
bool HasBlob(RegistryClient& registry, const Digest& digest, const std::string& what);

// Whether `reference`, a tag or a digest, leads to the manifest `digest` already. One request where the registry tells
// the digest.
bool HasManifest(RegistryClient& registry, const std::string& reference, const Digest& digest, const std::string& what);

enum class PutResult {
  kDone,
  kListed,           // done, and the registry lists it among the referrers of its subject (OCI-Subject)
  kConditionFailed,  // nothing was done
};

// Puts the manifest under a tag or its digest. kNetwork when the registry says that it got something else; a registry
// that does not know a blob of it is asked again, for some see a blob later than they confirm it. `condition` is a
// header of RFC 9110, 13.1, which few registries heed, or empty.
PutResult PutManifest(RegistryClient& registry, const std::string& reference, std::string_view bytes,
                      const Descriptor& manifest, const std::string& what, const std::string& condition = {});

// One blob on its way. Destroyed without Finish, it cancels what was begun.
class BlobUpload {
 public:
  // `algorithm` is that of the digest that will come out. Nothing is sent yet.
  BlobUpload(RegistryClient& registry, std::string what, HashAlgorithm algorithm = HashAlgorithm::kSha256);
  BlobUpload(const BlobUpload&) = delete;
  BlobUpload& operator=(const BlobUpload&) = delete;
  ~BlobUpload();

  // Asks for the blob to be mounted from another repository of the registry; false when it has to be uploaded.
  bool Mount(const Digest& digest, const std::string& from);

  void Write(std::span<const std::byte> bytes);

  // All bytes were written, and this is their digest. A blob that is still whole in memory is not sent when
  // `may_be_there` and the registry has it.
  void Finish(const Digest& digest, bool may_be_there);

  // In place of both: the whole blob, out of a file. `took` is told of how many bytes more have gone.
  void SendFile(FileRange file, const Digest& digest, std::function<void(uint64_t)> took,
                size_t chunk_bytes = kUploadFileChunkBytes);

 private:
  HttpRequest Request(std::string method) const;
  HttpRequest RequestWithChunk(std::string method, size_t confirmed);
  size_t ChunkBytes() const;
  HttpResponse Post(const std::string& mount = {});
  void Begin();
  size_t BeginAnew();
  void TakeLocation(const HttpRequest& request, const HttpResponse& response);
  std::optional<HttpResponse> TrySend(HttpRequest request, const char* doing);
  bool SendChunk();
  bool MayBeginAnew() const;
  bool MayShrink() const;
  void Shrink();
  size_t SmallChunkBytes() const { return std::max(kUploadChunkBytes, least_chunk_bytes_); }
  void Keep();
  size_t AfterChunk(const HttpResponse& response, size_t confirmed);
  size_t AskHowFar(size_t confirmed, bool start_refused);
  bool PutWhole(const Digest& digest);
  void Close(const Digest& digest);
  Url ClosingUrl(const Digest& digest) const;
  void PauseOrThrow(int& tries, const std::optional<HttpResponse>& response) const;
  [[noreturn]] void ThrowBroken(const std::string& problem) const;

  RegistryClient& registry_;
  std::string what_;
  HashAlgorithm algorithm_;
  std::optional<Url> session_;  // where the next request of this upload goes
  NetworkZone zone_ = NetworkZone::kPublic;
  size_t chunk_bytes_ = kUploadChunkBytes;
  size_t least_chunk_bytes_ = 0;
  bool takes_chunks_ = true;
  std::vector<std::byte> buffer_;  // the chunk that is being filled
  std::optional<FileRange> file_;  // that has all of them
  uint64_t sent_ = 0;              // bytes before the chunk, which the registry has confirmed
  uint64_t offered_ = 0;           // where the furthest chunk ended that this session was sent
  int begun_anew_ = 0;
  std::function<void(uint64_t)> took_;
  uint64_t told_ = 0;  // bytes that it was told of
  std::string last_loss_;
  bool path_broke_ = false;  // in the last try, as far as one can see
};

}  // namespace gantry::image
