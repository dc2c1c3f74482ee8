#include "libimage/transport/aci_stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TarBuilder;
using gantry::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

AciDependency On(const std::string& name) { return {.image_name = name}; }

class AciStackTest : public ::testing::Test {
 protected:
  // NAME.aci with a file of that name; returns its image ID.
  std::string Write(const std::string& name, std::vector<AciDependency> dependencies, std::vector<AppcPair> labels = {},
                    const std::string& file = {}) const {
    const AciManifest manifest{
        .name = name, .labels = std::move(labels), .dependencies = std::move(dependencies), .path_whitelist = {}};
    const std::string tar =
        TarBuilder().File("manifest", manifest.ToJson()).Dir("rootfs").File("rootfs/" + name, "").Build();
    std::ofstream(temp_.path() + "/" + (file.empty() ? name + ".aci" : file), std::ios::binary) << tar;
    return "sha512-" + Digest::Of(tar, HashAlgorithm::kSha512).hex();
  }

  std::vector<std::string> Order(const std::string& name, const std::vector<std::string>& given = {}) const {
    std::vector<std::string> out;
    for (const StackedAci& aci : OpenAciStack(temp_.path() + "/" + name + ".aci", given))
      out.push_back(aci.file->manifest().name);
    return out;
  }
  Error Refused(const std::string& name) const {
    return CaughtError([&] { Order(name); });
  }

  TempDir temp_;
};

TEST_F(AciStackTest, DependenciesComeFirstAndDepthFirst) {
  Write("base", {});
  Write("left", {On("base")});
  Write("right", {On("base")});
  Write("top", {On("left"), On("right")});
  EXPECT_THAT(Order("base"), ElementsAre("base"));
  EXPECT_THAT(Order("top"), ElementsAre("base", "left", "base", "right", "top"));
}

TEST_F(AciStackTest, MissingDependencyIsNotFound) {
  Write("top", {On("absent")});
  const Error error = Refused("top");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.message(), HasSubstr("'absent'"));
}

TEST_F(AciStackTest, LabelsChoose) {
  Write("lib", {}, {{"version", "1"}}, "one.aci");
  Write("lib", {}, {{"version", "2"}, {"os", "linux"}}, "two.aci");
  Write("top", {{.image_name = "lib", .labels = {{"version", "2"}}}});
  EXPECT_THAT(OpenAciStack(temp_.path() + "/top.aci", {})[0].file->name(), HasSubstr("two.aci"));
  Write("three", {{.image_name = "lib", .labels = {{"version", "3"}}}});
  EXPECT_EQ(Refused("three").kind(), ErrorKind::kNotFound);
  Write("any", {On("lib")});
  EXPECT_EQ(Refused("any").kind(), ErrorKind::kUsage);
  EXPECT_THAT(Order("any", {temp_.path() + "/one.aci"}), ElementsAre("lib", "any"));
}

TEST_F(AciStackTest, ImageIdDecidesAndMustBeRight) {
  Write("lib", {}, {{"version", "1"}}, "one.aci");
  const std::string id = Write("lib", {}, {{"version", "2"}}, "two.aci");
  Write("top", {{.image_name = "lib", .image_id = id}});
  EXPECT_THAT(OpenAciStack(temp_.path() + "/top.aci", {})[0].file->name(), HasSubstr("two.aci"));
  Write("wrong", {{.image_name = "lib", .image_id = "sha512-" + std::string(128, '0')}});
  EXPECT_EQ(Refused("wrong").kind(), ErrorKind::kCorrupt);
  Write("large", {{.image_name = "lib", .image_id = id, .size = 7}});
  EXPECT_EQ(Refused("large").kind(), ErrorKind::kCorrupt);
}

TEST_F(AciStackTest, CirclesAreCorrupt) {
  Write("a", {On("b")});
  Write("b", {On("c")});
  Write("c", {On("b")});
  EXPECT_THAT(Refused("a").message(), HasSubstr("depends on itself"));
  EXPECT_EQ(Refused("a").kind(), ErrorKind::kCorrupt);
}

// Each doubles what is below it.
TEST_F(AciStackTest, NumberIsBounded) {
  Write("n0", {});
  for (int i = 1; i <= 30; ++i) {
    const AciDependency below = On("n" + std::to_string(i - 1));
    Write("n" + std::to_string(i), {below, below});
  }
  EXPECT_THAT(Refused("n30").message(), HasSubstr("more than 1000"));
}

TEST_F(AciStackTest, DepthIsBounded) {
  Write("n0", {});
  for (size_t i = 1; i <= kMaxAciDepth; ++i) Write("n" + std::to_string(i), {On("n" + std::to_string(i - 1))});
  EXPECT_THAT(Refused("n" + std::to_string(kMaxAciDepth)).message(), HasSubstr("depth"));
}

TEST_F(AciStackTest, WhatIsNoAciBesideItDoesNotMatter) {
  Write("lib", {});
  Write("top", {On("lib")});
  std::ofstream(temp_.path() + "/a.aci") << "no tar";
  temp_.dir().MakeDirs(RelPath::Parse("b.aci"));
  EXPECT_THAT(Order("top"), ElementsAre("lib", "top"));
  EXPECT_EQ(CaughtError([&] { Order("top", {temp_.path() + "/a.aci"}); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
