#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/archive.h"

namespace gantry::image {
namespace {

constexpr size_t kRecord = 512;

// POSIX ustar, IEEE Std 1003.1, pax, "ustar Interchange Format".
struct Ustar {
  std::array<char, 100> name;
  std::array<char, 8> mode, uid, gid;
  std::array<char, 12> size, mtime;
  std::array<char, 8> checksum;
  char type;
  std::array<char, 100> link;
  std::array<char, 8> magic;
  std::array<char, 32> user, group;
  std::array<char, 8> device_major, device_minor;
  std::array<char, 155> prefix;
  std::array<char, 12> unused;
};
static_assert(sizeof(Ustar) == kRecord);

constexpr std::array<std::byte, 64 * 1024> kZeros{};

// Octal, a NUL at the end. False when it does not fit; then the field says 0 and a pax record has the value.
template <size_t kSize>
bool PutNumber(std::array<char, kSize>& field, uint64_t value) {
  const bool fits = value < uint64_t{1} << (3 * (kSize - 1));
  uint64_t left = fits ? value : 0;
  for (size_t i = kSize - 1; i-- > 0; left >>= 3) field[i] = static_cast<char>('0' + (left & 7));
  return fits;
}

// As much as fits; the end needs no NUL. False when it was cut.
template <size_t kSize>
bool PutText(std::array<char, kSize>& field, std::string_view text) {
  std::memcpy(field.data(), text.data(), std::min(text.size(), kSize));
  return text.size() <= kSize;
}

bool PutName(Ustar& header, std::string_view name) {
  if (name.size() > header.name.size() && name.size() <= header.name.size() + header.prefix.size() + 1) {
    // The first slash that leaves a short enough, non-empty rest.
    const size_t slash = name.find('/', name.size() - header.name.size() - 1);
    if (slash != std::string_view::npos && slash > 0 && slash <= header.prefix.size() && slash + 1 < name.size()) {
      PutText(header.prefix, name.substr(0, slash));
      return PutText(header.name, name.substr(slash + 1));
    }
  }
  return PutText(header.name, name);
}

// The sum of all bytes, eight at a time: a lane of 16 bits takes two of each word, at most 64 * 2 * 255 in all.
uint64_t ByteSum(const Ustar& header) {
  constexpr uint64_t kLanes = 0x00FF00FF00FF00FF;
  std::array<uint64_t, kRecord / sizeof(uint64_t)> words{};
  std::memcpy(words.data(), &header, kRecord);
  uint64_t lanes = 0;
  for (const uint64_t word : words) lanes += (word & kLanes) + (word >> 8 & kLanes);
  return (lanes & 0xFFFF) + (lanes >> 16 & 0xFFFF) + (lanes >> 32 & 0xFFFF) + (lanes >> 48);
}

void Seal(Ustar& header) {
  std::memcpy(header.magic.data(), "ustar\00000", 8);
  header.checksum.fill(' ');
  std::array<char, 7> digits{};
  PutNumber(digits, ByteSum(header));
  std::copy(digits.begin(), digits.end(), header.checksum.begin());
}

char TypeFlag(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return '0';
    case EntryType::kHardLink:
      return '1';
    case EntryType::kSymlink:
      return '2';
    case EntryType::kCharDevice:
      return '3';
    case EntryType::kBlockDevice:
      return '4';
    case EntryType::kDirectory:
      return '5';
    case EntryType::kFifo:
      return '6';
  }
  return '0';
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
void AppendPax(std::string& out, std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + std::to_string(rest).size();
  length = rest + std::to_string(length).size();
  out.append(std::to_string(length)).append(" ").append(key).append("=").append(value).append("\n");
}

bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

// RFC 3629.
bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (length == 0 || length > text.size() - at)
      return false;
    uint32_t point = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; ++i) {
      const auto next = static_cast<unsigned char>(text[at + i]);
      if ((next & 0xC0) != 0x80)
        return false;
      point = point << 6 | (next & 0x3F);
    }
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    if (surrogate || (length == 3 && point < 0x800) || (length == 4 && (point < 0x10000 || point > 0x10FFFF)))
      return false;
    at += length;
  }
  return true;
}

// Decimal seconds; before 1970 with a fraction the sign counts for both.
std::string PaxTime(const Time& time) {
  const bool borrow = time.seconds < 0 && time.nanoseconds > 0;
  const int64_t seconds = borrow ? time.seconds + 1 : time.seconds;
  const uint32_t fraction = borrow ? 1'000'000'000 - time.nanoseconds : time.nanoseconds;
  std::string text = (borrow && seconds == 0 ? "-" : "") + std::to_string(seconds);
  if (fraction == 0)
    return text;
  const std::string digits = std::to_string(fraction);
  text += "." + std::string(9 - digits.size(), '0') + digits;
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

}  // namespace

struct ArchiveWriter::State {
  explicit State(Sink& sink) : into(sink) {}

  void Put(const Ustar& header) { into.Write(std::as_bytes(std::span(&header, 1))); }
  void Pad(uint64_t written) {
    const uint64_t over = written % kRecord;
    if (over != 0)
      into.Write(std::span(kZeros).first(kRecord - over));
  }
  void PutPax(std::string_view records, std::string_view name);
  void EndEntry();

  Sink& into;
  uint64_t size = 0;  // of the current file
  uint64_t left = 0;  // of it, still to be written
};

// The header that carries `records` for the entry `name`.
void ArchiveWriter::State::PutPax(std::string_view records, std::string_view name) {
  while (name.ends_with('/')) name.remove_suffix(1);
  const size_t slash = name.rfind('/');
  Ustar header{};
  PutText(header.name, "PaxHeaders/" + std::string(slash == std::string_view::npos ? name : name.substr(slash + 1)));
  PutNumber(header.mode, 0644);
  PutNumber(header.uid, 0);
  PutNumber(header.gid, 0);
  PutNumber(header.size, records.size());
  PutNumber(header.mtime, 0);
  PutNumber(header.device_major, 0);
  PutNumber(header.device_minor, 0);
  header.type = 'x';
  Seal(header);
  Put(header);
  into.Write(AsBytes(records));
  Pad(records.size());
}

void ArchiveWriter::State::EndEntry() {
  if (left != 0) {
    throw Error(ErrorKind::kFailed, "write an archive: " + std::to_string(left) + " bytes of a file are missing");
  }
  Pad(size);
  size = 0;
}

ArchiveWriter::ArchiveWriter(Sink& into) : state_(std::make_unique<State>(into)) {}
ArchiveWriter::~ArchiveWriter() = default;

void ArchiveWriter::Add(const Entry& entry) {
  state_->EndEntry();
  if (entry.name.empty() || HasNul(entry.name) || HasNul(entry.link))
    throw Error(ErrorKind::kUnsupported, "write an archive: the name " + Quoted(entry.name) + " does not fit into tar");
  std::string_view name = entry.name;
  std::string slashed;
  if (entry.type == EntryType::kDirectory && !name.ends_with('/'))
    name = slashed = entry.name + "/";
  const uint64_t size = entry.type == EntryType::kFile ? entry.size : 0;
  Ustar header{};
  std::string pax;
  const bool pax_name = !PutName(header, name), pax_link = !PutText(header.link, entry.link);
  if ((pax_name && !IsUtf8(name)) || (pax_link && !IsUtf8(entry.link)))
    AppendPax(pax, "hdrcharset", "BINARY");
  if (pax_name)
    AppendPax(pax, "path", name);
  if (pax_link)
    AppendPax(pax, "linkpath", entry.link);
  if (!PutNumber(header.size, size))
    AppendPax(pax, "size", std::to_string(size));
  if (!PutNumber(header.uid, entry.uid))
    AppendPax(pax, "uid", std::to_string(entry.uid));
  if (!PutNumber(header.gid, entry.gid))
    AppendPax(pax, "gid", std::to_string(entry.gid));
  const bool early = entry.mtime.seconds < 0;
  if (!PutNumber(header.mtime, early ? 0 : static_cast<uint64_t>(entry.mtime.seconds)) || early ||
      entry.mtime.nanoseconds != 0)
    AppendPax(pax, "mtime", PaxTime(entry.mtime));
  for (const auto& [key, value] : entry.xattrs) {
    if (key.find('=') != std::string::npos || key.find('\0') != std::string::npos) {
      throw Error(ErrorKind::kUnsupported, "write an archive: the extended attribute " + Quoted(key) + " of " +
                                               Quoted(entry.name) + " does not fit into tar");
    }
    AppendPax(pax, "SCHILY.xattr." + key, value);
  }
  PutNumber(header.mode, entry.mode & 07777);
  PutNumber(header.device_major, entry.device_major);
  PutNumber(header.device_minor, entry.device_minor);
  header.type = TypeFlag(entry.type);
  Seal(header);
  if (!pax.empty())
    state_->PutPax(pax, name);
  state_->Put(header);
  state_->size = state_->left = size;
}

void ArchiveWriter::Write(std::span<const std::byte> bytes) {
  if (bytes.size() > state_->left)
    throw Error(ErrorKind::kFailed, "write an archive: more bytes than the size of the file");
  state_->into.Write(bytes);
  state_->left -= bytes.size();
}

void ArchiveWriter::WriteZeros(uint64_t count) {
  for (uint64_t n = 0; count > 0; count -= n) {
    n = std::min<uint64_t>(count, kZeros.size());
    Write(std::span(kZeros).first(static_cast<size_t>(n)));
  }
}

void ArchiveWriter::Finish() {
  state_->EndEntry();
  state_->into.Write(std::span(kZeros).first(2 * kRecord));
}

}  // namespace gantry::image
