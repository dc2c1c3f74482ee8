#include "libimage/layer/rootfs_digest.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

// What conversion to ACI adds to an image that has none of that name, because appc wants them. They say nothing about
// an image: every runner puts its own /dev over them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kAppcLinks{{
    {"dev/fd", "/proc/self/fd"},
    {"dev/stderr", "/dev/console"},
    {"dev/stdin", "/proc/self/fd/0"},
    {"dev/stdout", "/dev/console"},
}};
constexpr std::string_view kDev = "dev";
constexpr uint32_t kImpliedMode = 0755;

bool IsAppcLink(const Entry& entry) {
  return entry.type == EntryType::kSymlink &&
         std::find(kAppcLinks.begin(), kAppcLinks.end(),
                   std::pair<std::string_view, std::string_view>(entry.name, entry.link)) != kAppcLinks.end();
}

// Records are kept as bytes: numbers in groups of seven bits, texts behind their length.
void PutNumber(std::string& out, uint64_t number) {
  for (; number >= 0x80; number >>= 7) {
    out += static_cast<char>(0x80 | (number & 0x7f));
  }
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
      if (byte < 0x80) {
        return number;
      }
    }
  }

  std::string_view Text() {
    const size_t size = Number();
    const std::string_view text(at_, size);
    at_ += size;
    return text;
  }

 private:
  const char* at_;
};

std::string_view PathOf(const char* record) { return RecordReader(record).Text(); }

bool PathLess(const char* a, const char* b) { return PathOf(a) < PathOf(b); }

std::string_view ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

// The names of one inode: the record that says what it is, and the name that stands first.
struct Group {
  const char* inode;
  const char* first;
};

// Records stay where they are, so that a record is one pointer.
class RecordArena {
 public:
  const char* Add(const std::string& record) {
    if (record.size() > left_) {
      const size_t size = std::max(kChunk, record.size());
      chunks_.push_back(std::make_unique<char[]>(size));
      next_ = chunks_.back().get();
      left_ = size;
    }
    std::memcpy(next_, record.data(), record.size());
    left_ -= record.size();
    return std::exchange(next_, next_ + record.size());
  }

 private:
  static constexpr size_t kChunk = 256 * 1024;
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

char Letter(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return 'f';
    case EntryType::kHardLink:
      return 'h';
    case EntryType::kSymlink:
      return 'l';
    case EntryType::kDirectory:
      return 'd';
    case EntryType::kCharDevice:
      return 'c';
    case EntryType::kBlockDevice:
      return 'b';
    case EntryType::kFifo:
      return 'p';
  }
  return '?';
}

// Printable ASCII but for space, '=' and the backslash stands for itself; every other byte is \xHH. So a line has one
// spelling and its fields are told apart by spaces.
void PutEscaped(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '\\' && c != '=') {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

void PutPath(std::string& out, std::string_view path) {
  out += '/';
  PutEscaped(out, path);
}

void PutOctal(std::string& out, uint64_t mode) {
  for (int shift = 9; shift >= 0; shift -= 3) {
    out += static_cast<char>('0' + (mode >> shift & 7));
  }
}

void PutXattrs(std::string& line, RecordReader& reader) {
  for (uint64_t left = reader.Number(); left > 0; --left) {
    line += ' ';
    PutEscaped(line, reader.Text());
    line += '=';
    PutEscaped(line, reader.Text());
  }
}

// The line of `path`, with what `record` says of its inode.
std::string LineOf(std::string_view path, const char* record) {
  RecordReader reader(record);
  reader.Text();
  std::string line;
  PutPath(line, path);
  const char letter = static_cast<char>(reader.Number());
  line += ' ';
  line += letter;
  line += ' ';
  PutOctal(line, reader.Number());
  line += ' ' + std::to_string(reader.Number());
  line += ' ' + std::to_string(reader.Number());
  if (letter == 'f') {
    line += ' ' + std::to_string(reader.Number()) + ' ';
    line += Digest::FromRaw(HashAlgorithm::kSha256, AsBytes(reader.Text())).hex();
  } else if (letter == 'c' || letter == 'b') {
    line += ' ' + std::to_string(reader.Number());
    line += ',' + std::to_string(reader.Number());
  } else if (letter == 'l') {
    line += ' ';
    PutEscaped(line, reader.Text());
  }
  PutXattrs(line, reader);
  return line;
}

std::string LinkLine(std::string_view path, std::string_view leader) {
  std::string line;
  PutPath(line, path);
  line += " h ";
  PutPath(line, leader);
  return line;
}

}  // namespace

struct RootfsDigest::State {
  RecordArena arena;
  std::vector<const char*> records;
  std::vector<std::pair<const char*, std::string>> links;  // hard links: record, and the name they were added as
  // The file whose content passes.
  std::optional<Entry> file;
  Hasher content;

  void Append(const Entry& entry, std::string_view content_hex);
  void CloseFile();
  void AddImplied();
  const char* Find(std::string_view path) const;
  bool IsEmptyDev(const char* record) const;
  std::unordered_map<const char*, Group> Groups() const;
  void Sort() { std::sort(records.begin(), records.end(), PathLess); }
};

void RootfsDigest::State::Append(const Entry& entry, std::string_view content_hex) {
  std::string record;
  PutText(record, entry.name);
  record += Letter(entry.type);
  PutNumber(record, entry.mode & 07777);
  PutNumber(record, entry.uid);
  PutNumber(record, entry.gid);
  if (entry.type == EntryType::kFile) {
    PutNumber(record, entry.size);
    PutText(record, content_hex);
  } else if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    PutNumber(record, entry.device_major);
    PutNumber(record, entry.device_minor);
  } else if (entry.type == EntryType::kSymlink) {
    PutText(record, entry.link);
  }
  PutNumber(record, entry.xattrs.size());
  for (const auto& [name, value] : entry.xattrs) {
    PutText(record, name);
    PutText(record, value);
  }
  records.push_back(arena.Add(record));
  if (entry.type == EntryType::kHardLink) {
    links.emplace_back(records.back(), entry.link);
  }
}

void RootfsDigest::State::CloseFile() {
  if (!file) {
    return;
  }
  const std::string hex = content.Finish().hex();
  // 32 raw bytes instead of 64 digits: the digest is most of what a path costs.
  std::string raw;
  for (size_t i = 0; i < hex.size(); i += 2) {
    raw += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  Append(*file, raw);
  file.reset();
}

const char* RootfsDigest::State::Find(std::string_view path) const {
  const auto at = std::lower_bound(records.begin(), records.end(), path,
                                   [](const char* record, std::string_view wanted) { return PathOf(record) < wanted; });
  return at != records.end() && PathOf(*at) == path ? *at : nullptr;
}

// Needs sorted records, and sorts again.
void RootfsDigest::State::AddImplied() {
  std::set<std::string, std::less<>> missing;
  if (Find("") == nullptr) {
    missing.emplace();
  }
  std::string_view seen = "/";  // the parent that was looked for last; no path
  for (const char* record : records) {
    for (std::string_view parent = ParentOf(PathOf(record)); parent != seen && Find(parent) == nullptr;
         parent = ParentOf(parent)) {
      if (!missing.emplace(parent).second) {
        break;
      }
    }
    seen = ParentOf(PathOf(record));
  }
  for (const std::string& path : missing) {
    Append({.name = path, .type = EntryType::kDirectory, .mode = kImpliedMode}, {});
  }
  Sort();
}

std::unordered_map<const char*, Group> RootfsDigest::State::Groups() const {
  std::unordered_map<const char*, std::vector<const char*>> names;  // by inode
  for (const auto& [record, target] : links) {
    const char* inode = Find(target);
    if (inode == nullptr) {
      throw Error(ErrorKind::kCorrupt, "hard link " + Quoted(PathOf(record)) + " names nothing: " + Quoted(target));
    }
    names[inode].push_back(record);
  }
  std::unordered_map<const char*, Group> groups;
  for (auto& [inode, of_inode] : names) {
    of_inode.push_back(inode);
    const char* first = *std::min_element(of_inode.begin(), of_inode.end(), PathLess);
    for (const char* name : of_inode) {
      groups[name] = {inode, first};
    }
  }
  return groups;
}

// A directory `dev` as conversion implies it, with nothing in it that counts.
bool RootfsDigest::State::IsEmptyDev(const char* record) const {
  if (PathOf(record) != kDev || LineOf(kDev, record) != "/dev d 0755 0 0") {
    return false;
  }
  const auto inside = std::lower_bound(records.begin(), records.end(), std::string_view("dev/"),
                                       [](const char* a, std::string_view wanted) { return PathOf(a) < wanted; });
  return inside == records.end() || !PathOf(*inside).starts_with("dev/");
}

RootfsDigest::RootfsDigest() : state_(std::make_unique<State>()) {}
RootfsDigest::~RootfsDigest() = default;

void RootfsDigest::Add(const Entry& entry) {
  state_->CloseFile();
  if (IsAppcLink(entry)) {
    return;
  }
  if (entry.type == EntryType::kFile) {
    state_->file = entry;
    state_->content = Hasher();
    return;
  }
  state_->Append(entry, {});
}

void RootfsDigest::Write(std::span<const std::byte> bytes) { state_->content.Update(bytes); }

void RootfsDigest::WriteZeros(uint64_t count) {
  static constexpr std::array<std::byte, 64 * 1024> kZeros{};
  while (count > 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(count, kZeros.size()));
    state_->content.Update(std::span(kZeros).first(piece));
    count -= piece;
  }
}

Digest RootfsDigest::Finish() {
  return Finish([](std::string_view) {});
}

Digest RootfsDigest::Finish(const std::function<void(std::string_view)>& line) {
  state_->CloseFile();
  state_->Sort();
  state_->AddImplied();
  const auto groups = state_->Groups();
  Hasher all;
  for (const char* record : state_->records) {
    if (state_->IsEmptyDev(record)) {
      continue;
    }
    const auto group = groups.find(record);
    const Group names = group == groups.end() ? Group{record, record} : group->second;
    const std::string_view path = PathOf(record);
    std::string text = record == names.first ? LineOf(path, names.inode) : LinkLine(path, PathOf(names.first));
    line(text);
    text += '\n';
    all.Update(AsBytes(text));
  }
  return all.Finish();
}

}  // namespace gantry::image
