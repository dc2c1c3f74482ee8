#include "libimage/layer/tree_stack.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/attributes.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

// The components of `text`, the first one last.
void Queue(std::string_view text, std::vector<std::string>& into) {
  const size_t before = into.size();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    if (end > begin)
      into.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  std::reverse(into.begin() + static_cast<std::ptrdiff_t>(before), into.end());
}

}  // namespace

std::string TreeStack::Node::Child(std::string_view name) const {
  std::string child = path;
  if (!child.empty())
    child += '/';
  return child.append(name);
}

TreeStack::TreeStack(std::vector<const Dir*> layers, UnpackOptions::Whiteouts whiteouts)
    : layers_(std::move(layers)), whiteouts_(whiteouts) {
  if (layers_.size() > UINT16_MAX)
    throw Error(ErrorKind::kUnsupported, "a stack of " + std::to_string(layers_.size()) + " layers is too high");
}

UniqueFd TreeStack::OpenDirectory(uint16_t layer, const std::string& path) const {
  const Dir& root = *layers_[layer];
  if (!path.empty())
    return root.OpenBeneath(RelPath::Parse(path), O_RDONLY | O_DIRECTORY);
  UniqueFd fd(openat(root.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd)
    ThrowErrno("open " + Quoted(root.name()));
  return fd;
}

std::optional<TreeStack::Node> TreeStack::Root() const {
  if (layers_.empty())
    return std::nullopt;
  Node root;
  for (size_t i = 0; i < layers_.size(); ++i) {
    root.layers.push_back(static_cast<uint16_t>(i));
    if (IsOpaque(layers_[i]->fd(), whiteouts_))
      break;
  }
  if (fstat(layers_[0]->fd(), &root.status) < 0)
    ThrowErrno("stat " + Quoted(layers_[0]->name()));
  return root;
}

TreeStack::OpenNode::OpenNode(const TreeStack& stack, const Node& directory) : stack_(stack), directory_(directory) {
  for (const uint16_t layer : directory.layers) fds_.push_back(stack.OpenDirectory(layer, directory.path));
}

int TreeStack::OpenNode::FdOf(uint16_t layer) const {
  return fds_[static_cast<size_t>(std::ranges::find(directory_.layers, layer) - directory_.layers.begin())].get();
}

std::optional<TreeStack::Node> TreeStack::OpenNode::Find(std::string_view child) const {
  const std::string name(child);
  Node found;
  for (size_t i = 0; i < fds_.size(); ++i) {
    struct stat status {};
    if (fstatat(fds_[i].get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT)
        continue;
      ThrowErrno("stat " + Quoted(directory_.Child(name)));
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    if (IsWhiteout(status) || (!found.layers.empty() && !is_directory))
      break;
    if (found.layers.empty())
      found.status = status;
    found.layers.push_back(directory_.layers[i]);
    if (!is_directory)
      break;
    const UniqueFd fd(openat(fds_[i].get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
      ThrowErrno("open " + Quoted(directory_.Child(name)));
    if (IsOpaque(fd.get(), stack_.whiteouts_))
      break;
  }
  if (found.layers.empty())
    return std::nullopt;
  found.path = directory_.Child(name);
  return found;
}

Entry TreeStack::OpenNode::Describe(const Node& child) const {
  const std::string name(SplitPath(child.path).second);
  Entry entry = ReadAttributes(FdOf(child.layers.front()), name, child.status, stack_.whiteouts_);
  entry.name = child.path;
  return entry;
}

UniqueFd TreeStack::OpenNode::OpenFile(const Node& child) const {
  const std::string name(SplitPath(child.path).second);
  UniqueFd fd(openat(FdOf(child.layers.front()), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd)
    ThrowErrno("open " + Quoted(child.path));
  return fd;
}

std::optional<TreeStack::Node> TreeStack::Find(const Node& directory, std::string_view name) const {
  return OpenNode(*this, directory).Find(name);
}

std::vector<TreeStack::Node> TreeStack::List(const Node& directory) const {
  std::set<std::string> names;
  for (const uint16_t layer : directory.layers) {
    for (std::string& name : Dir(OpenDirectory(layer, directory.path), directory.path).List())
      names.insert(std::move(name));
  }
  std::vector<Node> nodes;
  const OpenNode open(*this, directory);
  for (const std::string& name : names) {
    if (auto node = open.Find(name))
      nodes.push_back(*std::move(node));
  }
  return nodes;
}

std::optional<TreeStack::Node> TreeStack::Resolve(std::string_view path, bool follow, std::string* resolved) const {
  std::vector<std::string> todo;
  Queue(path, todo);
  std::vector<Node> way;  // from the root; what is missing has no layers
  way.push_back(Root().value_or(Node{}));
  size_t hops = 0;
  while (!todo.empty()) {
    const std::string name = std::move(todo.back());
    todo.pop_back();
    if (name == "." || name == "..") {
      if (name == ".." && way.size() > 1)
        way.pop_back();
      continue;
    }
    const Node& at = way.back();
    auto next = at.is_directory() ? Find(at, name) : std::nullopt;
    if (next && S_ISLNK(next->status.st_mode) && (follow || !todo.empty())) {
      if (++hops > kMaxSymlinkHops)
        throw Error(ErrorKind::kCorrupt, Quoted(path) + " leads through too many symbolic links");
      const std::string target = Describe(*next).link;
      if (target.starts_with('/'))
        way.resize(1);
      Queue(target, todo);
      continue;
    }
    if (!next)
      next = Node{at.Child(name), {}, {}};
    way.push_back(*std::move(next));
  }
  if (resolved != nullptr)
    *resolved = way.back().path;
  if (way.back().layers.empty())
    return std::nullopt;
  return way.back();
}

Entry TreeStack::Describe(const Node& node) const {
  const auto [parent, name] = SplitPath(node.path);
  const UniqueFd dir = OpenDirectory(node.layers.front(), std::string(parent));
  Entry entry = ReadAttributes(dir.get(), node.path.empty() ? "." : std::string(name), node.status, whiteouts_);
  entry.name = node.path;
  return entry;
}

UniqueFd TreeStack::OpenFile(const Node& node) const {
  return layers_[node.layers.front()]->OpenBeneath(RelPath::Parse(node.path), O_RDONLY);
}

}  // namespace gantry::image
