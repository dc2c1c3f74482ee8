#include "serve/cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/store/store.h"

namespace gantry::serve {
namespace {

constexpr size_t kMaxRecordBytes = 64 * 1024 * 1024;
constexpr size_t kMaxSmallBytes = 64 * 1024;
constexpr size_t kMaxSmallTotal = 32 * 1024 * 1024;

RelPath PathOf(std::string_view folder, const std::string& file) {
  return RelPath::Parse(std::string(folder) + "/" + file);
}

std::string ToJson(const Cache::Entry& entry) {
  const Order& order = entry.order;
  return json::Print(json::Object{{"kind", std::string(1, static_cast<char>(order.kind))},
                                  {"name", order.name},
                                  {"reference", order.reference},
                                  {"form", order.form},
                                  {"platform", order.platform},
                                  {"aciName", order.aci_name},
                                  {"signedBy", entry.signed_by},
                                  {"record", entry.record->ToJson()}});
}

Cache::Entry ParseEntry(const std::string& text) {
  const json::Value value = json::Parse(text, "a record of the cache");
  const json::Cursor root(value, "a record of the cache");
  const std::string& kind = root.At("kind").String(1);
  Cache::Entry entry;
  entry.order = {.kind = kind.empty() ? Order::Kind::kTags : static_cast<Order::Kind>(kind[0]),
                 .name = root.At("name").String(),
                 .reference = root.At("reference").String(),
                 .form = root.At("form").String(),
                 .platform = root.At("platform").String(),
                 .aci_name = root.At("aciName").String()};
  entry.signed_by = root.At("signedBy").String();
  entry.record = std::make_shared<const Record>(Record::Parse(root.At("record").String(kMaxRecordBytes)));
  return entry;
}

// The file or directory that an order becomes; empty where that is in the store, or in the record.
std::string MadeBy(const Order& order) {
  if (order.kind == Order::Kind::kAci)
    return FileOf(KeyOf(order)) + ".aci";
  return order.kind == Order::Kind::kImage && !order.form.empty() ? FileOf(KeyOf(order)) + ".oci" : "";
}

const image::Descriptor* FindIn(const std::vector<image::Descriptor>& list, const Digest& digest) {
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&](const image::Descriptor& descriptor) { return descriptor.digest == digest; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace

std::string KeyOf(const Order& order) {
  std::string key(1, static_cast<char>(order.kind));
  for (const std::string& part : {order.name, order.reference, order.form, order.platform, order.aci_name})
    key += "\n" + part;
  return key;
}

std::string FileOf(const std::string& key) { return Digest::Of(key).hex(); }

Cache::Cache(const std::string& directory, uint64_t max_bytes, std::chrono::seconds fresh_for)
    : dir_(Dir::Create(directory, 0700)), max_bytes_(max_bytes), fresh_for_(fresh_for) {
  for (const std::string_view folder : {kFilesDir, kRecordsDir, kNewDir, kStoreDir})
    dir_.MakeDirs(RelPath::Parse(folder), 0755);
  for (const std::string& left : dir_.OpenDir(RelPath::Parse(kNewDir)).List()) dir_.RemoveTree(PathOf(kNewDir, left));
  std::vector<std::pair<int64_t, std::string>> by_age;
  for (const std::string& file : dir_.OpenDir(RelPath::Parse(kRecordsDir)).List()) {
    const auto status = dir_.Stat(PathOf(kRecordsDir, file));
    by_age.emplace_back(status ? status->st_mtime : 0, file);
  }
  std::sort(by_age.begin(), by_age.end());
  for (const auto& [age, file] : by_age) Load(file);
  std::set<std::string> known;
  for (const auto& [key, entry] : entries_) known.insert(FileOf(key));
  for (const std::string& file : dir_.OpenDir(RelPath::Parse(kFilesDir)).List()) {
    if (!known.contains(file.substr(0, file.find('.'))))
      dir_.RemoveTree(PathOf(kFilesDir, file));
  }
  ListStored(directory + "/" + std::string(kStoreDir));
}

// What an order named that did not come to its end, nobody has a record of: Evict tells which.
void Cache::ListStored(const std::string& store) {
  try {
    if (const auto stored = image::Store::OpenReadOnly(store)) {
      for (image::StoredName& name : stored->List()) unneeded_.push_back(std::move(name.name));
    }
  } catch (const Error&) {
    // Whoever fetches into it says what is wrong with it.
  }
}

void Cache::Load(const std::string& file) {
  try {
    Entry entry = ParseEntry(dir_.ReadFile(PathOf(kRecordsDir, file), kMaxRecordBytes));
    const std::string key = KeyOf(entry.order);
    const std::string made = MadeBy(entry.order);
    if (FileOf(key) + ".json" != file || (!made.empty() && !dir_.Exists(PathOf(kFilesDir, made))))
      throw Error(ErrorKind::kCorrupt, "a record of something else");
    entry.used = ++use_;
    if (entry.order.kind == Order::Kind::kImage)
      keys_of_name_.emplace(entry.order.name, key);
    entries_.emplace(key, std::move(entry));
  } catch (const Error&) {
    dir_.RemoveFile(PathOf(kRecordsDir, file));
  }
}

void Cache::Write(const std::string& key, const Entry& entry) const {
  dir_.WriteFileAtomically(PathOf(kRecordsDir, FileOf(key) + ".json"), ToJson(entry));
}

std::optional<Cache::Entry> Cache::Find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end())
    return std::nullopt;
  found->second.used = ++use_;
  return found->second;
}

bool Cache::IsCurrent(const Entry& entry) const {
  const std::lock_guard lock(mutex_);
  return entry.generation == generation_;
}

bool Cache::IsFresh(const Entry& entry) const { return IsCurrent(entry) && Clock::now() - entry.checked < fresh_for_; }

void Cache::TakeIn(const std::string& key, const Order& order, const Record& record) const {
  if (order.kind == Order::Kind::kAci) {
    const RelPath made = PathOf(kNewDir, std::to_string(order.id) + "." + std::to_string(record.file));
    const UniqueFd file = dir_.OpenBeneath(made, O_RDONLY);
    if (fsync(file.get()) < 0)
      ThrowErrno("sync what was made");
    // Its signature would be one of something else.
    dir_.RemoveFile(PathOf(kFilesDir, FileOf(key) + ".aci.asc"));
    dir_.Rename(made, PathOf(kFilesDir, FileOf(key) + ".aci"));
    dir_.RemoveFile(PathOf(kNewDir, std::to_string(order.id) + "." + std::to_string(1 - record.file)));
  } else if (const std::string made = MadeBy(order); !made.empty()) {
    dir_.RemoveTree(PathOf(kFilesDir, made));
    dir_.Rename(PathOf(kNewDir, std::to_string(order.id) + ".oci"), PathOf(kFilesDir, made));
  }
}

void Cache::Add(const Order& order, const Record& record) {
  const std::string key = KeyOf(order);
  const std::lock_guard lock(mutex_);
  Entry entry{.order = order,
              .record = std::make_shared<const Record>(record),
              .checked = Clock::now(),
              .generation = generation_,
              .used = ++use_};
  // First: what fails half-way leaves no entry that describes something else.
  if (const auto old = entries_.find(key); old != entries_.end())
    Forget(old);
  try {
    TakeIn(key, order, record);
    Write(key, entry);
  } catch (const Error&) {
    RemoveFiles(key);
    throw;
  }
  if (order.kind == Order::Kind::kImage)
    keys_of_name_.emplace(order.name, key);
  entries_.emplace(key, std::move(entry));
}

void Cache::Touch(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end())
    return;
  found->second.checked = Clock::now();
  found->second.generation = generation_;
  utimensat(dir_.fd(), PathOf(kRecordsDir, FileOf(key) + ".json").c_str(), nullptr, 0);
}

void Cache::SetSigned(const std::string& key, const std::string& image_id, const std::string& by) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second.record->image_id != image_id) {
    dir_.RemoveFile(PathOf(kFilesDir, FileOf(key) + ".aci.asc"));
    return;
  }
  Entry entry = found->second;
  entry.signed_by = by;
  Write(key, entry);
  found->second = std::move(entry);
}

void Cache::Abandon(const Order& order, const std::string& stored_as) {
  const std::lock_guard lock(mutex_);
  if (!stored_as.empty())
    unneeded_.push_back(stored_as);
  for (const char* extension : {".0", ".1", ".oci"})
    dir_.RemoveTree(PathOf(kNewDir, std::to_string(order.id) + extension));
}

void Cache::RemoveFiles(const std::string& key) const {
  const std::string file = FileOf(key);
  dir_.RemoveFile(PathOf(kRecordsDir, file + ".json"));
  for (const char* extension : {".aci", ".aci.asc"}) dir_.RemoveFile(PathOf(kFilesDir, file + extension));
  dir_.RemoveTree(PathOf(kFilesDir, file + ".oci"));
}

void Cache::Forget(std::map<std::string, Entry>::iterator entry) {
  const std::vector<std::string>& names = entry->second.record->names;
  unneeded_.insert(unneeded_.end(), names.begin(), names.end());
  const auto [first, last] = keys_of_name_.equal_range(entry->second.order.name);
  for (auto at = first; at != last; ++at) {
    if (at->second == entry->first) {
      keys_of_name_.erase(at);
      break;
    }
  }
  entries_.erase(entry);
}

void Cache::Remove(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(key); found != entries_.end()) {
    Forget(found);
    RemoveFiles(key);
  }
}

std::optional<Cache::Part> Cache::FindPart(const std::string& name, const std::string& form, const Digest& digest,
                                           bool manifest) {
  const std::lock_guard lock(mutex_);
  const auto [first, last] = keys_of_name_.equal_range(name);
  for (auto at = first; at != last; ++at) {
    const auto entry_of = entries_.find(at->second);
    if (entry_of == entries_.end() || entry_of->second.order.form != form)
      continue;
    Entry& entry = entry_of->second;
    if (const image::Descriptor* found = FindIn(manifest ? entry.record->manifests : entry.record->blobs, digest)) {
      entry.used = ++use_;
      return Part{at->second, *found, MadeBy(entry.order)};
    }
  }
  return std::nullopt;
}

std::vector<image::Descriptor> Cache::ReferrersOf(const std::string& name, const Digest& subject) {
  const std::lock_guard lock(mutex_);
  const auto [first, last] = keys_of_name_.equal_range(name);
  for (auto at = first; at != last; ++at) {
    const auto entry = entries_.find(at->second);
    if (entry == entries_.end())
      continue;
    for (const Record::Referrers& one : entry->second.record->referrers) {
      if (one.subject == subject)
        return one.list;
    }
  }
  return {};
}

void Cache::BeginGeneration() {
  const std::lock_guard lock(mutex_);
  ++generation_;
}

uint64_t Cache::BytesLocked() const {
  uint64_t total = 0;
  std::set<Digest> seen;
  for (const auto& [key, entry] : entries_) {
    total += entry.record->size;
    for (const auto* list : {&entry.record->manifests, &entry.record->blobs}) {
      for (const image::Descriptor& blob : *list) total += seen.insert(blob.digest).second ? blob.size : 0;
    }
  }
  return total;
}

std::vector<std::string> Cache::Evict(const std::string& keep) {
  const std::lock_guard lock(mutex_);
  while (BytesLocked() > max_bytes_) {
    auto oldest = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (at->first != keep && (oldest == entries_.end() || at->second.used < oldest->second.used))
        oldest = at;
    }
    if (oldest == entries_.end())
      break;
    const std::string key = oldest->first;
    Forget(oldest);
    RemoveFiles(key);
  }
  std::vector<std::string> names = std::exchange(unneeded_, {});
  std::set<std::string> needed;
  for (const auto& [key, entry] : entries_) needed.insert(entry.record->names.begin(), entry.record->names.end());
  std::erase_if(names, [&](const std::string& name) { return needed.contains(name); });
  return names;
}

uint64_t Cache::bytes() const {
  const std::lock_guard lock(mutex_);
  return BytesLocked();
}

size_t Cache::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

UniqueFd Cache::OpenFile(const std::string& key, bool signature) const {
  return dir_.OpenBeneath(PathOf(kFilesDir, FileOf(key) + (signature ? ".aci.asc" : ".aci")), O_RDONLY);
}

UniqueFd Cache::OpenBlob(const Part& part) const {
  const Digest& digest = part.descriptor.digest;
  const std::string path = "blobs/" + std::string(Name(digest.algorithm())) + "/" + digest.hex();
  if (!part.layout.empty())
    return dir_.OpenBeneath(PathOf(kFilesDir, part.layout + "/" + path), O_RDONLY);
  return dir_.OpenBeneath(PathOf(kStoreDir, path), O_RDONLY);
}

std::shared_ptr<const std::string> Cache::ReadSmall(const Part& part) {
  const image::Descriptor& descriptor = part.descriptor;
  if (descriptor.size > kMaxSmallBytes)
    return nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = small_.find(descriptor.digest); found != small_.end())
      return found->second;
  }
  auto content =
      std::make_shared<const std::string>(ReadAll(OpenBlob(part).get(), kMaxSmallBytes, "a blob of the cache"));
  const std::lock_guard lock(mutex_);
  if (small_bytes_ + content->size() > kMaxSmallTotal) {
    small_.clear();
    small_bytes_ = 0;
  }
  const auto [at, is_new] = small_.emplace(descriptor.digest, std::move(content));
  small_bytes_ += is_new ? at->second->size() : 0;
  return at->second;
}

Cache::Part Cache::TopOf(const std::string& key, const Entry& entry) {
  return {key, entry.record->top.value(), MadeBy(entry.order)};
}

}  // namespace gantry::serve
