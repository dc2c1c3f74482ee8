// How the layers of one image go beside each other, and what is told when several fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "libimage/convert/convert.h"
#include "tests/libimage/convert/memory_sink.h"
#include "tests/libimage/convert/trusted_image.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::MemorySink;
using gantry::testing::TarBuilder;
using gantry::testing::Trusted;
using ::testing::HasSubstr;

// The more of `fill`, the larger the layer, also when it is compressed.
std::string TarOf(size_t bytes, uint32_t fill) {
  std::string noise;
  while (noise.size() < bytes) {
    fill = fill * 1664525 + 1013904223;
    noise += static_cast<char>(fill >> 24);
  }
  return TarBuilder().File("f", noise).Build();
}

CopyOptions ToZstd(size_t threads) {
  CopyOptions options;
  options.compression = Compression::kZstd;
  options.threads = threads;
  return options;
}

// Counts what happens, so that one thing can wait for another.
class Events {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  // Whether there were so many before long.
  bool Await(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

// Says when blobs are begun, and calls `at_finish` before one that was made is finished.
class WatchedSink : public MemorySink {
 public:
  explicit WatchedSink(Form form = {}) : MemorySink(std::move(form)) {}

  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override {
    if (IsLayer(what)) {
      copied.Add();
      at_copy();
    }
    MemorySink::AddBlob(blob, std::move(from), what);
  }
  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override {
    made.Add();
    ++in_making;
    return std::make_unique<Watched>(*this, MemorySink::MakeBlob(what));
  }

  Events made, copied;
  std::atomic<int> in_making{0};
  std::function<void()> at_copy = [] {};
  std::function<void()> at_finish = [] {};

 private:
  class Watched : public NewBlob {
   public:
    Watched(WatchedSink& sink, std::unique_ptr<NewBlob> inner) : sink_(sink), inner_(std::move(inner)) {}
    ~Watched() override { --sink_.in_making; }
    void Write(std::span<const std::byte> bytes) override { inner_->Write(bytes); }
    void Finish() override {
      sink_.at_finish();
      inner_->Finish();
    }
    Digest digest() const override { return inner_->digest(); }
    uint64_t size() const override { return inner_->size(); }

   private:
    WatchedSink& sink_;
    std::unique_ptr<NewBlob> inner_;
  };

  static bool IsLayer(std::string_view what) { return what.starts_with("layer"); }
};

// Every blob is this one, as of a place that leaves the look at digests to the reader.
class Uncheckedly : public Blobs {
 public:
  explicit Uncheckedly(std::string bytes) : bytes_(std::move(bytes)) {}
  std::unique_ptr<Source> Open(const Descriptor&, std::string_view) const override {
    return MemorySource(AsBytes(bytes_));
  }

 private:
  std::string bytes_;
};

TEST(CopyLayersTest, OneLayerBeginsWhileAnotherGoesToTheDisk) {
  ImageBuilder image;
  image.Layer(TarOf(300'000, 1)).Layer(TarOf(200'000, 2)).Layer(TarOf(100'000, 3));
  WatchedSink sink;
  bool overlapped = false;
  std::atomic<int> finished{0};
  sink.at_finish = [&] {
    if (finished++ == 0)
      overlapped = sink.made.Await(2);
  };
  Conversion::Copy(Trusted(image), MemoryBlobs(image), sink, ToZstd(2));
  EXPECT_TRUE(overlapped) << "the second layer waited for the first one's blob";
}

TEST(CopyLayersTest, CopiesGoBesideRecompressions) {
  ImageBuilder image;
  image.Layer(TarOf(300'000, 1), Compression::kGzip).Layer(TarOf(200'000, 2), Compression::kZstd);
  WatchedSink sink;
  bool beside = false;
  bool both = false;
  sink.at_finish = [&] { beside = sink.copied.Await(1); };
  sink.at_copy = [&] { both = sink.made.Await(1); };
  Conversion::Copy(Trusted(image), MemoryBlobs(image), sink, ToZstd(2));
  EXPECT_TRUE(beside && both) << "one of them waited for the other";
}

TEST(CopyLayersTest, WhereOneBlobIsMadeAtATimeTheyComeInOrder) {
  ImageBuilder image;
  image.Layer(TarOf(100'000, 1)).Layer(TarOf(200'000, 2), Compression::kZstd).Layer(TarOf(300'000, 3));
  std::vector<Digest> expected;
  for (const size_t threads : {1, 2, 8}) {
    WatchedSink sink({.parallel = false});
    int most = 0;
    sink.at_copy = [&] { most = std::max(most, sink.in_making + 1); };
    sink.at_finish = [&] { most = std::max<int>(most, sink.in_making); };
    const Image copied = Conversion::Copy(Trusted(image), MemoryBlobs(image), sink, ToZstd(threads)).image();
    EXPECT_EQ(most, 1) << threads;
    ASSERT_EQ(sink.order.size(), 5u);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(sink.order[i], copied.manifest.layers[i].digest) << threads;
    if (expected.empty())
      expected = sink.order;
    EXPECT_EQ(sink.order, expected) << threads;
  }
}

// The largest layer has the first turn, whether it is copied or recompressed.
TEST(CopyLayersTest, OfSeveralThatFailTheFirstInTurnIsTold) {
  for (const bool largest_is_copied : {false, true}) {
    const Compression large = largest_is_copied ? Compression::kZstd : Compression::kGzip;
    const Compression small = largest_is_copied ? Compression::kGzip : Compression::kZstd;
    ImageBuilder image;
    image.Layer(TarOf(1'000, 1), small).Layer(TarOf(50'000, 2), small).Layer(TarOf(3'000'000, 3), large);
    MemoryBlobs blobs(image);
    for (const Descriptor& layer : image.Build().manifest.layers) blobs.Damage(layer.digest);
    for (const size_t threads : {1, 2, 3, 8}) {
      for (int run = 0; run < 10; ++run) {
        MemorySink sink;
        const Error error = CaughtError([&] { Conversion::Copy(Trusted(image), blobs, sink, ToZstd(threads)); });
        EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
        ASSERT_THAT(error.message(), HasSubstr("layer 3 of 3")) << threads;
      }
    }
  }
}

// A sink that takes one blob at a time is in no state to take another one after a failure.
TEST(CopyLayersTest, AfterAFailureNothingIsPutIntoASinkThatTakesOneBlobAtATime) {
  for (const bool recompressed : {false, true}) {
    ImageBuilder image;
    for (uint32_t i = 1; i < 10; ++i) {
      const bool other = recompressed || i % 2 == 0;
      image.Layer(TarOf(50'000, i), other ? Compression::kGzip : Compression::kZstd);
    }
    MemoryBlobs blobs(image);
    blobs.Damage(image.Build().manifest.layers[1].digest);
    for (const size_t threads : {1, 2, 3, 8}) {
      for (int run = 0; run < 20; ++run) {
        WatchedSink sink({.parallel = false});
        std::atomic<int> most{0};
        std::atomic<int> finished{0};
        sink.at_finish = [&] {
          most = std::max<int>(most, sink.in_making);
          ++finished;
        };
        const Error error = CaughtError([&] { Conversion::Copy(Trusted(image), blobs, sink, ToZstd(threads)); });
        ASSERT_THAT(error.message(), HasSubstr("layer 2 of 9")) << threads;
        ASSERT_LE(most, 1) << threads;
        ASSERT_EQ(sink.order.size(), 1U) << threads;
      }
    }
  }
}

TEST(CopyLayersTest, ABlobThatIsNotWhatItIsToBeIsNotKept) {
  const ImageBuilder image = ImageBuilder().Layer(TarOf(100'000, 1), Compression::kGzip);
  const ImageBuilder other = ImageBuilder().Layer(TarOf(100'000, 2), Compression::kGzip);
  const Uncheckedly blobs(MemoryBlobs(other).Get(other.Build().manifest.layers[0].digest));
  MemorySink sink;
  CopyOptions options{.threads = 3};
  options.compression = Compression::kNone;
  EXPECT_EQ(CaughtError([&] { Conversion::Copy(Trusted(image), blobs, sink, options); }).kind(), ErrorKind::kCorrupt);
  EXPECT_TRUE(sink.order.empty());
}

// What a sink cannot keep is told of the layer before the next one, which began meanwhile.
TEST(CopyLayersTest, AFailureAtTheEndOfABlobEndsAll) {
  ImageBuilder image;
  for (uint32_t i = 1; i < 20; ++i) image.Layer(TarOf(100'000, i));
  for (const size_t threads : {1, 2, 8}) {
    WatchedSink sink;
    std::atomic<int> finished{0};
    sink.at_finish = [&] {
      ++finished;
      throw Error(ErrorKind::kFailed, "no room");
    };
    EXPECT_THAT(
        CaughtError([&] { Conversion::Copy(Trusted(image), MemoryBlobs(image), sink, ToZstd(threads)); }).message(),
        HasSubstr("no room"));
    EXPECT_LT(finished, 10) << "the rest went on without need";
    EXPECT_TRUE(sink.vouched.empty());
  }
}

}  // namespace
}  // namespace gantry::image
