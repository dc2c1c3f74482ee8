// Member names in the letter case of Go's JSON decoder.
//
// The tools that most images pass through are written in Go, whose decoder takes "Layers" or even "layer\u017f" for
// "layers". A document that means one thing to them and another to a reader of exact names is how CVE-2021-41190 works.
// So manifests with such names are refused, and configurations are read as those tools read them, where it is one
// spelling only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/json.h"

namespace gantry::image {

// ASCII letters in lower case; the two letters beyond ASCII that fold to ASCII ones (U+017F, U+212A) too.
std::string FoldedName(std::string_view name);

// The members of one object, found by name in any letter case. Borrows what `object` points into.
class FoldedMembers {
 public:
  // kCorrupt when it is no object, has over 10,000 members, or two whose names differ in nothing but letter case.
  explicit FoldedMembers(const json::Cursor& object);

  // nullopt when absent or null. `name` as the specification writes it.
  std::optional<json::Cursor> Find(std::string_view name) const;

  // The text of that member, empty when absent or null; kCorrupt beyond `max_bytes` or with a NUL byte in it, which no
  // argument, path or variable of a process can carry.
  std::string Text(std::string_view name, size_t max_bytes) const;

 private:
  std::map<std::string, json::Cursor> members_;
};

}  // namespace gantry::image
