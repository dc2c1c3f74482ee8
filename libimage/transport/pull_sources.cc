#include "libimage/transport/pull_sources.h"

#include <mutex>

namespace gantry::image {

PullConnection& PullSources::current() {
  if (!connection_)
    connection_ = std::make_unique<PullConnection>(sources_[at_], credentials_[at_]);
  return *connection_;
}

void PullSources::Next(const Error& error) {
  const bool final = error.kind() == ErrorKind::kUsage || error.kind() == ErrorKind::kUnsupported;
  if (final || at_ + 1 == sources_.size()) {
    if (passed_over_.empty())
      throw error;
    throw Error(error.kind(), error.message() + " (before that: " + passed_over_ + ")", error.hint());
  }
  passed_over_ += (passed_over_.empty() ? "" : "; ") + error.message();
  ++at_;
  connection_.reset();
}

void PullSources::FetchBlobs(std::span<const Descriptor> blobs, Store& store, Progress& progress,
                             const std::function<void()>& checked) {
  std::once_flag told;
  FirstThatHas<bool>([&](PullConnection& from) {
    from.registry.FetchBlobs(blobs, store, progress, [&] { std::call_once(told, checked); });
    return true;
  });
}

}  // namespace gantry::image
