#include "libimage/transport/registries_conf.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::image::DockerReference;
using gantry::image::RegistriesConf;

// Whatever a file says, each name has places or is refused; the selectors stay, and read again it says the same.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  RegistriesConf conf;
  if (!Accepts([&] { conf.Add(gantry::fuzz::Text(data, size), "fuzz"); }))
    return 0;
  RegistriesConf twice = conf;
  Require(Accepts([&] { twice.Add(gantry::fuzz::Text(data, size), "fuzz"); }));
  for (const char* text : {"docker.io/library/box", "a.example:5000/b/c:v1", "localhost/x",
                           "q.a.example/org/app@sha256:"
                           "0123456789abcdef0123456789abcdef"
                           "0123456789abcdef0123456789abcdef"}) {
    const DockerReference name = DockerReference::Parse(text);
    Accepts([&] {
      const auto sources = conf.SourcesOf(name);
      Require(!sources.empty() && sources == twice.SourcesOf(name));
      for (const auto& source : sources) Require(source.name.digest == name.digest && !source.name.path.empty());
    });
    Accepts([&] { conf.IsInsecure(name); });
  }
  for (const char* text : {"box", "a/b:v1", "localhost/x"}) Accepts([&] { Require(!conf.Resolve(text).empty()); });
  return 0;
}
