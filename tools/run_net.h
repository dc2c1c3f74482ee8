// The options of gantry-run that say what network a pod has.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runner/config.h"

namespace gantry::tools {

struct NetOptions {
  std::string network, hostname, configurations;
  std::vector<std::string> dns, searches, resolver_options, hosts, publish;
  std::optional<unsigned> plugin_seconds;
};

// `options` must outlive the parse.
void AddNetOptions(CLI::App& app, NetOptions& options);

// After the parse. kUsage for what cannot be meant.
void TakeNet(const NetOptions& options, runner::RunOptions& run);

}  // namespace gantry::tools
