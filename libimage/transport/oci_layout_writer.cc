#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/staged_dir.h"
#include "libimage/base/write_back.h"
#include "libimage/model/media_type.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/oci_layout.h"
#include "libimage/transport/oci_layout_files.h"

namespace gantry::image {
namespace {

struct Place {
  std::string parent, name;
};

Place Split(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  Place place = slash == std::string::npos ? Place{".", path}
                                           : Place{slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
  if (place.name.empty() || place.name == "." || place.name == "..")
    throw Error(ErrorKind::kUsage, Quoted(path) + " cannot be made a layout", "name a directory, not '.' or '/'");
  return place;
}

// The names in index.json, as bytes to change: what we do not know in it stays.
class IndexFile {
 public:
  explicit IndexFile(const Dir& dir) : what_("'index.json' in " + Quoted(dir.name())) {
    if (const auto bytes = LayoutIn(dir)->Read("index.json", kMaxLayoutIndexBytes)) {
      ParseManifest(*bytes, kOciIndexType);  // refuses what we could not read ourselves
      value_ = json::Parse(*bytes, what_);
    } else {
      value_ = json::Object({{"schemaVersion", 2}, {"mediaType", kOciIndexType}, {"manifests", json::Array()}});
    }
  }

  // The digest that bears `ref`, other than `manifest`.
  std::optional<std::string> Taken(const std::string& ref, const std::optional<Digest>& manifest) const {
    for (const json::Value& entry : Entries()) {
      const std::string digest = json::Cursor(entry, what_).At("digest").String();
      if (RefOf(entry) == ref && (!manifest || digest != manifest->str()))
        return digest;
    }
    return std::nullopt;
  }

  void Put(const Descriptor& manifest, const std::string& ref) {
    Descriptor listed = manifest;
    if (!ref.empty())
      listed.annotations[std::string(kRefNameAnnotation)] = ref;
    json::Array entries;
    for (const json::Value& entry : Entries()) {
      const bool same_ref = !ref.empty() && RefOf(entry) == ref;
      const bool same_image = ref.empty() && RefOf(entry).empty() &&
                              json::Cursor(entry, what_).At("digest").String() == manifest.digest.str();
      if (!same_ref && !same_image)
        entries.push_back(entry);
    }
    entries.push_back(listed.ToJson());
    value_.object()->Set("manifests", std::move(entries));
  }

  std::string Bytes() const { return json::Print(value_); }

 private:
  json::Array Entries() const {
    const json::Value* entries = value_.object()->Find("manifests");
    return entries != nullptr && entries->array() != nullptr ? *entries->array() : json::Array();
  }
  std::string RefOf(const json::Value& entry) const {
    const auto annotations = json::Cursor(entry, what_).Find("annotations");
    if (!annotations)
      return {};
    const auto ref = annotations->Find(kRefNameAnnotation);
    return ref ? ref->String() : std::string();
  }

  std::string what_;
  json::Value value_;
};

void Lock(const Dir& dir) {
  while (flock(dir.fd(), LOCK_EX) < 0) {
    if (errno != EINTR)
      ThrowErrno("lock " + Quoted(dir.name()));
  }
}

void RefuseTaken(const Dir& dir, const std::string& ref, const std::optional<Digest>& manifest) {
  if (const auto other = ref.empty() ? std::nullopt : IndexFile(dir).Taken(ref, manifest)) {
    throw Error(ErrorKind::kFailed, Quoted(ref) + " is in " + Quoted(dir.name()) + " already (" + *other + ")",
                "give --overwrite to move the name, or choose another one");
  }
}

struct NamedTop {
  Descriptor top;
  std::string ref;
};

// Whether the blob is there and is what its name says; a damaged one is replaced.
bool IsSound(const Dir& dir, const Digest& digest, uint64_t size) {
  const std::string what = digest.str();
  std::unique_ptr<Source> bytes = LayoutIn(dir)->Open(BlobPath(digest), what);
  if (!bytes)
    return false;
  try {
    const std::unique_ptr<Source> there = VerifyingSource(std::move(bytes), digest, size, what);
    while (!there->Next().empty()) {
    }
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCorrupt)
      throw;
    return false;
  }
}

class LayoutBlob : public NewBlob {
 public:
  // `dir` outlives this.
  LayoutBlob(const Dir& dir, std::string_view what)
      : dir_(dir),
        blobs_(dir.MakeDirs(RelPath::Parse("blobs/sha256"))),
        file_(blobs_),
        sink_(FileSink(file_.fd(), std::string(what) + " in " + Quoted(dir.name()))) {}

  void Write(std::span<const std::byte> bytes) override {
    sink_->Write(bytes);
    hasher_.Update(bytes);
    size_ += bytes.size();
  }
  void Finish() override {
    sink_->Finish();
    digest_ = hasher_.Finish();
    RequireExpected(*digest_);
    if (!IsSound(dir_, *digest_, size_))
      file_.Commit(RelPath::Parse(digest_->hex()));
  }
  Digest digest() const override { return digest_.value(); }
  uint64_t size() const override { return size_; }

 private:
  const Dir& dir_;
  Dir blobs_;
  StagedFile file_;
  std::unique_ptr<Sink> sink_;
  Hasher hasher_;
  uint64_t size_ = 0;
  std::optional<Digest> digest_;
};

// Blobs into a directory, whoever names that directory.
class LayoutFiles {
 public:
  explicit LayoutFiles(Dir dir) : dir_(std::move(dir)) {}

  const Dir& dir() const { return dir_; }

  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) const {
    const RelPath path = BlobPath(blob.digest);
    if (IsSound(dir_, blob.digest, blob.size))
      return;
    const Dir blobs = dir_.MakeDirs(*path.Parent());
    StagedFile file(blobs);
    const std::string name(what);
    const std::unique_ptr<Source> checked = VerifyingSource(std::move(from), blob.digest, blob.size, name);
    const std::unique_ptr<Sink> sink = FileSink(file.fd(), name + " in " + Quoted(dir_.name()));
    Copy(*checked, *sink);
    sink->Finish();
    file.Commit(RelPath::Parse(blob.digest.hex()));
  }

  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) const { return std::make_unique<LayoutBlob>(dir_, what); }

  void WriteIndex(const std::vector<NamedTop>& names) const {
    IndexFile index(dir_);
    for (const NamedTop& name : names) index.Put(name.top, name.ref);
    if (!dir_.Exists(RelPath::Parse("oci-layout")))
      dir_.WriteFileAtomically(RelPath::Parse("oci-layout"), kLayoutBytes);
    dir_.WriteFileAtomically(RelPath::Parse("index.json"), index.Bytes());
  }

 private:
  Dir dir_;
};

// What a new layout and one that exists have in common: nothing is listed before Commit.
class LayoutSink : public OciLayoutWriter {
 public:
  explicit LayoutSink(Dir dir) : files_(std::move(dir)) {}

  Form form() const override { return {}; }
  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override {
    files_.AddBlob(blob, std::move(from), what);
  }
  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override { return files_.MakeBlob(what); }
  void Name(const Descriptor& top, const std::string& ref) override { names_.push_back({top, ref}); }

 protected:
  const LayoutFiles& files() const { return files_; }
  const std::vector<NamedTop>& names() const { return names_; }

 private:
  LayoutFiles files_;
  std::vector<NamedTop> names_;
};

class ExistingLayout : public LayoutSink {
 public:
  ExistingLayout(Dir dir, bool overwrite) : LayoutSink(std::move(dir)), overwrite_(overwrite) {
    const Dir& at = files().dir();
    if (!LayoutIn(at)->CheckVersion()) {
      for (const std::string& name : at.List()) {
        // What a killed writer of ours may leave in an empty directory.
        if (name != "blobs" && !name.starts_with(".gantry-"))
          throw Error(ErrorKind::kFailed, Quoted(at.name()) + " exists, and is neither empty nor an OCI image layout",
                      "choose another directory");
      }
    }
  }

  void RequireFree(const std::string& ref) const override {
    if (!overwrite_)
      RefuseTaken(files().dir(), ref, std::nullopt);
  }
  void Name(const Descriptor& top, const std::string& ref) override {
    if (!overwrite_)
      RefuseTaken(files().dir(), ref, top.digest);
    LayoutSink::Name(top, ref);
  }
  void Commit() override {
    Lock(files().dir());
    for (const NamedTop& name : names()) {
      if (!overwrite_)
        RefuseTaken(files().dir(), name.ref, name.top.digest);
    }
    files().WriteIndex(names());
  }

 private:
  bool overwrite_;
};

// In a directory beside the final one, ".NAME.gantry-PID-N".
class NewLayout : public LayoutSink {
 public:
  explicit NewLayout(const Place& place)
      : NewLayout(place.name, std::make_unique<StagedDir>(Dir::Open(place.parent), "." + place.name + ".gantry-")) {}

  void RequireFree(const std::string&) const override {}
  void Commit() override {
    files().WriteIndex(names());
    staged_->Rename(name_);
  }

 private:
  NewLayout(std::string name, std::unique_ptr<StagedDir> staged)
      : LayoutSink(Again(staged->dir())), name_(std::move(name)), staged_(std::move(staged)) {}

  static Dir Again(const Dir& dir) { return Dir(UniqueFd(fcntl(dir.fd(), F_DUPFD_CLOEXEC, 0)), dir.name()); }

  std::string name_;
  std::unique_ptr<StagedDir> staged_;
};

}  // namespace

std::unique_ptr<OciLayoutWriter> OciLayoutWriter::Begin(const std::string& directory, bool overwrite) {
  struct stat status {};
  if (stat(directory.c_str(), &status) == 0)
    return std::make_unique<ExistingLayout>(Dir::Open(directory), overwrite);
  if (errno != ENOENT)
    ThrowErrno("look at " + Quoted(directory));
  return std::make_unique<NewLayout>(Split(directory));
}

}  // namespace gantry::image
