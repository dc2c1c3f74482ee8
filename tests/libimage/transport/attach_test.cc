#include "libimage/transport/attach.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/attachments.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::RegistryServer;

const Digest kImage = Digest::Of("the manifest of an image");
const Descriptor kSubject{.media_type = std::string(kOciManifestType), .digest = kImage, .size = 24};

Attachment Signature(const std::string& text) {
  return {std::string(kSimpleSigningType), text, {{std::string(kSignatureAnnotation), "AAAA"}}};
}
SignatureManifest Referrer(const std::string& text) {
  return MakeReferrer(kSubject, {std::string(kBundleType), text}, {{"a", text}});
}

// A client of one registry.
class Client {
 public:
  explicit Client(const RegistryServer& server)
      : name_(DockerReference::Parse(server.host() + "/app:v1")),
        http_(Fast()),
        registry_(http_, name_, std::nullopt, "pull,push"),
        attaching_(registry_) {}

  void Append(const std::string& text) { attaching_.AppendToTag(SignatureTag(kImage), Signature(text)); }
  void Refer(const std::string& text) { attaching_.PutReferrer(kImage, Referrer(text)); }
  void Settle() { attaching_.Settle(); }
  std::multiset<std::string> Found() {
    std::multiset<std::string> payloads;
    for (const Attachment& attachment : FetchAttachments(registry_, name_, kImage, 1'000'000).attachments)
      payloads.insert(attachment.payload);
    return payloads;
  }

 private:
  static HttpOptions Fast() {
    HttpOptions options;
    options.first_pause = std::chrono::milliseconds(1);
    options.max_tries = 2;
    return options;
  }
  DockerReference name_;
  HttpClient http_;
  RegistryClient registry_;
  Attaching attaching_;
};

TEST(Attach, SignaturesAreFoundWhereTheyWerePut) {
  for (const bool referrers : {true, false}) {
    const RegistryServer server({.referrers = referrers});
    Client client(server);
    client.Append("one");
    client.Append("two");
    client.Append("one");
    client.Refer("three");
    client.Refer("four");
    client.Refer("three");
    client.Settle();
    EXPECT_EQ(client.Found(), (std::multiset<std::string>{"four", "one", "three", "two"})) << referrers;
    EXPECT_EQ(server.Manifest("app", ReferrersTag(kImage)).has_value(), !referrers);
  }
}

TEST(Attach, NoneOfManySignersAtOnceIsLost) {
  const RegistryServer server({.referrers = false});
  std::multiset<std::string> all;
  std::vector<std::thread> signers;
  for (int i = 0; i < 8; ++i) {
    all.insert({"tag " + std::to_string(i), "referrer " + std::to_string(i)});
    signers.emplace_back([&server, i] {
      Client client(server);
      client.Append("tag " + std::to_string(i));
      client.Refer("referrer " + std::to_string(i));
      client.Settle();
    });
  }
  for (std::thread& signer : signers) signer.join();
  EXPECT_EQ(Client(server).Found(), all);
  // They took turns: nobody had to add anything again.
  EXPECT_EQ(server.Count("PUT", ".sig"), signers.size());
  EXPECT_EQ(server.Count("PUT", "/" + ReferrersTag(kImage)), 2 * signers.size());
}

// A writer on another machine, who takes no turns: he read the list before, and puts it back a while after.
TEST(Attach, WhatASlowWriterSetAsideIsAddedAgain) {
  for (const auto late : {std::chrono::milliseconds(0), kShortestSettling / 2}) {
    RegistryServer server({.referrers = false});
    Client client(server);
    client.Append("first");
    client.Refer("second");
    client.Settle();
    const std::string signatures = server.Manifest("app", SignatureTag(kImage)).value();
    const std::string index = server.Manifest("app", ReferrersTag(kImage)).value();
    client.Append("third");
    client.Refer("fourth");
    std::thread other([&] {
      std::this_thread::sleep_for(late);
      server.PutManifest("app", SignatureTag(kImage), std::string(kOciManifestType), signatures);
      server.PutManifest("app", ReferrersTag(kImage), std::string(kOciIndexType), index);
    });
    client.Settle();
    other.join();
    EXPECT_EQ(client.Found(), (std::multiset<std::string>{"first", "fourth", "second", "third"})) << late.count();
  }
}

TEST(Attach, AWriterWhoDiesInHisTurnHoldsUpNobody) {
  RegistryServer server;
  server.Script("PUT .sig status 403");
  Client dead(server);
  EXPECT_EQ(CaughtError([&] { dead.Append("one"); }).kind(), ErrorKind::kFailed);
  const auto start = std::chrono::steady_clock::now();
  Client client(server);
  client.Append("two");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

// Any process can hold the name of a turn. In a process of its own, for it changes how that takes turns.
TEST(Attach, AHeldTurnIsWaitedForOnce) {
  RegistryServer server;
  const std::string name = "gantry-tag-" + std::to_string(geteuid()) + "-" +
                           Digest::Of(server.host() + "/app:" + SignatureTag(kImage)).hex();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), &address.sun_path[1]);
  const UniqueFd holder(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(holder.get(), reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  const auto append = [&](const std::string& text) {
    const auto start = std::chrono::steady_clock::now();
    Client client(server);
    client.Append(text);
    return std::chrono::steady_clock::now() - start;
  };
  EXPECT_EXIT(
      {
        const auto first = append("one");
        const auto second = append("two");
        std::exit(first >= kLongestTurn && first < 2 * kLongestTurn && second < kLongestTurn / 2 ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
  EXPECT_EQ(Client(server).Found(), (std::multiset<std::string>{"one", "two"}));
}

TEST(Attach, ASlowRegistryIsAskedOnceMore) {
  const RegistryServer server({.read_delay = std::chrono::milliseconds(120)});
  Client client(server);
  client.Append("one");
  client.Settle();
  // Twice a look and one more, then one whether it stayed; and for the two blobs once.
  EXPECT_EQ(server.Count("GET", ".sig"), 5U);
  EXPECT_EQ(server.Count("HEAD", "/blobs/"), 2U);
  EXPECT_EQ(server.Count("PUT", ".sig"), 1U);
  for (const auto& request : server.requests()) {
    if (request.method == "PUT" && request.target.ends_with(".sig")) {
      EXPECT_EQ(request.Header("if-none-match"), "*");
    }
  }
  EXPECT_EQ(client.Found(), (std::multiset<std::string>{"one"}));
}

TEST(Attach, AConditionThatFailsIsTriedAnew) {
  RegistryServer server;
  server.Script("PUT .sig status 412\nPUT .sig lose");
  Client client(server);
  client.Append("one");
  client.Settle();
  EXPECT_TRUE(server.script_is_done());
  EXPECT_EQ(client.Found(), (std::multiset<std::string>{"one"}));
}

TEST(Attach, WhatIsNoListOfSignaturesIsLeftAlone) {
  RegistryServer server({.referrers = false});
  server.PutManifest("app", SignatureTag(kImage), std::string(kOciIndexType),
                     WithReferrer("", Referrer("x").bytes).value());
  server.PutManifest("app", ReferrersTag(kImage), std::string(kOciManifestType), Referrer("x").bytes);
  Client client(server);
  EXPECT_EQ(CaughtError([&] { client.Append("one"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { client.Refer("one"); }).kind(), ErrorKind::kCorrupt);
}

TEST(Attach, ARefusalSaysWhatTheRegistryDeniesAndHowToLogIn) {
  RegistryServer server;
  server.Script("POST /uploads/ status 403");
  Client client(server);
  const Error error = CaughtError([&] { client.Append("one"); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_NE(error.hint().find("gantry login"), std::string::npos);
}

}  // namespace
}  // namespace gantry::image
