#include "libimage/transport/tar_file_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/transport/tar_file.h"
#include "tests/support/memory_file.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::MemoryFile;

// What `fill` writes.
template <typename Fill>
PlainFile Written(Fill fill) {
  PlainFile file = MemoryFile("");
  TarFileWriter tar(file.fd.get(), "x.tar");
  fill(tar);
  tar.Finish();
  struct stat status {};
  EXPECT_EQ(fstat(file.fd.get(), &status), 0);
  file.size = static_cast<uint64_t>(status.st_size);
  return file;
}

std::string Bytes(const PlainFile& file) {
  std::string out(file.size, '\0');
  EXPECT_EQ(ReadFullAt(file.fd.get(), 0, std::as_writable_bytes(std::span(out)), "x.tar"), out.size());
  return out;
}

void Fill(TarFileWriter& tar) {
  tar.AddDirectory("d");
  tar.AddFile("d/known", "text");
  TarFileWriter::Unnamed late(tar);
  late.Write(AsBytes("12345"));
  late.Write(AsBytes("67"));
  late.Finish("d/late");
  tar.AddSymlink("link", "d/late");
  tar.AddFile("empty", "");
}

TEST(TarFileWriterTest, MembersAreReadBack) {
  const TarFile tar(Written(Fill), "x.tar");
  EXPECT_EQ(tar.ReadMember("d/known", 100), "text");
  EXPECT_EQ(tar.ReadMember("d/late", 100), "1234567");
  EXPECT_EQ(tar.ReadMember("link", 100), "1234567");
  EXPECT_EQ(tar.ReadMember("empty", 100), "");
}

TEST(TarFileWriterTest, HowAMemberCameMakesNoDifference) {
  const auto known = [](TarFileWriter& tar) { tar.AddFile("a", std::string(600, 'x')); };
  const auto late = [](TarFileWriter& tar) {
    TarFileWriter::Unnamed member(tar);
    member.Write(AsBytes(std::string(600, 'x')));
    member.Finish("a");
  };
  EXPECT_EQ(Bytes(Written(known)), Bytes(Written(late)));
}

TEST(TarFileWriterTest, WhatIsGivenUpLeavesNoTrace) {
  const auto given_up = [](TarFileWriter& tar) {
    TarFileWriter::Unnamed(tar).Write(AsBytes(std::string(100'000, 'x')));
    Fill(tar);
    TarFileWriter::Unnamed(tar).Write(AsBytes(std::string(100'000, 'x')));
  };
  EXPECT_EQ(Bytes(Written(given_up)), Bytes(Written(Fill)));
}

TEST(TarFileWriterTest, AnotherSizeThanToldIsCorrupt) {
  const auto wrong = [](TarFileWriter& tar) { tar.AddFile("a", 3, *StringSource("four")); };
  EXPECT_EQ(CaughtError([&] { Written(wrong); }).kind(), ErrorKind::kCorrupt);
}

TEST(TarFileWriterTest, HeaderOfOneBlockHoldsEverySize) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{1}, (uint64_t{1} << 33) - 1, uint64_t{1} << 33, uint64_t{1} << 40}) {
    const std::string header = TarFileHeader("a", size);
    ASSERT_EQ(header.size(), 512U);
    PlainFile file = MemoryFile(header);
    file.size = (size + 511) / 512 * 512 + 3 * 512;
    ASSERT_EQ(ftruncate(file.fd.get(), static_cast<off_t>(file.size)), 0);
    EXPECT_EQ(TarFile(std::move(file), "x.tar").Size("a"), size);
  }
}

}  // namespace
}  // namespace gantry::image
