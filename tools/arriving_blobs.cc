#include "tools/arriving_blobs.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "tools/progress.h"

namespace gantry::tools {
namespace {

// How often a reader looks for more: short beside what a block takes to come over a network.
constexpr std::chrono::milliseconds kPause(2);

class ArrivingSource : public Source {
 public:
  ArrivingSource(std::shared_ptr<const image::Store> store, std::shared_future<void> fetched, image::Descriptor blob,
                 std::string what)
      : store_(std::move(store)), fetched_(std::move(fetched)), blob_(std::move(blob)), what_(std::move(what)) {}

  Block Next() override {
    while (at_ < blob_.size) {
      if (!file_)
        file_ = store_->OpenAsFarAsHere(blob_.digest);
      if (Block block = file_ ? Read() : Block(); !block.empty())
        return block;
      if (ended_) {
        throw Error(ErrorKind::kCorrupt,
                    what_ + " ends after " + std::to_string(at_) + " bytes instead of " + std::to_string(blob_.size));
      }
      Wait();
    }
    return {};
  }

 private:
  Block Read() {
    std::shared_ptr<std::byte[]> buffer = pool_.Take();
    const size_t n = ReadFullAt(file_->get(), at_, {buffer.get(), pool_.block_bytes()}, what_);
    at_ += n;
    const std::byte* const bytes = buffer.get();
    return Block(std::move(buffer), {bytes, n});
  }

  // A part that was given up stays short for ever. At the end the whole blob takes over from there, and the diff ID
  // tells whether the two fit.
  void Wait() {
    if (fetched_.wait_for(kPause) != std::future_status::ready)
      return;
    fetched_.get();
    ended_ = true;
    file_.reset();
  }

  std::shared_ptr<const image::Store> store_;
  std::shared_future<void> fetched_;
  image::Descriptor blob_;
  std::string what_;
  BlockPool pool_;
  std::optional<UniqueFd> file_;
  uint64_t at_ = 0;
  bool ended_ = false;
};

}  // namespace

ArrivingBlobs::ArrivingBlobs(std::shared_ptr<const image::Store> store, std::function<void()> fetch,
                             std::function<void()> stop)
    : store_(std::move(store)),
      stop_(std::move(stop)),
      fetched_(std::async(std::launch::async, std::move(fetch)).share()) {}

ArrivingBlobs::~ArrivingBlobs() {
  if (!ended())
    stop_();
}

std::unique_ptr<Source> ArrivingBlobs::Open(const image::Descriptor& blob, std::string_view what) const {
  const bool all_came = ended();
  if (all_came)
    Finish();
  if (store_->HasBlob(blob.digest))
    return store_->Open(blob, what);
  if (!all_came)
    gave_unchecked_ = true;
  return std::make_unique<ArrivingSource>(store_, fetched_, blob, std::string(what));
}

std::unique_ptr<Source> ArrivingBlobs::OpenWhole(const image::Descriptor& blob, std::string_view what) const {
  while (!store_->HasBlob(blob.digest) && fetched_.wait_for(kPause) != std::future_status::ready) {
  }
  return Open(blob, what);
}

bool ArrivingBlobs::MayExplain(const Error& error) const {
  const bool of_bytes = error.kind() == ErrorKind::kCorrupt || error.kind() == ErrorKind::kUnsupported;
  if (!of_bytes || !gave_unchecked_)
    return false;
  Finish();
  return true;
}

bool ArrivingBlobs::ended() const { return fetched_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

void ArrivingBlobs::Finish() const { fetched_.get(); }

bool MakeOf(const ArrivingBlobs& blobs, const CommonOptions& common, const std::function<void(Progress&)>& make) {
  const auto progress = MakeProgress(common);
  bool worthless = false;
  const auto beside = DeferredProgress(*progress, [&] { return !worthless && blobs.ended(); });
  try {
    make(*beside);
    blobs.Finish();  // whatever it had to ask for
  } catch (const Error& error) {
    if (!blobs.MayExplain(error))
      throw;
    worthless = true;
  }
  return !worthless;
}

}  // namespace gantry::tools
