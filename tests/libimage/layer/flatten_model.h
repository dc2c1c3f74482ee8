// What flattening means, said another way: every layer rendered into a tree in memory, then the trees laid over one
// another from the base up. Slow, and with no thought of streams.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
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

ModelLayer RandomLayer(std::mt19937& random);
std::string TarOf(const ModelLayer& layer);
std::string Describe(const std::vector<ModelLayer>& layers);

// nullopt when a layer is corrupt.
std::optional<FlatTree> ModelFlatten(const std::vector<ModelLayer>& layers);

}  // namespace gantry::testing
