// The blobs of an image while they still come: what is made of them need not wait for the last byte.
#pragma once

#include <functional>
#include <future>
#include <memory>

#include "libimage/model/blobs.h"
#include "libimage/store/store.h"

namespace gantry::tools {

class ArrivingBlobs : public image::Blobs {
 public:
  // Blobs come into `store`, which is borrowed, by what `fetch` does, in a thread of its own, until it returns.
  ArrivingBlobs(const image::Store& store, std::function<void()> fetch);

  // A source that waits for bytes that are not there yet, and throws what `fetch` threw. What it gives was not checked
  // before the end; size and digest are, with the last byte.
  std::unique_ptr<Source> Open(const image::Descriptor& blob, std::string_view what) const override;

  // Until all have come; throws what `fetch` threw.
  void Finish();

 private:
  const image::Store& store_;
  std::shared_future<void> fetched_;
};

}  // namespace gantry::tools
