// Many at once: 200 images come into one store by eight processes, while another collects garbage all the time.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <deque>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libimage/model/media_type.h"
#include "libimage/store/store.h"
#include "tests/support/image_builder.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::testing {
namespace {

constexpr size_t kImages = 200;
constexpr size_t kProcesses = 8;
constexpr size_t kBaseLayers = 10;  // shared by twenty images each

std::string Noise(size_t size, uint32_t state) {
  std::string out(size, '\0');
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

Process Start(std::vector<std::string> words, const std::string& directory, int output) {
  words[0] = ProgramDirectory() + "/" + words[0];
  words.insert(words.begin() + 1, {"--root", directory + "/store"});
  const std::vector<std::string> environment{"PATH=/usr/bin:/bin", "HOME=" + directory, "TMPDIR=" + directory};
  return Process::Start(words, {{output, STDOUT_FILENO}, {output, STDERR_FILENO}}, environment);
}

TEST(Load, TwoHundredImagesByEightProcessesWhileGarbageIsCollected) {
  RegistryServer server;
  std::vector<std::string> names;
  for (size_t i = 0; i < kImages; ++i) {
    ImageBuilder image;
    image.Layer(Noise(300'000, static_cast<uint32_t>(i % kBaseLayers)), image::Compression::kNone);
    image.Layer(Noise(20'000, static_cast<uint32_t>(1000 + i)), image::Compression::kNone);
    for (const auto& [digest, bytes] : image.Blobs()) server.PutBlob("app", digest.str(), bytes);
    server.PutManifest("app", "v" + std::to_string(i), std::string(image::kOciManifestType), image.ManifestBytes());
    names.push_back(server.host() + "/app:v" + std::to_string(i));
  }
  const TempDir temp;
  image::Store::Open(temp.path() + "/store");
  const std::string said = temp.path() + "/said";
  const UniqueFd output(open(said.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  std::deque<Process> fetches;
  for (size_t i = 0; i < kProcesses; ++i) {
    std::vector<std::string> words{"gantry-fetch", "--insecure-options=image"};
    for (size_t n = i; n < kImages; n += kProcesses) words.push_back(names[n]);
    fetches.push_back(Start(words, temp.path(), output.get()));
  }
  size_t collections = 0;
  for (Process& fetch : fetches) {
    while (true) {
      pollfd ended{.fd = fetch.pidfd(), .events = POLLIN, .revents = 0};
      if (poll(&ended, 1, 0) > 0)
        break;
      ASSERT_EQ(Start({"gantry-store", "gc"}, temp.path(), output.get()).Wait().code, 0) << ReadFile(said, 1 << 20);
      ++collections;
    }
    EXPECT_EQ(fetch.Wait().code, 0) << ReadFile(said, 1 << 20);
  }
  EXPECT_GT(collections, 3u);
  ASSERT_EQ(Start({"gantry-store", "gc"}, temp.path(), output.get()).Wait().code, 0);
  const auto store = image::Store::OpenReadOnly(temp.path() + "/store");
  EXPECT_EQ(store->List().size(), kImages);
  const auto problems = store->Check();
  EXPECT_TRUE(problems.empty()) << problems.front().what << ": " << problems.front().why;
}

}  // namespace
}  // namespace gantry::testing
