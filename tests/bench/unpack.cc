// bench_unpack LAYOUT REF STORE: what gantry-run does between the decision and the start: renders every layer of an
// image of an OCI layout into an empty store, with digests and diff IDs checked.
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>

#include "libimage/base/progress.h"
#include "libimage/model/descriptor.h"
#include "libimage/store/store.h"
#include "libimage/transport/oci_layout.h"
#include "libsign/policy.h"
#include "libsign/verify.h"
#include "runner/rootfs.h"

namespace {

// Render wants one of its own in its child.
class NoProgress : public gantry::Progress {
 public:
  int Begin(std::string, uint64_t) override { return 0; }
  void Advance(int, uint64_t) override {}
  void End(int, std::string_view) override {}
};

void Unpack(const char* directory, const char* ref, const char* root) {
  using namespace gantry;
  const std::shared_ptr<const image::OciLayout> layout = image::OciLayout::OpenAt(directory);
  const image::VerifiedImage image = sign::Verifier::Verify(layout->Load(ref, image::Platform::Host()),
                                                            sign::Policy::AcceptAnything("a benchmark"), {});
  const auto store = image::Store::Open(root);
  image::Confinement keep = runner::RendererConfinement(root);
  keep.read.emplace_back(directory);
  runner::Render(
      image, *store, std::nullopt,
      {.open = [&] { return layout; }, .keep = keep, .progress = [] { return std::make_unique<NoProgress>(); }});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) {
      throw std::runtime_error("usage: bench_unpack LAYOUT REF STORE");
    }
    Unpack(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_unpack: " << error.what() << "\n";
    return 1;
  }
}
