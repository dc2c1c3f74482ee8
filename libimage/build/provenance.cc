#include "libimage/build/provenance.h"

#include "libimage/base/json.h"
#include "libimage/model/reference.h"

namespace gantry::image {
namespace {

constexpr const char* kBuildType = "https://gantry.dev/build/v1";

json::Object DigestSet(const std::string& id) {
  const size_t at = id.find_first_of(":-");
  return {{id.substr(0, at), id.substr(at + 1)}};
}

// Without the place on this machine.
std::string UriOf(const std::string& base) {
  Reference reference = Reference::Parse(base);
  if (const auto* file = reference.file()) {
    FileReference plain = *file;
    plain.path = plain.path.substr(plain.path.find_last_of('/') + 1);
    return Reference(plain).ToString();
  }
  return base;
}

}  // namespace

std::string ProvenanceOf(const Draft& draft, const std::string& name, const std::string& id) {
  json::Array inputs;
  if (draft.base())
    inputs.emplace_back(
        json::Object{{"uri", UriOf(draft.base()->name)}, {"digest", DigestSet(draft.base()->manifest.str())}});
  for (const DraftInput& input : draft.inputs())
    inputs.emplace_back(json::Object{{"uri", input.name}, {"digest", DigestSet(input.digest.str())}});
  json::Array steps;
  for (const std::string& step : draft.Steps()) steps.emplace_back(step);
  const json::Object definition{{"buildType", kBuildType},
                                {"externalParameters", json::Object{{"steps", std::move(steps)}}},
                                {"resolvedDependencies", std::move(inputs)}};
  const json::Object run{{"builder", json::Object{{"id", "gantry-build"}}}};
  const json::Object statement{{"_type", "https://in-toto.io/Statement/v1"},
                               {"subject", json::Array{json::Object{{"name", name}, {"digest", DigestSet(id)}}}},
                               {"predicateType", "https://slsa.dev/provenance/v1"},
                               {"predicate", json::Object{{"buildDefinition", definition}, {"runDetails", run}}}};
  return json::Print(statement);
}

}  // namespace gantry::image
