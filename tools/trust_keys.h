// Keys that gantry-trust is given: read, shown and confirmed; and the trusted keys of appc, by prefix.
#pragma once

#include <string>

#include "libsign/trust_file.h"
#include "tools/trust_options.h"

namespace gantry::tools {

// `text` as it can be shown on a terminal.
std::string Printable(const std::string& text);

// The key in --key, shown and confirmed for images of `scope`. kRefused when it is not the one expected, cannot be
// used, or is not confirmed.
sign::NewKey ConfirmedKey(const TrustOptions& options, const std::string& scope);

// add and remove with --prefix or --root.
int AddTrustedKeys(const TrustOptions& options);
int RemoveTrustedKeys(const TrustOptions& options);

}  // namespace gantry::tools
