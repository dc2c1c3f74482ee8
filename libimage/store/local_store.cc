#include "libimage/store/local_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/write_back.h"
#include "libimage/model/media_type.h"
#include "libimage/store/partial_blob.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxLayoutBytes = 4096;
constexpr std::string_view kLayout = R"({"imageLayoutVersion":"1.0.0"})";

constexpr std::string_view kOurNames[] = {"accepted",   "aci",        "blobs",     "gc.lock",    "identities",
                                          "index.json", "index.lock", "layers",    "lost+found", "metadata-secret",
                                          "oci-layout", "pods",       "referrers", "signatures", "tmp",
                                          "vm"};

void CheckLayout(const Dir& root) {
  const std::string what = Quoted("oci-layout") + " in " + Quoted(root.name());
  const json::Value value = json::Parse(root.ReadFile(RelPath::Parse("oci-layout"), kMaxLayoutBytes), what);
  const json::Cursor version = json::Cursor(value, what).At("imageLayoutVersion");
  if (version.String() != "1.0.0") {
    throw Error(ErrorKind::kUnsupported,
                Quoted(root.name()) + " is an image layout of version " + Quoted(version.String()),
                "this gantry knows version 1.0.0; choose another place with --root");
  }
}

struct stat StatOf(const Dir& dir) {
  struct stat status {};
  if (fstat(dir.fd(), &status) < 0)
    ThrowErrno("stat " + Quoted(dir.name()));
  return status;
}

bool OnlyWeCanWrite(const Dir& dir) {
  const struct stat status = StatOf(dir);
  return status.st_uid == geteuid() && (status.st_mode & 022) == 0;
}

// What others can write is not what we checked when it came in.
void RequireOurs(const Dir& dir) {
  const struct stat status = StatOf(dir);
  if (status.st_uid != geteuid()) {
    throw Error(ErrorKind::kFailed,
                Quoted(dir.name()) + " belongs to user " + std::to_string(status.st_uid) + ", and you are user " +
                    std::to_string(geteuid()),
                "choose a store of your own with --root");
  }
  if ((status.st_mode & 022) != 0) {
    throw Error(ErrorKind::kFailed, Quoted(dir.name()) + " can be written by other users",
                "take that away with: chmod go-w " + dir.name());
  }
}

void MakeParents(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  const size_t slash = last == std::string::npos ? last : path.rfind('/', last);
  if (slash == std::string::npos || slash == 0)
    return;
  // A confined process may use the store without the right to open what is above it.
  const std::string parent = path.substr(0, slash);
  if (access(parent.c_str(), F_OK) < 0)
    Dir::Create(parent, 0755);
}

// Nothing of an unfinished store is taken for a foreign directory: it can hold nothing but our names.
void RequireStoreOrEmpty(const Dir& root) {
  for (const std::string& name : root.List()) {
    if (!IsStoreFile(name)) {
      throw Error(ErrorKind::kFailed, Quoted(root.name()) + " is no store, and not empty: it has " + Quoted(name),
                  "choose a new or empty directory with --root");
    }
  }
}

void CreateMissing(const Dir& root) {
  const RelPath layout = RelPath::Parse("oci-layout");
  if (!root.Exists(layout)) {
    RequireStoreOrEmpty(root);
    const FileLock lock(root, kIndexLock, LockMode::kExclusive);
    if (!root.Exists(layout)) {
      if (!root.Exists(RelPath::Parse("index.json")))
        root.WriteFileAtomically(RelPath::Parse("index.json"), IndexDocument::Empty().Print());
      // Its name reaches the disk with that of the first thing that is worth keeping: a store that a crash leaves
      // without is made anew around what it has.
      StagedFile file(root, 0644);
      WriteFull(file.fd(), AsBytes(kLayout), Quoted(layout.str()));
      if (fsync(file.fd()) < 0)
        ThrowErrno("sync " + Quoted(layout.str()));
      file.Commit(layout, false);
    }
  }
  CheckLayout(root);
  for (const char* name : {"blobs", "blobs/sha256", "identities", "signatures"}) {
    RequireOurs(root.MakeDirs(RelPath::Parse(name), 0755));
  }
  // Closed to others: a setuid program of an image must not be within their reach (CVE-2021-41103).
  for (const char* name : {"layers", "pods", "tmp"}) {
    const Dir dir = root.MakeDirs(RelPath::Parse(name), 0700);
    RequireOurs(dir);
    if ((StatOf(dir).st_mode & 0077) != 0 && fchmod(dir.fd(), 0700) < 0)
      ThrowErrno("close " + Quoted(dir.name()) + " to other users");
  }
}

// The bytes of a blob on their way to the disk, hashed as they pass.
class StagedBytes {
 public:
  StagedBytes(const Dir& directory, HashAlgorithm algorithm) : file_(directory, 0644), hasher_(algorithm) {
    flock(file_.fd(), LOCK_EX | LOCK_NB);
  }

  uint64_t size() const { return written_; }

  void Write(LeaseFile& session, std::span<const std::byte> bytes, const std::string& what) {
    session.Write(file_.fd(), bytes, what);
    hasher_.Update(bytes);
    written_ += bytes.size();
    write_back_.Advance(file_.fd(), written_);
  }

  Digest Hash() { return hasher_.Finish(); }

  // Unless it is in `directory` already, which is the one of the constructor.
  void Keep(const Dir& directory, const Digest& digest) {
    const RelPath name = RelPath::Parse(digest.hex());
    if (directory.Exists(name))
      return;
    if (fsync(file_.fd()) < 0)
      ThrowErrno("sync blob " + digest.str());
    // The directory is synced once, when the image gets its name: a name that is lost by a crash is an absent blob.
    file_.Commit(name, false);
  }

 private:
  StagedFile file_;
  Hasher hasher_;
  uint64_t written_ = 0;
  WriteBack write_back_;
};

class StagedBlob final : public IncomingBlob {
 public:
  StagedBlob(const std::shared_ptr<const Dir>& root, std::shared_ptr<LeaseFile> session, const Digest& digest,
             uint64_t size)
      : session_(std::move(session)),
        digest_(digest),
        size_(size),
        dir_(root->MakeDirs(*PathOfBlob(digest).Parent())),
        bytes_(dir_, digest.algorithm()) {}

  void Write(std::span<const std::byte> bytes) override {
    if (bytes.size() > size_ - bytes_.size())
      throw Error(ErrorKind::kCorrupt,
                  "blob " + digest_.str() + " has more than its " + std::to_string(size_) + " bytes");
    bytes_.Write(*session_, bytes, "blob " + digest_.str());
  }

  // Nobody can open it before it has its name.
  void Check() override {
    if (kept_)
      return;
    if (bytes_.size() != size_) {
      throw Error(ErrorKind::kCorrupt, "blob " + digest_.str() + " has " + std::to_string(bytes_.size()) +
                                           " bytes instead of " + std::to_string(size_));
    }
    if (const Digest found = bytes_.Hash(); found != digest_)
      throw Error(ErrorKind::kCorrupt, "blob " + digest_.str() + " has the digest " + found.str());
    bytes_.Keep(dir_, digest_);
    kept_ = true;
  }
  void Finish() override { Check(); }

 private:
  std::shared_ptr<LeaseFile> session_;
  Digest digest_;
  uint64_t size_;
  Dir dir_;
  StagedBytes bytes_;
  bool kept_ = false;
};

class MadeBlob final : public NewBlob {
 public:
  MadeBlob(const std::shared_ptr<const Dir>& root, std::shared_ptr<LeaseFile> session, std::string what)
      : session_(std::move(session)),
        what_(std::move(what)),
        dir_(root->MakeDirs(RelPath::Parse("blobs/sha256"))),
        bytes_(dir_, HashAlgorithm::kSha256) {}

  void Write(std::span<const std::byte> bytes) override { bytes_.Write(*session_, bytes, what_); }
  void Finish() override {
    digest_ = bytes_.Hash();
    RequireExpected(*digest_);
    // Before it is looked for and gets its name: a collector must not come in between.
    session_->Add({*digest_});
    bytes_.Keep(dir_, *digest_);
  }
  Digest digest() const override { return digest_.value(); }
  uint64_t size() const override { return bytes_.size(); }

 private:
  std::shared_ptr<LeaseFile> session_;
  std::string what_;
  Dir dir_;
  StagedBytes bytes_;
  std::optional<Digest> digest_;
};

}  // namespace

bool IsStoreFile(std::string_view name) {
  return name.starts_with(kHiddenPrefix) ||
         std::find(std::begin(kOurNames), std::end(kOurNames), name) != std::end(kOurNames);
}

std::string ReadBootId() {
  constexpr size_t kDigits = 32;
  std::string id;
  try {
    id = ReadFile("/proc/sys/kernel/random/boot_id", 64);
  } catch (const Error&) {
    return {};
  }
  std::erase_if(id, [](char c) { return (c < '0' || c > '9') && (c < 'a' || c > 'f'); });
  return id.size() == kDigits ? id : std::string();
}

std::string FileNameOf(const Digest& digest) { return std::string(Name(digest.algorithm())) + "-" + digest.hex(); }

std::optional<Digest> DigestOfFileName(std::string_view name) {
  const size_t dash = name.find('-');
  if (dash == std::string_view::npos)
    return std::nullopt;
  return Digest::TryParse(std::string(name.substr(0, dash)) + ":" + std::string(name.substr(dash + 1)));
}

RelPath PathOfBlob(const Digest& digest) {
  return RelPath::Parse("blobs/" + std::string(Name(digest.algorithm())) + "/" + digest.hex());
}

std::unique_ptr<Store> Store::Open(const std::string& root, WriteBack::Pace pace) {
  MakeParents(root);
  if (mkdir(root.c_str(), 0700) < 0 && errno != EEXIST)
    ThrowErrno("create the store " + Quoted(root));
  Dir dir = Dir::Open(root);
  RequireOurs(dir);
  CreateMissing(dir);
  return std::make_unique<LocalStore>(std::move(dir), true, true, pace);
}

std::unique_ptr<Store> Store::OpenReadOnly(const std::string& root) {
  try {
    Dir dir = Dir::Open(root);
    if (!dir.Exists(RelPath::Parse("oci-layout")))
      return nullptr;
    CheckLayout(dir);
    const bool trusted = OnlyWeCanWrite(dir);
    return std::make_unique<LocalStore>(std::move(dir), false, trusted);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound)
      return nullptr;
    throw;
  }
}

std::set<Digest> BlobsOf(const Image& image) {
  std::set<Digest> out{image.descriptor.digest, image.manifest.config.digest};
  for (const Descriptor& layer : image.manifest.layers) out.insert(layer.digest);
  return out;
}

std::set<Digest> BlobsOf(const Artifact& artifact) {
  std::set<Digest> out{artifact.descriptor.digest};
  for (const Descriptor& blob : artifact.manifest.Blobs()) out.insert(blob.digest);
  return out;
}

LocalStore::LocalStore(Dir root, bool writable, bool trusted, WriteBack::Pace pace)
    : root_(std::make_shared<const Dir>(std::move(root))),
      writable_(writable),
      trusted_(trusted),
      pace_(pace),
      boot_(ReadBootId()) {}

void LocalStore::RequireWritable() const {
  if (!writable_)
    throw Error(ErrorKind::kFailed, "the store " + Quoted(root_->name()) + " is open for reading only");
}

std::shared_ptr<LeaseFile> LocalStore::Session() {
  RequireWritable();
  const std::lock_guard guard(mutex_);
  if (!session_)
    session_ = std::make_shared<LeaseFile>(root_);
  return session_;
}

std::unique_ptr<Lease> LocalStore::NewLease() {
  // Made here as well, so that a child that this process forks to render layers shares it and leaves none behind.
  Session();
  return std::make_unique<LeaseFile>(root_);
}

std::unique_ptr<Source> LocalStore::Open(const Descriptor& blob, std::string_view what) const {
  std::optional<UniqueFd> fd = root_->TryOpenBeneath(PathOfBlob(blob.digest), O_RDONLY | O_NONBLOCK);
  if (!fd) {
    throw Error(ErrorKind::kNotFound, std::string(what) + ": blob " + blob.digest.str() + " is not in the store",
                "fetch the image again");
  }
  struct stat status {};
  if (fstat(fd->get(), &status) < 0)
    ThrowErrno("stat blob " + blob.digest.str());
  if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) != blob.size) {
    throw Error(ErrorKind::kCorrupt,
                std::string(what) + ": blob " + blob.digest.str() + " has " + std::to_string(status.st_size) +
                    " bytes in the store, the manifest says " + std::to_string(blob.size),
                "see what else is wrong with: gantry store check");
  }
  posix_fadvise(fd->get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  std::unique_ptr<Source> source = FdSource(std::move(*fd), std::string(what));
  return trusted_ ? std::move(source) : VerifyingSource(std::move(source), blob.digest, blob.size, std::string(what));
}

bool LocalStore::HasBlob(const Digest& digest) const {
  const std::optional<struct stat> status = root_->Stat(PathOfBlob(digest));
  return status && S_ISREG(status->st_mode);
}

std::unique_ptr<IncomingBlob> LocalStore::AddBlob(const Digest& digest, uint64_t size) {
  std::shared_ptr<LeaseFile> session = Session();
  session->Add({digest});
  // Under the lock, so that a collector never sees the hidden name that some file systems need before it is locked.
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  return std::make_unique<StagedBlob>(root_, std::move(session), digest, size);
}

std::unique_ptr<NewBlob> LocalStore::MakeBlob(std::string_view what) {
  std::shared_ptr<LeaseFile> session = Session();
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  return std::make_unique<MadeBlob>(root_, std::move(session), std::string(what));
}

std::unique_ptr<IncomingBlob> LocalStore::ResumeBlob(const Digest& digest, uint64_t size) {
  std::shared_ptr<LeaseFile> session = Session();
  session->Add({digest});
  {
    // Under the lock, so that a collector does not take for abandoned what is just being taken up.
    const FileLock lock(*root_, kCollectLock, LockMode::kShared);
    if (auto partial = OpenPartialBlob(root_, session, digest, size, pace_))
      return partial;
  }
  return AddBlob(digest, size);
}

std::optional<UniqueFd> LocalStore::OpenAsFarAsHere(const Digest& digest) const {
  // Once more at the end: it may have got its name between the first two looks.
  for (const RelPath& path : {PathOfBlob(digest), PathOfPartialBlob(digest), PathOfBlob(digest)}) {
    if (auto found = root_->TryOpenBeneath(path, O_RDONLY))
      return found;
  }
  return std::nullopt;
}

std::string LocalStore::ReadBlob(const Digest& digest, size_t max_bytes) const {
  const std::optional<UniqueFd> fd = root_->TryOpenBeneath(PathOfBlob(digest), O_RDONLY | O_NONBLOCK);
  if (!fd) {
    throw Error(ErrorKind::kNotFound, "blob " + digest.str() + " is not in the store " + Quoted(root_->name()),
                "fetch the image again");
  }
  std::string bytes = ReadAll(fd->get(), max_bytes, "blob " + digest.str());
  if (const Digest found = Digest::Of(bytes, digest.algorithm()); found != digest) {
    throw Error(ErrorKind::kCorrupt, "blob " + digest.str() + " in the store has the digest " + found.str(),
                "see what else is wrong with: gantry store check");
  }
  return bytes;
}

}  // namespace gantry::image
