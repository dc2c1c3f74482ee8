#include "runner/net/cni.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

// A configuration and a plugin's result, both out of one text. What is accepted of the first is read again as it is
// remembered; what is accepted of the second are addresses, and names that fit in a line.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = gantry::fuzz::Text(data, size);
  Accepts([&] {
    bool published = false;
    const auto planned = gantry::runner::PlanCni(gantry::runner::ParseCniNetwork(text, "configuration"), "eth0",
                                                 {{0, 80, 80, false}}, published);
    const gantry::json::Value printed(planned.Print());
    const auto again = gantry::runner::CniAttachment::Parse(gantry::json::Cursor(printed, "attachment"));
    Require(gantry::json::Value(again.Print()) == printed);
  });
  Accepts([&] {
    const gantry::json::Value value = gantry::json::Parse(text, "result");
    const auto attached = gantry::runner::ParseCniResult(value);
    for (const std::string& address : attached.addresses)
      Require(gantry::runner::IsAddress(address.substr(0, address.find('/'))));
    for (const std::string& word : attached.resolver.options) Require(word.find_first_of(" \t\n") == std::string::npos);
  });
  return 0;
}
