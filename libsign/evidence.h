// What speaks for an image: signatures as bytes, from wherever they were found. Nothing here is trusted or even parsed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/model/reference.h"

namespace gantry::sign {

class RegistriesD;

constexpr size_t kMaxEvidenceBytes = 4 * 1024 * 1024;  // of one signature
constexpr size_t kMaxEvidence = 128;                   // signatures of one image

// One App Container Image among those that an image is rendered from. It is signed as a file.
struct AppcFile {
  std::string file;                               // for people
  std::string name;                               // in its manifest
  bool pinned = false;                            // by its image ID, in the manifest of one that depends on it
  std::optional<std::string> signature;           // FILE.asc
  std::function<std::unique_ptr<Source>()> open;  // its bytes; null where they cannot be read again
  std::optional<Hasher> hashed;                   // the bytes that the image was made of, not finished
};

struct Evidence {
  std::vector<std::string> signatures;  // stored blobs, as in signature-N
  std::vector<std::string> looked_at;   // the places, for people: "https://host/sigstore/foo@sha256=..."

  // For images that are files: where policy.json looks them up ("oci", an absolute path). Empty for registry names.
  std::string transport;
  std::string path;
  // What files are accepted as, that have no registry name: "oci:/srv/images:v1"; the name and labels of an ACI.
  std::string reference;
  // For an ACI: it and the ACIs that it depends on, it itself last.
  std::vector<AppcFile> appc;

  // Computes the image's identity (gantry-identity(5)), by a pass over its layers; null where they are not here. Asked
  // only when a good signature speaks of one.
  std::function<Digest()> identity;
  // When the signature was made with which something was last accepted as what this image is.
  std::optional<int64_t> newest;

  // Adds one signature unless it is there already; false when there are kMaxEvidence. kCorrupt when it is too large.
  bool Add(std::string bytes);
};

// Adds the signatures of `manifest` that file: lookasides of `name` hold, and these places to looked_at. Lookasides on
// http(s) are for the caller, who has the network.
void GatherLookaside(const RegistriesD& registries, const image::DockerReference& name, const Digest& manifest,
                     Evidence& into);

}  // namespace gantry::sign
