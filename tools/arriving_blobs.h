// The blobs of an image while they still come: what is made of them need not wait for the last byte.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/progress.h"
#include "libimage/model/blobs.h"
#include "libimage/store/store.h"
#include "tools/tool_main.h"

namespace gantry::tools {

class ArrivingBlobs : public image::Blobs {
 public:
  // Blobs come into `store` by what `fetch` does, in a thread of its own, until it returns: then they are there and
  // checked (IncomingBlob). The destructor waits for it, after `stop`, which is to make it return soon.
  ArrivingBlobs(
      std::shared_ptr<const image::Store> store, std::function<void()> fetch, std::function<void()> stop = [] {});
  ArrivingBlobs(const ArrivingBlobs&) = delete;
  ArrivingBlobs& operator=(const ArrivingBlobs&) = delete;
  ~ArrivingBlobs() override;

  // Of a blob that is not here yet, a source that waits for its bytes, and throws what `fetch` threw. To hash them is
  // left to `fetch`, which does it already: who reads here checks what is in the blob by its diff ID, as OpenLayer
  // does, and asks Finish before anything that was made of it counts.
  std::unique_ptr<Source> Open(const image::Descriptor& blob, std::string_view what) const override;
  // Waits for the whole blob, which is checked then.
  std::unique_ptr<Source> OpenWhole(const image::Descriptor& blob, std::string_view what) const override;

  // Whether bytes were asked for before they were checked. `fetch` may have replaced them by others, as it does with a
  // damaged part of an earlier fetch and with what a mirror sent that is not the blob: then what was made of them is
  // to be thrown away, with all that it was put into, and may be made anew once Finish has returned.
  bool gave_unchecked() const { return gave_unchecked_; }

  // Whether that may be why making something of the blobs failed with `error`. Then all have come when it returns; it
  // throws what `fetch` threw, which says why. All other errors are not of the bytes, and to be told at once.
  bool MayExplain(const Error& error) const;

  bool ended() const;
  // Until all have come; throws what `fetch` threw.
  void Finish() const;

 private:
  std::shared_ptr<const image::Store> store_;
  std::function<void()> stop_;
  std::shared_future<void> fetched_;
  mutable std::atomic<bool> gave_unchecked_ = false;
};

// Makes something of blobs that may still come. Until all are here nothing is shown of how it gets on, for gantry-fetch
// draws, and nothing at all where the bytes were wrong: false then, and it may be made anew, of the right ones.
bool MakeOf(const ArrivingBlobs& blobs, const CommonOptions& common, const std::function<void(Progress&)>& make);

// What is to be said, which waits while a gantry-fetch draws on the same terminal.
class Held {
 public:
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { Release(); }

  void Say(std::function<void()> say) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(say));
    if (!holds_)
      SayAll();
  }
  void Hold() {
    const std::lock_guard lock(mutex_);
    holds_ = true;
  }
  void Release() {
    const std::lock_guard lock(mutex_);
    holds_ = false;
    SayAll();
  }
  // What it is about is not what comes of it.
  void Drop() {
    const std::lock_guard lock(mutex_);
    waiting_.clear();
  }

 private:
  void SayAll() {
    for (const auto& say : std::exchange(waiting_, {})) say();
  }

  std::mutex mutex_;
  bool holds_ = false;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace gantry::tools
