// A tree on its way into another format, and its identity by the way.
#pragma once

#include "libimage/convert/convert.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/identity.h"

namespace gantry::image {

// Flattener::Run, and what it returns. After a run that counts, `identified` is told the identity, unless it is empty.
inline bool RunIdentified(Flattener& flattener, EntrySink& into, const ImageConfig& config,
                          const OnIdentity& identified) {
  if (!identified)
    return flattener.Run(into);
  IdentifyingSink tee(into);
  if (!flattener.Run(tee))
    return false;
  identified(tee.Identify(config));
  return true;
}

}  // namespace gantry::image
