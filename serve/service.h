// What gantry-serve answers: appc discovery and App Container Images, the distribution protocol's pulls, health and
// figures. Knows what is in the cache, orders what is not, and sees to it that one order serves all who ask.
// Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "serve/access.h"
#include "serve/cache.h"
#include "serve/http_server.h"
#include "serve/making.h"
#include "serve/request.h"

namespace gantry::serve {

struct ServiceOptions {
  std::string url;          // by which clients reach this server: "https://example.com", without a slash at its end
  std::string public_keys;  // armored; empty: nothing is signed
  Upstreams upstreams;
  Orders::Limits limits;
  size_t waits = 448;  // requests at once that wait for what is being made; beyond them the answer is 503
};

// Counts, which only grow.
struct Figures {
  std::array<std::atomic<uint64_t>, 6> answers = {};  // by the first digit of the status; 0: broken off
  std::atomic<uint64_t> bytes = 0, hits = 0, made = 0, joined = 0, failed = 0, refused = 0, busy = 0;
};

// As an entity tag.
inline std::string QuotedTag(const std::string& text) { return "\"" + text + "\""; }

// All of a file of the cache.
HttpAnswer FileAnswer(UniqueFd fd, std::string type, std::string etag, std::string how);

class Service {
 public:
  // `kitchen` is the channel to the process that makes things; `access` says who may ask, at each moment; `lost` is
  // called when that process is gone, and nothing can be made any more.
  Service(
      ServiceOptions options, Cache& cache, UniqueFd kitchen, std::function<std::shared_ptr<Access>()> access,
      std::function<void()> lost = [] {});

  HttpAnswer Answer(const HttpRequest& request);
  void Count(const HttpLogLine& line);

  // From now on it says that it is not well, for balancers.
  void Drain() { draining_ = true; }

 private:
  using HasLeft = std::function<bool()>;  // whether the client of a request waits no more

  // What is there, or on its way.
  struct Found {
    std::optional<Cache::Entry> entry;
    std::shared_ptr<Making> making;
    std::string how;
  };

  HttpAnswer Route(const HttpRequest& request, std::string& user);
  HttpAnswer Discover() const;
  HttpAnswer AnswerAci(const AciRequest& request, const HttpRequest& http);
  HttpAnswer AnswerSignature(const std::string& key, const Found& found, const HasLeft& has_left);
  HttpAnswer AnswerRegistry(const RegistryRequest& request, const HasLeft& has_left);
  HttpAnswer AnswerManifest(const RegistryRequest& request, const HasLeft& has_left);
  HttpAnswer AnswerPart(const FormedName& name, const Digest& digest, bool manifest, const HasLeft& has_left);
  HttpAnswer AnswerTags(const RegistryRequest& request, const HasLeft& has_left);
  HttpAnswer AnswerReferrers(const RegistryRequest& request);
  HttpAnswer AnswerFigures() const;
  HttpAnswer SendPart(const Cache::Part& part, const std::string& how);

  // Throws Busy.
  Found Obtain(Order order);
  // Until it is whole; throws why it is not there, or Left.
  Cache::Entry Await(const std::string& key, const Found& found, const HasLeft& has_left);
  // Once more under the policy of now, where that is another.
  bool StillAllowed(const std::string& key, const HasLeft& has_left);
  // That somebody signs what `entry` is.
  void OrderSignature(const std::string& key, const Cache::Entry& entry, const HasLeft& has_left);
  // One of those that wait, until it is released. Throws Busy.
  using Wait = std::shared_ptr<void>;
  Wait BeginWait();
  ByteStream StreamOf(const std::shared_ptr<Making>& making, const std::string& key, Wait wait, HasLeft has_left) const;

  void End(const std::shared_ptr<Making>& making, const Record* record, const Error* error);
  void Keep(const Order& order, const Record* record, const Error* error);
  void EndClean(bool failed);
  void Clean();
  // What the store will call it; empty for what gets no name there.
  std::string StoredAs(const Order& order) const;

  ServiceOptions options_;
  std::string host_;    // the first part of the names of its ACIs
  std::string signer_;  // tells the keys of now from those that the cache may have signatures by
  Cache& cache_;
  std::function<std::shared_ptr<Access>()> access_;
  Figures figures_;
  std::atomic<bool> draining_ = false;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Making>> makings_;  // by key
  std::set<std::string> unwanted_;                          // names in the store
  std::set<std::string> going_;                             // those that an order of kClean is removing
  std::condition_variable gone_;                            // they are
  bool garbage_ = true;  // in the store, without a name; who knows what the last server left
  bool cleaning_ = false;
  std::atomic<size_t> waits_ = 0;
  std::unique_ptr<Orders> orders_;  // last: its thread uses the others
};

}  // namespace gantry::serve
