// How a signature lies in the registry of its image: as a manifest of its own that refers to the image's (OCI 1.1), for
// sigstore bundles and envelopes of the Notary Project; others go behind cosign's tags.
#pragma once

#include <optional>

#include "libimage/model/attachment.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/signature_manifest.h"

namespace gantry::sign {

// With the annotations that cosign and notation write and look at. The same signature makes the same manifest. nullopt
// for what is no referrer; throws what parsing it throws.
std::optional<image::SignatureManifest> ReferrerOf(const image::Descriptor& subject,
                                                   const image::Attachment& attachment);

}  // namespace gantry::sign
