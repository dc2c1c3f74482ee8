// bench_repack LAYOUT REF STORE TREE FILE: the layer that leads from an image, which is rendered in the store, to a
// tree; compressed, into a file. What gantry-build does after a step, but over all of a tree.
#include <fcntl.h>

#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "libimage/base/progress.h"
#include "libimage/base/workers.h"
#include "libimage/build/pack.h"
#include "libimage/store/store.h"
#include "libimage/transport/oci_layout.h"
#include "libsign/policy.h"
#include "libsign/verify.h"
#include "runner/rootfs.h"

namespace {

// Render wants one.
class NoProgress : public gantry::Progress {
 public:
  int Begin(std::string, uint64_t) override { return 0; }
  void Advance(int, uint64_t) override {}
  void End(int, std::string_view) override {}
};

void Repack(const char* directory, const char* ref, const char* root, const char* tree, const char* file) {
  using namespace gantry;
  const std::shared_ptr<const image::OciLayout> layout = image::OciLayout::OpenAt(directory);
  const image::VerifiedImage image = sign::Verifier::Verify(layout->Load(ref, image::Platform::Host()),
                                                            sign::Policy::AcceptAnything("a benchmark"), {});
  const auto store = image::Store::Open(root);
  image::Confinement keep = runner::RendererConfinement(root);
  keep.read.emplace_back(directory);
  NoProgress none;
  const runner::Rootfs rootfs =
      runner::Render(image, *store, std::nullopt,
                     {.open = [&](const runner::UnpackFrom& unpack) { unpack(*layout, none); }, .keep = keep});
  std::vector<Dir> dirs;
  for (const std::string& layer : rootfs.layers) dirs.push_back(Dir::Open(layer));
  std::vector<const Dir*> layers;
  for (const Dir& dir : dirs) layers.push_back(&dir);
  const image::TreeStack base(layers, image::UnpackOptions::Whiteouts::kOverlayTrusted);
  const UniqueFd out = OpenFile(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  image::PackLayer(
      base, Dir::Open(tree), out.get(),
      {.changes = {.whole_tree = true, .threads = ProcessorCount()}, .compress = {.threads = ProcessorCount()}});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 6) {
      throw std::runtime_error("usage: bench_repack LAYOUT REF STORE TREE FILE");
    }
    Repack(argv[1], argv[2], argv[3], argv[4], argv[5]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_repack: " << error.what() << "\n";
    return 1;
  }
}
