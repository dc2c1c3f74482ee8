// What flattening means, said another way: every layer rendered into a tree in memory, then the trees laid over one
// another from the base up. Slow, and with no thought of streams.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "libimage/layer/flatten.h"

namespace gantry::testing {

// By path: "dir MODE", "file CONTENT", "link TARGET", or "= PATH" for a later name (in order of path) of one inode.
using FlatTree = std::map<std::string, std::string>;

// Builds a FlatTree from what a Flattener hands out, and fails the test on entries out of contract: a name given twice,
// a link to what was not there yet, content of another length.
class FlatTreeSink : public image::EntrySink {
 public:
  void Add(const image::Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override;
  void WriteZeros(uint64_t count) override;

  FlatTree Tree();
  const std::vector<std::string>& order() const { return order_; }

 private:
  void CheckContent();
  std::map<std::string, std::shared_ptr<std::string>> inodes_;
  std::vector<std::string> order_;
  std::shared_ptr<std::string> open_;
  uint64_t expected_ = 0;
};

struct ModelEntry {
  enum class Type { kFile, kDirectory, kSymlink, kHardLink, kWhiteout, kOpaque } type;
  std::string path;
  std::string text;  // content, target; mode of a directory in octal
};
using ModelLayer = std::vector<ModelEntry>;

// Thrown for a layer that is corrupt.
struct ModelCorrupt {};

using ModelInode = std::shared_ptr<std::string>;  // "file x", "link x", "dir 755", "dir implied"

// One layer by itself, entry by entry.
struct RenderedLayer {
  std::map<std::string, ModelInode> tree{{"", std::make_shared<std::string>("dir implied")}};
  std::set<std::string> whiteouts, opaque;
  std::map<std::string, std::string> lower;  // of hard links into lower layers: name, target
  std::set<std::string> wanted;              // targets in lower layers, also of links that are gone

  void Apply(const ModelEntry& entry);
  // `path` without the links on the way, which are followed inside the layer. Directories on the way are made with
  // `make`, and added to `passed`.
  std::string Resolve(const std::string& path, bool make, std::vector<std::string>* passed = nullptr);

 private:
  std::string Walk(const std::string& directory, bool make, std::vector<std::string>* passed);
  void Clear(const std::string& path);
  void Link(const std::string& path, const std::string& target);
};

std::string ParentOf(const std::string& path);

ModelLayer RandomLayer(std::mt19937& random);
std::string TarOf(const ModelLayer& layer);
std::string Describe(const std::vector<ModelLayer>& layers);

// nullopt when a layer is corrupt.
std::optional<FlatTree> ModelFlatten(const std::vector<ModelLayer>& layers);

}  // namespace gantry::testing
