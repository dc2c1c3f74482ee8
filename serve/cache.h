// What is there already: App Container Images in files, images in a store or layouts, lists of tags; each under the key
// of what clients ask for, with a record of it on disk, so that it outlives the server.
//
// An entry is fresh when somebody asked upstream, and the policy, not long ago and since the last reload. What is over
// the size goes, the longest unused first; whoever reads it meanwhile reads on. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "serve/order.h"

namespace gantry::serve {

// What a client asked for, in one spelling: the same text is the same thing.
std::string KeyOf(const Order& order);
// The name of its files.
std::string FileOf(const std::string& key);

class Cache {
 public:
  using Clock = std::chrono::steady_clock;

  struct Entry {
    Order order;                           // by which it can be made again
    std::shared_ptr<const Record> record;  // never nullptr
    Clock::time_point checked = {};
    uint64_t generation = 0;  // in which it was checked; 0: before this process
    uint64_t used = 0;
    std::string signed_by = {};  // which key made FILE.asc, in the words of who had it made; empty: none
  };

  // Opens `directory` and creates what is missing; reads the records, and removes what a killed process left. A record
  // that is not sound is as good as none.
  Cache(const std::string& directory, uint64_t max_bytes, std::chrono::seconds fresh_for);

  const Dir& dir() const { return dir_; }

  // Marks it as used.
  std::optional<Entry> Find(const std::string& key);
  bool IsFresh(const Entry& entry) const;
  // Whether the policy that there is now allowed it.
  bool IsCurrent(const Entry& entry) const;

  // Takes what was made into the cache: the file gets its name, and then the record. Whoever had the key before is
  // replaced, and gone when that fails.
  void Add(const Order& order, const Record& record);
  void Touch(const std::string& key);  // it was found unchanged
  // Somebody signed the image of that ID. If that is not the one that is there, the signature goes.
  void SetSigned(const std::string& key, const std::string& image_id, const std::string& by);
  // Removes what an order left that failed; `stored_as` may be its name in the store, or empty.
  void Abandon(const Order& order, const std::string& stored_as);
  void Remove(const std::string& key);

  // Where the manifest or blob is that `digest` names, for those that belong to an image of `name`.
  struct Part {
    std::string key;
    image::Descriptor descriptor;
    std::string layout = {};  // where it is; empty: in the store
  };
  std::optional<Part> FindPart(const std::string& name, const std::string& form, const Digest& digest, bool manifest);
  static Part TopOf(const std::string& key, const Entry& entry);
  std::vector<image::Descriptor> ReferrersOf(const std::string& name, const Digest& subject);

  // Everything that is there has to be asked for anew.
  void BeginGeneration();

  // Removes the longest unused until the rest fits, but never `keep`. Returns names in the store that nobody needs any
  // more; the store's garbage is for its owner to collect.
  std::vector<std::string> Evict(const std::string& keep);

  uint64_t bytes() const;
  size_t entries() const;

  UniqueFd OpenFile(const std::string& key, bool signature) const;
  UniqueFd OpenBlob(const Part& part) const;
  // The content of a small one, which stays in memory; nullptr for others.
  std::shared_ptr<const std::string> ReadSmall(const Part& part);

 private:
  void Load(const std::string& file);
  void ListStored(const std::string& store);
  void Write(const std::string& key, const Entry& entry) const;
  void TakeIn(const std::string& key, const Order& order, const Record& record) const;
  // With the mutex: from the maps, and from the disk.
  void Forget(std::map<std::string, Entry>::iterator entry);
  void RemoveFiles(const std::string& key) const;
  uint64_t BytesLocked() const;

  Dir dir_;
  uint64_t max_bytes_;
  std::chrono::seconds fresh_for_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::multimap<std::string, std::string> keys_of_name_;  // of images
  std::vector<std::string> unneeded_;                     // names that lost one who needed them
  uint64_t generation_ = 1, use_ = 0;
  std::map<Digest, std::shared_ptr<const std::string>> small_;  // of those that were asked for
  size_t small_bytes_ = 0;
};

}  // namespace gantry::serve
