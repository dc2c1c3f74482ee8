// Putting signatures into the repository of the image they are about, where attachments.h and other tools look for
// them.
//
// A tag is replaced as a whole, and hardly a registry heeds If-Match, so that of two signers who add at once one could
// set the other's signature aside. Hence a document goes behind a tag only if the tag still leads to what was read, and
// the tag is looked at again after a while, longer than another one takes from that look to its put: who then misses
// what it added adds it again.
#pragma once

#include <string>

#include "libimage/base/digest.h"
#include "libimage/model/attachment.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr int kMaxAttachTries = 20;

// The manifest behind a tag.
struct TaggedManifest {
  std::string bytes;  // empty: there is none
  std::string etag;   // empty when the registry has none to compare with
};

TaggedManifest ReadTag(RegistryClient& registry, const std::string& tag, const std::string& what);

// Adds one signature to the manifest behind `tag` (SignatureTag, AttestationTag), unless it is there. `name` says which
// repository. kFailed when others are always quicker.
void AppendToTag(RegistryClient& registry, const DockerReference& name, const std::string& tag,
                 const Attachment& attachment);

// Puts a manifest that refers to `subject`. Where the registry does not list referrers by itself, also adds it to the
// index behind ReferrersTag.
void PutReferrer(RegistryClient& registry, const DockerReference& name, const Digest& subject,
                 const SignatureManifest& referrer);

// Adds the manifest `referrer`, which is in the repository, to the index behind ReferrersTag, unless it is there.
void ListBehindTag(RegistryClient& registry, const Digest& subject, std::string_view referrer, const std::string& what);

}  // namespace gantry::image
