// HTTP clients for threads that come and go: whoever gives one back leaves its connections to the next.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "libimage/transport/http.h"

namespace gantry::image {

class HttpClients {
 public:
  explicit HttpClients(HttpOptions options, size_t most = std::numeric_limits<size_t>::max())
      : options_(std::move(options)), most_(most) {}

  struct GiveBack {
    HttpClients* pool = nullptr;
    void operator()(HttpClient* client) const { pool->Return(std::unique_ptr<HttpClient>(client)); }
  };
  using Taken = std::unique_ptr<HttpClient, GiveBack>;

  // One for the caller alone, until it goes; the pool outlives it. Waits while `most` are taken. Thread-safe.
  Taken Take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [this] { return taken_ < most_; });
    ++taken_;
    if (idle_.empty())
      return {new HttpClient(options_), {this}};
    std::unique_ptr<HttpClient> client = std::move(idle_.back());
    idle_.pop_back();
    return {client.release(), {this}};
  }

 private:
  void Return(std::unique_ptr<HttpClient> client) {
    const std::lock_guard lock(mutex_);
    --taken_;
    idle_.push_back(std::move(client));
    returned_.notify_one();
  }

  const HttpOptions options_;
  const size_t most_;
  std::mutex mutex_;
  std::condition_variable returned_;
  size_t taken_ = 0;
  std::vector<std::unique_ptr<HttpClient>> idle_;
};

}  // namespace gantry::image
