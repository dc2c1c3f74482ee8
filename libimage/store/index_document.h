// The index.json of a store: names and what they stand for.
//
// The document is edited, not printed anew: what other tools put there stays. Names are checked when it is read, for
// the file may come from anywhere: printable, bounded, none twice.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/descriptor.h"

namespace gantry::image {

constexpr std::string_view kRefNameAnnotation = "org.opencontainers.image.ref.name";
constexpr size_t kMaxStoredNames = 100'000;
constexpr size_t kMaxStoredNameBytes = 1024;

struct IndexEntry {
  std::string name;  // empty when the entry has none
  Descriptor descriptor;
};

class IndexDocument {
 public:
  // kCorrupt with the JSON pointer for what is not an image index with good names; `what` names the file.
  static IndexDocument Parse(std::string_view bytes, const std::string& what);
  // One without entries.
  static IndexDocument Empty();

  const std::vector<IndexEntry>& entries() const { return entries_; }

  // Replaces the entry of that name, or appends one. The name goes into the annotations.
  void Set(const std::string& name, Descriptor descriptor);
  bool Remove(const std::string& name);  // false when absent

  std::string Print() const;

 private:
  std::vector<IndexEntry> entries_;
  json::Object document_;  // without "manifests"
  json::Array manifests_;  // as read, one for each entry
};

// Whether a store can hold an image under this name: 1 to kMaxStoredNameBytes printable ASCII bytes, no spaces.
bool IsStoredName(std::string_view name);

}  // namespace gantry::image
