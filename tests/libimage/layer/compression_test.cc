#include "libimage/layer/compression.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

// Blocks of at most `piece` bytes, to cross every boundary.
class PiecewiseSource : public Source {
 public:
  PiecewiseSource(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  Block Next() override {
    const size_t n = std::min(piece_, text_.size() - at_);
    Block block(nullptr, AsBytes(text_).subspan(at_, n));
    at_ += n;
    return block;
  }
  bool at_end() const { return at_ == text_.size(); }

 private:
  std::string text_;
  size_t piece_;
  size_t at_ = 0;
};

class FailingSink : public Sink {
 public:
  explicit FailingSink(size_t room) : room_(room) {}
  void Write(std::span<const std::byte> bytes) override {
    if (bytes.size() > room_)
      throw Error(ErrorKind::kFailed, "disk full");
    room_ -= bytes.size();
  }
  void Finish() override { throw Error(ErrorKind::kFailed, "disk full"); }

 private:
  size_t room_;
};

// Half text that repeats, half noise.
std::string SomeBytes(size_t size) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < size) {
    if (random() % 2 == 0) {
      text += "the quick brown fox " + std::to_string(random() % 100) + "\n";
    } else {
      for (int i = 0; i < 20; ++i) text += static_cast<char>(random());
    }
  }
  text.resize(size);
  return text;
}

std::string Compressed(std::string_view text, Compression compression, size_t threads = 1, int level = 0,
                       size_t piece = 100'000) {
  std::string out;
  const auto into = StringSink(out);
  const auto sink = Compress(*into, {.compression = compression, .level = level, .threads = threads});
  for (size_t at = 0; at < text.size(); at += piece) sink->Write(AsBytes(text.substr(at, piece)));
  sink->Finish();
  return out;
}

std::string Decompressed(std::string bytes, Compression compression, size_t piece = 1 << 20,
                         const InflateLimits& limits = {}) {
  const auto from =
      Decompress(std::make_unique<PiecewiseSource>(std::move(bytes), piece), compression, "layer 1", limits);
  return Drain(*from, size_t{1} << 30, "layer 1");
}

ErrorKind KindOfFailure(std::string bytes, Compression compression, const InflateLimits& limits = {}) {
  return CaughtError([&] { Decompressed(std::move(bytes), compression, 1 << 20, limits); }).kind();
}

// What another program makes of `input`.
std::string Through(const std::vector<std::string>& argv, std::string_view input) {
  const Captured captured = RunCaptured(argv, input, size_t{1} << 28);
  EXPECT_EQ(captured.status.code, 0) << argv[0];
  return captured.output;
}

class BothWaysTest : public ::testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(Kinds, BothWaysTest, ::testing::Values(Compression::kGzip, Compression::kZstd));

TEST_P(BothWaysTest, RoundTripsAcrossChunkBoundaries) {
  for (const size_t size : {0, 1, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5'000'000}) {
    const std::string text = SomeBytes(size);
    const std::string packed = Compressed(text, GetParam());
    EXPECT_EQ(DetectCompression(AsBytes(packed)), GetParam());
    EXPECT_EQ(Decompressed(packed, GetParam()), text) << size;
  }
}

TEST_P(BothWaysTest, OutputDoesNotDependOnThreadsOrWriteSizes) {
  const std::string text = SomeBytes(9'500'000);
  const std::string one = Compressed(text, GetParam());
  EXPECT_TRUE(one == Compressed(text, GetParam(), 2));
  EXPECT_TRUE(one == Compressed(text, GetParam(), 5, 0, 3'333'333));
  EXPECT_TRUE(one == Compressed(text, GetParam(), 3, 0, 511));
}

TEST_P(BothWaysTest, ReadsInputInTinyPieces) {
  const std::string text = SomeBytes(300'000);
  EXPECT_EQ(Decompressed(Compressed(text, GetParam()), GetParam(), 1), text);
}

TEST_P(BothWaysTest, IncompressibleBytesSurviveEveryLevel) {
  std::mt19937_64 random(1);
  std::string noise(3'000'000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  for (int level = 1; level <= 3; ++level) {
    EXPECT_EQ(Decompressed(Compressed(noise, GetParam(), 2, level), GetParam()), noise) << level;
    EXPECT_EQ(Decompressed(Compressed(std::string(5'000'000, 'a'), GetParam(), 2, level), GetParam()),
              std::string(5'000'000, 'a'));
  }
}

TEST_P(BothWaysTest, EveryTruncationIsCorrupt) {
  const std::string packed = Compressed(SomeBytes(3000), GetParam());
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_EQ(KindOfFailure(packed.substr(0, size), GetParam()), ErrorKind::kCorrupt) << size;
  }
}

TEST_P(BothWaysTest, AFlippedBitNeverPassesUnseen) {
  const std::string text = SomeBytes(2000);
  const std::string packed = Compressed(text, GetParam());
  for (size_t i = 0; i < packed.size(); ++i) {
    std::string bad = packed;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    try {
      // Bits that mean nothing (a time stamp) may differ; the content may not.
      EXPECT_EQ(Decompressed(bad, GetParam()), text) << i;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << i;
    }
  }
}

TEST_P(BothWaysTest, SeveralStreamsInARowAreOne) {
  const std::string a = SomeBytes(70'000), b = SomeBytes(10);
  const std::string packed =
      Compressed(a, GetParam()) + Compressed("", GetParam()) + Compressed(b, GetParam()) + Compressed(a, GetParam());
  EXPECT_EQ(Decompressed(packed, GetParam()), a + b + a);
  EXPECT_EQ(Decompressed(packed, GetParam(), 7), a + b + a);
}

TEST_P(BothWaysTest, BytesAfterTheLastStreamAreCorrupt) {
  const std::string packed = Compressed("hello", GetParam());
  EXPECT_EQ(KindOfFailure(packed + "x", GetParam()), ErrorKind::kCorrupt);
  EXPECT_EQ(KindOfFailure(packed + std::string(600, '\0') + "x", GetParam()), ErrorKind::kCorrupt);
}

TEST_P(BothWaysTest, AFailingSinkEndsInItsErrorWhereverItFails) {
  const std::string text = SomeBytes(400'000);
  std::string big;
  for (int i = 0; i < 10; ++i) big += text;
  const size_t size = Compressed(big, GetParam()).size();
  for (size_t room = 0; room <= size + 1; room += 1 + size / 60) {
    for (const size_t threads : {1, 3}) {
      FailingSink failing(room);
      const Error error = CaughtError([&] {
        const auto sink = Compress(failing, {.compression = GetParam(), .threads = threads});
        sink->Write(AsBytes(big));
        sink->Finish();
      });
      EXPECT_EQ(error.message(), "disk full");
    }
  }
}

TEST_P(BothWaysTest, AnAbandonedSinkStopsItsThreads) {
  std::string out;
  const auto into = StringSink(out);
  const auto sink = Compress(*into, {.compression = GetParam(), .threads = 4});
  sink->Write(AsBytes(SomeBytes(6'000'000)));
}

TEST_P(BothWaysTest, RefusesLevelsThatDoNotExist) {
  std::string out;
  const auto into = StringSink(out);
  for (const int level : {-1, 20}) {
    EXPECT_EQ(CaughtError([&] { Compress(*into, {.compression = GetParam(), .level = level}); }).kind(),
              ErrorKind::kUsage);
  }
}

TEST_P(BothWaysTest, BombsStopAtTheRatio) {
  const std::string bomb = Compressed(std::string(40'000'000, '\0'), GetParam(), 1, 3);
  EXPECT_EQ(KindOfFailure(bomb, GetParam(), {.max_ratio = 100, .ratio_free_bytes = 1 << 20}), ErrorKind::kCorrupt);
  EXPECT_EQ(KindOfFailure(bomb, GetParam(), {.max_bytes = 1 << 20}), ErrorKind::kCorrupt);
}

TEST_P(BothWaysTest, ManyZerosAreNoBomb) {
  constexpr size_t kSize = 200'000'000;
  EXPECT_EQ(Decompressed(Compressed(std::string(kSize, '\0'), GetParam()), GetParam()).size(), kSize);
}

TEST(CompressionTest, OthersReadOurs) {
  const std::string text = SomeBytes(4'000'000);
  EXPECT_TRUE(Through({"gzip", "-dc"}, Compressed(text, Compression::kGzip, 2)) == text);
  EXPECT_TRUE(Through({"igzip", "-dc"}, Compressed(text, Compression::kGzip, 2)) == text);
  EXPECT_TRUE(Through({"zstd", "-dc"}, Compressed(text, Compression::kZstd, 2)) == text);
}

TEST(CompressionTest, ZstdFindsWhatRepeatsMegabytesBackForAnyNumberOfThreads) {
  std::mt19937_64 random(1);
  std::string text(6'000'000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  const size_t once = text.size();
  for (int i = 0; i < 5; ++i) text += text.substr(0, once) + SomeBytes(10'000);
  const std::string one = Compressed(text, Compression::kZstd);
  EXPECT_LT(one.size(), once + once / 4);
  for (const size_t threads : {2, 3, 7}) EXPECT_TRUE(one == Compressed(text, Compression::kZstd, threads)) << threads;
  EXPECT_TRUE(Decompressed(one, Compression::kZstd) == text);
}

TEST(CompressionTest, ReadsWhatOthersWrite) {
  const std::string text = SomeBytes(3'000'000);
  for (const auto& argv : std::vector<std::vector<std::string>>{
           {"gzip", "-9c"}, {"gzip", "-1c"}, {"igzip", "-c"}, {"zstd", "-19", "-c"}, {"xz", "-c"}, {"bzip2", "-c"}}) {
    const std::string packed = Through(argv, text);
    const auto from = DecompressAny(std::make_unique<PiecewiseSource>(packed, 3), "layer 1");
    EXPECT_TRUE(Drain(*from, text.size(), "layer 1") == text) << argv[0];
  }
}

TEST(CompressionTest, TruncatedXzAndBzip2AreCorrupt) {
  for (const auto& [argv, kind] : std::vector<std::pair<std::vector<std::string>, Compression>>{
           {{"xz", "-c"}, Compression::kXz}, {{"bzip2", "-c"}, Compression::kBzip2}}) {
    const std::string packed = Through(argv, SomeBytes(1000));
    EXPECT_EQ(Decompressed(packed + packed, kind), SomeBytes(1000) + SomeBytes(1000));
    EXPECT_EQ(KindOfFailure(packed + "x", kind), ErrorKind::kCorrupt);
    for (size_t size = 0; size < packed.size(); ++size) {
      EXPECT_EQ(KindOfFailure(packed.substr(0, size), kind), ErrorKind::kCorrupt) << argv[0] << size;
    }
  }
}

TEST(CompressionTest, XzThatNeedsTooMuchMemoryIsCorrupt) {
  // The dictionary a stream asks for is in its header; 64 MiB here.
  const std::string packed = Through({"xz", "-9", "-c"}, "hello");
  EXPECT_EQ(Decompressed(packed, Compression::kXz), "hello");
  EXPECT_EQ(KindOfFailure(packed, Compression::kXz, {.max_window = 8 << 20}), ErrorKind::kCorrupt);
}

TEST(CompressionTest, ZstdWindowsOverTheBoundAreCorrupt) {
  const std::string text = SomeBytes(3'000'000);
  const std::string packed = Through({"zstd", "--long=27", "-c"}, text);
  EXPECT_EQ(Decompressed(packed, Compression::kZstd), text);
  EXPECT_EQ(KindOfFailure(packed, Compression::kZstd, {.max_window = 1 << 20}), ErrorKind::kCorrupt);
}

TEST(CompressionTest, GzipPaddingOfZerosIsAllowed) {
  EXPECT_EQ(Decompressed(Compressed("hello", Compression::kGzip) + std::string(1500, '\0'), Compression::kGzip),
            "hello");
}

TEST(CompressionTest, GzipHeaderFieldsAreSkippedAcrossBlocks) {
  const std::string plain = Compressed("hello", Compression::kGzip);
  // FEXTRA of 300 bytes, a name, a comment; then the rest of the member.
  const std::string header = std::string("\x1F\x8B\x08\x1C\0\0\0\0\0\xFF\x2C\x01", 12) + std::string(300, 'e') +
                             std::string("name\0comment\0", 13);
  for (const size_t piece : {1, 2, 5, 11, 1000}) {
    EXPECT_EQ(Decompressed(header + plain.substr(10), Compression::kGzip, piece), "hello") << piece;
  }
}

TEST(CompressionTest, GzipHeaderChecksumIsChecked) {
  const std::string rest = Compressed("hello", Compression::kGzip).substr(10);
  const std::string header("\x1F\x8B\x08\x02\0\0\0\0\0\xFF", 10);
  EXPECT_EQ(Decompressed(header + "\x90\xC9" + rest, Compression::kGzip), "hello");
  EXPECT_EQ(KindOfFailure(header + "\x91\xC9" + rest, Compression::kGzip), ErrorKind::kCorrupt);
  EXPECT_EQ(KindOfFailure(header + "\x90\x49" + rest, Compression::kGzip), ErrorKind::kCorrupt);
}

TEST(CompressionTest, EndlessGzipNameIsCorrupt) {
  const std::string header("\x1F\x8B\x08\x08\0\0\0\0\0\xFF", 10);
  EXPECT_EQ(KindOfFailure(header + std::string(1'000'000, 'n'), Compression::kGzip), ErrorKind::kCorrupt);
}

TEST(CompressionTest, DetectsKindsByMagic) {
  const auto detect = [](std::string_view text) { return DetectCompression(AsBytes(text)); };
  EXPECT_EQ(detect(""), Compression::kNone);
  EXPECT_EQ(detect("\x1F"), Compression::kNone);
  EXPECT_EQ(detect("\x1F\x8B"), Compression::kGzip);
  EXPECT_EQ(detect("\x53\x2A\x4D\x18...."), Compression::kZstd);
  EXPECT_EQ(detect("BZh9-a-name-in-a-tar"), Compression::kNone);
  EXPECT_EQ(detect("usr/"), Compression::kNone);
}

TEST(CompressionTest, PlainStreamsPassThrough) {
  const auto from = DecompressAny(std::make_unique<PiecewiseSource>("abc", 1), "layer 1");
  EXPECT_EQ(Drain(*from, 10, "layer 1"), "abc");
  EXPECT_EQ(KindOfFailure("abc", Compression::kNone, {.max_bytes = 2}), ErrorKind::kCorrupt);
}

TEST(CompressionTest, WritingXzIsUnsupported) {
  std::string out;
  const auto into = StringSink(out);
  EXPECT_EQ(CaughtError([&] { Compress(*into, {.compression = Compression::kXz}); }).kind(), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::image
