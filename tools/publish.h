// Signatures into the registry of the image that they are about, by way of the half of a push that has the network.
#pragma once

#include <string>

#include "libimage/model/attachment.h"
#include "libimage/model/descriptor.h"
#include "libimage/transport/pusher.h"
#include "libsign/evidence.h"

namespace gantry::tools {

// Puts one where other tools look for its kind: payloads behind the .sig tag, bare envelopes behind the .att tag,
// bundles and envelopes of the Notary Project as referrers. Returns the place, for people.
std::string Publish(image::Pusher& pusher, const image::Descriptor& subject, const image::Attachment& attachment);

// Those of `evidence` that can lie in a registry, which OpenPGP signatures cannot, and that are whole. Returns how
// many.
size_t PublishAll(image::Pusher& pusher, const image::Descriptor& subject, const sign::Evidence& evidence);

}  // namespace gantry::tools
