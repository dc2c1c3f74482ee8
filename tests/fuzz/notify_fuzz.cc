#include "runner/notify_relay.h"
#include "tests/fuzz/fuzz.h"

// Whatever an app says, systemd hears of no process but ours, and what has gone on once goes on unchanged.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string relayed = gantry::runner::RelayedText(gantry::fuzz::Text(data, size), 42);
  const std::string lines = "\n" + relayed;
  for (const char* key : {"\nMAINPID=", "\nMAINPIDFD=", "\nMAINPIDFDID="}) {
    const size_t at = lines.find(key);
    gantry::fuzz::Require(at == std::string::npos || lines.substr(at) == "\nMAINPID=42");
  }
  gantry::fuzz::Require(gantry::runner::RelayedText(relayed, 42) == relayed);
  return 0;
}
