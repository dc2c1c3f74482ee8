// Connections as good and bad clients use them.
#include "serve/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "tests/support/temp_dir.h"

namespace gantry::serve {
namespace {

using namespace std::chrono_literals;
using ::gantry::testing::TempDir;
using Clock = std::chrono::steady_clock;

// A server whose answers are "PATH\n"; of /file a file of 64 MiB; of /wait nothing until the client has left.
class HttpServerTest : public ::testing::Test {
 protected:
  explicit HttpServerTest(HttpServerOptions options = {}) {
    options.address = "127.0.0.1";
    options.idle_seconds = 2;
    options.stall_seconds = 1;
    server_ = std::make_unique<HttpServer>(
        options, [this](const HttpRequest& request) { return Answer(request); },
        [this](const HttpLogLine& line) {
          const std::lock_guard lock(mutex_);
          log_ += line.request.path + (line.whole ? " whole\n" : " broken\n");
        });
    thread_ = std::thread([this] { server_->Run(); });
  }

  ~HttpServerTest() override {
    server_->Stop();
    thread_.join();
  }

  HttpAnswer Answer(const HttpRequest& request) {
    if (request.path == "/file") {
      const int file = open(dir_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
      EXPECT_EQ(ftruncate(file, 64 << 20), 0);
      return {.file = std::make_shared<const UniqueFd>(file), .size = 64 << 20};
    }
    if (request.path == "/content")
      return {.content = std::make_shared<const std::string>("0123456789"), .size = 10, .etag = "\"tag\""};
    for (int i = 0; request.path == "/wait" && i < 100 && !request.is_gone(); ++i) std::this_thread::sleep_for(50ms);
    return {.text = request.path + "\n"};
  }

  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
      ThrowErrno("connect");
    return fd;
  }

  static void Send(const UniqueFd& fd, const std::string& text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }

  // What comes until `end` does, or the connection's end, or too long a time.
  static std::string ReadUntil(const UniqueFd& fd, const std::string& end) {
    std::string out;
    char c = 0;
    pollfd poll{fd.get(), POLLIN, 0};
    while (!out.ends_with(end) && ::poll(&poll, 1, 10'000) > 0 && read(fd.get(), &c, 1) == 1) out += c;
    return out;
  }

  // Sends a byte now and then. How long it takes until the server has had enough.
  static std::chrono::milliseconds TimeOfDripping(const UniqueFd& fd, const std::string& text) {
    const auto begun = Clock::now();
    pollfd poll{fd.get(), POLLIN, 0};
    for (const char c : text) {
      if (send(fd.get(), &c, 1, MSG_NOSIGNAL) != 1 || ::poll(&poll, 1, 300) > 0)
        break;
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
  }

  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

  TempDir dir_;
  std::mutex mutex_;
  std::string log_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(HttpServerTest, AnswersOneRequestAfterTheOther) {
  const UniqueFd fd = Connect();
  Send(fd, "GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\nGET /th");
  EXPECT_NE(ReadUntil(fd, "/one\n").find(" 200 "), std::string::npos);
  EXPECT_NE(ReadUntil(fd, "/two\n").find(" 200 "), std::string::npos);
  Send(fd, "ree HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(ReadUntil(fd, "never").ends_with("/three\n"));
  EXPECT_EQ(log(), "/one whole\n/two whole\n/three whole\n");
}

TEST_F(HttpServerTest, SendsPartsOfWhatIsInMemory) {
  const auto ask = [this](const std::string& headers) {
    const UniqueFd fd = Connect();
    Send(fd, "GET /content HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n");
    const std::string got = ReadUntil(fd, "never");
    return got.substr(9, 3) + " " + got.substr(got.find("\r\n\r\n") + 4);
  };
  EXPECT_EQ(ask(""), "200 0123456789");
  EXPECT_EQ(ask("Range: bytes=2-4\r\n"), "206 234");
  EXPECT_EQ(ask("Range: bytes=-3\r\n"), "206 789");
  EXPECT_EQ(ask("Range: bytes=10-\r\n"), "416 ");
  EXPECT_EQ(ask("If-None-Match: \"tag\"\r\n"), "304 ");
}

// cpp-httplib throws while it parses them, or matches them by recursion.
TEST_F(HttpServerTest, OutlivesRangesThatAreNone) {
  for (const auto& [range, status] :
       {std::pair(std::string(26, '9') + "-", "416"), {std::string(8000, '0') + "-", "400"}}) {
    const UniqueFd fd = Connect();
    Send(fd, "GET /content HTTP/1.1\r\nHost: x\r\nRange: bytes=" + range + "\r\n\r\n");
    EXPECT_EQ(ReadUntil(fd, "never").substr(9, 3), status);
  }
}

// And says so: the next would be lost.
TEST_F(HttpServerTest, EndsAConnectionOnWhichABodyMayFollow) {
  const std::string get = "GET /one HTTP/1.1\r\nHost: x\r\n";
  const std::vector<std::pair<std::string, std::string>> requests = {
      {get + "Content-Length: 50\r\n\r\n", "400"},
      {get + "Content-Length: 50\n\r\n", "400"},
      {get + "Transfer-Encoding:\r\n\r\n", "400"},
      {get + "Range: bytes=" + std::string(26, '9') + "-\r\n\r\n", "416"},
      {"POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n", "405"}};
  for (const auto& [request, status] : requests) {
    const UniqueFd fd = Connect();
    Send(fd, request + get + "\r\n");
    const std::string answers = ReadUntil(fd, "never");
    EXPECT_EQ(answers.substr(9, 3), status) << request;
    EXPECT_EQ(answers.rfind("HTTP/1.1 "), 0u) << answers;
    EXPECT_NE(answers.find("\r\nConnection: close\r\n"), std::string::npos) << answers;
    EXPECT_EQ(answers.find("Keep-Alive"), std::string::npos) << answers;
  }
}

TEST_F(HttpServerTest, IsDoneWithARequestThatComesByteByByte) {
  const UniqueFd fd = Connect();
  EXPECT_LT(TimeOfDripping(fd, "GET /one HTTP/1.1\r\nHost: x\r\n\r\n"), 5s);
  EXPECT_EQ(log(), "");
}

// Neither a line nor headers without an end take more than their bounds.
TEST_F(HttpServerTest, IsDoneWithARequestThatDoesNotEnd) {
  for (const std::string& piece : {std::string(1000, 'x'), "X: " + std::string(1000, 'x') + "\r\n"}) {
    const UniqueFd fd = Connect();
    std::string text = "GET /one HTTP/1.1\r\nX-First: ";
    ssize_t sent = 0;
    size_t total = 0;
    const auto begun = Clock::now();
    while (sent >= 0 && total < (64 << 20) && Clock::now() - begun < 5s) {
      total += static_cast<size_t>(sent);
      sent = send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      text = piece;
    }
    EXPECT_LT(sent, 0);
    EXPECT_LT(total, size_t{32} << 20);
  }
  EXPECT_EQ(log(), "");
}

TEST_F(HttpServerTest, IsDoneWithAClientThatTakesNothing) {
  const UniqueFd fd = Connect();
  Send(fd, "GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
  for (int i = 0; i < 200 && log().empty(); ++i) std::this_thread::sleep_for(50ms);
  EXPECT_EQ(log(), "/file broken\n");
}

TEST_F(HttpServerTest, ClosesAConnectionOnWhichNobodyAsks) {
  const UniqueFd fd = Connect();
  const auto begun = Clock::now();
  EXPECT_EQ(ReadUntil(fd, "never"), "");
  EXPECT_LT(Clock::now() - begun, 8s);
}

TEST_F(HttpServerTest, SeesThatAClientHasLeft) {
  const auto begun = Clock::now();
  {
    const UniqueFd fd = Connect();
    Send(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    std::this_thread::sleep_for(100ms);
  }
  for (int i = 0; i < 200 && log().empty(); ++i) std::this_thread::sleep_for(20ms);
  EXPECT_TRUE(log().starts_with("/wait ")) << log();
  EXPECT_LT(Clock::now() - begun, 4s);
}

class ManyConnectionsTest : public HttpServerTest {
 protected:
  ManyConnectionsTest() : HttpServerTest({.connections = 1200}) {}
};

// More than select(2) knows descriptors.
TEST_F(ManyConnectionsTest, AnswersMoreThanAThousandAtOnce) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const rlimit more{files.rlim_max, files.rlim_max};
  if (files.rlim_max < 2500 || setrlimit(RLIMIT_NOFILE, &more) != 0)
    GTEST_SKIP() << "not so many files can be open here";
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 1100; ++i) {
    clients.push_back(Connect());
    Send(clients.back(), "GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_NE(ReadUntil(clients.back(), "/one\n").find(" 200 "), std::string::npos) << i;
  }
  setrlimit(RLIMIT_NOFILE, &files);
}

class TlsServerTest : public HttpServerTest {
 protected:
  TlsServerTest() : HttpServerTest({.certificate = Pem(), .key = Pem()}) {}

  static std::string Pem() {
    static const TempDir kDir;
    static const std::string kFile = [] {
      std::string path = kDir.path() + "/pem";
      const Captured made = RunCaptured(
          {"openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", path, "-subj", "/CN=x", "-days", "2"},
          {}, 1 << 20);
      Dir::Open(kDir.path()).WriteFileAtomically(RelPath::Parse("pem"), ReadFile(path, 1 << 20) + made.output);
      return path;
    }();
    return kFile;
  }
};

TEST_F(TlsServerTest, IsDoneWithAHandshakeThatComesByteByByte) {
  const UniqueFd fd = Connect();
  std::string hello("\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11);
  EXPECT_LT(TimeOfDripping(fd, hello + std::string(60, 'x')), 5s);
}

// Else a client may think that somebody cut it off.
TEST_F(TlsServerTest, SaysThatItEndsAConnectionOnWhichABodyMayFollow) {
  const Captured got =
      RunCaptured({"openssl", "s_client", "-ign_eof", "-connect", "127.0.0.1:" + std::to_string(server_->port())},
                  "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n", 1 << 20);
  EXPECT_NE(got.output.find("HTTP/1.1 405 "), std::string::npos);
  EXPECT_TRUE(got.output.ends_with("closed\n")) << got.output;
}

TEST_F(TlsServerTest, AnswersByTlsAndNotWithout) {
  const std::string url = "https://127.0.0.1:" + std::to_string(server_->port());
  const Captured got = RunCaptured({"curl", "-sk", url + "/one", url + "/two"}, {}, 1 << 20);
  EXPECT_EQ(got.output, "/one\n/two\n");
  const Captured file =
      RunCaptured({"curl", "-sk", "-o", "/dev/null", "-w", "%{size_download}", url + "/file"}, {}, 1 << 20);
  EXPECT_EQ(file.output, "67108864");
  const UniqueFd plain = Connect();
  Send(plain, "GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(ReadUntil(plain, "never").find("/one"), std::string::npos);
  EXPECT_EQ(server_->answering(), 0u);
}

}  // namespace
}  // namespace gantry::serve
