#include "libimage/layer/decompress_whole.h"

#include <gtest/gtest.h>

namespace gantry::image {
namespace {

using namespace std::string_literals;

// "hello hello hello" by RFC 1951 with fixed codes, as zlib writes it.
const std::string kRaw = "\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x00"s;
const std::string kZlib = "\x78\x9c"s + kRaw + "\x3a\x2e\x06\x7d"s;

TEST(InflateWhole, TakesExactlyOneStream) {
  EXPECT_EQ(InflateWhole(kRaw, DeflateWrapping::kRaw, 100), "hello hello hello");
  EXPECT_EQ(InflateWhole(kZlib, DeflateWrapping::kZlib, 100), "hello hello hello");
  EXPECT_EQ(InflateWhole(kRaw, DeflateWrapping::kRaw, 17), "hello hello hello");
}

TEST(InflateWhole, RefusesMoreLessAndLarger) {
  for (const std::string& more : {"x"s, "\0"s, kRaw, std::string(100, 'x')}) {
    EXPECT_EQ(InflateWhole(kRaw + more, DeflateWrapping::kRaw, 100), std::nullopt) << more;
    EXPECT_EQ(InflateWhole(kZlib + more, DeflateWrapping::kZlib, 100), std::nullopt) << more;
  }
  for (size_t length = 0; length < kRaw.size(); ++length) {
    EXPECT_EQ(InflateWhole(kRaw.substr(0, length), DeflateWrapping::kRaw, 100), std::nullopt) << length;
  }
  EXPECT_EQ(InflateWhole(kRaw, DeflateWrapping::kRaw, 16), std::nullopt);
  EXPECT_EQ(InflateWhole(kRaw, DeflateWrapping::kZlib, 100), std::nullopt);
}

}  // namespace
}  // namespace gantry::image
