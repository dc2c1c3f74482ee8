#include "libimage/transport/registry_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "libimage/base/error.h"
#include "libimage/store/store.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::RegistryServer;

const std::string& Large() {
  static const std::string kBytes = [] {
    std::string out(kMinRangedBytes + kRangeBytes / 2, '\0');
    uint32_t state = 11;
    for (char& c : out) {
      state = state * 1664525 + 1013904223;
      c = static_cast<char>(state >> 24);
    }
    return out;
  }();
  return kBytes;
}

class Ranges : public ::testing::Test {
 protected:
  void Fetch(RegistryServer& server) {
    HttpOptions options;
    options.first_pause = std::chrono::milliseconds(1);
    options.max_tries = 3;
    options.stall_timeout = std::chrono::seconds(2);
    HttpClient http(options);
    RegistryClient registry(http, DockerReference::Parse(server.host() + "/app"), std::nullopt);
    const Descriptor blob{.media_type = "x", .digest = Digest::Of(Large()), .size = Large().size()};
    server.PutBlob("app", blob.digest.str(), Large());
    registry.FetchBlobs(std::vector{blob}, *store_, SilentProgress());
    EXPECT_TRUE(store_->HasBlob(blob.digest));
    EXPECT_TRUE(store_->Check().empty());
  }

  static size_t Parts(const RegistryServer& server) {
    const auto requests = server.requests();
    return static_cast<size_t>(std::count_if(requests.begin(), requests.end(), [](const testing::SeenRequest& one) {
      const std::string range = one.Header("range");
      return !range.empty() && range.back() != '-';
    }));
  }

  testing::TempDir temp_;
  std::unique_ptr<Store> store_ = Store::Open(temp_.path() + "/store");
};

TEST_F(Ranges, BringALargeBlobByManyRequests) {
  RegistryServer server;
  Fetch(server);
  EXPECT_EQ(Parts(server), 5u);
}

TEST_F(Ranges, AreNotAskedForTwiceOfAServerWithout) {
  RegistryServer server({.ranges = false});
  Fetch(server);
  EXPECT_EQ(Parts(server), 1u);
}

TEST_F(Ranges, GoOnWhereOneBroke) {
  RegistryServer server;
  server.Script("GET /blobs/ drop 3000000\nGET /blobs/ drop 2000000\nGET /blobs/ stall 1000\n");
  Fetch(server);
  EXPECT_TRUE(server.script_is_done());
}

TEST_F(Ranges, WithTokensThatEnd) {
  RegistryServer server({.user = "u", .password = "secretive"});
  HttpClient http(HttpOptions{});
  RegistryClient registry(http, DockerReference::Parse(server.host() + "/app"), Credentials{"u", "secretive"});
  const Descriptor blob{.media_type = "x", .digest = Digest::Of(Large()), .size = Large().size()};
  server.PutBlob("app", blob.digest.str(), Large());
  server.Script("GET /blobs/ status 401;WWW-Authenticate: Bearer realm=\"" + server.Url("/token") +
                "\",service=\"test\"\n");
  registry.FetchBlobs(std::vector{blob}, *store_, SilentProgress());
  EXPECT_TRUE(store_->HasBlob(blob.digest));
}

TEST_F(Ranges, ThatLieAreFoundOut) {
  RegistryServer server;
  server.Script("GET /blobs/ set Content-Range: bytes 5-9/10\n");
  Fetch(server);  // by one request, for the server showed that it does not keep to ranges
  store_ = Store::Open(temp_.path() + "/other");
  server.Script("GET /blobs/ flip 100\n");
  EXPECT_EQ(CaughtError([&] { Fetch(server); }).kind(), ErrorKind::kCorrupt);
  EXPECT_TRUE(store_->Check().empty());
  Fetch(server);
}

}  // namespace
}  // namespace gantry::image
