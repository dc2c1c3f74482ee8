// What the two processes of a push say to each other. Private to pusher.cc and push_network.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/model/manifest.h"

namespace gantry::image::pushing {

constexpr MessageBounds kBounds{8, kMaxManifestBytes + 64 * 1024, "the other process of this push"};

// To the half with the network.
constexpr char kAsk = 'a';     // digest
constexpr char kMount = 'm';   // path
constexpr char kTarget = 't';  // path, tag
constexpr char kBlob = 'b';    // digest or nothing, what, size of the file that it is in or nothing; then a descriptor
constexpr char kManifest = 'p';  // "name", a tag of DigestTags, or nothing; digest, media type, bytes
constexpr std::string_view kByName = "name";
constexpr char kEnd = 'f';     // digest
constexpr char kFile = 'o';    // offset, size; then a descriptor
constexpr char kAppend = 's';  // digest, kSignatures or kAttestations, the signature as stored
constexpr char kRefer = 'r';   // digest, manifest, its blobs
constexpr char kSettle = 'w';
// From it.
constexpr char kYes = 'y';  // to kAppend and kRefer: the place
constexpr char kNo = 'n';
constexpr char kSent = 'c';  // of a file: how many bytes more

constexpr std::string_view kSignatures = "signatures";
constexpr std::string_view kAttestations = "attestations";

// The bytes of a blob go in frames of this size at most, each after its size, without the copies that messages make. An
// empty frame ends them, and kEnd follows. One that lies in a file is read there by the half with the network: kFile
// goes in place of all that, and kSent comes back until kYes does.
using FrameSize = uint32_t;

[[noreturn]] void ThrowBroken();

// kFailed when there is none.
const std::string& Field(const Message& message, size_t index);

}  // namespace gantry::image::pushing
