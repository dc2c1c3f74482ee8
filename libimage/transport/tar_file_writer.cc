#include "libimage/transport/tar_file_writer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

constexpr size_t kRecord = 512;
constexpr size_t kSizeField = 124;
constexpr size_t kSizeBytes = 12;
constexpr size_t kChecksumField = 148;
constexpr size_t kMaxShortName = 100;
constexpr uint64_t kMaxOctalSize = (uint64_t{1} << 33) - 1;
constexpr std::array<std::byte, kRecord> kZeros{};

Entry MakeEntry(std::string name, EntryType type, uint32_t mode, uint64_t size = 0) {
  Entry entry;
  entry.name = std::move(name);
  entry.type = type;
  entry.mode = mode;
  entry.size = size;
  return entry;
}

std::string HeaderOf(const Entry& entry) {
  std::string header;
  const auto sink = StringSink(header);
  ArchiveWriter(*sink).Add(entry);
  return header;
}

}  // namespace

// What octal digits cannot hold is written in binary, which GNU tar began and all readers know.
std::string TarFileHeader(const std::string& name, uint64_t size) {
  if (name.size() > kMaxShortName)
    throw Error(ErrorKind::kFailed, Quoted(name) + " is too long for the header of a tar");
  std::string header = HeaderOf(MakeEntry(name, EntryType::kFile, 0644, std::min(size, kMaxOctalSize)));
  if (size <= kMaxOctalSize)
    return header;
  for (size_t i = kSizeBytes; i-- > 0; size >>= 8) header[kSizeField + i] = static_cast<char>(size & 0xFF);
  header[kSizeField] = static_cast<char>(0x80);
  std::string checksum(8, ' ');
  header.replace(kChecksumField, checksum.size(), checksum);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(checksum.data(), checksum.size(), "%06o", sum);
  header.replace(kChecksumField, checksum.size(), checksum);
  return header;
}

void TarFileWriter::Seek(uint64_t offset) const {
  if (lseek(fd_, static_cast<off_t>(offset), SEEK_SET) < 0)
    ThrowErrno("seek in " + what_);
}

void TarFileWriter::Append(std::span<const std::byte> bytes) {
  WriteFull(fd_, bytes, what_);
  end_ += bytes.size();
  write_back_.Advance(fd_, end_);
}

void TarFileWriter::Put(const Entry& entry) {
  Seek(end_);
  Append(AsBytes(HeaderOf(entry)));
}

void TarFileWriter::EndMember(uint64_t size) { Append(std::span(kZeros).first((kRecord - size % kRecord) % kRecord)); }

void TarFileWriter::AddDirectory(const std::string& name) { Put(MakeEntry(name, EntryType::kDirectory, 0755)); }

void TarFileWriter::AddSymlink(const std::string& name, const std::string& target) {
  Entry entry = MakeEntry(name, EntryType::kSymlink, 0777);
  entry.link = target;
  Put(entry);
}

void TarFileWriter::AddFile(const std::string& name, std::string_view bytes) {
  AddFile(name, bytes.size(), *MemorySource(AsBytes(bytes)));
}

void TarFileWriter::AddFile(const std::string& name, uint64_t size, Source& from) {
  Put(MakeEntry(name, EntryType::kFile, 0644, size));
  const uint64_t begin = end_;
  for (Block block = from.Next(); !block.empty(); block = from.Next()) Append(block.bytes());
  if (end_ - begin != size) {
    throw Error(ErrorKind::kCorrupt, Quoted(name) + " in " + what_ + " has " + std::to_string(end_ - begin) +
                                         " bytes instead of " + std::to_string(size));
  }
  EndMember(size);
}

void TarFileWriter::Finish() {
  Seek(end_);
  Append(kZeros);
  Append(kZeros);
  // What was begun and given up lies behind.
  if (ftruncate(fd_, static_cast<off_t>(end_)) < 0)
    ThrowErrno("cut " + what_);
}

TarFileWriter::Unnamed::Unnamed(TarFileWriter& tar) : tar_(tar) { tar.Seek(tar.end_ + kRecord); }

void TarFileWriter::Unnamed::Write(std::span<const std::byte> bytes) {
  WriteFull(tar_.fd_, bytes, tar_.what_);
  size_ += bytes.size();
  tar_.write_back_.Advance(tar_.fd_, tar_.end_ + kRecord + size_);
}

void TarFileWriter::Unnamed::Finish(const std::string& name) {
  tar_.Seek(tar_.end_);
  tar_.Append(AsBytes(TarFileHeader(name, size_)));
  tar_.end_ += size_;
  tar_.Seek(tar_.end_);
  tar_.EndMember(size_);
}

}  // namespace gantry::image
