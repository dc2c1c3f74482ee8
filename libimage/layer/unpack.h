// A layer as a directory: one tar layer becomes one lower layer of overlayfs.
//
// Nothing is written outside the directory, whatever the archive says: names are made safe by layer.h, each step is
// taken below a descriptor (dir_walk.h), what exists is removed and never written through, and links are followed as a
// process with the directory as its root would. The image cannot speak overlayfs's own language: its extended
// attributes are escaped, and a character device 0:0 is refused.
//
// A layer knows nothing of those below it, so that all layers of an image can be unpacked at once and each is shared
// by all images that have it. Three things need the layers below and are left Pending: hard links to their files,
// attributes of directories that the tar implies but does not describe, and whether a whiteout hides anything.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/stream.h"
#include "libimage/layer/flatten.h"

namespace gantry::image {

struct UnpackOptions {
  // How what is gone from the layers below is marked, and with it which overlayfs can read the result.
  enum class Whiteouts {
    kOverlayTrusted,  // character device 0:0, trusted.overlay.opaque; needs CAP_SYS_ADMIN
    kOverlayUser,     // character device 0:0, user.overlay.opaque; for mounts with "userxattr"
  };
  Whiteouts whiteouts = Whiteouts::kOverlayTrusted;
  // False in a user namespace of one id: an owner that cannot be given is counted, and the file loses its setuid and
  // setgid bits, which would mean another user.
  bool keep_owners = true;
  EntrySink* also = nullptr;  // borrowed; told all entries as the archive has them, with the content of files
};

// What a layer needs from those below it.
struct Pending {
  struct Link {
    std::string path;    // of the link to make
    std::string target;  // of a file in a layer below, or of an earlier Link
  };
  std::vector<Link> links;           // in the order of the archive
  std::vector<std::string> implied;  // directories without an entry, "" for the root: 0755 0:0, time 0; parents first
  std::vector<std::string> marked;   // directories with marks of what is gone
  bool empty() const { return links.empty() && implied.empty() && marked.empty(); }
};

struct UnpackResult {
  uint64_t entries = 0;
  uint64_t bytes = 0;            // of files, with holes
  uint64_t whiteouts = 0;        // marked, opaque directories among them
  uint64_t skipped_owners = 0;   // not allowed here (keep_owners false)
  uint64_t skipped_devices = 0;  // not allowed here
  uint64_t skipped_xattrs = 0;   // not allowed or not known to this file system; security.selinux, system.nfs4_acl
  // The layer hides everything below it. overlayfs does not look at the root for that: leave the layers below out.
  bool opaque_root = false;
  Pending pending;
};

// Unpacks the tar into the empty directory `into`, which must be out of others' reach while this runs (it may become
// 0755 and hold setuid files). Reads `tar` to its end. On an exception `into` holds part of the
// layer; the caller discards it. Nothing is synced. kCorrupt for a bad archive; what it refuses beside layer.h: a file
// used as a directory, hard links to directories, device numbers Linux cannot have.
UnpackResult UnpackLayer(std::unique_ptr<Source> tar, const Dir& into, const UnpackOptions& options,
                         std::string_view what);

// Whether a layer that was unpacked earlier, with whiteouts of that kind, has opaque_root.
bool HidesAllBelow(const Dir& layer, UnpackOptions::Whiteouts whiteouts);

// Does what is pending, given the finished layers below (`lowers`, the nearest first): copies the targets of links with
// their attributes (the copy is no longer linked to them, as after overlayfs's own copying up), takes over the
// attributes of implied directories, and removes marks from directories that no layer below has, where overlayfs would
// show them. Returns whether anything depended on what is below: such a layer belongs to this chain of layers only, and
// must not be kept under its diff ID alone. kCorrupt for a link whose target is nowhere.
bool CompleteLayer(const Dir& layer, const Pending& pending, const std::vector<const Dir*>& lowers,
                   const UnpackOptions& options, std::string_view what);

}  // namespace gantry::image
