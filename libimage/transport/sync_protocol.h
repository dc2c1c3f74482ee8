// What the two processes of a sync say to each other. Private to syncer.cc and sync_network.cc.
#pragma once

#include "libimage/base/message.h"
#include "libimage/store/store.h"
#include "libimage/transport/registry.h"

namespace gantry::image::sync {

constexpr size_t kTagsOfAMessage = 256;
constexpr MessageBounds kBounds{2 * (kMaxSignatures + 32), kMaxManifestBytes + kMaxSignatureBytesInAll + 1024 * 1024,
                                "the process that copies"};

// Over the channel: a job begins, whose socket comes with it.
constexpr char kJob = 'j';

// Over the socket of a job, to the half with the network.
constexpr char kTags = 't';      // origin; the answers have tags, then comes kEnd
constexpr char kCopy = 'c';      // origin, tag, digest, path and tag there, platforms, "referrers", "dry"
constexpr char kAsk = 'a';       // manifest
constexpr char kLook = 'l';      // manifest
constexpr char kBlob = 'b';      // descriptor
constexpr char kManifest = 'm';  // descriptor, bytes
constexpr char kEnd = 'z';
// From it.
constexpr char kDocument = 'o';  // digest, bytes
constexpr char kTop = 'p';       // descriptor; the documents are complete
constexpr char kFound = 'f';
constexpr char kSame = 's';  // these three: digest, blobs, bytes, referrers
constexpr char kWould = 'w';
constexpr char kDone = 'd';

}  // namespace gantry::image::sync
