// Every kind of hostile image (hostile_images.h) through the real programs: whichever reads it says why and exits with
// 5, run with its own 125, and none needs much memory or time, or leaves something under a final name.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <set>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libimage/base/workers.h"
#include "libimage/store/store.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/hostile_images.h"

namespace gantry::testing {
namespace {

constexpr int64_t kMaxPeakKib = 128 * 1024;
constexpr rlim_t kMaxCpuSeconds = 10;
constexpr rlim_t kMaxAddressSpace = rlim_t{4} << 30, kMaxFileBytes = rlim_t{1} << 30;
constexpr size_t kMaxOutput = 1 << 20;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // memory and time are those of the sanitizer
#else
constexpr bool kSanitized = false;
#endif

struct Ran {
  int code = 0;
  std::string said;  // on stderr
  int64_t peak_kib = 0;
};

// Runs a program of ours within limits, at home in `directory`.
Ran RunProgram(std::vector<std::string> words, const std::string& directory, const std::string& store) {
  words[0] = ProgramDirectory() + "/" + words[0];
  const std::string said = directory + "/stderr", home = "HOME=" + directory, root = "GANTRY_ROOT=" + store;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string path = "PATH=/usr/bin:/bin", temporary = "TMPDIR=" + directory;
  std::array<char*, 5> environment{path.data(), temporary.data(), const_cast<char*>(home.c_str()),
                                   const_cast<char*>(root.c_str()), nullptr};
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd errors(open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const pid_t child = fork();
  if (child == 0) {
    if (!kSanitized) {
      const rlimit cpu{kMaxCpuSeconds, kMaxCpuSeconds}, space{kMaxAddressSpace, kMaxAddressSpace};
      const rlimit file{kMaxFileBytes, kMaxFileBytes};
      if (setrlimit(RLIMIT_CPU, &cpu) < 0 || setrlimit(RLIMIT_AS, &space) < 0 || setrlimit(RLIMIT_FSIZE, &file) < 0)
        _exit(99);
    }
    dup2(null.get(), 0);
    dup2(null.get(), 1);
    dup2(errors.get(), 2);
    execve(argv[0], argv.data(), environment.data());
    _exit(98);
  }
  int status = 0;
  rusage usage{};
  EXPECT_EQ(wait4(child, &status, 0, &usage), child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), ReadFile(said, kMaxOutput),
          usage.ru_maxrss};
}

// The message, without what the options warned about before it.
std::string MessageOf(const std::string& said) {
  std::string_view rest = said;
  while (rest.find("--insecure-options=image: ") < rest.find('\n')) rest.remove_prefix(rest.find('\n') + 1);
  return std::string(rest.substr(0, rest.find('\n')));
}

// The programs that take an image, and what each exits with. `out` is where conversions go to.
std::vector<std::pair<int, std::vector<std::string>>> Commands(const HostileKind& kind, const std::string& image,
                                                               const std::string& out) {
  const std::string insecure = "--insecure-options=image";
  std::vector<std::pair<int, std::vector<std::string>>> commands{{125, {"gantry-run", "-q", insecure, image}}};
  if (!kind.renderer_only) {
    commands.push_back({5, {"gantry-convert", "-q", insecure, image, "aci:" + out + "/out.aci"}});
    // To recompress a layer nobody needs to know what is in it.
    const std::string how = kind.name.starts_with("layer: ") ? "--squash" : "--compress=none";
    commands.push_back({5, {"gantry-convert", "-q", insecure, how, image, "oci:" + out + "/layout"}});
    commands.push_back({5, {"gantry-inspect", "-q", "--identity", image}});
  }
  return commands;
}

TEST(HostileTest, EveryKindIsRefusedWithItsReasonByEveryProgramWithinBounds) {
  if (geteuid() != 0)
    GTEST_SKIP() << "needs root: the renderer gives owners and devices";
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<HostileKind> kinds = HostileKinds();
  EXPECT_GE(kinds.size(), 60U);
  const TempDir temp;
  const auto place = [&](size_t i) { return temp.path() + "/" + std::to_string(i); };
  // All of them before the first child, which begins with the peak memory of its parent.
  std::vector<std::string> images;
  std::set<std::string> names;
  for (const HostileKind& kind : kinds) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    Dir::Create(place(images.size()));
    Dir::Create(place(images.size()) + "/out");
    Dir::Create(place(images.size()) + "/image");
    images.push_back(kind.write(place(images.size()) + "/image"));
  }
  // One for all: to make one takes the disk's time, and nothing of what is refused may stay in it.
  const std::string store = temp.path() + "/store";
  image::Store::Open(store);
  malloc_trim(0);
  std::mutex mutex;
  int64_t peak_kib = 0;
  std::map<std::string, std::string> messages;
  RunParallel(kinds.size(), ProcessorCount(), [&](size_t i) {
    const std::string out = place(i) + "/out";
    for (const auto& [code, words] : Commands(kinds[i], images[i], out)) {
      const Ran ran = RunProgram(words, place(i), store);
      const std::lock_guard lock(mutex);
      SCOPED_TRACE(kinds[i].name + ": " + words[0] + " " + words.back().substr(0, 4) + " said: " + ran.said);
      EXPECT_EQ(ran.code, code);
      messages[kinds[i].name] = MessageOf(ran.said);
      EXPECT_NE(messages[kinds[i].name].find(kinds[i].reason), std::string::npos) << kinds[i].reason;
      EXPECT_TRUE(kSanitized || ran.peak_kib <= kMaxPeakKib) << ran.peak_kib << " KiB";
      EXPECT_TRUE(Dir::Open(out).List().empty());
      peak_kib = std::max(peak_kib, ran.peak_kib);
    }
  });
  const auto left = image::Store::OpenReadOnly(store);
  EXPECT_TRUE(left->List().empty() && left->Check().empty() && left->Leftovers().empty());
  for (const char* directory : {"blobs/sha256", "layers", "pods", "identities"})
    EXPECT_TRUE(Dir::Open(store + "/" + directory).List().empty()) << directory;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  for (const auto& [name, message] : messages) std::cout << name << "\n    " << message << "\n";
  std::cout << kinds.size() << " kinds in " << took.count() << " s, at most " << peak_kib / 1024 << " MiB\n";
}

}  // namespace
}  // namespace gantry::testing
