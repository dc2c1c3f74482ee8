// The root of a guest: an image's layers, flattened into one read-only file system that the guest mounts from a disk.
//
// It is made once for each chain of layers and kept in the store beside the rendered layers, with its digest;
// collection treats it as one of them. EROFS by mkfs.erofs, or squashfs where that is missing.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/digest.h"
#include "libimage/model/image.h"
#include "libimage/store/store.h"
#include "runner/rootfs.h"
#include "runner/userns.h"

namespace gantry::runner::vm {

// The program that makes such images.
struct RootMaker {
  std::string type;  // "erofs" or "squashfs"
  std::string program;
};
RootMaker FindRootMaker();  // kUnsupported when there is neither

struct RootImage {
  UniqueFd file;     // to be read; opened once, so what is checked is what the guest gets
  std::string type;  // "erofs" or "squashfs"
  std::string path;  // for messages
  Digest digest;     // as it was when it was made, under the layers of the verified image
};

// `rootfs` is what Render gave for `image`.
RootImage OpenRootImage(const RootMaker& maker, const image::VerifiedImage& image, image::Store& store,
                        const std::optional<IdMap>& map, const Rootfs& rootfs);

// Reads all of it: kCorrupt when it is not what its digest says. The guest must not be told to mount it before.
void CheckRootImage(const RootImage& image);

}  // namespace gantry::runner::vm
