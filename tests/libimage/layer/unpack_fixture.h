// A layer directory, what was unpacked into it, and canaries next to it that nothing may touch.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/layer/unpack.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {

class UnpackTest : public ::testing::Test {
 protected:
  UnpackTest() {
    // What is next to the layer, and what an escape would change.
    temp_.dir().WriteFileAtomically(RelPath::Parse("canary"), "canary");
    temp_.dir().MakeDirs(RelPath::Parse("outside"));
    temp_.dir().WriteFileAtomically(RelPath::Parse("outside/canary"), "canary");
    NewLayer("layer");
  }

  ~UnpackTest() override {
    EXPECT_EQ(temp_.dir().ReadFile(RelPath::Parse("canary"), 100), "canary");
    EXPECT_EQ(temp_.dir().ReadFile(RelPath::Parse("outside/canary"), 100), "canary");
    EXPECT_EQ(temp_.dir().OpenDir(RelPath::Parse("outside")).List(), std::vector<std::string>{"canary"});
  }

  // Where the following calls unpack to and look.
  void NewLayer(const std::string& name) {
    temp_.dir().MakeDirs(RelPath::Parse(name));
    layer_ = temp_.path() + "/" + name;
  }
  Dir LayerDir() const { return Dir::Open(layer_); }

  UnpackResult Unpack(const testing::TarBuilder& tar) { return UnpackBytes(tar.Build()); }
  UnpackResult UnpackBytes(std::string tar) {
    return UnpackLayer(StringSource(std::move(tar)), LayerDir(), options_, "layer 1");
  }
  Error UnpackError(const testing::TarBuilder& tar) {
    return testing::CaughtError([&] { Unpack(tar); });
  }

  bool Exists(const std::string& path) { return LayerDir().Exists(RelPath::Parse(path)); }
  struct stat Stat(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(lstat((layer_ + "/" + path).c_str(), &status), 0) << path;
    return status;
  }
  std::string Content(const std::string& path) { return LayerDir().ReadFile(RelPath::Parse(path), 1 << 20); }
  std::string LinkOf(const std::string& path) {
    std::string target(4096, '\0');
    const ssize_t size = readlink((layer_ + "/" + path).c_str(), target.data(), target.size());
    EXPECT_GE(size, 0) << path;
    target.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
    return target;
  }
  // "(none)" when it is not there.
  std::string Xattr(const std::string& path, const std::string& name) {
    std::string value(1000, '\0');
    const ssize_t size = lgetxattr((layer_ + "/" + path).c_str(), name.c_str(), value.data(), value.size());
    return size < 0 ? "(none)" : value.substr(0, static_cast<size_t>(size));
  }
  bool IsOpaque(const std::string& path) { return Xattr(path, "trusted.overlay.opaque") == "y"; }
  bool IsWhiteout(const std::string& path) {
    return S_ISCHR(Stat(path).st_mode) && Stat(path).st_rdev == makedev(0, 0);
  }
  // All paths in the layer, sorted.
  std::vector<std::string> Paths(const std::string& below = "") {
    std::vector<std::string> all;
    const Dir dir = below.empty() ? LayerDir() : LayerDir().OpenDir(RelPath::Parse(below));
    for (const std::string& name : dir.List()) {
      const std::string path = below.empty() ? name : below + "/" + name;
      all.push_back(path);
      if (S_ISDIR(Stat(path).st_mode)) {
        for (std::string& child : Paths(path)) all.push_back(std::move(child));
      }
    }
    return all;
  }

  testing::TempDir temp_;
  std::string layer_;
  UnpackOptions options_;
};

}  // namespace gantry::image
