// bench_parts TAR_HASH COMPRESSION BLOB_HASH [OUTPUT...] -- LAYER...: what no conversion of these compressed layers
// into those outputs can do without, each part measured alone on one core. Of the layers: inflate, and SHA-256 before
// and after it. Of the tars in the outputs: TAR_HASH (sha256, sha512 or none) and COMPRESSION (gzip, zstd, either with
// :LEVEL, or none); of the outputs as they are: BLOB_HASH (sha256 or none), and to write them. With a TAR_HASH the tars
// are made anew: then also to read the entries of the layers and to write them, measured by libarchive alone. A
// conversion that only inflates has its layers as outputs: they are written, too. Prints a line for each: name, CPU
// milliseconds, MiB that went through it, separated by tabs.
//
// bench_parts identity CONTENTS LAYER...: the same of finding an identity. Of the layers: inflate, and SHA-256 before
// and after it; of CONTENTS, which are those of all files of the tree one after the other: SHA-256.
//
// bench_parts tree DIRECTORY LAYER...: the same of having the layers' trees in a store. Of the layers: inflate, SHA-256
// before and after it, to write them as they are, and the kernel's calls that make their files, with what is in them in
// memory. The trees stay, in the directory: ext4 is slow to make files where many were just deleted.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/fd.h"
#include "libimage/base/stream.h"
#include "libimage/layer/compression.h"

namespace gantry::image {
namespace {

constexpr size_t kBatchBytes = size_t{16} << 20;
constexpr size_t kBatchEntries = 1000;

double CpuMilliseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

struct Part {
  std::string name;
  double milliseconds = 0;
  uint64_t bytes = 0;

  // Adds the CPU time of `body`, which put `count` bytes through.
  void Time(uint64_t count, const std::function<void()>& body) {
    const double begin = CpuMilliseconds();
    body();
    milliseconds += CpuMilliseconds() - begin;
    bytes += count;
  }
};

class NullSink : public Sink {
 public:
  void Write(std::span<const std::byte>) override {}
  void Finish() override {}
};

// libarchive's own reader and writer: no code of gantry is the measure of gantry.
struct ArchiveFree {
  void operator()(archive* handle) const { archive_free(handle); }
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using Handle = std::unique_ptr<archive, ArchiveFree>;
using Header = std::unique_ptr<archive_entry, ArchiveFree>;

struct Feed {
  std::unique_ptr<Source> from;
  Block block;
  static la_ssize_t Read(archive*, void* self, const void** buffer) {
    auto& feed = *static_cast<Feed*>(self);
    feed.block = feed.from->Next();
    *buffer = feed.block.bytes().data();
    return static_cast<la_ssize_t>(feed.block.size());
  }
};

void Require(bool holds, archive* handle) {
  if (!holds)
    throw std::runtime_error(std::string("libarchive: ") + archive_error_string(handle));
}

Handle TarReader(Feed& feed) {
  Handle handle(archive_read_new());
  archive_read_support_format_tar(handle.get());
  Require(archive_read_open(handle.get(), &feed, nullptr, Feed::Read, nullptr) == ARCHIVE_OK, handle.get());
  return handle;
}

Handle TarWriter() {
  Handle handle(archive_write_new());
  archive_write_set_format_pax_restricted(handle.get());
  const auto drop = [](archive*, void*, const void*, size_t size) { return static_cast<la_ssize_t>(size); };
  Require(archive_write_open(handle.get(), nullptr, nullptr, drop, nullptr) == ARCHIVE_OK, handle.get());
  return handle;
}

std::unique_ptr<Source> OpenFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  return FdSource(UniqueFd(fd), path);
}

// Calls `use` with the whole stream in large pieces, so that timing each costs nothing.
void InBatches(Source& source, const std::function<void(std::span<const std::byte>)>& use) {
  std::string batch;
  batch.reserve(kBatchBytes + kBlockBytes);
  for (Block block = source.Next(); !block.empty(); block = source.Next()) {
    batch.append(reinterpret_cast<const char*>(block.bytes().data()), block.size());
    if (batch.size() >= kBatchBytes) {
      use(AsBytes(batch));
      batch.clear();
    }
  }
  use(AsBytes(batch));
}

struct Wanted {
  std::string tar_hash, compression, blob_hash;
  std::vector<std::string> outputs, layers;
};

class Parts {
 public:
  // What goes into a conversion.
  void In(const std::string& layer) {
    Inflate(layer, inflate_);
    Hash(*OpenFile(layer), HashAlgorithm::kSha256, blobs_);
    Hash(*DecompressAny(OpenFile(layer), layer), HashAlgorithm::kSha256, tars_);
  }

  // The contents of all files of a tree.
  void Contents(const std::string& path) { Hash(*OpenFile(path), HashAlgorithm::kSha256, contents_); }

  // The headers of a layer's archive, without what it takes to inflate it.
  void Entries(const std::string& layer) {
    std::vector<Header> batch;
    for (size_t i = 0; i < kBatchEntries; ++i) batch.emplace_back(archive_entry_new());
    Feed feed{DecompressAny(OpenFile(layer), layer), {}};
    const Handle reader = TarReader(feed), writer = TarWriter();
    for (size_t count = kBatchEntries; count == kBatchEntries;) {
      count = 0;
      read_.Time(0, [&] {
        while (count < kBatchEntries && archive_read_next_header2(reader.get(), batch[count].get()) != ARCHIVE_EOF)
          ++count;
      });
      for (size_t i = 0; i < count; ++i) archive_entry_set_size(batch[i].get(), 0);
      write_.Time(count * 512, [&] {
        for (size_t i = 0; i < count; ++i)
          Require(archive_write_header(writer.get(), batch[i].get()) >= ARCHIVE_WARN, writer.get());
      });
      read_.bytes += count * 512;
    }
    Part inflate{"inflate"};
    Inflate(layer, inflate);
    read_.milliseconds = std::max(0.0, read_.milliseconds - inflate.milliseconds);
  }

  // The files of a layer. Directories that an archive has no entry for are no part.
  void Tree(const std::string& directory, const std::string& layer) {
    std::string top = directory + "/tree-XXXXXX";
    if (mkdtemp(top.data()) == nullptr)
      throw std::runtime_error("cannot make a directory here");
    Feed feed{DecompressAny(OpenFile(layer), layer), {}};
    const Handle reader = TarReader(feed);
    const Header entry(archive_entry_new());
    std::filesystem::path parent;
    UniqueFd dir;
    while (archive_read_next_header2(reader.get(), entry.get()) != ARCHIVE_EOF) {
      std::string named = archive_entry_pathname(entry.get());
      while (named.ends_with('/')) named.pop_back();  // a directory's
      const std::filesystem::path path = top / std::filesystem::path(named).relative_path();
      if (parent != path.parent_path()) {
        std::filesystem::create_directories(parent = path.parent_path());
        dir = gantry::OpenFile(parent, O_PATH | O_DIRECTORY);
      }
      if (archive_entry_filetype(entry.get()) == AE_IFREG && archive_entry_hardlink(entry.get()) == nullptr)
        MakeFile(dir.get(), path.filename(), entry.get(), reader.get());
      else
        files_.Time(0, [&] { MakeName(top, dir.get(), path.filename(), entry.get()); });
    }
  }

  // What comes out.
  void Out(const std::string& output, const Wanted& wanted) {
    if (wanted.tar_hash == "sha512")
      Hash(*DecompressAny(OpenFile(output), output), HashAlgorithm::kSha512, sha512_);
    else if (wanted.tar_hash == "sha256")
      Hash(*DecompressAny(OpenFile(output), output), HashAlgorithm::kSha256, sha256_);
    if (wanted.blob_hash == "sha256")
      Hash(*OpenFile(output), HashAlgorithm::kSha256, sha256_);
    Store(*OpenFile(output));
    if (wanted.compression == "none") {
      return;
    }
    NullSink nowhere;
    const size_t colon = wanted.compression.find(':');
    const bool zstd = wanted.compression.starts_with("zstd");
    const auto compressor =
        Compress(nowhere, {.compression = zstd ? Compression::kZstd : Compression::kGzip,
                           .level = colon == std::string::npos ? 0 : std::stoi(wanted.compression.substr(colon + 1))});
    InBatches(*DecompressAny(OpenFile(output), output),
              [&](auto bytes) { compress_.Time(bytes.size(), [&] { compressor->Write(bytes); }); });
    compress_.Time(0, [&] { compressor->Finish(); });
  }

  // Into a file that nobody sees.
  void Store(Source& source) {
    std::string name = std::filesystem::temp_directory_path() / "bench_parts-XXXXXX";
    const UniqueFd file(mkstemp(name.data()));
    if (!file || unlink(name.c_str()) < 0)
      throw std::runtime_error("cannot make a file here");
    // Block by block: what was read a moment ago is nearer to the processor than a batch.
    for (Block block = source.Next(); !block.empty(); block = source.Next())
      store_.Time(block.size(), [&] { WriteFull(file.get(), block.bytes(), name); });
  }

  std::vector<Part> All() const {
    return {inflate_, blobs_, tars_, contents_, read_, write_, sha256_, sha512_, compress_, store_, files_};
  }

 private:
  static void Inflate(const std::string& layer, Part& part) {
    part.Time(0, [&] {
      const auto stream = DecompressAny(OpenFile(layer), layer);
      for (Block block = stream->Next(); !block.empty(); block = stream->Next()) {
        part.bytes += block.size();
      }
    });
  }

  // The least of calls: no path is walked, and what is written was read a moment ago.
  void MakeFile(int dir, const std::string& name, archive_entry* entry, archive* reader) {
    const timespec times[2] = {{0, UTIME_OMIT}, {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)}};
    auto left = static_cast<size_t>(archive_entry_size(entry));
    UniqueFd file;
    do {
      contents_of_file_.resize(std::min(left, kBlockBytes));
      left -= contents_of_file_.size();
      Require(archive_read_data(reader, contents_of_file_.data(), contents_of_file_.size()) >= 0, reader);
      files_.Time(contents_of_file_.size(), [&] {
        if (!file)
          file =
              UniqueFd(openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, archive_entry_perm(entry)));
        WriteFull(file.get(), AsBytes(contents_of_file_), name);
        if (left == 0) {
          futimens(file.get(), times);
          file.Reset();
        }
      });
    } while (left > 0);
  }

  static void MakeName(const std::string& top, int dir, const std::string& name, archive_entry* entry) {
    if (const char* to = archive_entry_hardlink(entry)) {
      if (linkat(AT_FDCWD, (top + "/" + to).c_str(), dir, name.c_str(), 0) < 0)
        throw std::runtime_error("cannot make the link " + name);
    } else if (archive_entry_filetype(entry) == AE_IFDIR) {
      mkdirat(dir, name.c_str(), 0755);  // another layer's entry, or ours, may have made it
    } else if (archive_entry_filetype(entry) == AE_IFLNK) {
      if (symlinkat(archive_entry_symlink(entry), dir, name.c_str()) < 0)
        throw std::runtime_error("cannot make the link " + name);
    }
  }

  static void Hash(Source& source, HashAlgorithm algorithm, Part& part) {
    Hasher hasher(algorithm);
    InBatches(source, [&](auto bytes) { part.Time(bytes.size(), [&] { hasher.Update(bytes); }); });
  }

  Part inflate_{"inflate"}, blobs_{"SHA-256 of the blobs"}, tars_{"SHA-256 of what is in them"},
      contents_{"SHA-256 of the tree's files"};
  Part read_{"read entries"}, write_{"write entries"}, sha256_{"SHA-256 of what comes out"},
      sha512_{"SHA-512 of what comes out"}, compress_{"compress"}, store_{"write the file"},
      files_{"make the tree's files"};
  std::string contents_of_file_;
};

Wanted Parse(const std::vector<std::string>& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes == words.end() || dashes - words.begin() < 3) {
    throw std::runtime_error(
        "usage: bench_parts TAR_HASH COMPRESSION BLOB_HASH [OUTPUT...] -- LAYER..., bench_parts identity CONTENTS "
        "LAYER..., or bench_parts tree DIRECTORY LAYER...");
  }
  return {words[0], words[1], words[2], {words.begin() + 3, dashes}, {dashes + 1, words.end()}};
}

void Print(const Parts& parts) {
  for (const Part& part : parts.All()) {
    if (part.bytes != 0) {
      std::printf("%s\t%.2f\t%.0f\n", part.name.c_str(), part.milliseconds, static_cast<double>(part.bytes) / 1048576);
    }
  }
}

void RunIdentity(const std::string& contents, std::span<const std::string> layers) {
  Parts parts;
  for (const std::string& layer : layers) parts.In(layer);
  parts.Contents(contents);
  Print(parts);
}

void RunTree(const std::string& directory, std::span<const std::string> layers) {
  Parts parts;
  for (const std::string& layer : layers) {
    parts.In(layer);
    parts.Store(*OpenFile(layer));
    parts.Tree(directory, layer);
  }
  Print(parts);
}

void Run(const std::vector<std::string>& words) {
  if (words.size() > 2 && words[0] == "tree")
    return RunTree(words[1], std::span(words).subspan(2));
  if (words.size() > 2 && words[0] == "identity")
    return RunIdentity(words[1], std::span(words).subspan(2));
  const Wanted wanted = Parse(words);
  Parts parts;
  for (const std::string& layer : wanted.layers) {
    parts.In(layer);
    if (wanted.tar_hash != "none") {
      parts.Entries(layer);
    }
  }
  for (const std::string& output : wanted.outputs) parts.Out(output, wanted);
  // What comes out of a conversion that only inflates.
  for (const std::string& layer : wanted.layers) {
    if (wanted.outputs.empty())
      parts.Store(*DecompressAny(OpenFile(layer), layer));
  }
  Print(parts);
}

}  // namespace
}  // namespace gantry::image

int main(int argc, char** argv) {
  try {
    gantry::image::Run({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_parts: " << error.what() << "\n";
    return 1;
  }
}
