#include "libimage/layer/path_index.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gantry::image {
namespace {

TEST(PathIndexTest, FindsEachOfManyPathsAgainUnderItsNumber) {
  constexpr int kDirectories = 300, kFiles = 500;
  PathIndex index;
  std::vector<PathId> ids;
  for (int i = 0; i < kDirectories; ++i) {
    const PathId directory = index.Child(kRootPath, "d" + std::to_string(i));
    for (int j = 0; j < kFiles; ++j) ids.push_back(index.Child(directory, "f" + std::to_string(j)));
  }
  EXPECT_EQ(index.size(), 1U + kDirectories + kDirectories * kFiles);
  for (int i = 0; i < kDirectories; ++i) {
    const std::string name = "d" + std::to_string(i);
    const PathId directory = index.Child(kRootPath, name);
    for (int j = 0; j < kFiles; ++j) {
      const std::string file = "f" + std::to_string(j);
      ASSERT_EQ(index.Child(directory, file), ids[static_cast<size_t>(i * kFiles + j)]) << name << "/" << file;
      ASSERT_EQ(index.Path(index.Child(directory, file)), name + "/" + file);
    }
  }
  EXPECT_EQ(index.size(), 1U + kDirectories + kDirectories * kFiles) << "nothing is new";
}

TEST(PathIndexTest, TakesFewBytesAPath) {
  PathIndex index;
  constexpr size_t kPaths = 200'000;
  for (size_t i = 0; i < kPaths; ++i) index.Child(kRootPath, "name-" + std::to_string(i));
  EXPECT_LE(index.bytes(), kPaths * 80);
}

}  // namespace
}  // namespace gantry::image
