// The real gantry-serve before a registry that misbehaves: when the first byte comes, what many clients cost, what
// becomes of them when one leaves or upstream breaks off.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libimage/model/aci_manifest.h"
#include "libimage/model/media_type.h"
#include "tests/support/image_builder.h"
#include "tests/support/registry_server.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::testing {
namespace {

std::string Noise(size_t size, uint32_t state) {
  std::string out(size, '\0');
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

// As appc calls this machine's.
std::string Arch() {
  const image::Platform host = image::Platform::Host();
  return image::ToAppcArch(host.architecture, host.variant).value();
}

// gantry-serve before `upstream`, under a policy that accepts everything.
class Server {
 public:
  explicit Server(const std::string& upstream, std::vector<std::string> more = {}) {
    dir_.dir().WriteFileAtomically(RelPath::Parse("policy.json"), R"({"default":[{"type":"insecureAcceptAnything"}]})");
    std::vector<std::string> argv{ProgramDirectory() + "/gantry-serve",
                                  "--upstream",
                                  "docker://" + upstream,
                                  "--listen",
                                  "127.0.0.1:0",
                                  "--url",
                                  "http://images.test",
                                  "--cache",
                                  dir_.path() + "/cache",
                                  "--policy",
                                  dir_.path() + "/policy.json"};
    argv.insert(argv.end(), more.begin(), more.end());
    Pipe out = MakePipe();
    log_ = OpenFile(dir_.path() + "/log", O_CREAT | O_RDWR);
    process_.emplace(Process::Start(argv, {{out.write.get(), STDOUT_FILENO}, {log_.get(), STDERR_FILENO}},
                                    std::vector<std::string>{"PATH=/usr/bin:/bin", "HOME=" + dir_.path()}));
    out.write.Reset();
    std::string line;
    for (char c = 0; read(out.read.get(), &c, 1) == 1 && c != '\n';) line += c;
    const auto port = ParseDecimal<uint16_t>(line.substr(line.rfind(':') + 1));
    if (!port)
      throw Error(ErrorKind::kFailed, "gantry-serve did not start: " + ReadFile(dir_.path() + "/log", 1 << 20));
    port_ = *port;
  }

  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
      ThrowErrno("connect");
    return fd;
  }

  UniqueFd Ask(const std::string& target) const {
    UniqueFd fd = Connect();
    WriteFull(fd.get(), AsBytes("GET " + target + " HTTP/1.1\r\nHost: images.test\r\nConnection: close\r\n\r\n"),
              "request");
    return fd;
  }

  Process& process() { return *process_; }
  std::string cache() const { return dir_.path() + "/cache"; }
  std::string log() const { return ReadFile(dir_.path() + "/log", 1 << 20); }

 private:
  TempDir dir_;
  UniqueFd log_;
  std::optional<Process> process_;
  uint16_t port_ = 0;
};

struct Got {
  std::string head, body;  // the body without its chunks' frame
  bool whole = false;
};

// All that comes until the connection ends.
Got ReadAnswer(const UniqueFd& fd) {
  std::string all;
  char buffer[65536];
  for (ssize_t n = 0; (n = read(fd.get(), buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
  Got got;
  const size_t end = all.find("\r\n\r\n");
  got.head = all.substr(0, end);
  std::string rest = end == std::string::npos ? "" : all.substr(end + 4);
  if (got.head.find("chunked") == std::string::npos) {
    got.body = rest;
    got.whole = got.head.find("Content-Length: " + std::to_string(rest.size())) != std::string::npos;
    return got;
  }
  for (size_t at = 0;;) {
    const size_t line = rest.find("\r\n", at);
    if (line == std::string::npos)
      return got;
    const size_t size = std::strtoull(rest.c_str() + at, nullptr, 16);
    if (size == 0) {
      got.whole = true;
      return got;
    }
    got.body += rest.substr(line + 2, size);
    at = line + 2 + size + 2;
    if (rest.size() < at)
      return got;
  }
}

// An image of noise, which no compression makes small.
class ServeTest : public ::testing::Test {
 protected:
  ServeTest() {
    for (uint32_t i = 0; i < 3; ++i)
      image_.Layer(TarBuilder().File("file" + std::to_string(i), Noise(6'000'000, i)).Build(),
                   image::Compression::kNone);
    for (const auto& [digest, bytes] : image_.Blobs()) registry_.PutBlob("app", digest.str(), bytes);
    registry_.PutManifest("app", "v1", std::string(image::kOciManifestType), image_.ManifestBytes());
  }

  std::string LayerPath(size_t i) const { return "/blobs/" + image_.Build().manifest.layers.at(i).digest.str(); }

  const std::string target_ = "/app-v1-linux-" + Arch() + ".aci";
  ImageBuilder image_;
  RegistryServer registry_;
};

TEST_F(ServeTest, TheFirstByteComesBeforeTheLastOneOfUpstream) {
  registry_.Script("GET " + LayerPath(0) + " stall 5000000");
  const Server server(registry_.host());
  const UniqueFd fd = server.Ask(target_);
  // The two upper layers, and what has come of the lowest, which never ends.
  std::string got(10'000'000, '\0');
  EXPECT_EQ(ReadFull(fd.get(), std::as_writable_bytes(std::span(got)), "answer"), got.size());
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200")) << got.substr(0, 100);
}

TEST_F(ServeTest, FiftyClientsCostOneFetchAndOneConversion) {
  const Server server(registry_.host());
  std::vector<std::future<Got>> clients;
  for (int i = 0; i < 50; ++i)
    clients.push_back(std::async(std::launch::async, [&] { return ReadAnswer(server.Ask(target_)); }));
  std::string first;
  for (auto& client : clients) {
    const Got got = client.get();
    ASSERT_TRUE(got.whole) << got.head;
    ASSERT_GT(got.body.size(), 18'000'000u);
    if (first.empty())
      first = got.body;
    ASSERT_TRUE(got.body == first);
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(registry_.Count("GET", LayerPath(i)), 1u);
  EXPECT_EQ(registry_.Count("GET", "/manifests/v1"), 1u);
  const Got figures = ReadAnswer(server.Ask("/metrics"));
  EXPECT_NE(figures.body.find("gantry_serve_made_total 1\n"), std::string::npos) << figures.body;
}

TEST_F(ServeTest, AClientThatLeavesStopsNothing) {
  const Server server(registry_.host());
  {
    const UniqueFd leaves = server.Ask(target_);
    char first = 0;
    ASSERT_EQ(read(leaves.get(), &first, 1), 1);
  }
  const Got got = ReadAnswer(server.Ask(target_));
  EXPECT_TRUE(got.whole) << got.head;
  EXPECT_EQ(registry_.Count("GET", LayerPath(0)), 1u);
}

TEST_F(ServeTest, AnUpstreamThatBreaksOffBreaksTheAnswerOff) {
  // Often enough that nothing helps; each time with another beginning of the layer.
  // Once with a beginning of the layer, then with nothing, as often as anybody tries.
  std::string script = "GET " + LayerPath(0) + " drop 3000000\n";
  for (int i = 0; i < 60; ++i) script += "GET " + LayerPath(0) + " drop 0\n";
  registry_.Script(script);
  const Server server(registry_.host());
  const Got broken = ReadAnswer(server.Ask(target_));
  EXPECT_TRUE(broken.head.starts_with("HTTP/1.1 200")) << broken.head;
  EXPECT_GT(broken.body.size(), 1'000'000u);
  EXPECT_FALSE(broken.whole);
  EXPECT_NE(server.log().find("\"broken\":true"), std::string::npos) << server.log();
  registry_.Reset();
  const Got good = ReadAnswer(server.Ask(target_));
  EXPECT_TRUE(good.whole) << good.head;
  EXPECT_GT(good.body.size(), 18'000'000u);
}

TEST_F(ServeTest, ALayerThatIsNotItsDigestBreaksTheAnswerOff) {
  std::string script;
  for (int i = 0; i < 40; ++i) script += "GET " + LayerPath(0) + " flip 5999000\n";
  registry_.Script(script);
  const Server server(registry_.host());
  EXPECT_FALSE(ReadAnswer(server.Ask(target_)).whole);
  registry_.Reset();
  EXPECT_TRUE(ReadAnswer(server.Ask(target_)).whole);
}

// A path that a layer holds twice makes the conversion begin again, when bytes are out already.
TEST_F(ServeTest, AConversionThatBeginsAgainGivesNobodyBytesOfTwo) {
  const std::string last = Noise(3'000'000, 8);
  ImageBuilder image;
  image.Layer(TarBuilder().File("f", Noise(6'000'000, 7)).File("g", Noise(6'000'000, 9)).File("f", last).Build(),
              image::Compression::kNone);
  for (const auto& [digest, bytes] : image.Blobs()) registry_.PutBlob("app", digest.str(), bytes);
  registry_.PutManifest("app", "twice", std::string(image::kOciManifestType), image.ManifestBytes());
  const Server server(registry_.host());
  const std::string target = "/app-twice-linux-" + Arch() + ".aci";
  const Got first = ReadAnswer(server.Ask(target));
  const Got second = ReadAnswer(server.Ask(target));
  ASSERT_TRUE(second.whole) << second.head;
  EXPECT_GT(second.body.size(), 9'000'000u);
  EXPECT_LT(second.body.size(), 10'000'000u);
  if (first.whole)
    EXPECT_TRUE(first.body == second.body);
  else
    EXPECT_GT(first.body.size(), 1'000'000u);
}

TEST_F(ServeTest, SendsAwayWhatIsTooMuchToWaitFor) {
  registry_.Script("GET " + LayerPath(0) + " stall 5000000");
  const Server server(registry_.host(), {"--conversions", "1", "--waiting", "0"});
  const UniqueFd waits = server.Ask(target_);
  char first = 0;
  ASSERT_EQ(read(waits.get(), &first, 1), 1);
  const Got other = ReadAnswer(server.Ask("/app-v2-linux-" + Arch() + ".aci"));
  EXPECT_TRUE(other.head.starts_with("HTTP/1.1 503")) << other.head;
  EXPECT_NE(other.head.find("Retry-After: "), std::string::npos) << other.head;
  EXPECT_TRUE(ReadAnswer(server.Ask("/healthz")).whole);
}

// Whoever waits for what does not come takes no connection from those whose answer is there.
TEST_F(ServeTest, AnswersOthersWhileManyWait) {
  registry_.Script("GET /manifests/v1 stall");
  const Server server(registry_.host(), {"--connections", "8"});
  std::vector<UniqueFd> wait;
  for (int i = 0; i < 8; ++i) wait.push_back(server.Ask("/v2/app/manifests/v1"));
  EXPECT_TRUE(ReadAnswer(server.Ask("/healthz")).whole);
  std::string figures;  // of the eighth, whichever that is
  for (int i = 0; i < 200 && figures.find("busy_total 1\n") == std::string::npos; ++i) {
    figures = ReadAnswer(server.Ask("/metrics")).body;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_NE(figures.find("busy_total 1\n"), std::string::npos) << figures;
}

// What fails stays neither in the store nor beside it.
TEST_F(ServeTest, WhatCannotBeMadeLeavesNothing) {
  const Server server(registry_.host());
  EXPECT_TRUE(ReadAnswer(server.Ask("/v2/app--docker-zstd/manifests/v1")).head.starts_with("HTTP/1.1 501"));
  EXPECT_EQ(registry_.Count("GET", LayerPath(0)), 0u);
  // A layer that is no archive is fetched, but not converted.
  ImageBuilder image;
  image.Layer(Noise(6'000'000, 5), image::Compression::kNone);
  for (const auto& [digest, bytes] : image.Blobs()) registry_.PutBlob("app", digest.str(), bytes);
  registry_.PutManifest("app", "bad", std::string(image::kOciManifestType), image.ManifestBytes());
  EXPECT_TRUE(ReadAnswer(server.Ask("/v2/app--squashed/manifests/bad")).head.starts_with("HTTP/1.1 502"));
  const std::string layer = image.Build().manifest.layers.at(0).digest.hex();
  EXPECT_GT(registry_.Count("GET", layer), 0u);
  const std::string blob = server.cache() + "/store/blobs/sha256/" + layer;
  for (int i = 0; i < 200 && access(blob.c_str(), F_OK) == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_NE(access(blob.c_str(), F_OK), 0);
  EXPECT_TRUE(Dir::Open(server.cache() + "/new").List().empty());
}

TEST_F(ServeTest, EndsAConversionThatTakesTooLong) {
  registry_.Script("GET " + LayerPath(0) + " stall 5000000");
  const Server server(registry_.host(), {"--time-limit", "2"});
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_FALSE(ReadAnswer(server.Ask(target_)).whole);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
}

TEST_F(ServeTest, TwoServersMakeTheSameBytes) {
  const Server one(registry_.host());
  const Server other(registry_.host(), {"--threads", "3"});
  const Got a = ReadAnswer(one.Ask(target_));
  const Got b = ReadAnswer(other.Ask(target_));
  ASSERT_TRUE(a.whole && b.whole);
  EXPECT_TRUE(a.body == b.body);
  // And the same entity tag, by which a client goes on at one where the other was cut off.
  const auto tag = [](const Got& got) { return got.head.substr(got.head.find("ETag: "), 150); };
  EXPECT_EQ(tag(ReadAnswer(one.Ask(target_))), tag(ReadAnswer(other.Ask(target_))));
}

TEST_F(ServeTest, DrainsAtSigterm) {
  registry_.Script("GET " + LayerPath(0) + " stall 5000000");
  Server server(registry_.host(), {"--drain", "1"});
  const UniqueFd waits = server.Ask(target_);
  char first = 0;
  ASSERT_EQ(read(waits.get(), &first, 1), 1);
  const auto begun = std::chrono::steady_clock::now();
  server.process().Signal(SIGTERM);
  EXPECT_FALSE(ReadAnswer(waits).whole);
  EXPECT_EQ(server.process().Wait().code, 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST_F(ServeTest, AnswersWhatHadBegunBeforeSigterm) {
  Server server(registry_.host());
  const UniqueFd idle = server.Connect();
  const UniqueFd slow = server.Ask(target_);
  char first = 0;
  ASSERT_EQ(read(slow.get(), &first, 1), 1);
  server.process().Signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::string all(1, first);
  char buffer[65536];
  for (ssize_t n = 0; (n = read(slow.get(), buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
  EXPECT_TRUE(all.ends_with("\r\n0\r\n\r\n"));
  EXPECT_EQ(server.process().Wait().code, 0);
}

// Killed, it takes the process that talks to clients along: nobody is left waiting for what nobody makes.
TEST_F(ServeTest, LeavesNobodyWaitingWhenItIsKilled) {
  registry_.Script("GET " + LayerPath(0) + " stall 5000000");
  Server server(registry_.host());
  const UniqueFd waits = server.Ask(target_);
  char first = 0;
  ASSERT_EQ(read(waits.get(), &first, 1), 1);
  server.process().Signal(SIGKILL);
  EXPECT_FALSE(ReadAnswer(waits).whole);
  bool is_there = true;
  for (int i = 0; i < 200 && is_there; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    try {
      server.Connect();
    } catch (const Error&) {
      is_there = false;
    }
  }
  EXPECT_FALSE(is_there);
}

TEST_F(ServeTest, WhatIsUsedLeastLeavesTheCacheFirst) {
  for (const char* tag : {"v2", "v3"}) {
    ImageBuilder image;
    image.Layer(TarBuilder().File("f", Noise(6'000'000, tag[1])).Build(), image::Compression::kNone);
    for (const auto& [digest, bytes] : image.Blobs()) registry_.PutBlob("app", digest.str(), bytes);
    registry_.PutManifest("app", tag, std::string(image::kOciManifestType), image.ManifestBytes());
  }
  const Server server(registry_.host(), {"--cache-size", "26000000"});
  const auto ask = [&](const std::string& tag) {
    EXPECT_TRUE(ReadAnswer(server.Ask("/app-" + tag + "-linux-" + Arch() + ".aci")).whole);
    return registry_.Count("GET", "/manifests/" + tag);
  };
  EXPECT_EQ(ask("v1"), 1u);  // 18 MB
  EXPECT_EQ(ask("v2"), 1u);  // 6 MB
  EXPECT_EQ(ask("v1"), 1u);
  EXPECT_EQ(ask("v3"), 1u);  // v2 goes
  EXPECT_EQ(ask("v1"), 1u);
  EXPECT_EQ(ask("v2"), 2u);  // v3 goes
  EXPECT_EQ(ask("v3"), 2u);  // v1 goes, for it is too much beside them
  EXPECT_EQ(ask("v2"), 2u);
  EXPECT_EQ(ask("v1"), 2u);
}

}  // namespace
}  // namespace gantry::testing
