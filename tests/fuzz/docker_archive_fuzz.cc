#include <algorithm>

#include "libimage/transport/docker_archive.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_file.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

using namespace gantry::image;

// What an archive loads is what its digests say, and the same when it is loaded again.
void CheckImage(DockerArchive& archive, size_t number, size_t size) {
  const FetchedImage loaded = archive.Load(number);
  const Image& image = loaded.image();
  Require(archive.Load(number).image().manifest_bytes == image.manifest_bytes);
  Require(gantry::Digest::Of(image.manifest_bytes) == image.descriptor.digest);
  Require(Drain(*archive.Open(image.descriptor, "manifest"), kMaxManifestBytes, "manifest") == image.manifest_bytes);
  for (const Descriptor& layer : image.manifest.layers) {
    Require(layer.size <= size);
    Accepts([&] { Drain(*archive.Open(layer, "layer"), size, "layer"); });
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Accepts([&] {
    DockerArchive archive(TarFile(gantry::testing::MemoryFile(gantry::fuzz::Text(data, size)), "input"));
    for (size_t i = 0; i < std::min<size_t>(archive.images().size(), 4); ++i)
      Accepts([&] { CheckImage(archive, i, size); });
  });
  return 0;
}
