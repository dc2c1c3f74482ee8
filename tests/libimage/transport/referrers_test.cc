#include "libimage/transport/referrers.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/attach.h"
#include "libimage/transport/fetch_tree.h"
#include "libimage/transport/registry_upload.h"
#include "tests/support/image_builder.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::ImageBuilder;
using testing::RegistryServer;

constexpr std::string_view kType = "application/vnd.test.report";

HttpOptions Quick() {
  HttpOptions options;
  options.first_pause = std::chrono::milliseconds(1);
  options.longest_pause = std::chrono::milliseconds(20);
  options.max_tries = 3;
  return options;
}

// An artifact about `subject`, alone: its configuration is the layer, too.
struct Made {
  Descriptor descriptor;
  std::string bytes;
};

Made MakeArtifact(const Descriptor& subject, const std::string& number, std::string_view type = kType) {
  const Descriptor empty{.media_type = std::string(kOciEmptyType), .digest = Digest::Of("{}"), .size = 2};
  const Manifest manifest{.media_type = std::string(kOciManifestType),
                          .config = empty,
                          .layers = {empty},
                          .annotations = {{"number", number}},
                          .artifact_type = std::string(type),
                          .subject = subject};
  std::string bytes = manifest.ToJson();
  Descriptor descriptor{.media_type = manifest.media_type, .digest = Digest::Of(bytes), .size = bytes.size()};
  return {std::move(descriptor), std::move(bytes)};
}

class Referrers : public ::testing::Test {
 protected:
  DockerReference NameOn(const RegistryServer& server) const {
    return DockerReference::Parse(server.host() + "/app:v1");
  }

  void Put(RegistryServer& server, const Made& made) {
    server.PutBlob("app", Digest::Of("{}").str(), "{}");
    HttpClient http(options_);
    RegistryClient registry(http, NameOn(server), std::nullopt, "pull,push");
    Attaching(registry).PutAndList(made.descriptor.digest.str(), made.bytes, made.descriptor, "an artifact");
  }

  std::vector<Descriptor> List(const RegistryServer& server, std::string_view type = {}) {
    HttpClient http(options_);
    RegistryClient registry(http, NameOn(server), std::nullopt);
    return ListReferrers(registry, subject_.digest, type);
  }

  HttpOptions options_ = Quick();
  const Descriptor subject_{.media_type = std::string(kOciManifestType), .digest = Digest::Of("an image"), .size = 8};
};

TEST_F(Referrers, ComeInPagesOfTheRegistry) {
  RegistryServer server({.page = 2});
  for (int i = 0; i < 5; ++i) Put(server, MakeArtifact(subject_, std::to_string(i)));
  EXPECT_EQ(List(server).size(), 5u);
  EXPECT_EQ(server.Count("GET", "/referrers/"), 3u);
  EXPECT_FALSE(server.Manifest("app", ReferrersTag(subject_.digest)));
}

TEST_F(Referrers, OfOneTypeAreChosenByTheRegistryOrByUs) {
  for (const bool filters : {true, false}) {
    RegistryServer server({.filters = filters});
    Put(server, MakeArtifact(subject_, "1"));
    Put(server, MakeArtifact(subject_, "2", "application/vnd.other"));
    ASSERT_EQ(List(server, kType).size(), 1u) << filters;
    EXPECT_EQ(List(server, kType)[0].artifact_type, kType);
    EXPECT_EQ(List(server).size(), 2u);
  }
}

TEST_F(Referrers, AreBehindATagWhereTheRegistryListsNone) {
  RegistryServer server({.referrers = false});
  EXPECT_TRUE(List(server).empty());
  Put(server, MakeArtifact(subject_, "1"));
  Put(server, MakeArtifact(subject_, "2", "application/vnd.other"));
  Put(server, MakeArtifact(subject_, "1"));
  ASSERT_EQ(List(server).size(), 2u);
  EXPECT_EQ(List(server)[0].annotations.at("number"), "1");
  EXPECT_EQ(List(server, "application/vnd.other").size(), 1u);
  EXPECT_TRUE(server.Manifest("app", ReferrersTag(subject_.digest)));
}

// Eight at once, with versions and without: whoever writes over another's entry finds out and writes again.
TEST_F(Referrers, BehindATagSurviveOtherWriters) {
  for (const bool versions : {true, false}) {
    RegistryServer server({.referrers = false, .versions = versions});
    server.PutBlob("app", Digest::Of("{}").str(), "{}");
    std::vector<std::thread> writers;
    const size_t count = versions ? 8 : 2;
    for (size_t i = 0; i < count; ++i)
      writers.emplace_back([&, i] { Put(server, MakeArtifact(subject_, std::to_string(i))); });
    for (std::thread& writer : writers) writer.join();
    EXPECT_GE(List(server).size(), versions ? count : 1u);
  }
}

TEST_F(Referrers, ListsThatAreNoneAreRefused) {
  RegistryServer server;
  Put(server, MakeArtifact(subject_, "1"));
  server.Script("GET /referrers/ set Link: <http://127.0.0.2:1/v2/app/referrers/x>; rel=\"next\"\n");
  EXPECT_EQ(CaughtError([&] { List(server); }).kind(), ErrorKind::kNetwork);
  server.Script("GET /referrers/ cut 20\n");
  EXPECT_EQ(CaughtError([&] { List(server); }).kind(), ErrorKind::kCorrupt);
  server.Script("GET /referrers/ status 403\n");
  EXPECT_EQ(CaughtError([&] { List(server); }).kind(), ErrorKind::kFailed);
  RegistryServer tags({.referrers = false});
  tags.PutManifest("app", ReferrersTag(subject_.digest), std::string(kOciManifestType),
                   MakeArtifact(subject_, "1").bytes);
  EXPECT_EQ(CaughtError([&] { List(tags); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(Referrers, AreFetchedWithWhatRefersToThemAndKept) {
  for (const bool api : {true, false}) {
    RegistryServer server({.referrers = api});
    const Made report = MakeArtifact(subject_, "1");
    const Made signature = MakeArtifact(report.descriptor, "2");
    Put(server, report);
    Put(server, signature);
    server.PutManifest("app", SignatureTag(subject_.digest), std::string(kOciManifestType), signature.bytes);
    const testing::TempDir temp;
    auto store = Store::Open(temp.path() + "/store");
    {
      const auto lease = store->NewLease();
      HttpClient http(options_);
      RegistryClient registry(http, NameOn(server), std::nullopt);
      FetchReferrers(registry, NameOn(server), {subject_.digest}, *store, *lease, SilentProgress());
    }
    const std::vector<Descriptor> found = store->Referrers(subject_.digest);
    ASSERT_EQ(found.size(), 2u) << api;
    EXPECT_EQ(found[0].digest, report.descriptor.digest);
    EXPECT_EQ(found[1].annotations.at("org.opencontainers.image.ref.name"), SignatureTag(subject_.digest));
    EXPECT_EQ(store->Referrers(report.descriptor.digest).size(), 1u);
    EXPECT_TRUE(store->HasBlob(signature.descriptor.digest) && store->HasBlob(Digest::Of("{}")));
    EXPECT_TRUE(store->Check().empty());
    // Nothing needs the image, so nothing needs what is about it; what this process added it keeps until it is gone.
    store.reset();
    store = Store::Open(temp.path() + "/store");
    EXPECT_EQ(store->Collect({.keep_seconds = 0}).signatures, 2u);
    EXPECT_FALSE(store->HasBlob(signature.descriptor.digest));
  }
}

TEST_F(Referrers, ATagThatCannotBeReadIsNotTakenForNone) {
  RegistryServer server;
  HttpClient http(options_);
  RegistryClient registry(http, NameOn(server), std::nullopt);
  const std::string tag = SignatureTag(subject_.digest);
  EXPECT_FALSE(registry.HasTag(tag));
  for (const char* fault : {"403", "500"}) {
    for (int tries = 0; tries < options_.max_tries; ++tries) server.Script("HEAD " + tag + " status " + fault + "\n");
    EXPECT_THROW(registry.HasTag(tag), Error) << fault;
    server.Reset();
  }
  server.PutManifest("app", tag, std::string(kOciManifestType), MakeArtifact(subject_, "1").bytes);
  EXPECT_TRUE(registry.HasTag(tag));
}

TEST(DigestTag, TellsWhatItIsAbout) {
  const Digest digest = Digest::Of("x");
  for (const std::string& tag : DigestTags(digest)) EXPECT_EQ(SubjectOfTag(tag), digest) << tag;
  for (const std::string& tag : {std::string("v1"), SignatureTag(digest) + "x", ReferrersTag(digest) + ".",
                                 "x" + ReferrersTag(digest), digest.str(), std::string()})
    EXPECT_EQ(SubjectOfTag(tag), std::nullopt) << tag;
}

}  // namespace
}  // namespace gantry::image
