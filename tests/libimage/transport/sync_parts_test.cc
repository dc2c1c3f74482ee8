#include "libimage/transport/sync_parts.h"

#include <gtest/gtest.h>

#include "libimage/model/media_type.h"
#include "tests/support/registry_server.h"

namespace gantry::image {
namespace {

using testing::RegistryServer;

class SyncSharedTest : public ::testing::Test {
 protected:
  DockerReference Name(const std::string& tail) const { return DockerReference::Parse(server_.host() + "/app" + tail); }
  void Learn(const DockerReference& to) {
    RegistryClient registry(http_, to, std::nullopt);
    shared_.LearnWhetherNew(to, registry);
  }

  RegistryServer server_;
  const SyncPlan plan_{.origins = {},
                       .destination = DockerReference::Parse(server_.host() + "/x"),
                       .http = {},
                       .signature_url = {},
                       .confine = {}};
  SyncShared shared_{plan_};
  HttpClient http_{HttpOptions{.max_tries = 1}};
};

TEST_F(SyncSharedTest, ARepositoryWithoutTagsIsNewToTagsAlone) {
  const DockerReference digest = Name("@" + Digest::Of("x").str());
  Learn(digest);
  EXPECT_EQ(server_.Count("GET", "/tags/"), 0u);
  EXPECT_FALSE(shared_.IsNew(Name(":v1")));
  Learn(Name(":v1"));
  EXPECT_TRUE(shared_.IsNew(Name(":v2")));
  EXPECT_FALSE(shared_.IsNew(digest));
}

TEST_F(SyncSharedTest, ARepositoryIsAskedOnceWhetherItIsNew) {
  server_.PutManifest("app", "old", std::string(kOciManifestType), "{}");
  Learn(Name(":v1"));
  Learn(Name(":v2"));
  EXPECT_FALSE(shared_.IsNew(Name(":v1")));
  EXPECT_EQ(server_.Count("GET", "/tags/"), 1u);
}

}  // namespace
}  // namespace gantry::image
