// Sets of extended attributes as numbers: of many paths few differ.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gantry::image {

// Of sets that differ, in one tree: they wait in memory for its end.
constexpr size_t kMaxKeptXattrBytes = size_t{64} << 20;

using Xattrs = std::vector<std::pair<std::string, std::string>>;  // sorted by name, values are bytes

class XattrSets {
 public:
  uint32_t Number(const Xattrs& set);  // kCorrupt beyond kMaxKeptXattrBytes
  const Xattrs& operator[](uint32_t number) const { return *sets_[number]; }
  size_t bytes() const { return bytes_; }

 private:
  std::map<Xattrs, uint32_t> numbers_;
  std::vector<const Xattrs*> sets_;
  size_t bytes_ = 0;
};

}  // namespace gantry::image
