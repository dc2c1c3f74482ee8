// Reading an ACI: one pass that checks it, and further ones that make the tar of a layer of what is below rootfs.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/path_index.h"
#include "libimage/transport/aci_file.h"
#include "libimage/transport/aci_reader.h"
#include "libimage/transport/plain_file.h"

namespace gantry::image {
namespace {

constexpr size_t kZerosAtOnce = 64 * 1024;
constexpr size_t kBlocksAhead = 8;
constexpr size_t kBlocksToHash = 2;  // ahead of who inflates, which takes longer

// Where names are allowed, and what those become whose first name is not.
class Selection {
 public:
  Selection(PathWhitelists only, const std::map<std::string, std::vector<std::string>>& links)
      : only_(std::move(only)) {
    if (only_.empty())
      return;
    for (const auto& [first, names] : links) {
      for (const std::string& name : names) first_of_.emplace(name, first);
      if (Allowed(first, false))
        continue;
      const auto heir = std::ranges::find_if(names, [&](const std::string& name) { return Allowed(name, false); });
      if (heir != names.end())
        heirs_.emplace(first, *heir);
    }
  }

  // False when the entry is left out; else it may get another name or target.
  bool Take(Entry& entry) const {
    if (only_.empty())
      return true;
    if (entry.type == EntryType::kHardLink) {
      if (const auto first = first_of_.find(entry.name); first != first_of_.end())
        entry.link = HeirOf(first->second);
      return entry.link != entry.name && Allowed(entry.name, false);
    }
    entry.name = HeirOf(entry.name);
    return Allowed(entry.name, entry.type == EntryType::kDirectory);
  }

 private:
  bool Allowed(std::string_view path, bool is_directory) const {
    return std::ranges::all_of(only_, [&](const auto& list) { return list->Allows(path, is_directory); });
  }
  const std::string& HeirOf(const std::string& name) const {
    const auto heir = heirs_.find(name);
    return heir == heirs_.end() ? name : heir->second;
  }

  PathWhitelists only_;
  std::map<std::string, std::string> first_of_, heirs_;
};

// Writes the entries of an ACI as the tar of a layer, piece by piece.
class LayerTar {
 public:
  using Seen = std::function<void(const AciReader& reader, const Entry& entry)>;

  // `into` is borrowed.
  LayerTar(std::unique_ptr<AciReader> reader, Sink& into, Selection selection, Seen seen = {})
      : reader_(std::move(reader)), selection_(std::move(selection)), seen_(std::move(seen)), writer_(into) {}

  // Once the end was reached.
  const AciReader& reader() const { return *reader_; }
  // Whether the last file had holes, which the archive need not hold.
  bool sparse() const { return sparse_; }

  // False once the end is written.
  bool Step() {
    if (left_ > 0) {
      CopyPiece();
      return true;
    }
    if (!reader_->Next(entry_)) {
      writer_.Finish();
      return false;
    }
    if (seen_)
      seen_(*reader_, entry_);
    if (selection_.Take(entry_))
      Begin();
    return true;
  }

 private:
  void Begin() {
    if (entry_.name.empty())
      entry_.name = "./";
    writer_.Add(entry_);
    left_ = entry_.type == EntryType::kFile ? entry_.size : 0;
    at_ = 0;
    hole_end_ = 0;
    sparse_ = false;
    piece_ = {};
  }

  // A part of the content of the current file.
  void CopyPiece() {
    if (at_ < hole_end_) {
      sparse_ = true;
      const uint64_t zeros = std::min<uint64_t>(hole_end_ - at_, kZerosAtOnce);
      writer_.WriteZeros(zeros);
      return Passed(zeros);
    }
    if (!piece_.empty()) {
      writer_.Write(piece_);
      return Passed(std::exchange(piece_, {}).size());
    }
    if (!reader_->ReadPiece(hole_end_, piece_))
      hole_end_ = entry_.size;
  }

  void Passed(uint64_t bytes) {
    at_ += bytes;
    left_ -= bytes;
  }

  std::unique_ptr<AciReader> reader_;
  Selection selection_;
  Seen seen_;
  ArchiveWriter writer_;
  Entry entry_;
  uint64_t at_ = 0, left_ = 0;  // of the current file
  uint64_t hole_end_ = 0;       // where the piece begins that was read last
  std::span<const std::byte> piece_;
  bool sparse_ = false;
};

// That tar, made while it is pulled.
class LayerSource : public Source {
 public:
  LayerSource(std::unique_ptr<AciReader> reader, Selection selection)
      : into_(StringSink(bytes_)), tar_(std::move(reader), *into_, std::move(selection)) {}

  Block Next() override {
    while (more_ && bytes_.size() < kBlockBytes) more_ = tar_.Step();
    if (bytes_.empty())
      return {};
    const auto owner = std::make_shared<const std::string>(std::exchange(bytes_, {}));
    return {owner, AsBytes(*owner)};
  }

 private:
  std::string bytes_;
  std::unique_ptr<Sink> into_;
  LayerTar tar_;
  bool more_ = true;
};

// Counts the blocks of zeros at the end of a tar.
class ZeroBlocks {
 public:
  void Add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kTarBlock - at_));
      zero_ &= std::ranges::all_of(part, [](std::byte b) { return b == std::byte{0}; });
      at_ += part.size();
      bytes = bytes.subspan(part.size());
      if (at_ < kTarBlock)
        continue;
      count_ = zero_ ? count_ + 1 : 0;
      at_ = 0;
      zero_ = true;
    }
  }
  // 0 where something follows the last of them.
  uint64_t count() const { return zero_ ? count_ : 0; }

 private:
  static constexpr size_t kTarBlock = 512;
  size_t at_ = 0;
  bool zero_ = true;  // what there is of the block that is not whole yet
  uint64_t count_ = 0;
};

// What is to be known of a tar that passes.
struct Measure : public Sink {
  std::optional<Hasher> hasher;
  ZeroBlocks end;
  uint64_t size = 0;

  void Write(std::span<const std::byte> bytes) override {
    if (hasher)
      hasher->Update(bytes);
    end.Add(bytes);
    size += bytes.size();
  }
  void Finish() override {}
};

// Tells a path that comes twice.
class SeenPaths {
 public:
  bool Add(std::string_view path) {
    PathId id = kRootPath;
    for (size_t at = 0; at < path.size();) {
      const size_t end = std::min(path.find('/', at), path.size());
      id = index_.Child(id, path.substr(at, end - at));
      at = end + 1;
    }
    return std::exchange(index_[id].result, PathNode::Result::kOther) == PathNode::Result::kNothing;
  }

 private:
  PathIndex index_;
};

std::unique_ptr<Source> OpenTarOf(std::unique_ptr<Source> file, const std::string& what) {
  return Prefetch(DecompressAny(std::move(file), what), kBlocksAhead);
}

// Hashes each block once the next one is asked for: in a thread of its own, beside the one that inflates it.
class HashedBehind : public Source {
 public:
  // `hasher` and `seen` are borrowed, and have taken all when the end was reached.
  HashedBehind(std::unique_ptr<Source> inner, Hasher& hasher, uint64_t& seen)
      : inner_(std::move(inner)), hasher_(hasher), seen_(seen) {}

  Block Next() override {
    hasher_.Update(last_.bytes());
    last_ = inner_->Next();
    seen_ += last_.size();
    return last_;
  }

 private:
  std::unique_ptr<Source> inner_;
  Hasher& hasher_;
  uint64_t& seen_;
  Block last_;
};

// Of the rest of a tar.
Digest IdOf(Source& tar) {
  Hasher id(HashAlgorithm::kSha512);
  for (Block block = tar.Next(); !block.empty(); block = tar.Next()) id.Update(block.bytes());
  return id.Finish();
}

// A file that can be read again and again, compressed or not; `lasting` when it is the one at `path` itself.
PlainFile OpenAgainAndAgain(const std::string& path, bool& lasting) {
  struct stat status {};
  lasting = stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  if (!lasting)
    return OpenPlainFile(path);
  UniqueFd fd = OpenFile(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  if (fstat(fd.get(), &status) < 0)
    ThrowErrno("stat " + Quoted(path));
  return {std::move(fd), static_cast<uint64_t>(status.st_size)};
}

}  // namespace

std::shared_ptr<const AciFile> AciFile::Open(const std::string& path, ImageId id) {
  bool lasting = false;
  PlainFile file = OpenAgainAndAgain(path, lasting);
  if (file.size == 0)
    throw Error(ErrorKind::kCorrupt, Quoted(path) + " is empty, not an ACI");
  const auto fd = std::make_shared<const UniqueFd>(std::move(file.fd));
  const auto open = [fd, size = file.size, what = Quoted(path)] {
    return OpenTarOf(FdRangeSource(fd, 0, size, what), what);
  };
  Hasher hasher;
  uint64_t seen = 0;
  auto hashed = Prefetch(std::make_unique<HashedBehind>(FdRangeSource(fd, 0, file.size, Quoted(path)), hasher, seen),
                         kBlocksToHash);
  auto aci = std::make_shared<AciFile>(open, path, id, OpenTarOf(std::move(hashed), Quoted(path)));
  if (seen != file.size)
    throw Error(ErrorKind::kCorrupt, Quoted(path) + " goes on behind the end of its archive");
  if (!lasting)
    return aci;
  // Others may write to it: whoever reads it again must find what was checked, or the end of the stream throws.
  aci->open_ = [fd, size = file.size, digest = Hasher(hasher).Finish(), what = Quoted(path)] {
    return OpenTarOf(VerifyingSource(FdRangeSource(fd, 0, size, what), digest, size, what + ", read again,"), what);
  };
  aci->bytes_.emplace(AciBytes{fd, file.size, std::move(hasher)});
  return aci;
}

AciFile::AciFile(OpenTar open, std::string name, ImageId id, std::unique_ptr<Source> first)
    : open_(std::move(open)), name_(std::move(name)) {
  Scan(first ? std::move(first) : open_(), id);
}

const Digest& AciFile::image_id() const {
  if (!image_id_)
    image_id_ = IdOf(*open_());
  return *image_id_;
}

std::optional<AciManifest> AciFile::Peek(const std::string& path) {
  const auto fd = std::make_shared<const UniqueFd>(OpenFile(path, O_RDONLY | O_NOCTTY | O_NONBLOCK));
  struct stat status {};
  if (fstat(fd->get(), &status) < 0 || !S_ISREG(status.st_mode))
    return std::nullopt;
  AciReader reader(DecompressAny(FdRangeSource(fd, 0, static_cast<uint64_t>(status.st_size), path), path), path);
  return reader.ReadManifestFirst() ? std::optional(AciManifest::Parse(reader.manifest())) : std::nullopt;
}

void AciFile::Scan(std::unique_ptr<Source> from, ImageId when) {
  Measure whole, layer;
  layer.hasher.emplace();
  if (when == ImageId::kAtOnce)
    whole.hasher.emplace(HashAlgorithm::kSha512);
  auto tar = Tap(std::move(from), [&](std::span<const std::byte> bytes) { whole.Write(bytes); });
  SeenPaths paths;
  std::map<std::string, std::string> first_of;  // of a hard link that others lead to
  LayerTar entries(std::make_unique<AciReader>(std::move(tar), Quoted(name_)), layer, Selection({}, {}),
                   [&](const AciReader& reader, const Entry& entry) {
                     if (!paths.Add(entry.name))
                       reader.Refuse("the second entry of this path");
                     if (entry.type != EntryType::kHardLink)
                       return;
                     const auto known = first_of.find(entry.link);
                     const std::string& first = known == first_of.end() ? entry.link : known->second;
                     links_[first].push_back(entry.name);
                     first_of.emplace(entry.name, first);
                   });
  while (entries.Step()) {
  }
  // The layer ends as the ACI does: with the zeros of its last file, and two blocks behind them.
  const bool same_end = !entries.reader().manifest_is_last() && !entries.sparse();
  if (whole.end.count() < (same_end ? layer.end.count() : 2))
    throw Error(ErrorKind::kCorrupt, Quoted(name_) + " does not end with two blocks of zeros, as a tar does",
                "it was cut short, or something was added; get it again");
  tar_bytes_ = whole.size;
  layer_bytes_ = layer.size;
  if (whole.hasher)
    image_id_ = whole.hasher->Finish();
  layer_digest_ = layer.hasher->Finish();
  try {
    manifest_ = AciManifest::Parse(entries.reader().manifest());
  } catch (const Error& error) {
    throw error.WithContext(Quoted(name_));
  }
}

std::unique_ptr<Source> AciFile::OpenLayer(const PathWhitelists& only) const {
  return std::make_unique<LayerSource>(std::make_unique<AciReader>(open_(), Quoted(name_)), Selection(only, links_));
}

}  // namespace gantry::image
