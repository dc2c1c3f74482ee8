// One image that is on this machine, and the signatures that lie beside it: for the binaries that judge and sign.
#pragma once

#include <optional>
#include <string>

#include "libimage/model/image.h"
#include "libimage/model/reference.h"
#include "libsign/evidence.h"
#include "libsign/registries_d.h"

namespace gantry::tools {

struct LocalImage {
  image::FetchedImage image;
  sign::Evidence evidence;
};

// Opens a name in the store at `root` (bare, store: or docker://) or an OCI layout (oci:DIR[:REF], of this machine's
// platform). `as` is the registry name to judge it under, nullopt for the one it has. The evidence is what the store
// keeps and what file: lookasides hold for that name. kNotFound, with the command that would fetch it, when it is not
// here; kUnsupported for formats that carry no manifest to sign.
LocalImage OpenLocalImage(const std::string& text, const std::string& root,
                          const std::optional<image::DockerReference>& as, const sign::RegistriesD& registries);

}  // namespace gantry::tools
