#include "libimage/convert/artifact_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "libimage/base/error.h"
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
  const bool control =
      std::any_of(title.begin(), title.end(), [](char c) { return (c >= '\0' && c < ' ') || c == '\x7f'; });
  if (control || title.starts_with(kStagingPrefix))
    throw Error(ErrorKind::kCorrupt, "layer " + layer.digest.str() + " cannot be called " + Quoted(title));
  try {
    return RelPath::Parse(title);
  } catch (const Error& error) {
    throw error.WithContext("the title of layer " + layer.digest.str());
  }
}

// Files on their way, in a hidden directory that goes away with this.
class Staging {
 public:
  explicit Staging(const Dir& dir)
      : dir_(dir), path_(RelPath::Parse(std::string(kStagingPrefix) + std::to_string(getpid()))) {
    dir_.RemoveTree(path_);  // of a process that was killed
    if (mkdirat(dir_.fd(), path_.c_str(), 0700) < 0)
      ThrowErrno("create a directory in " + Quoted(dir_.name()));
    staged_.emplace(dir_.OpenDir(path_));
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {
    try {
      dir_.RemoveTree(path_);
    } catch (const Error&) {
      // The next one removes it.
    }
  }

  void Write(size_t number, const ArtifactFile& file, const Blobs& blobs, Progress& progress) const {
    const std::string what = "layer " + std::to_string(number + 1) + " (" + Quoted(file.path.str()) + ")";
    const int task = progress.Begin(file.path.str(), file.layer.size);
    const UniqueFd fd = staged_->OpenBeneath(NameOf(number), O_WRONLY | O_CREAT | O_EXCL, 0644);
    const auto source = Tap(blobs.Open(file.layer, what),
                            [&](std::span<const std::byte> part) { progress.Advance(task, part.size()); });
    const auto sink = FileSink(fd.get(), Quoted(file.path.str()));
    Copy(*source, *sink);
    sink->Finish();
    if (fsync(fd.get()) < 0)
      ThrowErrno("sync " + Quoted(file.path.str()));
    progress.End(task, "done");
  }

  void Place(size_t number, const RelPath& path, bool overwrite) const {
    const std::optional<RelPath> parent = path.Parent();
    const Dir into = parent ? dir_.MakeDirs(*parent) : Dir(UniqueFd(fcntl(dir_.fd(), F_DUPFD_CLOEXEC, 0)), dir_.name());
    const std::string name(path.Name());
    const RelPath from = NameOf(number);
    const int failed = overwrite ? renameat(staged_->fd(), from.c_str(), into.fd(), name.c_str())
                                 : linkat(staged_->fd(), from.c_str(), into.fd(), name.c_str(), 0);
    if (failed < 0 && errno == EEXIST && !overwrite)
      ThrowTaken(path);
    if (failed < 0)
      ThrowErrno("name " + Quoted(path.str()) + " in " + Quoted(dir_.name()));
    into.Sync();
  }

  void RequireFree(const RelPath& path) const {
    if (dir_.Exists(path))
      ThrowTaken(path);
  }

 private:
  static RelPath NameOf(size_t number) { return RelPath::Parse(std::to_string(number)); }

  [[noreturn]] void ThrowTaken(const RelPath& path) const {
    throw Error(ErrorKind::kFailed, Quoted(path.str()) + " is in " + Quoted(dir_.name()) + " already",
                "give --overwrite to replace it, or another directory");
  }

  const Dir& dir_;
  const RelPath path_;
  std::optional<Dir> staged_;
};

}  // namespace

std::vector<ArtifactFile> FilesOf(const Manifest& artifact) {
  std::vector<ArtifactFile> files;
  std::set<RelPath> names;
  for (const Descriptor& layer : artifact.layers) {
    RelPath path = PathOf(layer);
    if (AnnotationOf(layer, kUnpackAnnotation) == "true") {
      throw Error(ErrorKind::kUnsupported, Quoted(path.str()) + " is a directory that was packed, and is not unpacked",
                  "convert the artifact to oci:DIR, which has it as it is");
    }
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
  const Staging staging(dir);
  for (const ArtifactFile& file : files) {
    if (!overwrite)
      staging.RequireFree(file.path);
  }
  for (size_t i = 0; i < files.size(); ++i) staging.Write(i, files[i], blobs, progress);
  for (size_t i = 0; i < files.size(); ++i) staging.Place(i, files[i].path, overwrite);
}

}  // namespace gantry::image
