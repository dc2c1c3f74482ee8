// What speaks for an image: signatures as bytes, from wherever they were found. Nothing here is trusted or even parsed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/model/reference.h"

namespace gantry::sign {

class RegistriesD;

constexpr size_t kMaxEvidenceBytes = 4 * 1024 * 1024;  // of one signature
constexpr size_t kMaxEvidence = 128;                   // signatures of one image

struct Evidence {
  std::vector<std::string> signatures;  // stored blobs, as in signature-N
  std::vector<std::string> looked_at;   // the places, for people: "https://host/sigstore/foo@sha256=..."

  // For images that are files: where policy.json looks them up ("oci", an absolute path). Empty for registry names.
  std::string transport;
  std::string path;

  // Computes the image's identity (gantry-identity(5)), by a pass over its layers; null where they are not here. Asked
  // only when a good signature speaks of one.
  std::function<Digest()> identity;
  // The time of the newest signature that was accepted for the image's name.
  std::optional<int64_t> newest;

  // Adds one signature unless it is there already; false when there are kMaxEvidence. kCorrupt when it is too large.
  bool Add(std::string bytes);
};

// Adds the signatures of `manifest` that file: lookasides of `name` hold, and these places to looked_at. Lookasides on
// http(s) are for the caller, who has the network.
void GatherLookaside(const RegistriesD& registries, const image::DockerReference& name, const Digest& manifest,
                     Evidence& into);

}  // namespace gantry::sign
