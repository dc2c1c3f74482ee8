// Identities that a LocalStore keeps.
//
// A file of one line: "identity/1", a blank and the rootfs digest, which depends on the layers alone. The document that
// it is a part of is made anew from the configuration, whose bytes are checked, so a file cannot say what an image
// executes. It is believed because it is ours: whoever can write to the store can run as its owner anyway.
#include <fcntl.h>

#include "libimage/base/error.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr std::string_view kVersion = "identity/1 ";

}  // namespace

RelPath PathOfIdentity(const Digest& manifest) { return RelPath::Parse("identities/" + FileNameOf(manifest)); }

std::optional<Digest> ParseKeptIdentity(std::string_view text) {
  if (!text.starts_with(kVersion) || !text.ends_with('\n'))
    return std::nullopt;
  text.remove_prefix(kVersion.size());
  text.remove_suffix(1);
  return Digest::TryParse(text);
}

std::optional<Digest> LocalStore::RootfsOf(const Digest& manifest) const {
  if (!trusted_)
    return std::nullopt;
  const std::optional<UniqueFd> fd =
      root_->TryOpenBeneath(PathOfIdentity(manifest), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd)
    return std::nullopt;
  return ParseKeptIdentity(ReadAll(fd->get(), kMaxKeptIdentityBytes, "the identity of " + manifest.str()));
}

void LocalStore::KeepRootfs(const Digest& manifest, const Digest& rootfs) const {
  if (!writable_ || RootfsOf(manifest) == rootfs)
    return;
  try {
    const FileLock lock(*root_, kCollectLock, LockMode::kShared);
    root_->WriteFileAtomically(PathOfIdentity(manifest), std::string(kVersion) + rootfs.str() + "\n");
  } catch (const Error&) {
    // Then it is found again.
  }
}

Identity FindIdentity(const Image& image, const Blobs& blobs, const Store* store) {
  const Digest& manifest = image.descriptor.digest;
  if (const std::optional<Digest> rootfs = store != nullptr ? store->RootfsOf(manifest) : std::nullopt)
    return Identity::Of(image.config, *rootfs);
  Identity found = Identity::Compute(image, blobs);
  if (store != nullptr)
    store->KeepRootfs(manifest, found.rootfs);
  return found;
}

}  // namespace gantry::image
