#include "libimage/base/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

// Yields `count` blocks of one byte each, then fails.
class FailingSource : public Source {
 public:
  explicit FailingSource(int count) : left_(count) {}
  Block Next() override {
    if (left_-- <= 0) {
      throw Error(ErrorKind::kNetwork, "connection reset");
    }
    return {nullptr, AsBytes("x")};
  }

 private:
  int left_;
};

TEST(StreamTest, PrefetchPassesBlocksInOrder) {
  std::string text(5'000'000, '\0');
  for (size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<char>(i * 31 >> 8);
  }
  Pipe pipe = MakePipe();
  auto from = Prefetch(StringSource(text));
  EXPECT_EQ(Drain(*from, text.size(), "stream"), text);
}

TEST(StreamTest, PrefetchHandsOnTheErrorAfterTheBlocksBeforeIt) {
  auto from = Prefetch(std::make_unique<FailingSource>(40), 4);
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(from->Next().size(), 1u);
  }
  EXPECT_THROW(from->Next(), Error);
}

TEST(StreamTest, PrefetchStopsWhenNobodyReads) {
  auto from = Prefetch(std::make_unique<FailingSource>(1'000'000), 2);
  EXPECT_EQ(from->Next().size(), 1u);
}

TEST(StreamTest, DrainRefusesMoreThanItsBound) {
  auto from = StringSource("12345");
  EXPECT_THROW(Drain(*from, 4, "stream"), Error);
}

TEST(StreamTest, BlocksOutliveTheirPool) {
  Block block;
  {
    BlockPool pool(16);
    auto buffer = pool.Take();
    buffer[0] = std::byte{7};
    block = Block(buffer, std::span(buffer.get(), 1));
  }
  EXPECT_EQ(block.bytes()[0], std::byte{7});
}

TEST(StreamTest, FdSourceReadsToTheEnd) {
  Pipe pipe = MakePipe();
  WriteFull(pipe.write.get(), AsBytes("hello"), "pipe");
  pipe.write.Reset();
  auto from = FdSource(std::move(pipe.read), "pipe");
  EXPECT_EQ(Drain(*from, 100, "pipe"), "hello");
  EXPECT_TRUE(from->Next().empty());
}

TEST(StreamTest, SourcesTellInWhichFileTheirBytesLie) {
  const testing::TempDir temp;
  const std::string path = temp.path() + "/file";
  std::ofstream(path) << "before and after";
  UniqueFd fd = OpenFile(path, O_RDONLY);
  lseek(fd.get(), 7, SEEK_SET);
  const Digest any = Digest::Of("any");
  const auto rest = VerifyingSource(FdSource(std::move(fd), "it"), any, 9, "it");
  const auto part = FdRangeSource(std::make_shared<const UniqueFd>(OpenFile(path, O_RDONLY)), 7, 3, "it");
  for (const auto& [source, size] : {std::pair(rest.get(), 9u), std::pair(part.get(), 3u)}) {
    const std::optional<FileRange> file = source->File();
    ASSERT_TRUE(file);
    EXPECT_EQ(file->offset, 7u);
    EXPECT_EQ(file->size, size);
    std::string text(size, ' ');
    ReadFullAt(file->fd->get(), file->offset, std::as_writable_bytes(std::span(text)), "it");
    EXPECT_EQ(text, std::string("and after").substr(0, size));
  }
}

TEST(StreamTest, AFileThatCouldBeWrittenIsHandedToNobody) {
  const testing::TempDir temp;
  const auto fd = std::make_shared<const UniqueFd>(OpenFile(temp.path() + "/file", O_RDWR | O_CREAT));
  WriteFull(fd->get(), AsBytes("text"), "it");
  const auto part = FdRangeSource(fd, 0, 4, "it");
  EXPECT_FALSE(part->File());
  EXPECT_EQ(Drain(*part, 4, "it"), "text");
  EXPECT_FALSE(FdSource(OpenFile(temp.path() + "/file", O_RDWR), "it")->File());
}

TEST(StreamTest, WhatIsMadeOrComesThroughAPipeLiesInNoFile) {
  EXPECT_FALSE(FdSource(std::move(MakePipe().read), "pipe")->File());
  EXPECT_FALSE(StringSource("text")->File());
}

}  // namespace
}  // namespace gantry
