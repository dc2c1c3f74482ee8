// Points in time as text, under the names by which libsign calls them.
#pragma once

#include "libimage/base/time_text.h"

namespace gantry::sign {

using gantry::ParseRfc3339;
using gantry::TimeText;

}  // namespace gantry::sign
