#include "libimage/transport/tar_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <thread>

#include "libimage/base/process.h"
#include "tests/support/memory_file.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::MemoryFile;
using gantry::testing::TarBuilder;
using gantry::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kSizeField = 124;

// `tar` with `field` put at `offset` of its first header, and the checksum made right again.
std::string Resealed(std::string tar, size_t offset, std::string_view field) {
  tar.replace(offset, field.size(), field);
  tar.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : tar.substr(0, 512)) sum += static_cast<unsigned char>(c);
  std::array<char, 8> digits{};
  std::snprintf(digits.data(), digits.size(), "%06o", sum);
  return tar.replace(148, 7, std::string_view(digits.data(), 7));
}

TarFile Open(std::string_view tar) { return TarFile(MemoryFile(tar), "x.tar"); }

std::string Content(std::string_view tar, std::string_view member) {
  return Open(tar).ReadMember(member, 1 << 20).value_or("(absent)");
}

Error OpenError(std::string_view tar) {
  return CaughtError([&] { Open(tar); });
}

void ExpectCorrupt(const TarBuilder& tar, const std::string& why) {
  const Error error = OpenError(tar.Build());
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.message();
  EXPECT_THAT(error.message(), HasSubstr(why));
}

TEST(TarFileTest, FindsMembersBetweenDirectories) {
  const std::string tar = TarBuilder().Dir("a").File("a/b", "one").File("c", "").File("d", "four").Build();
  const TarFile file = Open(tar);
  EXPECT_EQ(file.ReadMember("a/b", 3), "one");
  EXPECT_EQ(file.ReadMember("d", 100), "four");
  EXPECT_EQ(file.Size("c"), 0U);
  EXPECT_FALSE(file.Size("a"));
  EXPECT_EQ(file.OpenMember("e", "e"), nullptr);
  EXPECT_EQ(CaughtError([&] { file.ReadMember("a/b", 2); }).kind(), ErrorKind::kCorrupt);
}

TEST(TarFileTest, NamesHaveOneSpelling) {
  const std::string tar = TarBuilder().Dir(".").File("./a//b", "1").File("/c", "2").Build();
  EXPECT_EQ(Content(tar, "a/b"), "1");
  EXPECT_EQ(Content(tar, "c"), "2");
  EXPECT_EQ(Content(tar, "/a/./b"), "1");
  EXPECT_EQ(CaughtError([&] { Content(tar, "a/../c"); }).kind(), ErrorKind::kCorrupt);
}

TEST(TarFileTest, LongNamesOfBothKinds) {
  const std::string name = std::string(150, 'n') + "/" + std::string(150, 'm');
  const TarBuilder::Header gnu{.name = "././@LongLink", .type = 'L', .size = name.size() + 1};
  EXPECT_EQ(Content(TarBuilder().Entry(gnu, name + '\0').File("cut", "gnu").Build(), name), "gnu");
  EXPECT_EQ(Content(TarBuilder().Pax({{"path", name}, {"mtime", "1.5"}}).File("cut", "pax").Build(), name), "pax");
  const std::string prefixed = Resealed(TarBuilder().File("name", "ustar").Build(), 345, "a/b");
  EXPECT_EQ(Content(prefixed, "a/b/name"), "ustar");
}

TEST(TarFileTest, SizesInEveryForm) {
  const std::string data(600, 'x');
  const std::string binary("\x80\0\0\0\0\0\0\0\0\0\x02\x58", 12);
  EXPECT_EQ(Content(Resealed(TarBuilder().File("a", data).Build(), kSizeField, binary), "a"), data);
  const TarBuilder::Header lies{.name = "a", .size = 0};
  EXPECT_EQ(Content(TarBuilder().Pax({{"size", "600"}}).Entry(lies, data).Build(), "a"), data);
  EXPECT_EQ(Content(Resealed(TarBuilder().File("a", data).Build(), kSizeField, "      1130 \0"), "a"), data);
}

TEST(TarFileTest, EveryTruncationIsCorrupt) {
  const std::string tar = TarBuilder().Dir("d").Pax({{"path", "d/name"}}).File("x", "text").Symlink("l", "x").Build();
  for (size_t size = 0; size < tar.size(); ++size) {
    const Error error = OpenError(tar.substr(0, size));
    ASSERT_EQ(error.kind(), ErrorKind::kCorrupt) << size << ": " << error.message();
  }
  Open(tar + "what follows the end marker");
}

TEST(TarFileTest, EveryChangedHeaderByteIsCorrupt) {
  const std::string tar = TarBuilder().File("name", "text").Build();
  for (size_t at = 0; at < 512; ++at) {
    std::string changed = tar;
    changed[at] = static_cast<char>(changed[at] ^ 0x15);
    EXPECT_EQ(OpenError(changed).kind(), ErrorKind::kCorrupt) << at;
  }
}

TEST(TarFileTest, LyingSizesAreCorrupt) {
  const std::string tar = TarBuilder().File("a", "text").File("b", "text").Build();
  for (const std::string_view size : {"00000010000", "77777777777", "0000000000x", "-0000000004"})
    EXPECT_EQ(OpenError(Resealed(tar, kSizeField, size)).kind(), ErrorKind::kCorrupt) << size;
  for (const int first : {0x80, 0xBF, 0xC0, 0xFF}) {
    std::string huge(12, '\xFF');
    huge[0] = static_cast<char>(first);
    EXPECT_EQ(OpenError(Resealed(tar, kSizeField, huge)).kind(), ErrorKind::kCorrupt) << first;
  }
  ExpectCorrupt(TarBuilder().Pax({{"size", "18446744073709551615"}}).File("a", "text"), "bytes, but the file only");
  ExpectCorrupt(TarBuilder().Pax({{"size", "18446744073709551616"}}).File("a", "text"), "not a number");
  // The size would make the data of the next member look like headers, or hide one.
  ExpectCorrupt(TarBuilder().Entry({.name = "a", .size = 0}, "text").File("b", ""), "checksum");
}

TEST(TarFileTest, TwoMembersOfOneNameAreCorrupt) {
  ExpectCorrupt(TarBuilder().File("a", "1").File("a", "2"), "second member");
  ExpectCorrupt(TarBuilder().File("a/b", "1").File("./a//b", "1"), "second member");
  ExpectCorrupt(TarBuilder().File("a", "1").Symlink("a", "b"), "second member");
  Open(TarBuilder().Dir("a").Dir("a").Build());
}

TEST(TarFileTest, LinksLeadToMembers) {
  const std::string tar = TarBuilder()
                              .File("x/data", "data")
                              .Symlink("y/layer", "../x/data")
                              .HardLink("z/layer", "./x/data")
                              .Symlink("again", "./y/layer")
                              .Build();
  for (const char* name : {"y/layer", "z/layer", "again"}) EXPECT_EQ(Content(tar, name), "data") << name;
  EXPECT_EQ(Open(tar).Size("again"), 4U);
}

TEST(TarFileTest, LinksOutOfTheArchiveAreCorrupt) {
  for (const char* target : {"/etc/passwd", "../etc/passwd", "a/../../b", "..", "", "."})
    ExpectCorrupt(TarBuilder().Symlink("link", target), "out of the archive");
  ExpectCorrupt(TarBuilder().HardLink("a/link", "../b"), "out of the archive");
  ExpectCorrupt(TarBuilder().File("../up", "1"), "'..'");
}

TEST(TarFileTest, LinkLoopsAndDanglingLinksAreCorrupt) {
  TarBuilder tar;
  tar.Symlink("self", "self").Symlink("a", "b").HardLink("b", "a").Symlink("lost", "nowhere");
  for (int i = 0; i < 40; ++i) tar.Symlink("l" + std::to_string(i), "l" + std::to_string(i + 1));
  tar.File("l40", "far");
  const TarFile file = Open(tar.Build());
  for (const char* name : {"self", "a", "b", "lost", "l0"}) {
    const Error error = CaughtError([&] { file.OpenMember(name, name); });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << name;
  }
  EXPECT_EQ(file.ReadMember("l30", 10), "far");
}

TEST(TarFileTest, WhatIsNoFileIsRefused) {
  ExpectCorrupt(TarBuilder().CharDevice("a", 1, 3), "type '3'");
  ExpectCorrupt(TarBuilder().Fifo("a"), "type '6'");
  ExpectCorrupt(TarBuilder().Entry({.name = "a", .type = '2', .size = 4, .link = "b"}, "data"), "with data");
  ExpectCorrupt(TarBuilder().File("", "1"), "no name");
  ExpectCorrupt(TarBuilder().File("./", "1"), "no name");
  EXPECT_EQ(OpenError(TarBuilder().Entry({.name = "a", .type = 'S'}).Build()).kind(), ErrorKind::kUnsupported);
  const std::string sparse = TarBuilder().Pax({{"GNU.sparse.major", "1"}}).File("a", "1").Build();
  EXPECT_EQ(OpenError(sparse).kind(), ErrorKind::kUnsupported);
}

TEST(TarFileTest, AmbiguousExtendedHeadersAreCorrupt) {
  const TarBuilder::Header gnu{.name = "././@LongLink", .type = 'L', .size = 2};
  ExpectCorrupt(TarBuilder().Pax({{"path", "b"}, {"path", "c"}}).File("a", "1"), "given twice");
  ExpectCorrupt(TarBuilder().Pax({{"path", "b"}}).Pax({{"path", "c"}}).File("a", "1"), "given twice");
  ExpectCorrupt(TarBuilder().Pax({{"path", "b"}}).Entry(gnu, "b").File("a", "1"), "given twice");
  ExpectCorrupt(TarBuilder().Pax({{"path", "b"}}, 'g').File("a", "1"), "global header");
  ExpectCorrupt(TarBuilder().Pax({{"path", std::string("b\0c", 3)}}).File("a", "1"), "NUL");
  ExpectCorrupt(TarBuilder().File("a", "1").Pax({{"path", "b"}}), "without a member");
  Open(TarBuilder().Pax({{"comment", "from git archive"}}, 'g').File("a", "1").Build());
}

TEST(TarFileTest, MalformedPaxRecordsAreCorrupt) {
  for (const char* records :
       {"7 a=b\n", "5 a=b\n", "99 a=b\n", "x a=b\n", "6 a=bc", "5 ab\n", "a=b\n", "0 a=b\n", "2 \n"}) {
    const std::string_view text(records);
    ExpectCorrupt(TarBuilder().Entry({.name = "pax", .type = 'x', .size = text.size()}, text).File("a", "1"),
                  "malformed pax record");
  }
  const std::string long_record(kMaxExtendedHeaderBytes + 1, 'x');
  ExpectCorrupt(TarBuilder().Pax({{"comment", long_record}}).File("a", "1"), "longer than");
  ExpectCorrupt(TarBuilder().Pax({{"path", std::string(kMaxEntryNameBytes + 1, 'n')}}).File("a", "1"), "one over");
}

TEST(TarFileTest, MembersAndNamesAreBounded) {
  std::string many;
  for (size_t i = 0; i <= kMaxTarMembers; ++i) many += TarBuilder().Entry({.name = "d", .type = '5'}).bytes();
  EXPECT_THAT(OpenError(many + std::string(1024, '\0')).message(), HasSubstr("more than 100000 members"));
  TarBuilder names;
  for (size_t i = 0; i <= kMaxTarNameBytes / 4000; ++i)
    names.Pax({{"path", std::to_string(i) + std::string(4000, 'n')}}).File("a", "");
  EXPECT_EQ(OpenError(names.Build()).kind(), ErrorKind::kCorrupt);
}

TEST(TarFileTest, SourcesAreIndependentAndOutliveTheFile) {
  const std::string one(3'000'000, '1'), two(2'000'000, '2');
  std::unique_ptr<Source> first, second;
  {
    const TarFile file = Open(TarBuilder().File("one", one).File("two", two).Build());
    first = file.OpenMember("one", "one");
    second = file.OpenMember("two", "two");
  }
  std::string read_two;
  std::thread thread([&] { read_two = Drain(*second, two.size(), "two"); });
  EXPECT_EQ(Drain(*first, one.size(), "one"), one);
  thread.join();
  EXPECT_EQ(read_two, two);
}

// Files on disk, with a place of its own for temporary ones.
class TarOnDiskTest : public ::testing::Test {
 protected:
  TarOnDiskTest() { setenv("TMPDIR", spool_.path().c_str(), 1); }
  ~TarOnDiskTest() override { unsetenv("TMPDIR"); }
  std::string Write(std::string_view bytes) const {
    std::string path = temp_.path() + "/x.tar";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  TempDir temp_, spool_;
};

TEST_F(TarOnDiskTest, FileThatIsCutMeanwhileIsCorrupt) {
  const std::string path = Write(TarBuilder().File("a", std::string(4096, 'a')).Build());
  const TarFile file = TarFile::Open(path);
  ASSERT_EQ(truncate(path.c_str(), 1000), 0);
  EXPECT_EQ(CaughtError([&] { file.ReadMember("a", 1 << 20); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(TarOnDiskTest, CompressedArchivesAreReadAlike) {
  const std::string tar = TarBuilder().File("a", "text").Build();
  for (const char* program : {"gzip", "zstd", "xz", "bzip2"}) {
    const auto packed = RunCaptured({program, "-c"}, tar, 1 << 20);
    if (packed.status.code == 127)
      GTEST_SKIP() << program << " is not installed";
    const std::string path = Write(packed.output);
    EXPECT_EQ(TarFile::Open(path).ReadMember("a", 10), "text") << program;
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(packed.output.size() - 4)), 0);
    EXPECT_EQ(CaughtError([&] { TarFile::Open(path); }).kind(), ErrorKind::kCorrupt) << program;
  }
  EXPECT_THAT(spool_.dir().List(), IsEmpty());
}

TEST_F(TarOnDiskTest, PipesAreReadAlike) {
  Pipe pipe = MakePipe();
  WriteFull(pipe.write.get(), AsBytes(TarBuilder().File("a", "text").Build()), "the pipe");
  pipe.write.Reset();
  const TarFile file = TarFile::Open("/proc/self/fd/" + std::to_string(pipe.read.get()));
  EXPECT_EQ(file.ReadMember("a", 10), "text");
  EXPECT_THAT(spool_.dir().List(), IsEmpty());
}

TEST_F(TarOnDiskTest, DirectoriesAndDevicesAreNoArchives) {
  const Error error = CaughtError([&] { TarFile::Open(temp_.path()); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.hint(), HasSubstr("oci:"));
  EXPECT_EQ(CaughtError([&] { TarFile::Open("/dev/zero"); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { TarFile::Open(temp_.path() + "/none"); }).kind(), ErrorKind::kNotFound);
}

}  // namespace
}  // namespace gantry::image
