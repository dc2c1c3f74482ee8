// An ACI and the ACIs that it depends on, in the order in which appc renders them: depth first, each before what
// depends on it (appc spec, aci.md, "Dependency Matching" and "Image Manifest Schema", dependencies).
//
// Dependencies are found among files, never in the network: those that the caller names, then those ending in ".aci" in
// the directory of the ACI itself. A file matches by its name and by the labels that are asked for; where several do,
// or where one is asked for, the image ID decides.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/transport/aci_file.h"

namespace gantry::image {

constexpr size_t kMaxAciDepth = 256;           // of dependencies of dependencies
constexpr size_t kMaxAciFilesBeside = 10'000;  // that a directory is searched for

struct StackedAci {
  std::shared_ptr<const AciFile> file;
  // What of it may be in the tree: its own whitelist and those of all that lead to it.
  PathWhitelists only;
};

// The ACI is the last. kNotFound, naming it, when a dependency is not there; kCorrupt when none of those of its name
// has the image ID or the size, for circles, and for more than kMaxLayers in all; kUsage when several fit equally.
std::vector<StackedAci> OpenAciStack(const std::string& path, const std::vector<std::string>& dependencies);

// The file of an ACI that is `wanted`, found as a dependency is: among `given`, else in `directory`. nullopt when none
// is there; other errors as above.
std::optional<std::string> FindAci(const AciDependency& wanted, const std::vector<std::string>& given,
                                   const std::string& directory);

// The file in `directory` that ends in ".aci" and on whose ACI no other there depends. kNotFound when there is none;
// kUsage, naming some, when there are several. What is no ACI does not count.
std::string TopAciIn(const std::string& directory);

}  // namespace gantry::image
