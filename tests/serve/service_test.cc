// What the service orders of the kitchen, and when: the test is the kitchen.
#include "serve/service.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <future>

#include "libimage/base/process.h"
#include "libimage/model/media_type.h"
#include "tests/support/temp_dir.h"

namespace gantry::serve {
namespace {

using ::gantry::testing::TempDir;

constexpr std::string_view kBox = "up.test/box:v1";

class ServiceTest : public ::testing::Test {
 protected:
  explicit ServiceTest(size_t waits = 100) {
    auto [ours, theirs] = SocketPair(SOCK_STREAM);
    channel_ = std::move(ours);
    ServiceOptions options{.url = "http://images.test", .public_keys = "keys", .waits = waits};
    options.upstreams.Add("docker://up.test");
    options.limits = {.running = 2, .waiting = 4};
    service_ =
        std::make_unique<Service>(options, cache_, std::move(theirs),
                                  [access = std::make_shared<Access>(std::nullopt, std::nullopt)] { return access; });
  }

  // The order of the kind, with others being an error.
  Order Next(Order::Kind kind) {
    const auto message = ReceiveMessage(channel_.get(), kOrderBounds);
    const auto order = message ? Order::FromMessage(*message) : std::nullopt;
    if (!order || order->kind != kind)
      throw Error(ErrorKind::kFailed,
                  order ? "another order: " + std::string(1, static_cast<char>(order->kind)) : "no order");
    return *order;
  }

  bool IsQuiet() const {
    pollfd poll{channel_.get(), POLLIN, 0};
    return ::poll(&poll, 1, 200) == 0;
  }

  void Done(const Order& order, const Record& record = {}) {
    SendMessage(channel_.get(), serve::Answer{serve::Answer::Kind::kDone, order.id, record.ToJson()}.ToMessage());
  }

  void Fail(const Order& order, ErrorKind kind) {
    SendMessage(channel_.get(), serve::Answer{serve::Answer::Kind::kFailed, order.id, "why", "", kind}.ToMessage());
  }

  std::future<HttpAnswer> Ask(
      const std::string& path, const std::function<bool()>& is_gone = [] { return false; }) {
    return std::async(std::launch::async, [this, path, is_gone] {
      return service_->Answer({.method = "GET",
                               .path = path,
                               .client = "c",
                               .streams = false,
                               .header = [](const char*) { return std::string(); },
                               .query = [](const char*) { return std::optional<std::string>(); },
                               .is_gone = is_gone});
    });
  }

  // An image of 60 bytes, as the kitchen leaves it in the store: half of what the cache keeps.
  Record Image(const std::string& content, std::vector<std::string> names) {
    const std::string bytes = content + std::string(60 - content.size(), ' ');
    const image::Descriptor top{
        .media_type = std::string(image::kOciManifestType), .digest = Digest::Of(bytes), .size = bytes.size()};
    dir_.dir().MakeDirs(RelPath::Parse("cache/store/blobs/sha256"));
    dir_.dir().WriteFileAtomically(RelPath::Parse("cache/store/blobs/sha256/" + top.digest.hex()), bytes);
    return {.source = top.digest.str(), .top = top, .manifests = {top}, .names = std::move(names)};
  }

  // One order, from the question to the answer.
  int Serve(const std::string& name, std::vector<std::string> names) {
    auto answer = Ask("/v2/" + name + "/manifests/v1");
    const Order order = Next(Order::Kind::kImage);
    Done(order, Image(name, std::move(names)));
    return answer.get().status;
  }

  Record Aci(const Order& order, const std::string& bytes) {
    Write("new/" + std::to_string(order.id) + ".0", bytes);
    return {.source = Digest::Of(bytes).str(), .size = bytes.size(), .image_id = "sha512-" + Digest::Of(bytes).hex()};
  }

  void Write(const std::string& path, const std::string& bytes) {
    dir_.dir().WriteFileAtomically(RelPath::Parse("cache/" + path), bytes);
  }

  TempDir dir_;
  UniqueFd channel_;
  Cache cache_{dir_.path() + "/cache", 100, std::chrono::seconds(0)};
  std::unique_ptr<Service> service_;
};

TEST_F(ServiceTest, ANameThatIsNeededAgainStaysInTheStore) {
  Done(Next(Order::Kind::kClean));  // of the start
  EXPECT_EQ(Serve("box", {std::string(kBox)}), 200);
  EXPECT_EQ(Serve("other", {"up.test/other:v1"}), 200);
  const Order clean = Next(Order::Kind::kClean);
  EXPECT_EQ(clean.names, std::vector{std::string(kBox)});
  // While the name goes, nobody fetches what would have it.
  auto again = Ask("/v2/box/manifests/v1");
  EXPECT_TRUE(IsQuiet());
  Done(clean);
  const Order box = Next(Order::Kind::kImage);
  EXPECT_EQ(box.name, "box");
  Done(box, Image("box", {std::string(kBox)}));
  EXPECT_EQ(again.get().status, 200);
  const Order other = Next(Order::Kind::kClean);
  EXPECT_EQ(other.names, std::vector<std::string>{"up.test/other:v1"});
  Done(other);
  // While somebody fetches it, the name does not go; nor after, when a record has it.
  auto form = Ask("/v2/box--zstd/manifests/v1");
  const Order zstd = Next(Order::Kind::kImage);
  EXPECT_EQ(Serve("third", {"up.test/third:v1"}), 200);
  EXPECT_FALSE(cache_.Find(KeyOf(box)));
  EXPECT_TRUE(IsQuiet());
  dir_.dir().MakeDirs(RelPath::Parse("cache/new/" + std::to_string(zstd.id) + ".oci/blobs/sha256"));
  const Record made = Image("zstd", {std::string(kBox)});
  Write("new/" + std::to_string(zstd.id) + ".oci/blobs/sha256/" + made.top->digest.hex(), "zstd");
  Done(zstd, made);
  EXPECT_EQ(form.get().status, 200);
  EXPECT_EQ(Next(Order::Kind::kClean).names, std::vector<std::string>{"up.test/third:v1"});
}

TEST_F(ServiceTest, RemovesManyNamesALittleAtATime) {
  Done(Next(Order::Kind::kClean));
  std::vector<std::string> names;
  for (size_t i = 0; i < 2 * kMaxOrderNames + 500; ++i) names.push_back("up.test/many:" + std::to_string(i));
  EXPECT_EQ(Serve("many", names), 200);
  EXPECT_EQ(Serve("box", {std::string(kBox)}), 200);
  size_t removed = 0;
  for (int i = 0; i < 3; ++i) {
    const Order clean = Next(Order::Kind::kClean);
    EXPECT_LE(clean.names.size(), kMaxOrderNames);
    removed += clean.names.size();
    Done(clean);
  }
  EXPECT_EQ(removed, names.size());
  EXPECT_TRUE(IsQuiet());
}

TEST_F(ServiceTest, WhatFailsLeavesNothing) {
  Done(Next(Order::Kind::kClean));
  auto answer = Ask("/v2/box--squashed/manifests/v1");
  const Order order = Next(Order::Kind::kImage);
  dir_.dir().MakeDirs(RelPath::Parse("cache/new/" + std::to_string(order.id) + ".oci/blobs"));
  Fail(order, ErrorKind::kUnsupported);
  EXPECT_EQ(answer.get().status, 501);
  EXPECT_EQ(Next(Order::Kind::kClean).names, std::vector{std::string(kBox)});
  EXPECT_TRUE(Dir::Open(dir_.path() + "/cache/new").List().empty());
}

TEST_F(ServiceTest, WhatCannotBeKeptIsAnErrorAndIsAskedForAnew) {
  Done(Next(Order::Kind::kClean));
  for (int i = 0; i < 2; ++i) {
    auto answer = Ask("/box-v1-linux-amd64.aci");
    Done(Next(Order::Kind::kAci), {.source = "x", .size = 1, .image_id = "sha512-1"});  // there is no such file
    EXPECT_EQ(answer.get().status, 404);
    EXPECT_EQ(cache_.entries(), 0u);
    Done(Next(Order::Kind::kClean));
  }
}

TEST_F(ServiceTest, ASignatureOfTheImageBeforeIsNotServed) {
  Done(Next(Order::Kind::kClean));
  auto signature = Ask("/box-v1-linux-amd64.aci.asc");
  const Order first = Next(Order::Kind::kAci);
  const Record one = Aci(first, "one");
  Done(first, one);
  Order clean, sign;
  clean = Next(Order::Kind::kClean);
  sign = Next(Order::Kind::kSign);
  EXPECT_EQ(sign.known, one.image_id);
  Done(clean);
  // While that is signed, the name moves.
  auto image = Ask("/box-v1-linux-amd64.aci");
  const Order second = Next(Order::Kind::kAci);
  const Record two = Aci(second, "two");
  Done(second, two);
  EXPECT_EQ(image.get().status, 200);
  const std::string file = "files/" + sign.reference + ".aci.asc";
  Write(file, "of one");
  Done(Next(Order::Kind::kClean));
  Done(sign);
  const Order anew = Next(Order::Kind::kSign);
  EXPECT_EQ(anew.known, two.image_id);
  EXPECT_FALSE(dir_.dir().Exists(RelPath::Parse("cache/" + file)));
  Write(file, "of two");
  Done(anew);
  const HttpAnswer answer = signature.get();
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(ReadAll(answer.file->get(), 100, "signature"), "of two");
}

class BusyServiceTest : public ServiceTest {
 protected:
  BusyServiceTest() : ServiceTest(1) {}
};

TEST_F(BusyServiceTest, SendsAwayWhoWouldWaitBesideTooMany) {
  Done(Next(Order::Kind::kClean));
  auto first = Ask("/v2/box/manifests/v1");
  const Order box = Next(Order::Kind::kImage);
  EXPECT_EQ(Ask("/v2/box/manifests/v1").get().status, 503);
  EXPECT_EQ(Ask("/healthz").get().status, 200);
  Done(box, Image("box", {std::string(kBox)}));
  EXPECT_EQ(first.get().status, 200);
}

TEST_F(BusyServiceTest, WhoHasLeftTakesNobodysPlace) {
  Done(Next(Order::Kind::kClean));
  std::atomic<bool> has_left = false;
  auto first = Ask("/v2/box/manifests/v1", [&] { return has_left.load(); });
  const Order box = Next(Order::Kind::kImage);
  has_left = true;
  EXPECT_EQ(first.get().status, 499);
  auto second = Ask("/v2/box/manifests/v1");
  EXPECT_TRUE(IsQuiet());  // it waits for the same order
  Done(box, Image("box", {std::string(kBox)}));
  EXPECT_EQ(second.get().status, 200);
}

}  // namespace
}  // namespace gantry::serve
