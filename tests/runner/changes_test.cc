// The layer of what changed, against what really changed: random changes made in a mounted overlay over a random stack
// of layers; the layer that they amount to, applied by us and by umoci, must give the tree that was seen there. The
// layer of a whole tree must give the same.
//
// GANTRY_SEED and GANTRY_CHANGES choose others, and more.
#include "libimage/layer/changes.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "libimage/base/ascii.h"
#include "libimage/base/process.h"
#include "libimage/layer/unpack.h"
#include "tests/libimage/layer/layer_stack.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"

namespace gantry::runner {
namespace {

namespace fs = std::filesystem;
using image::UnpackOptions;
using testing::Tree;

constexpr uint32_t kSeed = 20261125;
constexpr uint32_t kRounds = 12;
constexpr int kChangesEach = 30;
constexpr const char* kUmoci = "/usr/bin/umoci";

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : ParseDecimal<uint32_t>(text).value();
}

// Layers as directories, the topmost first, mounted where they can be looked at.
class Stack {
 public:
  explicit Stack(std::string place) : place_(std::move(place)) { fs::create_directories(place_ + "/merged"); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() { Unmount(); }

  void Push(const std::string& tar) {
    const std::string path = place_ + "/" + std::to_string(dirs_.size());
    fs::create_directory(path);
    auto dir = std::make_unique<Dir>(Dir::Open(path));
    const image::UnpackResult result = image::UnpackLayer(StringSource(tar), *dir, {}, "layer");
    std::vector<const Dir*> lowers;
    for (const auto& below : dirs_) {
      lowers.push_back(below.get());
      if (image::HidesAllBelow(*below, UnpackOptions::Whiteouts::kOverlayTrusted))
        break;
    }
    image::CompleteLayer(*dir, result.pending, lowers, {}, "layer");
    dirs_.insert(dirs_.begin(), std::move(dir));
  }

  std::vector<const Dir*> layers() const {
    std::vector<const Dir*> layers;
    for (const auto& dir : dirs_) {
      layers.push_back(dir.get());
      if (image::HidesAllBelow(*dir, UnpackOptions::Whiteouts::kOverlayTrusted))
        break;
    }
    return layers;
  }

  // Empty `upper`: read only.
  std::string Mount(const std::string& upper) {
    std::string options = "index=off,metacopy=off,redirect_dir=nofollow,lowerdir=";
    for (const Dir* layer : layers()) options += layer->name() + ":";
    fs::create_directory(place_ + "/empty");
    options += place_ + "/empty";
    if (!upper.empty()) {
      fs::create_directory(place_ + "/work");
      options += ",upperdir=" + upper + ",workdir=" + place_ + "/work";
    }
    mounted_ = mount("overlay", merged().c_str(), "overlay", 0, options.c_str()) == 0;
    EXPECT_TRUE(mounted_) << strerror(errno) << " " << options;
    return merged();
  }
  void Unmount() {
    if (std::exchange(mounted_, false))
      umount2(merged().c_str(), MNT_DETACH);
  }

 private:
  std::string merged() const { return place_ + "/merged"; }
  std::string place_;
  std::vector<std::unique_ptr<Dir>> dirs_;
  bool mounted_ = false;
};

// Times do not make a change.
Tree WithoutTimes(Tree tree) {
  for (auto& [path, entry] : tree) entry.mtime = {};
  return tree;
}

// Something happens to the tree; what cannot happen does not.
class Changer {
 public:
  Changer(std::string root, std::mt19937& random) : root_(std::move(root)), random_(random) {}

  void Change() {
    const std::string at = Some(), other = Some(), fresh = Directory() + "/new" + std::to_string(Number(9));
    std::error_code ignored;
    switch (Number(13)) {
      case 0:
        fs::remove_all(at == root_ ? other + "/x" : at, ignored);
        break;
      case 1:
        chmod(at.c_str(), static_cast<mode_t>(0100 + Number(0677)));
        break;
      case 2:
        Ignore(lchown(at.c_str(), Number(3), Number(3)));
        break;
      case 3:
        mkdir(fresh.c_str(), 0750);
        break;
      case 4:
        Ignore(link(at.c_str(), fresh.c_str()));
        break;
      case 5:
        Ignore(symlink(Number(1) != 0 ? "target" : "../other", fresh.c_str()));
        break;
      case 6:
        Ignore(mknod(fresh.c_str(), S_IFCHR | 0600, makedev(1, 3)));
        break;
      case 7:
        Ignore(mkfifo(fresh.c_str(), 0600));
        break;
      case 8:
        lsetxattr(at.c_str(), "user.note", "changed", 7, 0);
        break;
      case 9:  // removed and made anew: opaque
        if (at != root_ && fs::is_directory(fs::symlink_status(at))) {
          fs::remove_all(at, ignored);
          mkdir(at.c_str(), 0755);
        }
        break;
      case 10:  // the same content again
        if (fs::is_regular_file(fs::symlink_status(at)))
          Append(at, "");
        break;
      case 11:
        if (fs::is_regular_file(fs::symlink_status(at)))
          Append(at, "more");
        break;
      case 12:
        if (at != root_)
          fs::rename(at, fresh, ignored);
        break;
      default:
        Append(fresh, std::string(static_cast<size_t>(Number(3000)), 'x'));
    }
  }

 private:
  int Number(int most) { return std::uniform_int_distribution<int>(0, most)(random_); }
  static void Ignore(int) {}

  static void Append(const std::string& path, const std::string& text) {
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640));
    if (fd && text.empty())
      Ignore(fchmod(fd.get(), 0640));
    if (fd)
      WriteFull(fd.get(), AsBytes(text), path);
  }

  std::string Some() {
    std::vector<std::string> all{root_};
    for (const auto& entry : fs::recursive_directory_iterator(root_)) all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all[static_cast<size_t>(Number(static_cast<int>(all.size()) - 1))];
  }
  std::string Directory() {
    for (int i = 0; i < 20; ++i) {
      std::string path = Some();
      if (fs::is_directory(fs::symlink_status(path)))
        return path;
    }
    return root_;
  }

  std::string root_;
  std::mt19937& random_;
};

std::string TarOf(const image::TreeStack& base, const Dir& tree, bool whole) {
  std::string tar;
  const image::Changes changes(base, tree, {.whole_tree = whole, .threads = 2});
  changes.Write(*StringSink(tar));
  return tar;
}

class ChangesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0)
      GTEST_SKIP() << "needs root: to give owners and devices, and to mount overlayfs";
    if (access(kUmoci, X_OK) != 0)
      GTEST_SKIP() << "umoci is not installed";
    umask(022);
    if (unshare(CLONE_NEWNS) == 0)
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  }

  // What `tars` and one more amount to.
  static Tree Applied(std::vector<std::string> tars, const std::string& tar) {
    const testing::TempDir temp;
    Stack stack(temp.path());
    tars.push_back(tar);
    for (const std::string& layer : tars) stack.Push(layer);
    return WithoutTimes(testing::TreeOf(stack.Mount("")));
  }

  static Tree ByUmoci(const std::vector<std::string>& tars, const std::string& tar) {
    const testing::TempDir temp;
    testing::ImageBuilder builder;
    for (const std::string& layer : tars) builder.Layer(layer);
    builder.Layer(tar).WriteLayout(temp.path() + "/layout", "it");
    const Captured ran = RunCaptured(
        {kUmoci, "--log=error", "raw", "unpack", "--image", temp.path() + "/layout:it", temp.path() + "/rootfs"}, "",
        1 << 20);
    EXPECT_EQ(ran.status.code, 0);
    return WithoutTimes(testing::TreeOf(temp.path() + "/rootfs"));
  }

  static void Round(std::mt19937& random) {
    const testing::TempDir temp;
    testing::Tally tally;
    const testing::LayerStack layers = testing::RandomStack(random, tally);
    Stack stack(temp.path() + "/stack");
    fs::create_directory(temp.path() + "/upper");
    for (const std::string& tar : layers.tars) stack.Push(tar);
    const image::TreeStack base(stack.layers(), UnpackOptions::Whiteouts::kOverlayTrusted);
    const std::string root = stack.Mount(temp.path() + "/upper");
    Changer changer(root, random);
    for (int i = 0; i < kChangesEach; ++i) changer.Change();
    const Tree seen = WithoutTimes(testing::TreeOf(root));
    const std::string whole = TarOf(base, Dir::Open(root), true);
    stack.Unmount();
    const std::string upper = TarOf(base, Dir::Open(temp.path() + "/upper"), false);
    EXPECT_EQ(upper, TarOf(base, Dir::Open(temp.path() + "/upper"), false));
    // Overlayfs parts the names of what it copies up; a layer does not when nothing else changed.
    EXPECT_EQ(Compare(Applied(layers.tars, upper), seen, {"the layer", "the overlay", true}), "");
    EXPECT_EQ(Compare(Applied(layers.tars, whole), seen, {"the layer of the whole tree", "the overlay", false}), "");
    EXPECT_EQ(Compare(ByUmoci(layers.tars, upper), seen, {"the layer by umoci", "the overlay", true}), "");
    EXPECT_EQ(Compare(ByUmoci(layers.tars, whole), seen, {"the whole tree by umoci", "the overlay", false}), "");
  }
};

TEST_F(ChangesTest, RandomChangesComeBackFromTheLayer) {
  const uint32_t seed = FromEnvironment("GANTRY_SEED", kSeed);
  const uint32_t rounds = FromEnvironment("GANTRY_CHANGES", kRounds);
  for (uint32_t number = 0; number < rounds; ++number) {
    std::mt19937 random(seed + number);
    Round(random);
    ASSERT_FALSE(HasFailure()) << "GANTRY_SEED=" << seed + number << " GANTRY_CHANGES=1";
  }
}

}  // namespace
}  // namespace gantry::runner
