#include "libimage/base/stream.h"

#include <gtest/gtest.h>

#include "libimage/base/error.h"

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

}  // namespace
}  // namespace gantry
