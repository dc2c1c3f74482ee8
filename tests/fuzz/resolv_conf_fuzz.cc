#include "runner/net/resolv_conf.h"
#include "tests/fuzz/fuzz.h"

// What is taken of a file is written so that it is read again as it was taken.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto resolver = gantry::runner::ParseResolvConf(gantry::fuzz::Text(data, size));
  gantry::fuzz::Require(resolver.servers.size() <= gantry::runner::kMaxResolverEntries);
  gantry::fuzz::Require(gantry::runner::ParseResolvConf(gantry::runner::PrintResolvConf(resolver)) == resolver);
  return 0;
}
