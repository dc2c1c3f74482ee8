#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/archive.h"
#include "libimage/model/descriptor.h"

namespace gantry::image {
namespace {

constexpr uint64_t kRecordBytes = 512;
constexpr int64_t kMaxId = 0xFFFFFFFE;  // -1 is "leave as it is" to chown(2)

// libarchive converts names of pax headers from UTF-8 to the locale, normalises them on the way, and keeps the raw
// bytes only when it cannot. To the C locale it can convert nothing but ASCII: so it always keeps the raw bytes.
class CLocale {
 public:
  CLocale() : before_(uselocale(Shared())) {}
  CLocale(const CLocale&) = delete;
  CLocale& operator=(const CLocale&) = delete;
  ~CLocale() { uselocale(before_); }

 private:
  static locale_t Shared() {
    static const locale_t kShared = newlocale(LC_ALL_MASK, "C", nullptr);
    return kShared;
  }
  locale_t before_;
};

// libarchive reads the "-1.5" of a pax header as -1 and, the sign forgotten, half a second ("-0.5" is 0.5 to it).
Time TimeOf(int64_t seconds, long fraction) {
  const auto nanoseconds = static_cast<uint32_t>(std::clamp(fraction, 0L, 999'999'999L));
  seconds = std::clamp(seconds, -kMaxTimeSeconds, kMaxTimeSeconds);
  if (seconds >= 0 || nanoseconds == 0)
    return {seconds, nanoseconds};
  return {seconds - 1, 1'000'000'000 - nanoseconds};
}

std::string_view Text(const char* text) { return text == nullptr ? std::string_view() : std::string_view(text); }

}  // namespace

struct ArchiveReader::State {
  State(std::unique_ptr<Source> source, std::string called) : from(std::move(source)), what(std::move(called)) {
    if (archive == nullptr || raw == nullptr)
      throw std::bad_alloc();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    archive_entry_free(raw);
    archive_read_free(archive);
  }

  static la_ssize_t Read(struct archive* archive, void* self, const void** buffer);

  void Open();
  void PadLastFile();
  bool Advance();
  void SkipData();
  void Fill(Entry& entry);
  void FillType(Entry& entry);
  void FillXattrs(Entry& entry);
  [[noreturn]] void Corrupt(std::string_view why) const;
  // For libarchive's failures: what stopped the source, if that was it.
  [[noreturn]] void Fail() const;

  std::unique_ptr<Source> from;
  std::string what;
  struct archive* archive = archive_read_new();
  struct archive_entry* raw = archive_entry_new();
  Block block;  // what libarchive looks at now
  std::exception_ptr error;
  bool in_header = false;
  bool block_is_header = false;  // `block` came after the current header began
  size_t header_bytes = 0;       // in the blocks before it that did
  uint64_t source_bytes = 0;     // that came
  uint64_t data_end = 0;         // where among them the content of the current file ends; 0 when it is not known
  bool open = false;
  bool ended = false;
  uint64_t number = 0;  // of the current entry, from 1
  std::string name;
  uint64_t total_size = 0;
  uint64_t size = 0, position = 0;  // of the current file; 0 when there is no data to hand on
};

// Called by libarchive: nothing may be thrown through it.
la_ssize_t ArchiveReader::State::Read(struct archive* archive, void* self, const void** buffer) {
  auto& state = *static_cast<State*>(self);
  try {
    if (state.in_header && std::exchange(state.block_is_header, true))
      state.header_bytes += state.block.size();
    if (state.header_bytes > kMaxHeaderBytes)
      state.Corrupt("the headers of one entry are longer than " + std::to_string(kMaxHeaderBytes) + " bytes");
    state.block = state.from->Next();
    state.source_bytes += state.block.size();
    if (state.block.empty())
      state.PadLastFile();
  } catch (...) {
    state.error = std::current_exception();
    archive_set_error(archive, EIO, "the source failed");
    return ARCHIVE_FATAL;
  }
  *buffer = state.block.bytes().data();
  return static_cast<la_ssize_t>(state.block.size());
}

// Some writers (umoci insert) end without the zeros that fill the record of the last file. No content can be missing
// then, and all readers in Go take it for the end of the archive.
void ArchiveReader::State::PadLastFile() {
  static constexpr std::array<std::byte, kRecordBytes> kZeros{};
  const uint64_t padded = (data_end + kRecordBytes - 1) / kRecordBytes * kRecordBytes;
  if (data_end == 0 || source_bytes < data_end || source_bytes >= padded)
    return;
  block = Block(nullptr, std::span(kZeros).first(static_cast<size_t>(padded - source_bytes)));
  source_bytes = padded;
}

void ArchiveReader::State::Corrupt(std::string_view why) const {
  std::string where = what;
  if (number > 0)
    where += ": entry " + std::to_string(number) + (name.empty() ? "" : " " + Quoted(name));
  throw Error(ErrorKind::kCorrupt, where + ": " + std::string(why),
              "the archive is damaged or made to harm; get it again, or from someone else");
}

void ArchiveReader::State::Fail() const {
  if (error)
    std::rethrow_exception(error);
  if (archive_errno(archive) == ENOMEM)
    throw std::bad_alloc();
  std::string why(Text(archive_error_string(archive)));
  std::replace_if(
      why.begin(), why.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  Corrupt(why.empty() ? "not a tar archive" : why);
}

void ArchiveReader::State::Open() {
  open = true;
  archive_read_support_filter_none(archive);
  archive_read_support_format_tar(archive);
  archive_read_support_format_empty(archive);
  if (archive_read_open(archive, this, nullptr, &State::Read, nullptr) != ARCHIVE_OK)
    Fail();
}

void ArchiveReader::State::SkipData() {
  // Apart from the header that follows, so that the bound on headers counts none of it.
  if (number > 0 && archive_read_data_skip(archive) < ARCHIVE_WARN)
    Fail();
}

bool ArchiveReader::State::Advance() {
  const CLocale raw_names;
  if (!open)
    Open();
  SkipData();
  header_bytes = 0;
  in_header = true;
  block_is_header = false;
  ++number;
  name.clear();
  data_end = 0;
  const int result = archive_read_next_header2(archive, raw);
  in_header = false;
  if (result == ARCHIVE_EOF)
    return false;
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
    Fail();
  name = Text(archive_entry_pathname(raw));
  // Names that cannot be converted are as we want them, and ACLs are not used. Other warnings are about headers that
  // libarchive drops in whole or in part, and with them perhaps the name.
  const std::string_view warning = result == ARCHIVE_WARN ? Text(archive_error_string(archive)) : std::string_view();
  if (!warning.empty() && !warning.ends_with("can't be converted from UTF-8 to current locale.") &&
      !warning.starts_with("Parse error: SCHILY.acl"))
    Fail();
  return true;
}

void ArchiveReader::State::Fill(Entry& entry) {
  if (name.size() > kMaxEntryNameBytes)
    Corrupt("the name is longer than " + std::to_string(kMaxEntryNameBytes) + " bytes");
  entry.name = name;
  FillType(entry);
  entry.mode = archive_entry_perm(raw) & 07777;
  const int64_t uid = archive_entry_uid(raw), gid = archive_entry_gid(raw);
  if (uid < 0 || uid > kMaxId || gid < 0 || gid > kMaxId)
    Corrupt("bad owner " + std::to_string(uid) + ":" + std::to_string(gid));
  entry.uid = static_cast<uint64_t>(uid);
  entry.gid = static_cast<uint64_t>(gid);
  const int64_t bytes = entry.type == EntryType::kFile ? archive_entry_size(raw) : 0;
  if (bytes < 0 || static_cast<uint64_t>(bytes) > kMaxBlobBytes - total_size)
    Corrupt("bad size " + std::to_string(bytes));
  entry.size = size = static_cast<uint64_t>(bytes);
  // With holes the archive has fewer bytes than the file.
  if (size > 0 && archive_entry_sparse_count(raw) == 0)
    data_end = static_cast<uint64_t>(archive_filter_bytes(archive, 0)) + size;
  total_size += size;
  position = 0;
  entry.mtime = TimeOf(archive_entry_mtime(raw), archive_entry_mtime_nsec(raw));
  FillXattrs(entry);
}

void ArchiveReader::State::FillType(Entry& entry) {
  entry.link.clear();
  entry.device_major = entry.device_minor = 0;
  if (const char* target = archive_entry_hardlink(raw)) {
    entry.type = EntryType::kHardLink;
    entry.link = target;
  } else {
    switch (archive_entry_filetype(raw)) {
      case AE_IFREG:
        entry.type = EntryType::kFile;
        break;
      case AE_IFLNK:
        entry.type = EntryType::kSymlink;
        entry.link = Text(archive_entry_symlink(raw));
        break;
      case AE_IFDIR:
        entry.type = EntryType::kDirectory;
        break;
      case AE_IFCHR:
        entry.type = EntryType::kCharDevice;
        break;
      case AE_IFBLK:
        entry.type = EntryType::kBlockDevice;
        break;
      case AE_IFIFO:
        entry.type = EntryType::kFifo;
        break;
      default:
        Corrupt("unknown type of file");
    }
  }
  if (entry.link.size() > kMaxEntryNameBytes)
    Corrupt("the link target is longer than " + std::to_string(kMaxEntryNameBytes) + " bytes");
  if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    const dev_t major = archive_entry_rdevmajor(raw), minor = archive_entry_rdevminor(raw);
    if (major > 0xFFFFFFFF || minor > 0xFFFFFFFF)
      Corrupt("bad device number");
    entry.device_major = static_cast<uint32_t>(major);
    entry.device_minor = static_cast<uint32_t>(minor);
  }
}

void ArchiveReader::State::FillXattrs(Entry& entry) {
  entry.xattrs.clear();
  const int count = archive_entry_xattr_reset(raw);
  if (count == 0)
    return;
  if (static_cast<size_t>(count) > kMaxXattrs)
    Corrupt("more than " + std::to_string(kMaxXattrs) + " extended attributes");
  const char* key = nullptr;
  const void* value = nullptr;
  size_t bytes = 0;
  while (archive_entry_xattr_next(raw, &key, &value, &bytes) == ARCHIVE_OK) {
    const std::string_view attribute = Text(key);
    if (attribute.empty() || attribute.size() > kMaxXattrNameBytes || bytes > kMaxXattrBytes)
      Corrupt("bad or too long extended attribute " + Quoted(attribute));
    entry.xattrs.emplace_back(attribute, std::string(static_cast<const char*>(value), bytes));
  }
  std::sort(entry.xattrs.begin(), entry.xattrs.end());
  entry.xattrs.erase(std::unique(entry.xattrs.begin(), entry.xattrs.end()), entry.xattrs.end());
  const auto same_name = [](const auto& a, const auto& b) { return a.first == b.first; };
  if (const auto twice = std::adjacent_find(entry.xattrs.begin(), entry.xattrs.end(), same_name);
      twice != entry.xattrs.end())
    Corrupt("two values of the extended attribute " + Quoted(twice->first) + ", of which readers take different ones");
}

ArchiveReader::ArchiveReader(std::unique_ptr<Source> from, std::string what)
    : state_(std::make_unique<State>(std::move(from), std::move(what))) {}

ArchiveReader::~ArchiveReader() = default;

bool ArchiveReader::Next(Entry& entry) {
  if (state_->ended)
    return false;
  if (state_->Advance()) {
    if (state_->number > kMaxEntries)
      state_->Corrupt("more than " + std::to_string(kMaxEntries) + " entries");
    state_->Fill(entry);
    return true;
  }
  state_->ended = true;
  state_->size = 0;
  while (!state_->from->Next().empty()) {
  }
  return false;
}

bool ArchiveReader::ReadPiece(uint64_t& offset, std::span<const std::byte>& bytes) {
  State& state = *state_;
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t at = 0;
  while (state.size > 0) {
    const int result = archive_read_data_block(state.archive, &data, &size, &at);
    if (result == ARCHIVE_EOF)
      break;
    if (result != ARCHIVE_OK)
      state.Fail();
    if (at < 0 || static_cast<uint64_t>(at) < state.position || static_cast<uint64_t>(at) > state.size ||
        size > state.size - static_cast<uint64_t>(at))
      state.Corrupt("the sparse map is out of order or beyond the size");
    if (size == 0)
      continue;
    offset = static_cast<uint64_t>(at);
    state.position = offset + size;
    bytes = {static_cast<const std::byte*>(data), size};
    return true;
  }
  state.size = 0;
  return false;
}

}  // namespace gantry::image
