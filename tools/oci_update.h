// gantry-oci update: from flags, or a file, to limits.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "runner/spec_resources.h"

namespace gantry::tools {

struct OciUpdateOptions {
  std::string file;                           // "-" is standard input
  std::map<std::string, std::string> values;  // by flag
};

void AddUpdateOptions(CLI::App& command, OciUpdateOptions& options);
runner::SpecResources ResourcesOf(const OciUpdateOptions& options);

}  // namespace gantry::tools
