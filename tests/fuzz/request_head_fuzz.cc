#include "libimage/base/ascii.h"
#include "serve/request_head.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Require;

// A head that is taken whole has nothing in it by which another would find a length that we do not.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gantry::serve::RequestHead head;
  const std::string_view text = gantry::fuzz::Text(data, size);
  for (const char byte : text) {
    if (!head.Take(byte))
      return 0;
  }
  const size_t line = text.find('\n');
  const size_t end = text.rfind('\n');
  if (line == end)
    return 0;
  const std::string headers = gantry::LowerAscii(text.substr(line, end - line + 1));
  Require(headers.find('\0') == std::string::npos);
  for (size_t at = 1; at < headers.size(); ++at) Require((headers[at] == '\n') == (headers[at - 1] == '\r'));
  for (const std::string_view name : {"\ntransfer-encoding", "\ncontent-length"}) {
    const size_t at = headers.find(name);
    if (at == std::string::npos)
      continue;
    const size_t colon = headers.find_first_not_of(" \t", at + name.size());
    const std::string value = headers.substr(colon + 1, headers.find('\r', at) - colon - 1);
    Require(headers[colon] != ':' || head.has_body() || gantry::Trimmed(value) == "0");
  }
  return 0;
}
