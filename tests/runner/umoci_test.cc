// What the layers of an image amount to, against umoci's unpacking of the same image: our layers rendered and stacked
// by overlayfs, as gantry-run does, and our flattened tree, as gantry-convert writes it.
//
// GANTRY_SEED and GANTRY_STACKS choose other stacks, and more. A failure prints the seed of its stack, with which it
// comes again: GANTRY_SEED=N GANTRY_STACKS=1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <optional>
#include <random>

#include "libimage/base/ascii.h"
#include "libimage/base/process.h"
#include "libimage/convert/convert.h"
#include "libimage/store/store.h"
#include "libimage/transport/oci_layout.h"
#include "libsign/verify.h"
#include "runner/rootfs.h"
#include "tests/libimage/layer/layer_stack.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace gantry::runner {
namespace {

using testing::Compare;
using testing::ImageBuilder;
using testing::Tally;
using testing::TarBuilder;
using testing::TempDir;
using testing::Tree;
using testing::TreeOf;

constexpr uint32_t kSeed = 20260101;
constexpr uint32_t kStacks = 200;
constexpr const char* kUmoci = "/usr/bin/umoci";

class NoProgress : public Progress {
 public:
  int Begin(std::string, uint64_t) override { return 0; }
  void Advance(int, uint64_t) override {}
  void End(int, std::string_view) override {}
};

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : ParseDecimal<uint32_t>(text).value();
}

// One image, unpacked in three ways.
class Unpacked {
 public:
  // `tars` are its layers, base first.
  explicit Unpacked(const std::vector<std::string>& tars) {
    ImageBuilder builder;
    for (size_t i = 0; i < tars.size(); ++i)
      builder.Layer(tars[i], i % 2 == 0 ? image::Compression::kGzip : image::Compression::kNone);
    builder.WriteLayout(Path("layout"), "it");
    layout_ = image::OciLayout::OpenAt(Path("layout"));
    image_.emplace(sign::Verifier::Verify(layout_->Load("it", image::Platform::Host()),
                                          sign::Policy::AcceptAnything("a test"), {}));
  }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;
  ~Unpacked() {
    if (mounted_)
      umount2(Path("merged").c_str(), MNT_DETACH);
  }

  // nullopt when it fails.
  std::optional<Tree> ByUmoci() const {
    const std::string source = Path("layout") + ":it";
    const Captured ran =
        RunCaptured({kUmoci, "--log=error", "raw", "unpack", "--image", source, Path("umoci")}, "", 1 << 20);
    if (ran.status.code != 0)
      return std::nullopt;
    return TreeOf(Path("umoci"));
  }

  Tree Rendered() {
    const auto store = image::Store::Open(Path("store"));
    image::Confinement keep = RendererConfinement(Path("store"));
    keep.read.push_back(Path("layout"));
    NoProgress none;
    const Rootfs rootfs = Render(*image_, *store, std::nullopt,
                                 {.open = [&](const UnpackFrom& unpack) { unpack(*layout_, none); }, .keep = keep});
    std::string lower = "lowerdir=";
    for (const std::string& layer : rootfs.layers) lower += layer + ":";
    std::filesystem::create_directory(Path("empty"));  // overlayfs wants two
    std::filesystem::create_directory(Path("merged"));
    lower += Path("empty");
    mounted_ = mount("overlay", Path("merged").c_str(), "overlay", MS_RDONLY, lower.c_str()) == 0;
    EXPECT_TRUE(mounted_) << strerror(errno) << " " << lower;
    return TreeOf(Path("merged"));
  }

  Tree Flattened() const {
    std::string tar;
    const image::OpenOutput open = [&] {
      tar.clear();
      return StringSink(tar);
    };
    image::AciOptions options;
    options.naming.name = "example.com/app";
    options.compression = image::Compression::kNone;
    image::ConvertToAci(*image_, *layout_, open, options);
    Tree tree = testing::TreeOfArchive(tar, "rootfs");
    // What docker2aci adds, and so we do.
    for (const char* added : {"dev", "dev/fd", "dev/stderr", "dev/stdin", "dev/stdout"})
      EXPECT_EQ(tree.erase(added), 1U);
    return tree;
  }

 private:
  std::string Path(const std::string& name) const { return temp_.path() + "/" + name; }

  TempDir temp_;
  std::shared_ptr<const image::OciLayout> layout_;
  std::optional<image::VerifiedImage> image_;
  bool mounted_ = false;
};

class UmociTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    umask(022);
    if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  }

  void SetUp() override {
    if (geteuid() != 0)
      GTEST_SKIP() << "needs root: to give owners and devices, and to mount overlayfs";
    if (access(kUmoci, X_OK) != 0)
      GTEST_SKIP() << "umoci is not installed";
  }

  static void ExpectAgreement(const std::vector<std::string>& tars) {
    const int64_t start = std::time(nullptr);
    Unpacked image(tars);
    const std::optional<Tree> umoci = image.ByUmoci();
    ASSERT_TRUE(umoci) << "umoci failed";
    // A link into a lower layer is a copy in ours, as after overlayfs's own copying up; see unpack.h.
    const Tree rendered = image.Rendered(), flattened = image.Flattened();
    EXPECT_EQ(Compare(*umoci, flattened, {"umoci", "the flattened image", false, start}), "");
    EXPECT_EQ(Compare(*umoci, rendered, {"umoci", "the rendered image", true, start}), "");
    EXPECT_EQ(Compare(flattened, rendered, {"the flattened image", "the rendered image", true}), "");
  }
};

TEST_F(UmociTest, RandomStacksAgreeEntryByEntry) {
  const uint32_t seed = FromEnvironment("GANTRY_SEED", kSeed);
  const uint32_t count = FromEnvironment("GANTRY_STACKS", kStacks);
  Tally tally;
  for (uint32_t number = 0; number < count; ++number) {
    std::mt19937 random(seed + number);
    const testing::LayerStack stack = testing::RandomStack(random, tally);
    ExpectAgreement(stack.tars);
    ASSERT_FALSE(HasFailure()) << "GANTRY_SEED=" << seed + number << " GANTRY_STACKS=1\n"
                               << testing::Describe(stack.layers);
  }
  for (const auto& [what, times] : tally) std::cout << times << " " << what << "\n";
}

}  // namespace
}  // namespace gantry::runner
