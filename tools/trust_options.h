// What gantry-trust is told on its command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/tool_main.h"

namespace gantry::tools {

struct TrustOptions {
  CommonOptions common;
  std::string policy;                 // --policy
  std::string key;                    // --key
  std::string fingerprint;            // --fingerprint
  std::string prefix;                 // --prefix
  std::string directory;              // --directory
  std::vector<std::string> operands;  // SCOPE, or the KEYs or FINGERPRINTs of --prefix and --root
  bool every_name = false;            // --root
  bool yes = false;
  bool json = false;
  bool identity = false;

  // The policy file that was named, by option or environment.
  std::optional<std::string> NamedPolicy() const;
  // Whether keys of appc are meant and not a scope.
  bool of_appc() const { return every_name || !prefix.empty(); }
};

}  // namespace gantry::tools
