// The blobs of one image into a store: several at once, and a large one in parts.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <map>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "libimage/store/write_behind.h"
#include "libimage/transport/registry.h"
#include "libimage/transport/registry_ranges.h"

namespace gantry::image {
namespace {

using Clock = std::chrono::steady_clock;

// How many blobs are being synced to disk beside the transfers.
constexpr size_t kMaxFinishing = 8;
// A blob of this size is worth going on with when another process has left a part of it.
constexpr uint64_t kMinResumedBytes = 1024 * 1024;
constexpr size_t kMaxForeignUrls = 16;
// What one connection brings at this rate the processor or the wire slows down, and more connections do not help.
constexpr double kFastBytesPerSecond = 100e6;

std::string ShortDigest(const Digest& digest) { return digest.hex().substr(0, 12); }

}  // namespace

// One blob on its way.
struct RegistryClient::Download {
  Descriptor blob;
  std::string what;
  std::unique_ptr<IncomingBlob> into;
  int task = 0;
  std::string sent;                         // the Authorization header
  bool asked_again = false;                 // with a new token
  uint64_t here = 0;                        // bytes of it that are in `into`
  uint64_t here_before = 0;                 // of these, before this transfer
  Clock::time_point started = {};           // this transfer
  bool ranged = false;                      // tried already
  size_t urls_tried = 0;                    // of a foreign layer that the registry does not have
  NetworkZone zone = NetworkZone::kPublic;  // of the registry
};

// The blobs of one FetchBlobs: some waiting, some in transfer, some being synced.
class RegistryClient::Downloads {
 public:
  Downloads(RegistryClient& registry, Store& store, Progress& progress, const std::function<void()>& checked)
      : registry_(registry), store_(store), progress_(progress), checked_(checked) {}

  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;
  // Waits for those that are being finished.
  ~Downloads() {
    for (const auto& [number, download] : running_) registry_.http_.Cancel(number);
  }

  void Run(std::deque<Descriptor> waiting) {
    waiting_ = std::move(waiting);
    unchecked_ = waiting_.size();
    while (!waiting_.empty() || !running_.empty() || !finishing_.empty()) {
      while (!waiting_.empty() && running_.size() < kMaxConnections) {
        const Descriptor blob = std::move(waiting_.front());
        waiting_.pop_front();
        Begin(blob);
      }
      if (running_.size() == 1 && waiting_.empty() && IsWorthRanges(*running_.begin()->second))
        FetchInRanges();
      else if (!running_.empty())
        Advance();
      else if (!finishing_.empty())
        AwaitOldest();
    }
  }

 private:
  void Begin(const Descriptor& blob) {
    auto download = std::make_unique<Download>(
        Download{.blob = blob, .what = "blob " + ShortDigest(blob.digest) + " of " + Quoted(registry_.repository())});
    download->into = blob.size >= kMinResumedBytes ? WriteBehind(store_.ResumeBlob(blob.digest, blob.size))
                                                   : store_.AddBlob(blob.digest, blob.size);
    download->task = progress_.Begin(ShortDigest(blob.digest), blob.size);
    download->here = download->into->received();
    progress_.Advance(download->task, download->here);
    if (download->into->received() == blob.size)
      Finish(std::move(download));
    else
      Send(std::move(download));
  }

  void Send(std::unique_ptr<Download> download) {
    HttpRequest request = registry_.RequestFor("blobs/" + download->blob.digest.str(), download->what);
    request.authorization = download->sent = registry_.shared_->authorizer.Header(registry_.http_);
    request.expected_bytes = download->blob.size;
    request.first_byte = download->here;
    Start(std::move(request), std::move(download));
  }

  static bool IsFast(const Download& download) {
    const auto gained = static_cast<double>(download.here - download.here_before);
    const std::chrono::duration<double> seconds = Clock::now() - download.started;
    return gained >= kRangeBytes && gained > kFastBytesPerSecond * seconds.count();
  }

  static bool IsWorthRanges(const Download& download) {
    return !download.ranged && !IsFast(download) && download.urls_tried == 0 &&
           download.blob.size - download.here >= kMinRangedBytes;
  }

  // The only one that is left has all connections: what has come of it stays, the rest comes in parts.
  void FetchInRanges() {
    registry_.http_.Cancel(running_.begin()->first);
    std::unique_ptr<Download> download = std::move(running_.begin()->second);
    running_.clear();
    download->ranged = true;
    const bool whole =
        RangedDownload(registry_, download->blob, download->what, WriterOf(*download)).Run(download->here);
    if (whole)
      Finish(std::move(download));
    else
      Send(std::move(download));
  }

  HttpClient::BodyWriter WriterOf(Download& download) {
    return [this, &download](std::span<const std::byte> bytes) {
      download.into->Write(bytes);
      download.here += bytes.size();
      progress_.Advance(download.task, bytes.size());
    };
  }

  // A foreign layer that the registry lacks is at addresses that its manifest names: as little trusted as a redirect,
  // and asked without credentials (CVE-2020-15157). False when there are no more.
  bool SendElsewhere(std::unique_ptr<Download>& download) {
    const std::vector<std::string>& urls = download->blob.urls;
    while (IsForeignLayer(download->blob.media_type) && download->urls_tried < std::min(urls.size(), kMaxForeignUrls)) {
      const std::optional<Url> url = Url::Parse(urls[download->urls_tried++]);
      if (!url)
        continue;
      HttpRequest request{.url = *url,
                          .first_byte = download->here,
                          .led_by = download->zone,
                          .expected_bytes = download->blob.size,
                          .what = download->what};
      Start(std::move(request), std::move(download));
      return true;
    }
    return false;
  }

  void Start(HttpRequest request, std::unique_ptr<Download> download) {
    download->started = Clock::now();
    download->here_before = download->here;
    const int number = registry_.http_.Start(std::move(request), WriterOf(*download));
    running_.emplace(number, std::move(download));
  }

  [[noreturn]] static void ThrowGone(const Download& download, int status) {
    throw Error(ErrorKind::kNetwork,
                download.what +
                    ": the foreign layer is not in the registry, and the last of the places that its "
                    "manifest names answers with status " +
                    std::to_string(status),
                "whoever made the image may tell where the layer is now");
  }

  // Waits for one transfer to end.
  void Advance() {
    HttpClient::Finished finished = registry_.http_.WaitAny();
    const auto found = running_.find(finished.transfer);
    std::unique_ptr<Download> download = std::move(found->second);
    running_.erase(found);
    if (!finished.error && finished.response.ok()) {
      Finish(std::move(download));
      return;
    }
    const bool elsewhere = download->urls_tried > 0;
    if (!elsewhere)
      download->zone = finished.response.zone;
    if ((elsewhere || (!finished.error && finished.response.status == 404)) && SendElsewhere(download))
      return;
    if (finished.error)
      std::rethrow_exception(finished.error);
    if (elsewhere)
      ThrowGone(*download, finished.response.status);
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
      done->into->Check();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kCorrupt || !resumed)
        throw;
      progress_.End(done->task, "damaged; once more");
      return done->blob;
    }
    progress_.End(done->task, "done");
    if (--unchecked_ == 0)
      checked_();
    done->into->Finish();
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
  const std::function<void()>& checked_;
  std::atomic<size_t> unchecked_ = 0;
  std::map<int, std::unique_ptr<Download>> running_;
  std::deque<std::future<std::optional<Descriptor>>> finishing_;
  std::deque<Descriptor> waiting_;
};

void RegistryClient::FetchBlobs(std::span<const Descriptor> blobs, Store& store, Progress& progress,
                                const std::function<void()>& checked) {
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
  if (waiting.empty())
    return checked();
  if (!shared_->Base())
    Ping();
  Downloads(*this, store, progress, checked).Run(std::move(waiting));
}

}  // namespace gantry::image
