#include "libimage/transport/plain_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "libimage/base/fd.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

int AccessOf(const PlainFile& file) { return fcntl(file.fd.get(), F_GETFL) & O_ACCMODE; }

TEST(PlainFileTest, IsReadInPlace) {
  const testing::TempDir temp;
  std::ofstream(temp.path() + "/file") << "plain";
  const PlainFile file = OpenPlainFile(temp.path() + "/file");
  EXPECT_EQ(file.size, 5u);
  EXPECT_EQ(AccessOf(file), O_RDONLY);
}

TEST(PlainFileTest, WhatWasSpooledCanOnlyBeRead) {
  const testing::TempDir temp;
  const std::string path = temp.path() + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path) << "through a pipe"; });
  const PlainFile file = OpenPlainFile(path);
  writer.join();
  EXPECT_EQ(AccessOf(file), O_RDONLY);
  ASSERT_EQ(file.size, 14u);
  std::string text(14, ' ');
  ReadFullAt(file.fd.get(), 0, std::as_writable_bytes(std::span(text)), "it");
  EXPECT_EQ(text, "through a pipe");
}

}  // namespace
}  // namespace gantry::image
