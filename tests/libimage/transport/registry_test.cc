#include "libimage/transport/registry.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/media_type.h"
#include "tests/support/http_server.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::Exchange;
using testing::HttpServer;
using testing::ImageBuilder;
using testing::SeenRequest;

// What the paths below /v2/app/ answer; a test breaks what it is about.
class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    image_.Layer(std::string(3000, '\0'), Compression::kNone);
    image_.Layer(std::string(200'000, 'x') + std::string(4800, '\0'), Compression::kNone);
    for (const auto& [digest, bytes] : image_.Blobs()) bodies_["/v2/app/blobs/" + digest.str()] = bytes;
    const std::string manifest = image_.ManifestBytes();
    digest_ = Digest::Of(manifest).str();
    bodies_["/v2/app/manifests/v1"] = bodies_["/v2/app/manifests/" + digest_] = manifest;
    options_.first_pause = std::chrono::milliseconds(1);
    options_.stall_timeout = std::chrono::seconds(1);
  }

  void Answer(const SeenRequest& request, Exchange& out) {
    if (before_ && before_(request, out))
      return;
    const std::optional<std::string> body = BodyOf(request.target);
    if (request.target == "/v2/")
      out.Send(200, {}, "{}");
    else if (!body)
      out.Send(404, {}, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"not\u001b[31m here"}]})");
    else
      out.Send(200, content_type_.empty() ? std::vector<std::string>{} : std::vector{"Content-Type: " + content_type_},
               *body);
  }

  std::optional<std::string> BodyOf(const std::string& target) {
    const std::lock_guard lock(bodies_mutex_);
    const auto found = bodies_.find(target);
    return found == bodies_.end() ? std::nullopt : std::optional(found->second);
  }

  // For changes between requests: the server may still be sending to a client that hung up.
  void Replace(const std::string& target, const std::string& body) {
    const std::lock_guard lock(bodies_mutex_);
    bodies_[target] = body;
  }

  DockerReference Name(const std::string& tail) const { return DockerReference::Parse(server_.host() + "/app" + tail); }

  FetchedImage Fetch(const std::string& tail, const Platform& platform = Platform::Host()) {
    HttpClient http(options_);
    RegistryClient client(http, Name(tail), credentials_);
    return std::get<FetchedImage>(
        Assemble(FetchDocuments(client, Name(tail), platform, nullptr), Name(tail), platform));
  }

  // Everything, with the layers into a new store.
  void Pull(const std::string& tail = ":v1") {
    HttpClient http(options_);
    RegistryClient client(http, Name(tail), credentials_);
    const Platform host = Platform::Host();
    const auto image =
        std::get<FetchedImage>(Assemble(FetchDocuments(client, Name(tail), host, nullptr), Name(tail), host));
    checked_ = 0;
    client.FetchBlobs(image.image().manifest.layers, *store_, SilentProgress(), [&] {
      for (const Descriptor& layer : image.image().manifest.layers)
        EXPECT_EQ(ReadAll(store_->OpenAsFarAsHere(layer.digest).value().get(), layer.size, "it").size(), layer.size);
      ++checked_;
    });
    EXPECT_EQ(checked_, 1);
    for (const Descriptor& layer : image.image().manifest.layers) EXPECT_TRUE(store_->HasBlob(layer.digest));
  }

  std::string LayerPath() const { return "/v2/app/blobs/" + Manifest().layers[1].digest.str(); }
  image::Manifest Manifest() const { return image_.Build().manifest; }

  ImageBuilder image_;
  std::string digest_;
  std::map<std::string, std::string> bodies_;
  std::mutex bodies_mutex_;
  std::string content_type_ = std::string(kOciManifestType);
  std::function<bool(const SeenRequest&, Exchange&)> before_;
  HttpOptions options_;
  std::optional<Credentials> credentials_;
  std::atomic<int> checked_ = 0;  // times that all blobs were said to be
  testing::TempDir temp_;
  std::unique_ptr<Store> store_ = Store::Open(temp_.path() + "/store");
  HttpServer server_{[this](const SeenRequest& request, Exchange& out) { Answer(request, out); }};
};

TEST_F(RegistryTest, FetchesAnArtifactWithoutItsConfiguration) {
  image::Manifest manifest = Manifest();
  manifest.config.media_type = kOciEmptyType;
  manifest.artifact_type = "application/vnd.example";
  const std::string old =
      R"({"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"application/x"})";
  for (const auto& [type, bytes] : std::map<std::string_view, std::string>{{kOciManifestType, manifest.ToJson()},
                                                                           {kOciArtifactManifestType, old}}) {
    Replace("/v2/app/manifests/chart", bytes);
    content_type_ = type;
    HttpClient http(options_);
    RegistryClient client(http, Name(":chart"), credentials_);
    const ImageDocuments documents = FetchDocuments(client, Name(":chart"), Platform::Host(), nullptr);
    EXPECT_TRUE(documents.config.empty());
    const Fetched fetched = Assemble(documents, Name(":chart"), Platform::Host());
    EXPECT_EQ(std::get<FetchedArtifact>(fetched).artifact.descriptor.digest, Digest::Of(bytes));
  }
}

TEST_F(RegistryTest, FetchesByTagAndByDigest) {
  EXPECT_EQ(Fetch(":v1").image().descriptor.digest.str(), digest_);
  EXPECT_EQ(Fetch("@" + digest_).image().descriptor.digest.str(), digest_);
  EXPECT_FALSE(Fetch(":v1").index());
  Pull();
  EXPECT_TRUE(store_->Check().empty());
}

TEST_F(RegistryTest, ContentTypesMayHaveParametersOrBeMissing) {
  for (const std::string& type :
       {std::string(kOciManifestType) + "; charset=utf-8", std::string(), std::string("text/plain")}) {
    content_type_ = type;
    EXPECT_EQ(Fetch(":v1").image().descriptor.digest.str(), digest_) << type;
  }
}

TEST_F(RegistryTest, CopiesForOtherThreadsAskOnceWhetherThereIsTls) {
  constexpr int kThreads = 6;
  HttpClient http(options_);
  const RegistryClient first(http, Name(":v1"), credentials_);
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      HttpClient own(options_);
      EXPECT_EQ(RegistryClient(own, first).GetManifest(Name(":v1")).digest.str(), digest_);
    });
  }
  threads.clear();
  EXPECT_EQ(server_.connections(), kThreads + 1);
}

TEST_F(RegistryTest, NeverBelievesDockerContentDigest) {
  before_ = [&](const SeenRequest& request, Exchange& out) {
    if (!request.target.starts_with("/v2/app/manifests/"))
      return false;
    out.Send(200, {"Content-Type: " + content_type_, "Docker-Content-Digest: sha256:" + std::string(64, 'a')},
             bodies_["/v2/app/manifests/v1"]);
    return true;
  };
  EXPECT_EQ(Fetch(":v1").image().descriptor.digest.str(), digest_);
  const Error error = CaughtError([&] { Fetch("@sha256:" + std::string(64, 'a')); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
}

TEST_F(RegistryTest, TellsHowManyRequestsAreLeftAndWarningsOnceEach) {
  std::vector<std::string> notes;
  options_.note = [&](const std::string& note) { notes.push_back(note); };
  before_ = [&](const SeenRequest& request, Exchange& out) {
    if (!request.target.starts_with("/v2/app/manifests/"))
      return false;
    out.Send(200,
             {"Content-Type: " + content_type_, "RateLimit-Limit: 100;w=21600", "RateLimit-Remaining: 76;w=21600",
              "Warning: 299 - \"closes \x1b soon\"", "Warning: 199 - \"of a cache\""},
             bodies_["/v2/app/manifests/v1"]);
    return true;
  };
  Fetch(":v1");
  Fetch("@" + digest_);
  ASSERT_EQ(notes.size(), 4u) << "each client tells once";
  EXPECT_EQ(notes[0], "registry '" + server_.host() + "': requests left: '76;w=21600' of '100;w=21600'");
  EXPECT_NE(notes[1].find("warning: "), std::string::npos);
  EXPECT_NE(notes[1].find("soon"), std::string::npos);
  EXPECT_EQ(notes[1].find('\x1b'), std::string::npos) << "a terminal does not obey it";
}

TEST_F(RegistryTest, RefusesManifestsOverFourMebibytes) {
  bodies_["/v2/app/manifests/v1"].append(kMaxManifestBytes, ' ');
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(RegistryTest, RefusesAConfigurationThatIsNotItsDigest) {
  bodies_["/v2/app/blobs/" + Manifest().config.digest.str()][5] ^= 1;
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(RegistryTest, RefusesLayersWithWrongBytesOrSizes) {
  const std::string good = bodies_[LayerPath()];
  std::string flipped = good;
  flipped[100'000] ^= 1;
  for (const std::string& bad : {flipped, good.substr(0, 1000), good + "more", std::string()}) {
    Replace(LayerPath(), bad);
    EXPECT_EQ(CaughtError([&] { Pull(); }).kind(), ErrorKind::kCorrupt) << bad.size();
    EXPECT_EQ(checked_, 0);
    EXPECT_FALSE(store_->HasBlob(Manifest().layers[1].digest));
    EXPECT_TRUE(store_->Check().empty());
  }
}

TEST_F(RegistryTest, ResumesALayerAfterTheConnectionBroke) {
  std::atomic<int> ranges = 0;
  before_ = [&](const SeenRequest& request, Exchange& out) {
    if (request.target != LayerPath())
      return false;
    const std::string& body = bodies_[LayerPath()];
    const std::string range = request.Header("range");
    if (range.empty()) {
      out.SendHead(200, {}, body.size());
      out.SendRaw(body.substr(0, 70'000));
      out.Drop();
      return true;
    }
    ++ranges;
    const size_t from = std::stoul(range.substr(6));
    const std::string span = std::to_string(from) + "-" + std::to_string(body.size() - 1);
    out.Send(206, {"Content-Range: bytes " + span + "/" + std::to_string(body.size())}, body.substr(from));
    return true;
  };
  Pull();
  EXPECT_EQ(ranges, 1);
}

TEST_F(RegistryTest, GivesUpOnALayerThatStalls) {
  options_.max_tries = 1;
  before_ = [&](const SeenRequest& request, Exchange& out) {
    if (request.target != LayerPath())
      return false;
    out.SendHead(200, {}, 1000);
    out.Stall();
    return true;
  };
  EXPECT_EQ(CaughtError([&] { Pull(); }).kind(), ErrorKind::kNetwork);
}

TEST_F(RegistryTest, AsksForBlobsOnlyOnce) {
  Pull();
  const size_t before = server_.requests().size();
  Pull();
  for (size_t i = before; i < server_.requests().size(); ++i) {
    for (const Descriptor& layer : Manifest().layers)
      EXPECT_EQ(server_.requests()[i].target.find(layer.digest.str()), std::string::npos);
  }
}

TEST_F(RegistryTest, AbsentIsNotFoundAndShownSafely) {
  const Error error = CaughtError([&] { Fetch(":absent"); });
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_NE(error.message().find("MANIFEST_UNKNOWN"), std::string::npos) << error.message();
  EXPECT_EQ(error.message().find('\x1b'), std::string::npos);
}

TEST_F(RegistryTest, DeniedSaysHowToLogIn) {
  before_ = [](const SeenRequest& request, Exchange& out) {
    if (request.target != "/v2/")
      out.Send(403, {}, "");
    return request.target != "/v2/";
  };
  const Error error = CaughtError([&] { Fetch(":v1"); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_NE(error.hint().find("log in"), std::string::npos) << error.hint();
}

TEST_F(RegistryTest, BasicAuthorization) {
  credentials_ = Credentials{"user", "pass word"};
  before_ = [](const SeenRequest& request, Exchange& out) {
    if (request.Header("authorization") == "Basic " + EncodeBase64("user:pass word"))
      return false;
    out.Send(401, {"WWW-Authenticate: Basic realm=\"x\""}, "");
    return true;
  };
  Pull();
  credentials_->password = "secretive";
  const Error error = CaughtError([&] { Fetch(":v1"); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_EQ((error.message() + error.hint()).find("secretive"), std::string::npos);
}

TEST_F(RegistryTest, AManifestThatIsKnownNeedsNoAnswerButThat) {
  const Digest known = Digest::Parse(digest_);
  std::string asked;
  before_ = [&](const SeenRequest& request, Exchange& out) {
    asked = request.Header("if-none-match");
    if (asked == "\"" + digest_ + "\"")
      out.Send(304, {}, "");
    else
      out.Send(200, {"Docker-Content-Digest: " + digest_}, "");
    return true;
  };
  HttpClient http(options_);
  RegistryClient client(http, Name(":v1"), credentials_);
  EXPECT_EQ(client.HeadManifest(Name(":v1")), known);
  EXPECT_EQ(asked, "");
  EXPECT_EQ(client.HeadManifest(Name(":v1"), known), known);
  EXPECT_NE(asked, "");
  EXPECT_EQ(client.HeadManifest(Name(":v1"), Digest::Of("other")), known);
}

TEST_F(RegistryTest, ForeignLayersComeFromTheirAddressesWithoutCredentials) {
  credentials_ = Credentials{"user", "secretive"};
  const Descriptor layer = Manifest().layers[1];
  const std::string bytes = bodies_[LayerPath()];
  before_ = [&](const SeenRequest& request, Exchange& out) {
    if (request.Header("authorization").empty())
      out.Send(401, {"WWW-Authenticate: Basic realm=\"x\""}, "");
    else if (request.target == LayerPath())
      out.Send(404, {}, "");
    else
      return false;
    return true;
  };
  HttpServer elsewhere(
      [&](const SeenRequest& request, Exchange& out) {
        if (request.target == "/gone")
          out.Send(404, {}, "");
        else
          out.Send(200, {}, bytes);
      },
      "127.0.0.2");
  const auto pull = [&](std::vector<std::string> urls, std::string_view type) {
    HttpClient http(options_);
    RegistryClient client(http, Name(":v1"), credentials_);
    client.GetManifest(Name(":v1"));
    Descriptor foreign = layer;
    foreign.media_type = std::string(type);
    foreign.urls = std::move(urls);
    client.FetchBlobs(std::vector{foreign}, *store_, SilentProgress());
  };
  constexpr std::string_view kForeign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  EXPECT_EQ(CaughtError([&] { pull({elsewhere.Url("/layer")}, kOciLayerType); }).kind(), ErrorKind::kNotFound);
  EXPECT_TRUE(elsewhere.requests().empty());  // only foreign ones are anywhere else
  EXPECT_EQ(CaughtError([&] { pull({elsewhere.Url("/gone")}, kForeign); }).kind(), ErrorKind::kNetwork);
  pull({elsewhere.Url("/gone"), elsewhere.Url("/layer")}, kForeign);
  EXPECT_TRUE(store_->HasBlob(layer.digest));
  EXPECT_EQ(elsewhere.requests().size(), 3u);
  for (const SeenRequest& request : elsewhere.requests()) EXPECT_EQ(request.Header("authorization"), "");
}

TEST_F(RegistryTest, NeverShowsASecretThatTheRegistryRepeats) {
  credentials_ = Credentials{"user", "secretive"};
  before_ = [](const SeenRequest& request, Exchange& out) {
    const std::string sent(request.Header("authorization"));
    if (sent.empty())
      out.Send(401, {"WWW-Authenticate: Basic realm=\"x\""}, "");
    else
      out.Send(403, {}, R"({"errors":[{"code":"DENIED","message":"you sent )" + sent + R"("}]})");
    return true;
  };
  const Error error = CaughtError([&] { Fetch(":v1"); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_EQ(error.message().find(EncodeBase64("user:secretive")), std::string::npos) << error.message();
  EXPECT_EQ(error.message().find("DENIED"), std::string::npos) << error.message();
}

class BearerTest : public RegistryTest {
 protected:
  BearerTest() {
    before_ = [this](const SeenRequest& request, Exchange& out) {
      if (request.target.starts_with("/token")) {
        ++tokens_;
        if (request.Header("authorization") != token_auth_)
          out.Send(401, {}, "");
        else
          out.Send(200, {}, token_body_);
        return true;
      }
      if (request.Header("authorization") == "Bearer " + wanted_)
        return false;
      const std::string realm = realm_.empty() ? server_.Url("/token?x=1") : realm_;
      out.Send(401, {"WWW-Authenticate: Bearer realm=\"" + realm + "\",service=\"s v c\"" + more_}, "");
      return true;
    };
  }
  std::string realm_, more_, token_auth_;
  std::string wanted_ = "t0ken";
  std::string token_body_ = R"({"token":"t0ken","expires_in":300})";
  std::atomic<int> tokens_ = 0;
};

TEST_F(BearerTest, OneTokenServesTheWholeImage) {
  Pull();
  EXPECT_EQ(tokens_, 1);
  for (const SeenRequest& request : server_.requests()) {
    if (request.target.starts_with("/token")) {
      EXPECT_EQ(request.target, "/token?x=1&service=s%20v%20c&scope=repository%3Aapp%3Apull");
    }
  }
}

TEST_F(BearerTest, AccessTokenAndCredentialsForTheTokenServer) {
  token_body_ = R"({"access_token":"t0ken"})";
  credentials_ = Credentials{"u", "p"};
  token_auth_ = "Basic " + EncodeBase64("u:p");
  Pull();
  credentials_ = std::nullopt;
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kFailed);
}

TEST_F(BearerTest, InsufficientScopeIsAskedForOnce) {
  more_ = R"(,error="insufficient_scope",scope="repository:app:pull,special")";
  wanted_ = "never";
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(tokens_, 2);
  EXPECT_NE(server_.requests().back().target.find("/v2/app/manifests"), std::string::npos);
}

TEST_F(BearerTest, RefusesTokenBodiesThatAreHugeOrNone) {
  token_body_ = R"({"token":")" + std::string(kMaxTokenResponseBytes, 'x') + "\"}";
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kCorrupt);
  token_body_ = "{}";
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kCorrupt);
  token_body_ = R"({"token":"x\r\nEvil: 1"})";
  EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(BearerTest, RefusesHostileRealms) {
  for (const char* realm :
       {"file:///etc/passwd", "http://token.example/t", "http://169.254.169.254/latest", "nonsense"}) {
    realm_ = realm;
    EXPECT_EQ(CaughtError([&] { Fetch(":v1"); }).kind(), ErrorKind::kNetwork) << realm;
  }
  EXPECT_EQ(tokens_, 0);
}

std::string IndexOf(const std::string& manifest, const Platform& platform) {
  const Index index{.media_type = std::string(kOciIndexType),
                    .manifests = {{.media_type = std::string(kOciManifestType),
                                   .digest = Digest::Of(manifest),
                                   .size = manifest.size(),
                                   .platform = platform}}};
  return index.ToJson();
}

TEST_F(RegistryTest, FollowsAnIndexToThePlatform) {
  const std::string index = IndexOf(image_.ManifestBytes(), Platform::Host());
  bodies_["/v2/app/manifests/multi"] = index;
  content_type_.clear();
  const FetchedImage image = Fetch(":multi");
  EXPECT_EQ(image.image().descriptor.digest.str(), digest_);
  EXPECT_EQ(image.index(), Digest::Of(index));
  const Error error = CaughtError([&] { Fetch(":multi", Platform::Parse("linux/s390x")); });
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_NE(error.hint().find(Platform::Host().ToString()), std::string::npos) << error.hint();
}

std::string IndexOf(const std::vector<std::string>& manifests) {
  Index index{.media_type = std::string(kOciIndexType)};
  for (const std::string& one : manifests) {
    index.manifests.push_back(
        {.media_type = std::string(kOciManifestType), .digest = Digest::Of(one), .size = one.size()});
  }
  return index.ToJson();
}

TEST_F(RegistryTest, OfAnIndexWithoutPlatformsTheFirstImageIsMeant) {
  content_type_.clear();
  std::vector<std::string> artifacts;
  for (const char* type : {"application/x", "application/y"}) {
    image::Manifest manifest = Manifest();
    manifest.artifact_type = type;
    artifacts.push_back(manifest.ToJson());
    bodies_["/v2/app/manifests/" + Digest::Of(artifacts.back()).str()] = artifacts.back();
  }
  const auto fetch = [&](const std::vector<std::string>& listed) {
    Replace("/v2/app/manifests/multi", IndexOf(listed));
    HttpClient http(options_);
    RegistryClient client(http, Name(":multi"), credentials_);
    const Platform host = Platform::Host();
    return Assemble(FetchDocuments(client, Name(":multi"), host, nullptr), Name(":multi"), host);
  };
  const std::string image = image_.ManifestBytes();
  EXPECT_EQ(std::get<FetchedImage>(fetch({artifacts[0], artifacts[1], image})).image().descriptor.digest.str(),
            digest_);
  EXPECT_EQ(std::get<FetchedArtifact>(fetch({artifacts[1]})).artifact.descriptor.digest, Digest::Of(artifacts[1]));
  const Error several = CaughtError([&] { fetch(artifacts); });
  EXPECT_EQ(several.kind(), ErrorKind::kUsage);
  EXPECT_NE(several.hint().find(Digest::Of(artifacts[0]).str()), std::string::npos) << several.hint();
  std::vector<std::string> many(kMaxAsked + 1, artifacts[0]);
  many.push_back(image);
  EXPECT_EQ(CaughtError([&] { fetch(many); }).kind(), ErrorKind::kUnsupported);

  // Nobody passes off the artifact for what is meant.
  const ImageDocuments forged{
      .content_type = "", .manifests = {IndexOf({artifacts[0], image}), artifacts[0]}, .config = ""};
  EXPECT_EQ(CaughtError([&] { Assemble(forged, Name(":multi"), Platform::Host()); }).kind(), ErrorKind::kUsage);
}

TEST_F(RegistryTest, TheOneThatDecidesChecksTheDocumentsAgain) {
  const std::string manifest = image_.ManifestBytes();
  const std::string index = IndexOf(manifest, Platform::Host());
  const ImageDocuments good{.content_type = "", .manifests = {index, manifest}, .config = image_.ConfigBytes()};
  const DockerReference pinned = Name("@" + Digest::Of(index).str());
  EXPECT_EQ(std::get<FetchedImage>(Assemble(good, pinned, Platform::Host())).image().descriptor.digest.str(), digest_);
  ImageDocuments other = good;
  other.manifests[1] += " ";
  EXPECT_EQ(CaughtError([&] { Assemble(other, pinned, Platform::Host()); }).kind(), ErrorKind::kCorrupt);
  other = good;
  other.manifests.erase(other.manifests.begin());
  EXPECT_EQ(CaughtError([&] { Assemble(other, pinned, Platform::Host()); }).kind(), ErrorKind::kCorrupt);
  other = good;
  other.manifests.pop_back();
  EXPECT_EQ(CaughtError([&] { Assemble(other, pinned, Platform::Host()); }).kind(), ErrorKind::kCorrupt);
  other = good;
  other.config += " ";
  EXPECT_EQ(CaughtError([&] { Assemble(other, pinned, Platform::Host()); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(RegistryTest, SignaturesAreReadUntilTheFirstGap) {
  bodies_["/sig/signature-1"] = "one";
  bodies_["/sig/signature-2"] = "two";
  bodies_["/sig/signature-4"] = "four";
  HttpClient http(options_);
  const auto url = [&](size_t n) { return server_.Url("/sig/signature-" + std::to_string(n)); };
  EXPECT_EQ(FetchSignatures(http, url), (std::vector<std::string>{"one", "two"}));
  bodies_["/sig/signature-1"] = std::string(kMaxSignatureBytes + 1, 'x');
  EXPECT_EQ(CaughtError([&] { FetchSignatures(http, url); }).kind(), ErrorKind::kCorrupt);
  before_ = [](const SeenRequest&, Exchange& out) { return out.Send(200, {}, "endless"), true; };
  EXPECT_EQ(CaughtError([&] { FetchSignatures(http, url); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
