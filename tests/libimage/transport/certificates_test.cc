#include "libimage/transport/certificates.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "libimage/base/error.h"
#include "tests/support/http_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::Exchange;
using testing::HttpServer;
using testing::SeenRequest;
using testing::TestCertificate;

class CertificatesTest : public ::testing::Test {
 protected:
  CertificatesTest() { setenv("XDG_CONFIG_HOME", temp_.path().c_str(), 1); }
  ~CertificatesTest() override {
    if (before_)
      setenv("XDG_CONFIG_HOME", before_->c_str(), 1);
    else
      unsetenv("XDG_CONFIG_HOME");
  }

  std::string Write(const std::string& host, const std::string& name, const std::string& text) {
    const RelPath directory = RelPath::Parse("containers/certs.d/" + host);
    temp_.dir().MakeDirs(directory);
    temp_.dir().WriteFileAtomically(directory / RelPath::Parse(name), text);
    return temp_.path() + "/" + directory.str();
  }

  static std::string Get(const HttpServer& server, bool with_certificates) {
    HttpOptions options;
    options.max_tries = 1;
    if (with_certificates)
      options = WithCertificates(std::move(options), server.host());
    HttpClient client(options);
    return client.Send({.url = *Url::Parse(server.Url("/")), .max_body_bytes = 100, .what = "test"}).body;
  }

  testing::TempDir temp_;
  std::optional<std::string> before_ = std::getenv("XDG_CONFIG_HOME") != nullptr
                                           ? std::optional(std::string(std::getenv("XDG_CONFIG_HOME")))
                                           : std::nullopt;
  TestCertificate pair_ = TestCertificate::Make();
};

TEST_F(CertificatesTest, AreLookedForInThreePlaces) {
  EXPECT_EQ(CertificateDirectories("r.example:5000"),
            (std::vector<std::string>{temp_.path() + "/containers/certs.d/r.example:5000",
                                      "/etc/containers/certs.d/r.example:5000", "/etc/docker/certs.d/r.example:5000"}));
  EXPECT_TRUE(WithCertificates({}, "r.example:5000").certificates.empty());
}

TEST_F(CertificatesTest, AuthoritiesAndAPairAreRead) {
  Write("r.example", "a.crt", "one");
  Write("r.example", "b.crt", "two");
  Write("r.example", "client.cert", "certificate");
  Write("r.example", "notes.txt", "not mine");
  const std::string directory = Write("r.example", "client.key", "key");
  const HostCertificates found = ReadCertificates(directory);
  EXPECT_EQ(found.authorities, "one\ntwo\n");
  EXPECT_EQ(found.certificate, "certificate\n");
  EXPECT_EQ(found.key, "key\n");
  EXPECT_EQ(WithCertificates({}, "r.example").certificates.at("https://r.example:443").key, "key\n");
}

TEST_F(CertificatesTest, HalfAPairAndSeveralAreRefused) {
  EXPECT_EQ(CaughtError([&] { ReadCertificates(Write("a", "x.cert", "")); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { ReadCertificates(Write("b", "x.key", "")); }).kind(), ErrorKind::kFailed);
  for (const char* name : {"x.cert", "x.key", "y.cert", "y.key"}) Write("c", name, "1");
  EXPECT_EQ(CaughtError([&] { ReadCertificates(Write("c", "z.crt", "")); }).kind(), ErrorKind::kUnsupported);
}

TEST_F(CertificatesTest, MakeARegistryTrusted) {
  const HttpServer server([](const SeenRequest&, Exchange& out) { out.Send(200, {}, "secure"); }, pair_);
  EXPECT_EQ(CaughtError([&] { Get(server, true); }).kind(), ErrorKind::kNetwork);
  Write(server.host(), "ca.crt", pair_.certificate);
  EXPECT_EQ(Get(server, true), "secure");
  EXPECT_EQ(CaughtError([&] { Get(server, false); }).kind(), ErrorKind::kNetwork);
}

TEST_F(CertificatesTest, ShowWhoWeAre) {
  const HttpServer server([](const SeenRequest&, Exchange& out) { out.Send(200, {}, "known"); }, pair_, "127.0.0.1",
                          true);
  Write(server.host(), "ca.crt", pair_.certificate);
  EXPECT_EQ(CaughtError([&] { Get(server, true); }).kind(), ErrorKind::kNetwork);
  Write(server.host(), "me.cert", pair_.certificate);
  Write(server.host(), "me.key", pair_.key);
  EXPECT_EQ(Get(server, true), "known");
}

}  // namespace
}  // namespace gantry::image
