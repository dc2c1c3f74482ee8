#include "libimage/base/message.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <stdexcept>

#include "libimage/base/fd.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

using gantry::testing::CaughtError;
using namespace std::string_literals;

constexpr MessageBounds kBounds{.fields = 3, .bytes = 40, .who = "the child"};

// What the reader makes of bytes, after which the stream ends.
std::optional<Message> Received(std::string_view bytes) {
  Pipe pipe = MakePipe();
  WriteFull(pipe.write.get(), AsBytes(bytes), "a pipe");
  pipe.write.Reset();
  return ReceiveMessage(pipe.read.get(), kBounds);
}

std::string Number(uint32_t n) { return {reinterpret_cast<const char*>(&n), sizeof n}; }

TEST(MessageTest, ArrivesAsItWasSentAndInOrder) {
  Pipe pipe = MakePipe();
  SendMessage(pipe.write.get(), {'a', {"one", "", "with\0zero"s}});
  SendMessage(pipe.write.get(), {'b', {}});
  pipe.write.Reset();
  const auto first = ReceiveMessage(pipe.read.get(), kBounds);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->kind, 'a');
  EXPECT_EQ(first->fields, (std::vector<std::string>{"one", "", "with\0zero"s}));
  EXPECT_EQ(ReceiveMessage(pipe.read.get(), kBounds)->kind, 'b');
  EXPECT_FALSE(ReceiveMessage(pipe.read.get(), kBounds));
}

TEST(MessageTest, RefusesMoreThanTheBounds) {
  EXPECT_TRUE(Received("k" + Number(2) + Number(20) + std::string(20, 'x') + Number(20) + std::string(20, 'y')));
  for (const std::string& bytes :
       {"k" + Number(4), "k" + Number(UINT32_MAX), "k" + Number(1) + Number(41),
        "k" + Number(2) + Number(20) + std::string(20, 'x') + Number(21), "k" + Number(1) + Number(UINT32_MAX)}) {
    EXPECT_EQ(CaughtError([&] { Received(bytes); }).message(), "the child does not keep to its protocol");
  }
}

TEST(MessageTest, RefusesEveryMessageThatIsCutOff) {
  const std::string whole = "k" + Number(2) + Number(1) + "a" + Number(2) + "bc";
  EXPECT_TRUE(Received(whole));
  for (size_t size = 1; size < whole.size(); ++size) {
    EXPECT_EQ(CaughtError([&] { Received(whole.substr(0, size)); }).kind(), ErrorKind::kFailed) << size;
  }
}

TEST(MessageTest, WhoEndsWithoutReadingAllHasSaidAllTheSame) {
  for (const bool buffered : {false, true}) {
    auto [ours, theirs] = SocketPair(SOCK_STREAM);
    SendMessage(ours.get(), {'q', {"unread"}});
    SendMessage(theirs.get(), {'a', {"said"}});
    theirs.Reset();
    if (buffered) {
      MessageBuffer said(kBounds);
      EXPECT_TRUE(said.Fill(ours.get()));
      EXPECT_EQ(said.Next()->kind, 'a');
      EXPECT_FALSE(said.Fill(ours.get()));
    } else {
      EXPECT_EQ(ReceiveMessage(ours.get(), kBounds)->kind, 'a');
      EXPECT_FALSE(ReceiveMessage(ours.get(), kBounds));
    }
  }
}

TEST(MessageBufferTest, GivesWhatIsWholeByteForByte) {
  const std::string bytes = "k" + Number(2) + Number(1) + "a" + Number(2) + "bc" + "l" + Number(0);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  MessageBuffer buffer(kBounds);
  EXPECT_TRUE(buffer.Fill(ours.get()));  // which does not wait
  std::vector<Message> got;
  for (const char& byte : bytes) {
    WriteFull(theirs.get(), AsBytes(std::string_view(&byte, 1)), "a socket");
    EXPECT_TRUE(buffer.Fill(ours.get()));
    while (auto message = buffer.Next()) got.push_back(*std::move(message));
  }
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].kind, 'k');
  EXPECT_EQ(got[0].fields, (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(got[1].kind, 'l');
  SendError(theirs.get(), Error(ErrorKind::kRefused, "no"));
  theirs.Reset();
  EXPECT_TRUE(buffer.Fill(ours.get()));
  EXPECT_EQ(CaughtError([&] { buffer.Next(); }).kind(), ErrorKind::kRefused);
  EXPECT_FALSE(buffer.Fill(ours.get()));
}

TEST(MessageBufferTest, RefusesMoreThanTheBounds) {
  for (const std::string& bytes : {"k" + Number(4), "k" + Number(UINT32_MAX), "k" + Number(1) + Number(41),
                                   "k" + Number(2) + Number(20) + std::string(20, 'x') + Number(21)}) {
    auto [ours, theirs] = SocketPair(SOCK_STREAM);
    WriteFull(theirs.get(), AsBytes(bytes), "a socket");
    MessageBuffer buffer(kBounds);
    buffer.Fill(ours.get());
    EXPECT_EQ(CaughtError([&] { buffer.Next(); }).message(), "the child does not keep to its protocol");
  }
}

TEST(MessageTest, AnErrorIsThrownWhereItArrives) {
  for (const Error& error : {Error(ErrorKind::kRefused, "it's not allowed", "ask"), Error(ErrorKind::kFailed, "")}) {
    Pipe pipe = MakePipe();
    SendError(pipe.write.get(), error);
    const Error back = CaughtError([&] { ReceiveMessage(pipe.read.get(), kBounds); });
    EXPECT_EQ(back.kind(), error.kind());
    EXPECT_EQ(back.message(), error.message());
    EXPECT_EQ(back.hint(), error.hint());
  }
}

TEST(MessageTest, RefusesAnErrorThatIsNone) {
  const auto text = [](const std::string& field) { return Number(static_cast<uint32_t>(field.size())) + field; };
  for (const std::string& bytes :
       {"e" + Number(0), "e" + Number(1) + text("1"), "e" + Number(3) + text("0") + text("a") + text("b"),
        "e" + Number(3) + text("8") + text("a") + text("b"), "e" + Number(3) + text("-1") + text("a") + text("b")}) {
    EXPECT_EQ(CaughtError([&] { Received(bytes); }).message(), "the child does not keep to its protocol");
  }
}

TEST(ReportErrorsTest, SendsWhatLeavesTheWork) {
  Pipe pipe = MakePipe();
  const int fd = pipe.write.get();
  EXPECT_EQ(ReportErrors(fd, [] {}), 0);
  EXPECT_EQ(ReportErrors(fd, [] { throw Error(ErrorKind::kCorrupt, "bad"); }), 5);
  EXPECT_EQ(CaughtError([&] { ReceiveMessage(pipe.read.get(), kBounds); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReportErrors(fd, [] { throw std::runtime_error("odd"); }), 1);
  EXPECT_EQ(CaughtError([&] { ReceiveMessage(pipe.read.get(), kBounds); }).message(), "odd");
}

TEST(ReportErrorsTest, APipeThatNobodyReadsIsNoSecondError) {
  Pipe pipe = MakePipe();
  pipe.read.Reset();
  EXPECT_EQ(ReportErrors(pipe.write.get(), [] { throw Error(ErrorKind::kCorrupt, "bad"); }), 5);
}

}  // namespace
}  // namespace gantry
