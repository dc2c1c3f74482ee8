// Debian's docker-registry, on a free port of the loopback and with storage of its own, as long as the object lives.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/process.h"
#include "tests/support/temp_dir.h"

namespace gantry::testing {

class DebianRegistry {
 public:
  // Throws std::runtime_error when it does not start.
  DebianRegistry();
  DebianRegistry(const DebianRegistry&) = delete;
  DebianRegistry& operator=(const DebianRegistry&) = delete;

  static bool IsInstalled();
  const std::string& host() const { return host_; }  // "127.0.0.1:PORT"

 private:
  TempDir temp_;
  std::string host_;
  std::optional<Process> process_;
};

}  // namespace gantry::testing
