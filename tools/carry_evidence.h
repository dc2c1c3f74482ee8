// What was attested about an image goes along when it is converted: an identity holds in every form.
#pragma once

#include <string>

#include "libimage/model/reference.h"
#include "libsign/evidence.h"

namespace gantry::tools {

// Keeps the bundles and attestations in `evidence` beside what was written to `destination` under the digest `id`: in
// signatures/ of an OCI layout, in the store, next to the App Container Image `aci`. Formats with no place for them go
// without.
void CarryEvidence(const sign::Evidence& evidence, const image::Reference& destination, const std::string& id,
                   const std::string& aci, const std::string& store_root);

}  // namespace gantry::tools
