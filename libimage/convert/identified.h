// A tree on its way into another format, and its identity by the way.
#pragma once

#include <optional>

#include "libimage/convert/convert.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/identity.h"

namespace gantry::image {

// Flattener::Run, and what it returns. After a run that counts, `identified` is told the identity, unless it is empty.
// Where `rootfs` is known nothing is hashed for it.
inline bool RunIdentified(Flattener& flattener, EntrySink& into, const ImageConfig& config,
                          const std::optional<Digest>& rootfs, const OnIdentity& identified) {
  if (!identified || rootfs) {
    const bool done = flattener.Run(into);
    if (done && identified)
      identified(Identity::Of(config, *rootfs));
    return done;
  }
  IdentifyingSink tee(into);
  if (!flattener.Run(tee))
    return false;
  identified(tee.Identify(config));
  return true;
}

}  // namespace gantry::image
