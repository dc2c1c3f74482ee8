#include "libimage/layer/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/attributes.h"
#include "libimage/layer/dir_walk.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

// Where an entry goes: a name in an open directory.
struct Place {
  int dir;           // of the walk; valid until it goes on
  std::string name;  // one component
  std::string path;  // without links
};

// A directory of the layer, by its path. Attributes come last: they could forbid to fill it, and filling it changes
// its time.
struct DirRecord {
  Entry attributes;
  bool implied = true;
};

Entry ImpliedAttributes() { return {.type = EntryType::kDirectory, .mode = 0755}; }

class Unpacker {
 public:
  Unpacker(std::unique_ptr<Source> tar, const Dir& into, const UnpackOptions& options, std::string_view what)
      : into_(into),
        what_(what),
        also_(options.also),
        reader_(std::move(tar), what_),
        attributes_(options, result_),
        walk_(into.fd(), [this](const std::string& path) {
          dirs_.try_emplace(path, DirRecord{ImpliedAttributes(), true});
        }) {}

  UnpackResult Run();

 private:
  void Apply();
  void ApplyPath(const std::optional<RelPath>& path);
  void Make(const Place& place);
  void MakeFile(const Place& place);
  void MakeDirectory(const Place& place);
  void KeepDirectory(const std::string& path);
  void MakeSymlink(const Place& place);
  void MakeNode(const Place& place);
  void MakeHardLink(const Place& place);
  std::optional<UniqueFd> OpenTargetParent(const std::string& path) const;
  void NoteWhiteout(const RelPath& path);
  void NoteOpaque(const std::optional<RelPath>& path);
  void MarkWhiteouts();
  void MarkWhiteout(const std::string& path);
  bool HidesAllIn(std::string directory) const;
  void FinishDirectories();
  void CollectPending();

  Place PlaceOf(const RelPath& path);
  void Remove(const Place& place);
  void ForgetLinks(const std::string& path);
  // Runs `create`, which returns -1 and errno, and once more after removing what was there before.
  template <typename Create>
  int MakeAnew(const Place& place, std::string_view doing, Create create);

  [[noreturn]] void Corrupt(std::string_view why) const;
  [[noreturn]] void Failed(std::string_view doing) const;
  template <typename Body>
  auto Named(Body body) const;

  const Dir& into_;
  std::string what_;
  UnpackResult result_;
  EntrySink* also_;
  ArchiveReader reader_;
  AttributeWriter attributes_;
  std::map<std::string, DirRecord> dirs_;  // all that the layer has now
  // What is gone from the layers below, or only from below a directory: without links, and marked at the end, for it is
  // gone wherever the whiteout stands and whatever comes after it.
  std::set<std::string> whiteouts_, opaque_;
  std::set<std::string> marked_in_;  // directories
  // Links whose target is not in this layer, by path, with the order they came in.
  std::map<std::string, std::pair<uint64_t, std::string>> links_;
  DirWalk walk_;
  Entry entry_;
};

void Unpacker::Corrupt(std::string_view why) const {
  throw Error(ErrorKind::kCorrupt, what_ + ": " + Quoted(entry_.name) + ": " + std::string(why),
              "no honest tool makes such a layer; do not use the image");
}

void Unpacker::Failed(std::string_view doing) const {
  const int error = errno;
  if (error == ENAMETOOLONG || error == ELOOP)
    Corrupt("a name or link is too long");
  ThrowErrno(what_ + ": " + std::string(doing) + " " + Quoted(entry_.name), error);
}

// Adds the entry's name to errors of parts that do not know it.
template <typename Body>
auto Unpacker::Named(Body body) const {
  try {
    return body();
  } catch (const Error& error) {
    throw error.WithContext(what_ + ": " + Quoted(entry_.name));
  }
}

UnpackResult Unpacker::Run() {
  // Until it is finished, the root is nobody else's, and what is made in it inherits nothing.
  if (fchmod(into_.fd(), 0700) < 0)
    Failed("change the mode of the directory for");
  fremovexattr(into_.fd(), "system.posix_acl_default");
  dirs_.emplace("", DirRecord{ImpliedAttributes(), true});
  while (reader_.Next(entry_)) {
    ++result_.entries;
    if (also_ != nullptr)
      also_->Add(entry_);
    Apply();
  }
  MarkWhiteouts();
  FinishDirectories();
  CollectPending();
  return std::move(result_);
}

void Unpacker::Apply() {
  const LayerEntry entry = [&] {
    try {
      return Classify(entry_);
    } catch (const Error& error) {
      throw error.WithContext(what_);
    }
  }();
  switch (entry.kind) {
    case LayerEntry::Kind::kPath:
      return ApplyPath(entry.path);
    case LayerEntry::Kind::kWhiteout:
      return NoteWhiteout(*entry.path);
    case LayerEntry::Kind::kOpaque:
      return NoteOpaque(entry.path);
    case LayerEntry::Kind::kIgnored:
      return;
  }
}

void Unpacker::ApplyPath(const std::optional<RelPath>& path) {
  if (!path) {
    KeepDirectory("");
    return;
  }
  const Place place = PlaceOf(*path);
  if (!links_.empty())
    ForgetLinks(place.path);
  Make(place);
}

Place Unpacker::PlaceOf(const RelPath& path) {
  const std::string_view name = path.Name();
  const std::string_view parent =
      std::string_view(path.str())
          .substr(0, path.str().size() - name.size() - (name.size() < path.str().size() ? 1 : 0));
  const int dir = Named([&] { return walk_.Enter(parent); });
  std::string full = walk_.path();
  if (!full.empty())
    full += '/';
  return {dir, std::string(name), full.append(name)};
}

void Unpacker::Make(const Place& place) {
  switch (entry_.type) {
    case EntryType::kFile:
      return MakeFile(place);
    case EntryType::kDirectory:
      return MakeDirectory(place);
    case EntryType::kSymlink:
      return MakeSymlink(place);
    case EntryType::kHardLink:
      return MakeHardLink(place);
    case EntryType::kCharDevice:
    case EntryType::kBlockDevice:
    case EntryType::kFifo:
      return MakeNode(place);
  }
}

// Whatever is there; never what it points to.
void Unpacker::Remove(const Place& place) {
  if (unlinkat(place.dir, place.name.c_str(), 0) == 0 || errno == ENOENT)
    return;
  if (errno != EISDIR && errno != EPERM)
    Failed("remove what was before");
  Named([&] {
    UniqueFd parent(fcntl(place.dir, F_DUPFD_CLOEXEC, 0));
    if (!parent)
      ThrowErrno("duplicate a descriptor");
    Dir(std::move(parent), into_.name()).RemoveTree(RelPath::Parse(place.name));
  });
  dirs_.erase(place.path);
  dirs_.erase(dirs_.lower_bound(place.path + "/"), dirs_.lower_bound(place.path + "0"));  // '0' follows '/'
}

void Unpacker::ForgetLinks(const std::string& path) {
  links_.erase(path);
  if (entry_.type != EntryType::kDirectory)
    links_.erase(links_.lower_bound(path + "/"), links_.lower_bound(path + "0"));
}

template <typename Create>
int Unpacker::MakeAnew(const Place& place, std::string_view doing, Create create) {
  int made = create();
  if (made < 0 && errno == EEXIST) {
    Remove(place);
    made = create();
  }
  if (made < 0)
    Failed(doing);
  return made;
}

void Unpacker::MakeFile(const Place& place) {
  const UniqueFd fd(MakeAnew(place, "create", [&] {
    return openat(place.dir, place.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  entry_.mode & 0777);
  }));
  uint64_t end = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  while (reader_.ReadPiece(offset, bytes)) {
    if (also_ != nullptr) {
      also_->WriteZeros(offset - end);
      also_->Write(bytes);
    }
    end = offset + bytes.size();
    while (!bytes.empty()) {
      const ssize_t n = pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        Failed("write");
      bytes = bytes.subspan(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
  }
  if (also_ != nullptr)
    also_->WriteZeros(entry_.size - end);
  if (end < entry_.size && ftruncate(fd.get(), static_cast<off_t>(entry_.size)) < 0)
    Failed("extend");
  result_.bytes += entry_.size;
  Named([&] { attributes_.ToFd(fd.get(), entry_, true); });
}

void Unpacker::MakeDirectory(const Place& place) {
  if (mkdirat(place.dir, place.name.c_str(), 0700) < 0) {
    if (errno != EEXIST)
      Failed("make directory");
    struct stat status {};
    if (fstatat(place.dir, place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
      Failed("stat");
    if (!S_ISDIR(status.st_mode))
      MakeAnew(place, "make directory", [&] { return mkdirat(place.dir, place.name.c_str(), 0700); });
  }
  KeepDirectory(place.path);
}

void Unpacker::KeepDirectory(const std::string& path) {
  std::string().swap(entry_.name);
  dirs_[path] = {std::exchange(entry_, Entry()), false};
}

void Unpacker::MakeSymlink(const Place& place) {
  if (entry_.link.empty())
    Corrupt("a symbolic link to nothing");
  MakeAnew(place, "make symbolic link", [&] { return symlinkat(entry_.link.c_str(), place.dir, place.name.c_str()); });
  Named([&] { attributes_.ToName(place.dir, place.name, entry_); });
}

void Unpacker::MakeNode(const Place& place) {
  const mode_t type = entry_.type == EntryType::kFifo         ? S_IFIFO
                      : entry_.type == EntryType::kCharDevice ? S_IFCHR
                                                              : S_IFBLK;
  const bool fifo = type == S_IFIFO;
  // The kernel's own bounds (MINORBITS); makedev would spread the rest over other bits.
  if (!fifo && (entry_.device_major >= 1U << 12 || entry_.device_minor >= 1U << 20))
    Corrupt("no such device number");
  const dev_t device = fifo ? 0 : makedev(entry_.device_major, entry_.device_minor);
  if (type == S_IFCHR && device == 0)
    Corrupt("a character device 0:0, which would hide what is below");
  const auto make = [&] { return mknodat(place.dir, place.name.c_str(), type | (entry_.mode & 0777), device); };
  int made = make();
  if (made < 0 && errno == EEXIST) {
    Remove(place);
    made = make();
  }
  if (made < 0 && errno == EPERM && !fifo) {
    ++result_.skipped_devices;
    return;
  }
  if (made < 0)
    Failed("make device");
  Named([&] { attributes_.ToName(place.dir, place.name, entry_); });
}

std::optional<UniqueFd> Unpacker::OpenTargetParent(const std::string& path) const {
  try {
    return into_.TryOpenInRoot(path, O_PATH | O_DIRECTORY);
  } catch (const Error& error) {
    Corrupt("the target of the hard link cannot be reached: " + error.message());
  }
}

void Unpacker::MakeHardLink(const Place& place) {
  const RelPath target = Named([&] { return HardLinkTarget(entry_.link); });
  const std::optional<RelPath> parent = target.Parent();
  const std::string name(target.Name());
  // Links are mostly to a neighbour: then the directory is open.
  const bool neighbour = (parent ? parent->str() : "") == walk_.path();
  std::optional<UniqueFd> opened;
  if (!neighbour)
    opened = OpenTargetParent(parent ? parent->str() : ".");
  const int from = neighbour ? place.dir : opened ? opened->get() : -1;
  struct stat status {};
  if (links_.contains(target.str()) || from < 0 || fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) {
    Remove(place);
    links_[place.path] = {result_.entries, target.str()};
    return;
  }
  if (S_ISDIR(status.st_mode))
    Corrupt("a hard link to a directory");
  struct stat before {};
  if (fstatat(place.dir, place.name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0 && before.st_ino == status.st_ino &&
      before.st_dev == status.st_dev)
    return;
  // The last component of the target is not followed: a link to a link is one more name of it.
  MakeAnew(place, "link", [&] { return linkat(from, name.c_str(), place.dir, place.name.c_str(), 0); });
}

void Unpacker::NoteWhiteout(const RelPath& path) {
  whiteouts_.insert(PlaceOf(path).path);
  ++result_.whiteouts;
}

void Unpacker::NoteOpaque(const std::optional<RelPath>& path) {
  Named([&] { walk_.Enter(path ? path->str() : ""); });
  opaque_.insert(walk_.path());
  ++result_.whiteouts;
  result_.opaque_root |= walk_.path().empty();
}

void Unpacker::MarkWhiteouts() {
  for (const std::string& path : whiteouts_) {
    entry_.name = path;
    Named([&] { MarkWhiteout(path); });
  }
  for (const std::string& path : opaque_) {
    entry_.name = path;
    if (dirs_.contains(path))
      Named([&] { attributes_.MakeOpaque(walk_.Enter(path)); });
  }
}

// What this layer itself has there stays and hides what is below, a directory only if it says so.
void Unpacker::MarkWhiteout(const std::string& path) {
  if (dirs_.contains(path))
    return attributes_.MakeOpaque(walk_.Enter(path));
  const auto [parent, last] = SplitPath(path);
  const std::string directory(parent), name(last);
  if (links_.contains(path) || !dirs_.contains(directory) || HidesAllIn(directory))
    return;
  if (mknodat(walk_.Enter(directory), name.c_str(), S_IFCHR, makedev(0, 0)) == 0)
    marked_in_.insert(directory);
  else if (errno != EEXIST)
    Failed("mark as removed");
}

// Whether whiteouts of this layer hide all that the layers below have in a directory.
bool Unpacker::HidesAllIn(std::string directory) const {
  for (;; directory.resize(SplitPath(directory).first.size())) {
    if (opaque_.contains(directory) || whiteouts_.contains(directory))
      return true;
    if (directory.empty())
      return false;
  }
}

// Children before their parents, which then can be left without permissions.
void Unpacker::FinishDirectories() {
  for (auto record = dirs_.rbegin(); record != dirs_.rend(); ++record) {
    entry_.name = record->first;
    Named([&] { attributes_.ToFd(walk_.Enter(record->first), record->second.attributes); });
  }
}

void Unpacker::CollectPending() {
  for (const auto& [path, record] : dirs_) {
    const bool hidden = !path.empty() && (whiteouts_.contains(path) || HidesAllIn(std::string(SplitPath(path).first)));
    if (record.implied && !hidden)
      result_.pending.implied.push_back(path);
  }
  result_.pending.marked.assign(marked_in_.begin(), marked_in_.end());
  std::map<uint64_t, Pending::Link> by_order;
  for (const auto& [path, link] : links_) by_order.emplace(link.first, Pending::Link{path, link.second});
  for (auto& [order, link] : by_order) result_.pending.links.push_back(std::move(link));
}

}  // namespace

UnpackResult UnpackLayer(std::unique_ptr<Source> tar, const Dir& into, const UnpackOptions& options,
                         std::string_view what) {
  return Unpacker(std::move(tar), into, options, what).Run();
}

bool HidesAllBelow(const Dir& layer, UnpackOptions::Whiteouts whiteouts) { return IsOpaque(layer.fd(), whiteouts); }

}  // namespace gantry::image
