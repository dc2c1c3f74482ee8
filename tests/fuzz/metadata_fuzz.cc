// What a container sends to its metadata service.
#include "runner/metadata.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::fuzz::Require;
  static const gantry::runner::PodMetadata kPod = {"t",
                                                   std::string(gantry::runner::kMetadataSecretBytes, 's'),
                                                   "11111111-2222-4333-8444-555555555555",
                                                   "{}",
                                                   "[]",
                                                   {{"app", "sha512-ab", "{}", "[]"}}};
  const std::string text(gantry::fuzz::Text(data, size));
  const auto answer = gantry::runner::AnswerRequest(kPod, text);
  Require(!answer || answer->starts_with("HTTP/1.1 "));
  // What waits for more is not beyond the bounds.
  Require(answer || text.size() < gantry::runner::kMaxRequestHead + gantry::runner::kMaxRequestBody + 4);
  return 0;
}
