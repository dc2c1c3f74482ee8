#include "libimage/store/partial_blob.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/write_back.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr std::string_view kPartialPrefix = "tmp/partial-";

class PartialBlob final : public IncomingBlob {
 public:
  PartialBlob(std::shared_ptr<const Dir> root, std::shared_ptr<LeaseFile> session, const Digest& digest, uint64_t size,
              RelPath path, UniqueFd fd, WriteBack::Pace pace)
      : session_(std::move(session)),
        root_(std::move(root)),
        digest_(digest),
        size_(size),
        path_(std::move(path)),
        fd_(std::move(fd)),
        hasher_(digest.algorithm()),
        write_back_(pace) {
    HashWhatIsThere();
    received_ = written_;
  }
  PartialBlob(const PartialBlob&) = delete;
  PartialBlob& operator=(const PartialBlob&) = delete;
  ~PartialBlob() override {
    if (!named_ && (written_ == 0 || spoilt_ || session_->full_disk()))
      unlinkat(root_->fd(), path_.c_str(), 0);
  }

  uint64_t received() const override { return received_; }

  void Write(std::span<const std::byte> bytes) override {
    if (bytes.size() > size_ - written_) {
      spoilt_ = true;
      throw Error(ErrorKind::kCorrupt,
                  "blob " + digest_.str() + " has more than its " + std::to_string(size_) + " bytes");
    }
    session_->Write(fd_.get(), bytes, "blob " + digest_.str());
    hasher_.Update(bytes);
    written_ += bytes.size();
    write_back_.Advance(fd_.get(), written_);
  }

  // Bytes that are not the blob's are no beginning to go on with.
  void Check() override {
    if (written_ != size_) {
      throw Error(ErrorKind::kCorrupt, "blob " + digest_.str() + " has " + std::to_string(written_) +
                                           " bytes instead of " + std::to_string(size_));
    }
    spoilt_ = true;
    if (const Digest found = hasher_.Finish(); found != digest_)
      throw Error(ErrorKind::kCorrupt, "blob " + digest_.str() + " has the digest " + found.str());
    spoilt_ = false;
    checked_ = true;
  }

  void Finish() override {
    if (!checked_)
      Check();
    spoilt_ = true;
    const RelPath blob = PathOfBlob(digest_);
    if (root_->Exists(blob))
      return;
    if (fsync(fd_.get()) < 0)
      ThrowErrno("sync blob " + digest_.str());
    root_->MakeDirs(*blob.Parent());
    root_->Rename(path_, blob);
    named_ = true;
  }

 private:
  void HashWhatIsThere() {
    std::vector<std::byte> block(kBlockBytes);
    while (const size_t n = ReadFull(fd_.get(), block, "what was fetched of blob " + digest_.str())) {
      hasher_.Update(std::span(block).first(n));
      written_ += n;
    }
    if (written_ <= size_)
      return;
    hasher_.Restart();
    written_ = 0;
    if (ftruncate(fd_.get(), 0) < 0 || lseek(fd_.get(), 0, SEEK_SET) < 0)
      ThrowErrno("empty " + Quoted(path_.str()));
  }

  std::shared_ptr<LeaseFile> session_;
  std::shared_ptr<const Dir> root_;
  Digest digest_;
  uint64_t size_;
  RelPath path_;
  UniqueFd fd_;
  Hasher hasher_;
  uint64_t received_ = 0;
  uint64_t written_ = 0;
  WriteBack write_back_;
  bool checked_ = false;
  bool spoilt_ = false;  // goes with this object
  bool named_ = false;   // what is called as it was is another one's
};

}  // namespace

RelPath PathOfPartialBlob(const Digest& digest) {
  return RelPath::Parse(std::string(kPartialPrefix) + FileNameOf(digest));
}

std::unique_ptr<IncomingBlob> OpenPartialBlob(std::shared_ptr<const Dir> root, std::shared_ptr<LeaseFile> session,
                                              const Digest& digest, uint64_t size, WriteBack::Pace pace) {
  RelPath path = PathOfPartialBlob(digest);
  UniqueFd fd = root->OpenBeneath(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) < 0)
    return nullptr;
  // Whoever had the lock a moment ago may have given the file its name.
  struct stat status {};
  if (fstat(fd.get(), &status) < 0)
    ThrowErrno("stat " + Quoted(path.str()));
  const std::optional<struct stat> named = root->Stat(path);
  if (!named || named->st_ino != status.st_ino || !S_ISREG(status.st_mode))
    return nullptr;
  return std::make_unique<PartialBlob>(std::move(root), std::move(session), digest, size, std::move(path),
                                       std::move(fd), pace);
}

}  // namespace gantry::image
