// gantry trust list: the policy that decides, each scope of it, and who can vouch there.
#pragma once

#include "tools/trust_options.h"

namespace gantry::tools {

int ListTrust(const TrustOptions& options);

}  // namespace gantry::tools
