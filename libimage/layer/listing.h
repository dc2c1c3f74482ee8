// Every path of an image's tree and what it is, sorted by the bytes of the path: what the rootfs digest hashes
// (rootfs_digest.h) and what a comparison of two images walks through.
//
// An EntrySink that hashes content as it passes and keeps the rest, about 60 bytes and the path of each. What is listed
// is the tree that every packing of an image has (gantry-identity(5), "The tree"): the order of entries does not
// matter; parents that nobody added are directories 0755 0:0; the links below /dev that an ACI needs are there as if
// the image had them; permission bits of symbolic links are 0777, for Linux has no others.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "libimage/layer/flatten.h"
#include "libimage/layer/xattr_sets.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

constexpr uint64_t kMaxListingBytes = uint64_t{1} << 30;  // of memory: paths, targets and attributes, each in full

// Path and target of the symbolic links (0777, 0:0) that conversion to ACI gives an image which has nothing of that
// name, as docker2aci does. stdout and stderr lead to the console because appc executors, unlike Docker, may not give
// the app files that can be opened again.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kAppcLinks{{
    {"dev/fd", "/proc/self/fd"},
    {"dev/stderr", "/dev/console"},
    {"dev/stdin", "/proc/self/fd/0"},
    {"dev/stdout", "/dev/console"},
}};

// One path; borrows from its Listing.
struct ListedPath {
  std::string_view path;   // relative, the root's is empty
  std::string_view first;  // the name of this inode that is listed first; `path` itself but for hard links
  // Of the inode, the same for all of its names. Never kHardLink.
  EntryType type = EntryType::kDirectory;
  uint32_t mode = 0;
  uint64_t uid = 0, gid = 0;
  uint64_t size = 0;                        // of a file
  std::span<const std::byte> content = {};  // of a file: the SHA-256
  std::string_view target = {};             // of a symbolic link
  uint32_t device_major = 0, device_minor = 0;
  const Xattrs* xattrs = nullptr;  // never null
  Time mtime = {};                 // 0 unless times are kept
};

class Listing : public EntrySink {
 public:
  enum class Times { kForget, kKeep };
  explicit Listing(Times times = Times::kForget);
  Listing(Listing&&) noexcept;
  Listing& operator=(Listing&&) noexcept;
  ~Listing() override;

  // kCorrupt beyond kMaxListingBytes and kMaxKeptXattrBytes.
  void Add(const Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override;
  void WriteZeros(uint64_t count) override;

  // A file by the SHA-256 of its content, in place of the content.
  void AddHashed(const Entry& file, std::span<const std::byte> content);

  // After the last entry and before the first look. kCorrupt for what is no tree: a path twice, one below what is no
  // directory, a hard link to a directory, to another hard link or to nothing.
  void Finish();

  size_t size() const;
  ListedPath operator[](size_t i) const;
  size_t bytes() const;  // of memory, roughly

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The finished listing of an image by one pass over its layers, which checks their diff IDs. Errors are those of
// OpenLayer and Flattener.
Listing ListTree(const Image& image, const Blobs& blobs, Listing::Times times = Listing::Times::kForget);

}  // namespace gantry::image
