#include "libimage/model/reference.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::image::DockerReference;
  using gantry::image::Reference;
  const std::string_view text = gantry::fuzz::Text(data, size);
  std::optional<Reference> reference;
  if (Accepts([&] { reference = Reference::Parse(text); }))
    Require(Reference::Parse(reference->ToString()) == *reference);
  std::optional<DockerReference> docker;
  if (Accepts([&] { docker = DockerReference::Parse(text); })) {
    Require(DockerReference::Parse(docker->ToString()) == *docker);
    Require(docker->path.find("..") == std::string::npos);
  }
  return 0;
}
