#include "libimage/convert/artifact_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/shown_text.h"
#include "libimage/base/staged_dir.h"
#include "libimage/base/write_back.h"

namespace gantry::image {
namespace {

constexpr std::string_view kUnpackAnnotation = "io.deis.oras.content.unpack";
constexpr std::string_view kStagingPrefix = ".gantry-files-";

std::string AnnotationOf(const Descriptor& layer, std::string_view key) {
  const auto found = layer.annotations.find(std::string(key));
  return found == layer.annotations.end() ? std::string() : found->second;
}

RelPath PathOf(const Descriptor& layer) {
  std::string title = AnnotationOf(layer, kTitleAnnotation);
  if (title.empty())
    return RelPath::Parse(std::string(Name(layer.digest.algorithm())) + "-" + layer.digest.hex());
  if (title.starts_with("./"))
    title.erase(0, 2);
  if (!IsShown(title) || title.starts_with(kStagingPrefix))
    throw Error(ErrorKind::kCorrupt, "layer " + layer.digest.str() + " cannot be called " + Quoted(title));
  try {
    return RelPath::Parse(title);
  } catch (const Error& error) {
    throw error.WithContext("the title of layer " + layer.digest.str());
  }
}

Dir Again(const Dir& dir) { return Dir(UniqueFd(fcntl(dir.fd(), F_DUPFD_CLOEXEC, 0)), dir.name()); }

[[noreturn]] void ThrowTaken(const Dir& dir, const RelPath& path) {
  throw Error(ErrorKind::kFailed, Quoted(path.str()) + " is in " + Quoted(dir.name()) + " already",
              "give --overwrite to replace it, or another directory");
}

[[noreturn]] void ThrowInTheWay(const Dir& dir, const RelPath& path, const std::string& is_what) {
  throw Error(ErrorKind::kFailed, Quoted(path.str()) + " in " + Quoted(dir.name()) + " is " + is_what,
              "remove it, or give another directory");
}

// The directories above it, the topmost first.
std::vector<RelPath> Above(const RelPath& path) {
  std::vector<RelPath> out;
  for (auto above = path.Parent(); above; above = above->Parent()) out.push_back(*above);
  std::reverse(out.begin(), out.end());
  return out;
}

// Hidden until they are whole; then they get their names, all of them or none.
class Files {
 public:
  Files(const std::vector<ArtifactFile>& files, const Dir& dir, bool overwrite)
      : files_(files), dir_(dir), overwrite_(overwrite), staged_(Again(dir), std::string(kStagingPrefix), 0700) {}
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  // As far as one can tell before: each can get its name.
  void RequireRoom() const {
    for (const ArtifactFile& file : files_) {
      bool is_there = true;
      for (const RelPath& above : Above(file.path)) {
        const auto status = dir_.Stat(above);
        if (status && !S_ISDIR(status->st_mode))
          ThrowInTheWay(dir_, above, "no directory, but the artifact has files below it");
        is_there = status.has_value();
        if (!is_there)
          break;
      }
      const auto status = is_there ? dir_.Stat(file.path) : std::nullopt;
      if (status && S_ISDIR(status->st_mode))
        ThrowInTheWay(dir_, file.path, "a directory, but a file of the artifact");
      if (status && !overwrite_)
        ThrowTaken(dir_, file.path);
    }
  }

  void Write(const Blobs& blobs, Progress& progress) const {
    for (size_t i = 0; i < files_.size(); ++i) WriteOne(i, blobs, progress);
  }

  void Place() {
    try {
      for (size_t i = 0; i < files_.size(); ++i) PlaceOne(i);
    } catch (...) {
      Undo();
      throw;
    }
  }

 private:
  static RelPath NameOf(size_t number) { return RelPath::Parse(std::to_string(number)); }

  void WriteOne(size_t number, const Blobs& blobs, Progress& progress) const {
    const ArtifactFile& file = files_[number];
    const std::string what = "layer " + std::to_string(number + 1) + " (" + Quoted(file.path.str()) + ")";
    const int task = progress.Begin(file.path.str(), file.layer.size);
    const UniqueFd fd = staged_.dir().OpenBeneath(NameOf(number), O_WRONLY | O_CREAT | O_EXCL, 0644);
    const auto source = Tap(blobs.Open(file.layer, what),
                            [&](std::span<const std::byte> part) { progress.Advance(task, part.size()); });
    const auto sink = FileSink(fd.get(), Quoted(file.path.str()));
    Copy(*source, *sink);
    sink->Finish();
    if (fsync(fd.get()) < 0)
      ThrowErrno("sync " + Quoted(file.path.str()));
    progress.End(task, "done");
  }

  void PlaceOne(size_t number) {
    const RelPath& path = files_[number].path;
    for (const RelPath& above : Above(path)) {
      if (!dir_.Exists(above))
        made_.insert(above);
    }
    const std::optional<RelPath> parent = path.Parent();
    const Dir into = parent ? dir_.MakeDirs(*parent) : Again(dir_);
    const bool replaces = overwrite_ && dir_.Exists(path);
    Rename(NameOf(number), into, path);
    if (!replaces)
      placed_.push_back(path);
    into.Sync();
  }

  void Rename(const RelPath& from, const Dir& into, const RelPath& path) const {
    const std::string name(path.Name());
    int failed =
        renameat2(staged_.dir().fd(), from.c_str(), into.fd(), name.c_str(), overwrite_ ? 0 : RENAME_NOREPLACE);
    // Not every file system has that flag.
    if (failed < 0 && errno == EINVAL && !overwrite_)
      failed = linkat(staged_.dir().fd(), from.c_str(), into.fd(), name.c_str(), 0);
    if (failed < 0 && errno == EEXIST)
      ThrowTaken(dir_, path);
    if (failed < 0 && errno == EXDEV)
      return CopyInto(from, into, path);
    if (failed < 0)
      ThrowErrno("name " + Quoted(path.str()) + " in " + Quoted(dir_.name()));
  }

  // Something is mounted below the directory; or it is Landlock before Linux 5.19, by which no file gets into another
  // directory.
  void CopyInto(const RelPath& from, const Dir& into, const RelPath& path) const {
    StagedFile copy(into);
    const auto sink = FileSink(copy.fd(), Quoted(path.str()));
    Copy(*FdSource(staged_.dir().OpenBeneath(from, O_RDONLY), Quoted(path.str())), *sink);
    sink->Finish();
    const RelPath name = RelPath::Parse(path.Name());
    if (!overwrite_ && into.Exists(name))
      ThrowTaken(dir_, path);
    copy.Commit(name);
  }

  void Undo() const {
    for (const RelPath& path : placed_) Remove(path, 0);
    for (auto path = made_.rbegin(); path != made_.rend(); ++path) Remove(*path, AT_REMOVEDIR);
  }

  void Remove(const RelPath& path, int flags) const {
    try {
      const std::optional<RelPath> parent = path.Parent();
      const Dir holder = parent ? dir_.OpenDir(*parent) : Again(dir_);
      unlinkat(holder.fd(), std::string(path.Name()).c_str(), flags);
    } catch (const Error&) {
      // It stays, as a directory does that something else is in meanwhile.
    }
  }

  const std::vector<ArtifactFile>& files_;
  const Dir& dir_;
  const bool overwrite_;
  const StagedDir staged_;
  std::vector<RelPath> placed_;  // where there was nothing
  std::set<RelPath> made_;       // directories
};

}  // namespace

std::vector<ArtifactFile> FilesOf(const Manifest& artifact) {
  std::vector<ArtifactFile> files;
  std::set<RelPath> names;
  for (const Descriptor& layer : artifact.layers) {
    // Before its title, which may be "." for the directory that all was packed from.
    if (AnnotationOf(layer, kUnpackAnnotation) == "true") {
      throw Error(ErrorKind::kUnsupported,
                  "layer " + layer.digest.str() + " (" + Quoted(AnnotationOf(layer, kTitleAnnotation)) +
                      ") is a directory that was packed, and is not unpacked",
                  "convert the artifact to oci:DIR, which has it as it is");
    }
    RelPath path = PathOf(layer);
    if (!names.insert(path).second)
      throw Error(ErrorKind::kCorrupt, "two layers of the artifact are called " + Quoted(path.str()));
    files.push_back({layer, std::move(path)});
  }
  for (const ArtifactFile& file : files) {
    for (auto above = file.path.Parent(); above; above = above->Parent()) {
      if (names.contains(*above))
        throw Error(ErrorKind::kCorrupt, Quoted(above->str()) + " is a file of the artifact, and a directory, too");
    }
  }
  if (files.empty())
    throw Error(ErrorKind::kNotFound, "the artifact has no files", "gantry inspect shows what it has");
  return files;
}

void WriteFiles(const std::vector<ArtifactFile>& files, const Blobs& blobs, const Dir& dir, bool overwrite,
                Progress& progress) {
  Files placing(files, dir, overwrite);
  placing.RequireRoom();
  placing.Write(blobs, progress);
  placing.Place();
}

}  // namespace gantry::image
