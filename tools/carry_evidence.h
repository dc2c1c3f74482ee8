// What was attested about an image goes along when it is converted: an identity holds in every form.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/digest.h"
#include "libimage/model/reference.h"
#include "libsign/evidence.h"

namespace gantry::tools {

// What of `evidence` about the manifest `from` still holds of the same image under the manifest `to`: all of it where
// that is the same one, else the identity attestations. `to` is nullopt for an image without a manifest.
sign::Evidence StillHolding(const sign::Evidence& evidence, const Digest& from, const std::optional<Digest>& to);

// Keeps that beside what was written to `destination` under `id`: in signatures/ of an OCI layout, in the store, next
// to the App Container Image `aci`. Archives have no place for it; registries get it with the image.
void CarryEvidence(const sign::Evidence& evidence, const Digest& from, const image::Reference& destination,
                   const std::string& id, const std::string& aci, const std::string& store_root);

}  // namespace gantry::tools
