#include "libimage/store/index_document.h"

#include <algorithm>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"

namespace gantry::image {

bool IsStoredName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxStoredNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

IndexDocument IndexDocument::Parse(std::string_view bytes, const std::string& what) {
  const json::Value root = json::Parse(bytes, what);
  const json::Cursor cursor(root, what);
  if (const json::Cursor version = cursor.At("schemaVersion"); version.Unsigned(UINT32_MAX) != 2)
    version.Fail("expected 2");
  IndexDocument out;
  std::set<std::string> seen;
  for (const json::Cursor& element : cursor.At("manifests").Elements(kMaxStoredNames)) {
    IndexEntry entry{.name = {}, .descriptor = Descriptor::Parse(element)};
    if (const auto found = entry.descriptor.annotations.find(std::string(kRefNameAnnotation));
        found != entry.descriptor.annotations.end()) {
      entry.name = found->second;
      const json::Cursor name = element.At("annotations").At(kRefNameAnnotation);
      if (!IsStoredName(entry.name))
        name.Fail("expected a name of printable characters without spaces, at most 1024 bytes long");
      if (!seen.insert(entry.name).second)
        name.Fail("the name " + Quoted(entry.name) + " occurs twice");
    }
    out.manifests_.push_back(element.value());
    out.entries_.push_back(std::move(entry));
  }
  out.document_ = *root.object();
  return out;
}

IndexDocument IndexDocument::Empty() {
  IndexDocument out;
  out.document_ = {{"schemaVersion", 2}, {"mediaType", kOciIndexType}};
  return out;
}

void IndexDocument::Set(const std::string& name, Descriptor descriptor) {
  descriptor.annotations[std::string(kRefNameAnnotation)] = name;
  json::Value value = descriptor.ToJson();
  IndexEntry entry{.name = name, .descriptor = std::move(descriptor)};
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const IndexEntry& old) { return old.name == name; });
  if (found != entries_.end()) {
    manifests_[static_cast<size_t>(found - entries_.begin())] = std::move(value);
    *found = std::move(entry);
    return;
  }
  if (entries_.size() == kMaxStoredNames)
    throw Error(ErrorKind::kFailed, "the store holds as many names as it can", "remove some with gantry store rm");
  manifests_.push_back(std::move(value));
  entries_.push_back(std::move(entry));
}

bool IndexDocument::Remove(const std::string& name) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const IndexEntry& old) { return old.name == name; });
  if (name.empty() || found == entries_.end())
    return false;
  manifests_.erase(manifests_.begin() + (found - entries_.begin()));
  entries_.erase(found);
  return true;
}

std::string IndexDocument::Print() const {
  json::Object out = document_;
  out.Set("manifests", manifests_);
  return json::Print(out);
}

}  // namespace gantry::image
