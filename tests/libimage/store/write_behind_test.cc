#include "libimage/store/write_behind.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

// What became of a blob that is gone by the time a test looks.
struct Seen {
  std::string bytes = {};
  size_t writes = 0;
  bool checked = false;
  bool finished = false;
  size_t fails_from = std::string::npos;
};

class RecordedBlob : public IncomingBlob {
 public:
  explicit RecordedBlob(Seen& seen) : seen_(seen) {}
  uint64_t received() const override { return 7; }
  void Write(std::span<const std::byte> bytes) override {
    if (seen_.bytes.size() >= seen_.fails_from)
      throw Error(ErrorKind::kFailed, "the disk is full");
    seen_.bytes += AsText(bytes);
    ++seen_.writes;
  }
  void Check() override { seen_.checked = true; }
  void Finish() override { seen_.finished = true; }

 private:
  Seen& seen_;
};

std::unique_ptr<IncomingBlob> Behind(Seen& seen) { return WriteBehind(std::make_unique<RecordedBlob>(seen)); }

TEST(WriteBehindTest, SmallPiecesBecomeLargeOnesInTheirOrder) {
  Seen seen;
  const auto blob = Behind(seen);
  EXPECT_EQ(blob->received(), 7U);
  std::string all;
  for (size_t i = 0; all.size() < 4 * kBlockBytes; ++i) {
    const std::string piece(i % 9000, static_cast<char>('a' + i % 26));
    blob->Write(AsBytes(piece));
    all += piece;
  }
  blob->Finish();
  EXPECT_EQ(seen.bytes, all);
  EXPECT_LE(seen.writes, all.size() / kBlockBytes + 1);
  EXPECT_TRUE(seen.finished);
}

TEST(WriteBehindTest, WhatCameIsWrittenWhenItIsGivenUp) {
  Seen seen;
  Behind(seen)->Write(AsBytes("a part"));
  EXPECT_EQ(seen.bytes, "a part");
  EXPECT_FALSE(seen.finished);
}

TEST(WriteBehindTest, AllIsWrittenBeforeItIsChecked) {
  Seen seen;
  const auto blob = Behind(seen);
  blob->Write(AsBytes("all of it"));
  blob->Check();
  EXPECT_EQ(seen.bytes, "all of it");
  EXPECT_TRUE(seen.checked);
  EXPECT_FALSE(seen.finished);
  blob->Finish();
  EXPECT_EQ(seen.bytes, "all of it");
  EXPECT_TRUE(seen.finished);
}

TEST(WriteBehindTest, AnErrorComesOutOfALaterWrite) {
  Seen seen{.fails_from = kBlockBytes};
  const auto blob = Behind(seen);
  const std::string piece(kBlockBytes, 'x');
  const Error error = CaughtError([&] {
    for (;;) blob->Write(AsBytes(piece));
  });
  EXPECT_EQ(error.message(), "the disk is full");
  EXPECT_EQ(CaughtError([&] { blob->Finish(); }).message(), "the disk is full");
  EXPECT_FALSE(seen.finished);
}

TEST(WriteBehindTest, AnErrorAtTheEndComesOutOfFinish) {
  Seen seen{.fails_from = 0};
  const auto blob = Behind(seen);
  blob->Write(AsBytes("short"));
  EXPECT_EQ(CaughtError([&] { blob->Finish(); }).message(), "the disk is full");
}

}  // namespace
}  // namespace gantry::image
