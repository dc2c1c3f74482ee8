// What a registry writes into its headers: challenges, and ranges of bodies.
#include "libimage/transport/auth.h"
#include "libimage/transport/http.h"
#include "libimage/transport/registry.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::fuzz::Require;
  const std::string text(gantry::fuzz::Text(data, size));
  const auto challenges = gantry::image::ParseChallenges({text, text});
  Require(challenges.size() <= gantry::image::kMaxChallenges);
  for (const gantry::image::Challenge& challenge : challenges) Require(!challenge.scheme.empty());
  if (const auto range = gantry::image::ParseContentRange(text))
    Require(range->first <= range->last && (!range->size || range->last < *range->size));
  gantry::image::ParseRetryAfter(text, {});
  gantry::image::Url::Parse(text);
  gantry::image::NextPage(text);
  return 0;
}
