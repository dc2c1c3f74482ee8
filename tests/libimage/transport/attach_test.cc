#include "libimage/transport/attach.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "libimage/base/error.h"
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
        registry_(http_, name_, std::nullopt, "pull,push") {}

  void Append(const std::string& text) { AppendToTag(registry_, name_, SignatureTag(kImage), Signature(text)); }
  void Refer(const std::string& text) { PutReferrer(registry_, name_, kImage, Referrer(text)); }
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
    });
  }
  for (std::thread& signer : signers) signer.join();
  EXPECT_EQ(Client(server).Found(), all);
}

TEST(Attach, WhatAnotherOneSetAsideIsAddedAgain) {
  RegistryServer server;
  const std::string tag = SignatureTag(kImage);
  Client client(server);
  client.Append("first");
  const std::string old = server.Manifest("app", tag).value();
  // Another signer who read the tag before, and puts it back after.
  std::atomic<bool> done = false;
  std::thread other([&] {
    while (!done && server.Manifest("app", tag) == old) std::this_thread::yield();
    server.PutManifest("app", tag, std::string(kOciManifestType), old);
  });
  client.Append("second");
  done = true;
  other.join();
  EXPECT_EQ(client.Found(), (std::multiset<std::string>{"first", "second"}));
}

TEST(Attach, AConditionThatFailsIsTriedAnew) {
  RegistryServer server;
  server.Script("PUT .sig status 412\nPUT .sig lose");
  Client client(server);
  client.Append("one");
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
