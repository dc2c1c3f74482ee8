// What tests of conversions into files begin with: a directory of their own, and what goes in and comes out of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "libimage/convert/convert.h"
#include "tests/libimage/convert/trusted_image.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::TarBuilder;
using gantry::testing::Trusted;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const Platform kAmd{"linux", "amd64", "", ""};

class FileConversionTest : public ::testing::Test {
 protected:
  std::string PathOf(const std::string& name) const { return temp_.path() + "/" + name; }
  bool Exists(const std::string& name) const { return std::filesystem::exists(PathOf(name)); }
  void Write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path path = PathOf(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

  gantry::testing::TempDir temp_;
};

}  // namespace gantry::image
