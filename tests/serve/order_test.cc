#include "serve/order.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::serve {
namespace {

using ::gantry::testing::CaughtError;

TEST(Order, ComesBackOutOfItsMessage) {
  const Order order{.kind = Order::Kind::kClean,
                    .id = 7,
                    .name = "a/b",
                    .reference = "v1",
                    .form = "zstd",
                    .platform = "linux/arm64",
                    .aci_name = "x/a/b",
                    .known = "sha256:1",
                    .names = {"one", "two"}};
  const auto back = Order::FromMessage(order.ToMessage());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->id, 7u);
  EXPECT_EQ(back->ToMessage().fields, order.ToMessage().fields);
  EXPECT_EQ(back->kind, order.kind);
}

TEST(Order, IsNoneForWhatBreaksTheForm) {
  Message message = Order{.id = 7}.ToMessage();
  message.kind = 'z';
  EXPECT_FALSE(Order::FromMessage(message));
  message = Order{.id = 7}.ToMessage();
  message.fields[0] = "-1";
  EXPECT_FALSE(Order::FromMessage(message));
  message.fields.resize(3);
  EXPECT_FALSE(Order::FromMessage(message));
}

TEST(Answer, ComesBackOutOfItsMessage) {
  const Answer answer{Answer::Kind::kFailed, 3, "what", "do this", ErrorKind::kRefused};
  const auto back = Answer::FromMessage(answer.ToMessage());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->text, "what");
  EXPECT_EQ(back->hint, "do this");
  EXPECT_EQ(back->error, ErrorKind::kRefused);
  Message message = answer.ToMessage();
  message.fields[3] = "9";
  EXPECT_FALSE(Answer::FromMessage(message));
}

TEST(Record, ComesBackOutOfItsText) {
  const image::Descriptor part{.media_type = "x/y", .digest = Digest::Of("a"), .size = 1};
  Record record{.source = "sha256:1",
                .size = 5,
                .top = part,
                .manifests = {part},
                .blobs = {part, part},
                .referrers = {{Digest::Of("s"), {part}}},
                .names = {"n"},
                .tags = {"v1", "v2"}};
  const Record back = Record::Parse(record.ToJson());
  EXPECT_EQ(back.ToJson(), record.ToJson());
  EXPECT_EQ(back.referrers.front().list.front(), part);
  record = {.source = "", .size = 9, .file = 1, .image_id = "sha512-1", .digest = "sha256:2"};
  EXPECT_EQ(Record::Parse(record.ToJson()).file, 1);
}

TEST(Record, RefusesWhatIsNone) {
  for (const char* bad : {"", "[]", "{}", R"({"source":1,"size":0,"tags":[]})", R"({"source":"","size":-1,"tags":[]})",
                          R"({"source":"","size":0,"tags":[],"imageID":"x","digest":"","file":2})",
                          R"({"source":"","size":0,"tags":[],"top":{"digest":"../x","size":1,"mediaType":"a"}})"})
    EXPECT_EQ(CaughtError([&] { Record::Parse(bad); }).kind(), ErrorKind::kCorrupt) << bad;
}

}  // namespace
}  // namespace gantry::serve
