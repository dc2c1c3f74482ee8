// bench_unpack STORE NAME, or bench_unpack STORE LAYOUT REF: what gantry-run does between the decision and the start:
// renders every layer of an image of the store, whose blobs were hashed when they came in, or of an OCI layout, whose
// blobs are hashed now, with diff IDs checked.
#include <cstdlib>
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

// Render wants one.
class NoProgress : public gantry::Progress {
 public:
  int Begin(std::string, uint64_t) override { return 0; }
  void Advance(int, uint64_t) override {}
  void End(int, std::string_view) override {}
};

using namespace gantry;

void Render(const image::FetchedImage& fetched, image::Store& store, const std::shared_ptr<const image::Blobs>& blobs,
            const image::Confinement& keep) {
  const image::VerifiedImage image = sign::Verifier::Verify(fetched, sign::Policy::AcceptAnything("a benchmark"), {});
  NoProgress none;
  runner::Render(image, store, std::nullopt,
                 {.open = [&](const runner::UnpackFrom& unpack) { unpack(*blobs, none); },
                  .keep = keep,
                  .identity = std::getenv("BENCH_IDENTITY") != nullptr});
}

void UnpackFromStore(const char* root, const char* name) {
  const std::shared_ptr<image::Store> store = image::Store::Open(root);
  Render(store->Load(store->Resolve(name).value()), *store, store, runner::RendererConfinement(root));
}

void UnpackFromLayout(const char* root, const char* directory, const char* ref) {
  const std::shared_ptr<const image::OciLayout> layout = image::OciLayout::OpenAt(directory);
  image::Confinement keep = runner::RendererConfinement(root);
  keep.read.emplace_back(directory);
  Render(layout->Load(ref, image::Platform::Host()), *image::Store::Open(root), layout, keep);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3)
      UnpackFromStore(argv[1], argv[2]);
    else if (argc == 4)
      UnpackFromLayout(argv[1], argv[2], argv[3]);
    else
      throw std::runtime_error("usage: bench_unpack STORE NAME | STORE LAYOUT REF");
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_unpack: " << error.what() << "\n";
    return 1;
  }
}
