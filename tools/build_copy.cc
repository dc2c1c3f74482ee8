#include "tools/build_copy.h"

#include "libimage/base/error.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/tree_stack.h"

namespace gantry::tools {
namespace {

using image::TreeStack;

image::CopyRules Rules() { return {.owner = std::pair<uint32_t, uint32_t>(0, 0)}; }

// "a/b/" is "b" in "a", "." is "" in ".".
std::pair<std::string, std::string> Split(const std::string& path) {
  const std::string real = RealPath(path);
  const size_t slash = real.rfind('/');
  return {slash == 0 ? "/" : real.substr(0, slash), real.substr(slash + 1)};
}

}  // namespace

int64_t CopyFromHost(image::Upper& upper, const std::vector<std::string>& from, const std::string& to,
                     bool into_directory) {
  for (const std::string& path : from) {
    const auto [parent, name] = Split(path);
    const Dir dir = Dir::Open(parent);
    const TreeStack stack({&dir}, image::UnpackOptions::Whiteouts::kOverlayUser);
    const auto node = name.empty() ? stack.Root() : stack.Resolve(name, false);
    if (!node)
      throw Error(ErrorKind::kNotFound, Quoted(path) + " does not exist");
    upper.Copy(stack, *node, upper.Resolve(into_directory ? to + "/" + name : to), Rules());
  }
  return upper.newest();
}

}  // namespace gantry::tools
