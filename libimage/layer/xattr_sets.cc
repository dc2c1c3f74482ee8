#include "libimage/layer/xattr_sets.h"

#include "libimage/base/error.h"

namespace gantry::image {

uint32_t XattrSets::Number(const Xattrs& set) {
  if (const auto known = numbers_.find(set); known != numbers_.end())
    return known->second;
  for (const auto& [name, value] : set) bytes_ += name.size() + value.size();
  if (bytes_ > kMaxKeptXattrBytes) {
    throw Error(ErrorKind::kCorrupt, "the extended attributes of the image take more than " +
                                         std::to_string(kMaxKeptXattrBytes >> 20) + " MiB");
  }
  const auto at = numbers_.emplace(set, static_cast<uint32_t>(sets_.size())).first;
  sets_.push_back(&at->first);
  return at->second;
}

}  // namespace gantry::image
