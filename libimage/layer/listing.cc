#include "libimage/layer/listing.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

constexpr size_t kHashBytes = 32;
constexpr std::string_view kDev = "dev";

// A record is bytes: the path and the type, for a hard link the path it leads to, for all else its attributes. Numbers
// are in groups of seven bits, texts behind their length.
void PutNumber(std::string& out, uint64_t number) {
  for (; number >= 0x80; number >>= 7) out += static_cast<char>(0x80 | (number & 0x7f));
  out += static_cast<char>(number);
}

void PutText(std::string& out, std::string_view text) {
  PutNumber(out, text.size());
  out += text;
}

class RecordReader {
 public:
  explicit RecordReader(const char* at) : at_(at) {}

  uint64_t Number() {
    uint64_t number = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      number |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80)
        return number;
    }
  }

  std::string_view Bytes(size_t size) { return {std::exchange(at_, at_ + size), size}; }
  std::string_view Text() { return Bytes(Number()); }

 private:
  const char* at_;
};

std::string_view PathOf(const char* record) { return RecordReader(record).Text(); }

EntryType TypeOf(const char* record) {
  RecordReader reader(record);
  reader.Text();
  return static_cast<EntryType>(reader.Number());
}

bool PathLess(const char* a, const char* b) { return PathOf(a) < PathOf(b); }

std::string_view ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

// Records stay where they are, so that a record is one pointer.
class RecordArena {
 public:
  char* Add(const std::string& record) {
    bytes_ += record.size();
    if (bytes_ > kMaxListingBytes) {
      throw Error(ErrorKind::kCorrupt,
                  "the paths of the image take more than " + std::to_string(kMaxListingBytes >> 30) + " GiB");
    }
    if (record.size() > left_) {
      left_ = std::max(kChunk, record.size());
      chunks_.push_back(std::make_unique<char[]>(left_));
      next_ = chunks_.back().get();
    }
    std::memcpy(next_, record.data(), record.size());
    left_ -= record.size();
    return std::exchange(next_, next_ + record.size());
  }

  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kChunk = 256 * 1024;
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* next_ = nullptr;
  size_t left_ = 0;
  uint64_t bytes_ = 0;
};

// A record whose inode has several names: the record that describes it, and the name that stands first.
struct Name {
  const char* record;
  const char* inode;
  const char* first;
};

}  // namespace

struct Listing::State {
  bool keep_times = false;
  RecordArena arena;
  std::vector<const char*> records;
  std::vector<Name> names;  // by record
  XattrSets xattrs;
  std::string scratch;
  char* open_content = nullptr;  // where the hash of the file goes whose content passes
  Hasher content;

  void Append(const Entry& entry);
  void CloseFile();
  void MergeFrom(size_t middle);
  void AddAppcLinks();
  void AddImplied();
  void ResolveLinks();
  const char* Find(std::string_view path) const;
};

void Listing::State::Append(const Entry& entry) {
  scratch.clear();
  PutText(scratch, entry.name);
  PutNumber(scratch, static_cast<uint64_t>(entry.type));
  if (entry.type == EntryType::kHardLink) {
    PutText(scratch, entry.link);
    records.push_back(arena.Add(scratch));
    return;
  }
  PutNumber(scratch, entry.type == EntryType::kSymlink ? 0777 : entry.mode & 07777);
  PutNumber(scratch, entry.uid);
  PutNumber(scratch, entry.gid);
  PutNumber(scratch, xattrs.Number(entry.xattrs));
  if (keep_times) {
    PutNumber(scratch, static_cast<uint64_t>(entry.mtime.seconds));
    PutNumber(scratch, entry.mtime.nanoseconds);
  }
  if (entry.type == EntryType::kFile) {
    PutNumber(scratch, entry.size);
    scratch.append(kHashBytes, '\0');
  } else if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    PutNumber(scratch, entry.device_major);
    PutNumber(scratch, entry.device_minor);
  } else if (entry.type == EntryType::kSymlink) {
    PutText(scratch, entry.link);
  }
  char* const record = arena.Add(scratch);
  records.push_back(record);
  if (entry.type == EntryType::kFile) {
    open_content = record + scratch.size() - kHashBytes;
    content.Restart();
  }
}

void Listing::State::CloseFile() {
  if (open_content == nullptr)
    return;
  const Digest digest = content.Finish();
  std::memcpy(open_content, digest.raw().data(), kHashBytes);
  open_content = nullptr;
}

// Sorts what was appended from `middle` on, and merges it with what is sorted before.
void Listing::State::MergeFrom(size_t middle) {
  const auto at = records.begin() + static_cast<ptrdiff_t>(middle);
  std::sort(at, records.end(), PathLess);
  std::inplace_merge(records.begin(), at, records.end(), PathLess);
  const auto twice = std::adjacent_find(records.begin(), records.end(),
                                        [](const char* a, const char* b) { return PathOf(a) == PathOf(b); });
  if (twice != records.end())
    throw Error(ErrorKind::kCorrupt, "the tree has " + Quoted(PathOf(*twice)) + " twice");
}

const char* Listing::State::Find(std::string_view path) const {
  const auto at = std::lower_bound(records.begin(), records.end(), path,
                                   [](const char* record, std::string_view wanted) { return PathOf(record) < wanted; });
  return at != records.end() && PathOf(*at) == path ? *at : nullptr;
}

void Listing::State::AddAppcLinks() {
  const char* const dev = Find(kDev);
  if (dev != nullptr && TypeOf(dev) != EntryType::kDirectory)
    return;
  const size_t middle = records.size();
  for (const auto& [path, target] : kAppcLinks) {
    if (Find(path) == nullptr)
      Append({.name = std::string(path), .type = EntryType::kSymlink, .link = std::string(target)});
  }
  MergeFrom(middle);
}

void Listing::State::AddImplied() {
  std::set<std::string, std::less<>> missing;
  if (Find("") == nullptr)
    missing.emplace();
  std::string_view seen = "/";  // the parent that was looked for last; at first none
  for (const char* record : records) {
    const std::string_view parent = ParentOf(PathOf(record));
    for (std::string_view at = parent; at != seen && !missing.contains(at); at = ParentOf(at)) {
      const char* const found = Find(at);
      if (found == nullptr) {
        missing.emplace(at);
        continue;
      }
      if (TypeOf(found) != EntryType::kDirectory)
        throw Error(ErrorKind::kCorrupt, Quoted(PathOf(record)) + " is below what is no directory");
      break;
    }
    seen = parent;
  }
  const size_t middle = records.size();
  for (const std::string& path : missing) Append({.name = path, .type = EntryType::kDirectory, .mode = 0755});
  MergeFrom(middle);
}

void Listing::State::ResolveLinks() {
  for (const char* record : records) {
    if (TypeOf(record) != EntryType::kHardLink)
      continue;
    RecordReader reader(record);
    reader.Text();
    reader.Number();
    const std::string_view target = reader.Text();
    const char* const inode = Find(target);
    if (inode == nullptr || TypeOf(inode) == EntryType::kHardLink || TypeOf(inode) == EntryType::kDirectory) {
      throw Error(ErrorKind::kCorrupt,
                  "hard link " + Quoted(PathOf(record)) + " leads to no file of the tree: " + Quoted(target));
    }
    names.push_back({record, inode, nullptr});
  }
  std::ranges::stable_sort(names, {}, &Name::inode);  // so names of one inode stay in order
  const size_t links = names.size();
  for (size_t i = 0; i < links; ++i) {
    const bool same = i > 0 && names[i - 1].inode == names[i].inode;
    names[i].first = same ? names[i - 1].first : std::min(names[i].inode, names[i].record, PathLess);
    if (!same)
      names.push_back({names[i].inode, names[i].inode, names[i].first});
  }
  std::ranges::sort(names, {}, &Name::record);
}

Listing::Listing(Times times) : state_(std::make_unique<State>()) { state_->keep_times = times == Times::kKeep; }
Listing::Listing(Listing&&) noexcept = default;
Listing& Listing::operator=(Listing&&) noexcept = default;
Listing::~Listing() = default;

void Listing::Add(const Entry& entry) {
  state_->CloseFile();
  state_->Append(entry);
}

void Listing::Write(std::span<const std::byte> bytes) { state_->content.Update(bytes); }

void Listing::WriteZeros(uint64_t count) { state_->content.UpdateZeros(count); }

void Listing::AddHashed(const Entry& file, std::span<const std::byte> content) {
  Add(file);
  std::memcpy(std::exchange(state_->open_content, nullptr), content.data(), kHashBytes);
}

void Listing::Finish() {
  state_->CloseFile();
  state_->MergeFrom(0);
  state_->AddAppcLinks();
  state_->AddImplied();
  state_->ResolveLinks();
}

size_t Listing::size() const { return state_->records.size(); }

size_t Listing::bytes() const {
  return state_->arena.bytes() + state_->xattrs.bytes() + state_->records.capacity() * sizeof(const char*) +
         state_->names.capacity() * sizeof(Name);
}

ListedPath Listing::operator[](size_t i) const {
  const char* const record = state_->records[i];
  const auto name = std::ranges::lower_bound(state_->names, record, {}, &Name::record);
  const bool alone = name == state_->names.end() || name->record != record;
  RecordReader reader(alone ? record : name->inode);
  reader.Text();
  ListedPath out{.path = PathOf(record), .first = PathOf(alone ? record : name->first)};
  out.type = static_cast<EntryType>(reader.Number());
  out.mode = static_cast<uint32_t>(reader.Number());
  out.uid = reader.Number();
  out.gid = reader.Number();
  out.xattrs = &state_->xattrs[static_cast<uint32_t>(reader.Number())];
  if (state_->keep_times) {
    out.mtime.seconds = static_cast<int64_t>(reader.Number());
    out.mtime.nanoseconds = static_cast<uint32_t>(reader.Number());
  }
  if (out.type == EntryType::kFile) {
    out.size = reader.Number();
    out.content = AsBytes(reader.Bytes(kHashBytes));
  } else if (out.type == EntryType::kCharDevice || out.type == EntryType::kBlockDevice) {
    out.device_major = static_cast<uint32_t>(reader.Number());
    out.device_minor = static_cast<uint32_t>(reader.Number());
  } else if (out.type == EntryType::kSymlink) {
    out.target = reader.Text();
  }
  return out;
}

Listing ListTree(const Image& image, const Blobs& blobs, Listing::Times times) {
  const auto open = [&](size_t layer) { return OpenLayer(blobs, image, layer); };
  Flattener flattener(image.manifest.layers.size(), open, {});
  for (;;) {
    Listing listing(times);
    if (!flattener.Run(listing))
      continue;
    listing.Finish();
    return listing;
  }
}

}  // namespace gantry::image
