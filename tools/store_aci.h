// The App Container Images that a store keeps as the files they came as (gantry-store(5), aci/), for the verbs of
// gantry-store. Their names keep them: a collection takes only what was left half fetched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/json.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"

namespace gantry::tools {

struct StoredAci {
  image::AppcReference wanted;  // by which it was fetched; where its file does not tell, what its manifest says
  std::string file;             // in aci/
  uint64_t bytes = 0;
  bool is_signed = false;
  bool is_exact = true;  // `wanted` is of the file

  std::string name() const { return image::Reference(wanted).ToString(); }
  std::string platform() const;  // "linux/amd64", or "-"
  json::Object ToJson() const;
};

class StoredAcis {
 public:
  // Of the store at `root`; none when it has no such directory.
  explicit StoredAcis(const std::string& root);

  // Sorted by name.
  std::vector<StoredAci> List() const;
  // "appc:NAME..." as List has it, or without this machine's os and arch.
  std::optional<StoredAci> Find(const std::string& name) const;
  // What Find found, with all that reading it tells. kCorrupt for what is no sound image.
  json::Object Show(const StoredAci& aci) const;
  // With its signature; waits for a fetch of it.
  void Remove(const StoredAci& aci) const;

  // Reads every file.
  std::vector<image::StoreProblem> Check() const;
  // Paths in the store of what dead processes left.
  std::vector<std::string> Leftovers() const;
  size_t RemoveLeftovers() const;

 private:
  std::vector<RelPath> LeftoverFiles() const;

  std::string root_;
  std::optional<Dir> dir_;
};

}  // namespace gantry::tools
