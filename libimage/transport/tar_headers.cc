#include "libimage/transport/tar_headers.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

constexpr size_t kRecord = 512;

std::string_view UpToNul(std::string_view field) { return field.substr(0, field.find('\0')); }

}  // namespace

// POSIX ustar, IEEE Std 1003.1, pax, "ustar Interchange Format"; v7 and GNU headers begin alike.
struct TarHeaders::Header {
  std::array<char, kRecord> bytes{};

  std::string_view Field(size_t offset, size_t size) const { return std::string_view(bytes.data() + offset, size); }
  std::string_view name() const { return UpToNul(Field(0, 100)); }
  std::string_view size() const { return Field(124, 12); }
  std::string_view checksum() const { return Field(148, 8); }
  char type() const { return bytes[156]; }
  std::string_view link() const { return UpToNul(Field(157, 100)); }
  // GNU headers, whose magic ends in blanks, keep times there.
  std::string_view prefix() const {
    return Field(257, 6) == std::string_view("ustar\0", 6) ? UpToNul(Field(345, 155)) : std::string_view();
  }
  bool IsZero() const {
    return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
  }
  // The sum of all bytes, those of the checksum taken as blanks.
  uint64_t Sum() const {
    uint64_t sum = 8 * uint64_t{' '};
    for (const char c : bytes) sum += static_cast<unsigned char>(c);
    for (const char c : checksum()) sum -= static_cast<unsigned char>(c);
    return sum;
  }
};

// What headers before the member's own say of it.
struct TarHeaders::Extended {
  std::optional<std::string> name, link;
  std::optional<uint64_t> size;
  bool any = false;
};

void TarHeaders::Corrupt(std::string_view why) const {
  std::string where = what_ + ": member " + std::to_string(number_);
  if (!name_.empty())
    where += " " + Quoted(name_);
  throw Error(ErrorKind::kCorrupt, where + " at byte " + std::to_string(header_at_) + ": " + std::string(why),
              "the archive is damaged or made to harm; get it again, or from someone else");
}

void TarHeaders::Sparse() const {
  throw Error(ErrorKind::kUnsupported, what_ + ": member " + std::to_string(number_) + " is sparse",
              "make the archive without --sparse");
}

TarHeaders::Header TarHeaders::ReadHeader() {
  Header header;
  header_at_ = at_;
  const size_t n = ReadFullAt(fd_, at_, std::as_writable_bytes(std::span(header.bytes)), what_);
  if (n < kRecord)
    Corrupt("the file ends here, without the end marker of an archive");
  at_ += kRecord;
  return header;
}

void TarHeaders::RequireEndMarker() {
  if (!ReadHeader().IsZero())
    Corrupt("one block of zeros, where the end marker has two");
}

uint64_t TarHeaders::Number(std::string_view field, std::string_view what) const {
  const auto refuse = [&] { Corrupt("the " + std::string(what) + " is not a number"); };
  uint64_t value = 0;
  const bool binary = (static_cast<unsigned char>(field[0]) & 0x80) != 0;
  if (binary) {
    // The bit after the flag is the sign; what is over 63 bits is no size of a file either.
    for (size_t i = 0; i < field.size(); ++i) {
      const auto byte = static_cast<unsigned char>(i == 0 ? field[i] & 0x7F : field[i]);
      if (value >> 55 != 0)
        refuse();
      value = value << 8 | byte;
    }
    return value;
  }
  const size_t begin = std::min(field.find_first_not_of(' '), field.size());
  const size_t end = std::min(field.find_first_of(std::string_view(" \0", 2), begin), field.size());
  for (const char c : field.substr(begin, end - begin)) {
    if (c < '0' || c > '7')
      refuse();
    value = value << 3 | static_cast<uint64_t>(c - '0');
  }
  if (field.find_first_not_of(std::string_view(" \0", 2), end) != std::string_view::npos)
    refuse();
  return value;
}

std::string TarHeaders::ReadExtended(const Header& header) {
  const uint64_t size = Number(header.size(), "size of an extended header");
  if (size > kMaxExtendedHeaderBytes)
    Corrupt("an extended header is longer than " + std::to_string(kMaxExtendedHeaderBytes) + " bytes");
  std::string data(static_cast<size_t>(size), '\0');
  if (ReadFullAt(fd_, at_, std::as_writable_bytes(std::span(data)), what_) < data.size())
    Corrupt("the file ends within an extended header");
  SkipData(size);
  return data;
}

void TarHeaders::SkipData(uint64_t size) {
  if (size > size_ - at_)
    Corrupt("it has " + std::to_string(size) + " bytes, but the file only " + std::to_string(size_ - at_) + " more");
  at_ += size;
  at_ += std::min((kRecord - size % kRecord) % kRecord, size_ - at_);
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
void TarHeaders::ParsePax(std::string_view records, bool global, Extended& into) const {
  const auto set = [&](auto& field, auto value) {
    if (global || field)
      Corrupt(global ? "a global header gives all members one name or size" : "a value is given twice");
    field = std::move(value);
  };
  while (!records.empty()) {
    const size_t blank = std::min(records.find(' '), records.size());
    const auto length = ParseDecimal<size_t>(records.substr(0, blank));
    if (!length || *length > records.size() || *length < blank + 2 || records[*length - 1] != '\n')
      Corrupt("a malformed pax record");
    const std::string_view record = records.substr(blank + 1, *length - blank - 2);
    records.remove_prefix(*length);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos)
      Corrupt("a malformed pax record");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key.starts_with("GNU.sparse."))
      Sparse();
    if (key == "path" || key == "linkpath") {
      if (value.find('\0') != std::string_view::npos)
        Corrupt("a NUL in a name");
      set(key == "path" ? into.name : into.link, std::string(value));
    } else if (key == "size") {
      const auto size = ParseDecimal<uint64_t>(value);
      if (!size)
        Corrupt("the size is not a number");
      set(into.size, *size);
    }
  }
}

EntryType TarHeaders::TypeOf(const Header& header) const {
  switch (header.type()) {
    case '\0':  // of v7, which has no type for directories
      return name_.ends_with('/') ? EntryType::kDirectory : EntryType::kFile;
    case '0':
    case '7':
      return EntryType::kFile;
    case '1':
      return EntryType::kHardLink;
    case '2':
      return EntryType::kSymlink;
    case '5':
      return EntryType::kDirectory;
    case 'S':
      Sparse();
    default:
      Corrupt("neither a file, nor a directory, nor a link (type " + Quoted(std::string(1, header.type())) + ")");
  }
}

TarMember TarHeaders::MemberOf(const Header& header, Extended&& extended) {
  TarMember member;
  const std::string prefix(header.prefix());
  member.name = extended.name.value_or((prefix.empty() ? "" : prefix + "/") + std::string(header.name()));
  name_ = member.name;
  member.link = extended.link.value_or(std::string(header.link()));
  member.size = extended.size ? *extended.size : Number(header.size(), "size");
  member.type = TypeOf(header);
  if (member.name.empty() || std::max(member.name.size(), member.link.size()) > kMaxEntryNameBytes)
    Corrupt("no name, or one over " + std::to_string(kMaxEntryNameBytes) + " bytes");
  if (member.type != EntryType::kFile && member.size != 0)
    Corrupt("a link or directory with data");
  return member;
}

std::optional<TarMember> TarHeaders::Next() {
  Extended extended;
  ++number_;
  name_.clear();
  for (;;) {
    const Header header = ReadHeader();
    if (header.IsZero()) {
      if (extended.any)
        Corrupt("an extended header without a member");
      RequireEndMarker();
      return std::nullopt;
    }
    if (Number(header.checksum(), "checksum") != header.Sum())
      Corrupt(header_at_ == 0 ? "the checksum is wrong: not a tar archive" : "the checksum is wrong");
    const char type = header.type();
    if (type == 'x' || type == 'g') {
      ParsePax(ReadExtended(header), type == 'g', extended);
      extended.any |= type == 'x';
    } else if (type == 'L' || type == 'K') {
      std::optional<std::string>& field = type == 'L' ? extended.name : extended.link;
      if (field)
        Corrupt("a name is given twice");
      field = UpToNul(ReadExtended(header));
      extended.any = true;
    } else {
      TarMember member = MemberOf(header, std::move(extended));
      member.offset = at_;
      SkipData(member.size);
      return member;
    }
  }
}

}  // namespace gantry::image
