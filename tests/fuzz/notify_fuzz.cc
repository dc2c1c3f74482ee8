#include <algorithm>
#include <string>
#include <vector>

#include "runner/notify_relay.h"
#include "tests/fuzz/fuzz.h"

// Whatever an app says, systemd hears of no process but ours and nothing that is too long, and what has gone on once
// goes on unchanged.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::fuzz::Require;
  const std::vector<std::string> relayed = gantry::runner::RelayedMessages(gantry::fuzz::Text(data, size), 42);
  for (const std::string& message : relayed) {
    Require(!message.empty() && message.size() <= std::max(size, gantry::runner::kMaxNotifyBytes));
    const std::string lines = "\n" + message;
    for (const char* key : {"\nMAINPID=", "\nMAINPIDFD=", "\nMAINPIDFDID="}) {
      const size_t at = lines.find(key);
      Require(at == std::string::npos || lines.substr(at) == "\nMAINPID=42");
    }
  }
  Require(relayed.empty() || gantry::runner::RelayedMessages(relayed.back(), 42) == relayed);
  return 0;
}
