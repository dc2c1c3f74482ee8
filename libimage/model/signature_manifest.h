// How signatures lie beside an image in a registry or an OCI layout, as bytes: cosign's tag, whose manifest has one
// layer a signature, and referrers (distribution-spec 1.1), one manifest a bundle, with the tag that stands in where a
// registry has no referrers. No I/O.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/attachment.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/manifest.h"

namespace gantry::image {

constexpr size_t kMaxSignatureLayers = 128;  // of one manifest; as many signatures as an image may have
constexpr size_t kMaxReferrers = 1000;       // entries of an index that are looked at
constexpr size_t kMaxAttachmentBytes = 2 * 1024 * 1024;

// "sha256-HEX.sig", "sha256-HEX.att", "sha256-HEX": tags in the repository of the image.
std::string SignatureTag(const Digest& manifest);
std::string AttestationTag(const Digest& manifest);
std::string ReferrersTag(const Digest& manifest);
// All that lies behind tags of this kind, one manifest or index each: these three, and cosign's "sha256-HEX.sbom".
std::vector<std::string> DigestTags(const Digest& manifest);

// A manifest to write, and what it needs: put the blobs first.
struct SignatureManifest {
  struct Blob {
    Descriptor descriptor;
    std::string bytes;
  };
  Descriptor descriptor;  // of `bytes`
  std::string bytes;
  std::vector<Blob> blobs;  // that `present` did not have
};

// The manifest of a .sig or .att tag with one more signature, behind those of `present` (empty: there is none yet);
// nullopt when it has this one. kFailed when there are kMaxSignatureLayers; kCorrupt when `present` is no such
// manifest.
std::optional<SignatureManifest> WithSignature(std::string_view present, const Attachment& attachment);

// A manifest that refers to `subject` and carries one attachment, whose media type is its artifact type unless another
// one is given. `annotations` are the manifest's.
SignatureManifest MakeReferrer(const Descriptor& subject, const Attachment& attachment,
                               const std::map<std::string, std::string>& annotations,
                               std::string_view artifact_type = {});

// The index behind ReferrersTag with one more entry; `present` is empty when there is none yet. nullopt when it has
// this one. The entry has the annotations of the referrer.
std::optional<std::string> WithReferrer(std::string_view present, std::string_view referrer);

// Whom a manifest or an index refers to, and how lists of referrers describe it: its artifact type (else the type of
// its configuration) and its annotations. nullopt for one without a subject.
struct Referrer {
  Digest subject;
  Descriptor entry;
};
std::optional<Referrer> ReferrerOf(std::string_view bytes, const Descriptor& manifest);

// Whether a tag is one of those above: what it is about, by digest. nullopt for other tags.
std::optional<Digest> SubjectOfTag(std::string_view tag);

// The layers of a manifest that hold signatures: those whose type is one that is known, at most kMaxSignatureLayers;
// others are left out. kCorrupt when it is no manifest.
std::vector<Descriptor> SignatureLayers(std::string_view manifest);

// As above for a referrer, which must name `subject`; none when it names another, or none.
std::vector<Descriptor> ReferrerLayers(std::string_view manifest, const Digest& subject);

// Whether a media type of a layer is that of a signature or attestation we know.
bool IsAttachmentType(std::string_view media_type);

}  // namespace gantry::image
