// Text from outside that is shown to people: which bytes a terminal shows as they are, without a change to others.
#pragma once

#include <cstddef>
#include <string_view>

namespace gantry {

// Length of the sequence at `at` that is UTF-8 and shown as it is, or 0 where there is none: neither what is no UTF-8,
// nor controls (C1, U+0080..U+009F, are as harmful as C0), marks and overrides of the writing direction (U+200E,
// U+200F, U+202A..U+202E, U+2066..U+2069), and line separators.
size_t ShownLength(std::string_view text, size_t at);

// Whether all of it is.
bool IsShown(std::string_view text);

}  // namespace gantry
