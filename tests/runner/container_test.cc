// Whole containers out of a plain directory with busybox: what a program inside sees, and what is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runner/pod.h"
#include "runner/process.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::Not;

namespace fs = std::filesystem;

constexpr const char* kBusybox = "/bin/busybox";

image::Image AnyImage() {
  image::Image image{{"application/x", Digest::Of("manifest"), 8, {}, {}, {}, {}},
                     {},
                     image::Manifest{{}, {"application/x", Digest::Of("config"), 6, {}, {}, {}, {}}, {}, {}, {}, {}},
                     {},
                     {}};
  image.config.diff_ids = {Digest::Of("layer")};
  return image;
}

struct Result {
  int code = -1;
  std::string output;  // stdout and stderr
  std::string failure;
};

class ContainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || access(kBusybox, X_OK) != 0)
      GTEST_SKIP() << "needs root and a static /bin/busybox";
    pods_ = store_.path() + "/pods";
    layer_ = store_.path() + "/layer";
    for (const char* name : {"bin", "etc", "tmp", "root", "home"}) fs::create_directories(layer_ + "/" + name);
    fs::create_directories(pods_);
    fs::copy_file(kBusybox, layer_ + "/bin/busybox");
    for (const char* name :
         {"sh",   "cat",   "ls",   "mount", "id", "sleep", "true",    "kill",  "env",      "pwd",   "hostname",
          "ps",   "touch", "echo", "stat",  "dd", "ip",    "unshare", "mknod", "readlink", "grep",  "wc",
          "head", "tail",  "test", "mkdir", "rm", "chmod", "umask",   "stty",  "tty",      "chroot"})
      fs::create_symlink("busybox", layer_ + "/bin/" + name);
    Write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/home:/bin/sh\n");
    Write("etc/group", "root:x:0:\nweb:x:34:\nextra:x:70:web\n");
  }

  void Write(const std::string& path, const std::string& text) { std::ofstream(layer_ + "/" + path) << text; }

  static RunConfig Config(const std::string& script) {
    image::ImageConfig image;
    image.platform.os = "linux";
    image.cmd = {"/bin/sh", "-c", script};
    return Plan(image, {});
  }

  // In a child with its own stdout, so that the container's output can be read whole.
  Result Run(const RunConfig& config) {
    const std::string output = store_.path() + "/output";
    Result result;
    const gantry::Process child = gantry::Process::Fork([&] {
      const UniqueFd out = OpenFile(output, O_WRONLY | O_CREAT | O_TRUNC);
      dup2(out.get(), 1);
      dup2(out.get(), 2);
      try {
        Pod pod = Pod::Create(Dir::Open(pods_), AnyImage(), std::nullopt);
        Process process = Process::Start(config, {{layer_}, false, nullptr}, pod);
        if (process.failure())
          dprintf(2, "failure: %s\n", process.failure()->message().c_str());
        const ExitStatus status = process.Wait();
        pod.Remove();
        return status.code;
      } catch (const Error& error) {
        dprintf(2, "error: %s; %s\n", error.message().c_str(), error.hint().c_str());
        return 125;
      }
    });
    result.code = const_cast<gantry::Process&>(child).Wait().code;
    result.output = ReadFile(output, 1 << 20);
    return result;
  }
  Result Run(const std::string& script) { return Run(Config(script)); }

  TempDir store_;
  std::string pods_, layer_;
};

TEST_F(ContainerTest, RunsAndPassesTheExitCode) {
  EXPECT_EQ(Run("exit 0").code, 0);
  EXPECT_EQ(Run("exit 42").code, 42);
  EXPECT_EQ(Run("kill -9 $$").code, 137);
  EXPECT_EQ(Run("echo out; echo err >&2").output, "out\nerr\n");
}

TEST_F(ContainerTest, NothingIsLeftAfterARun) {
  EXPECT_EQ(Run("echo x > /file").code, 0);
  EXPECT_TRUE(fs::is_empty(pods_));
  EXPECT_FALSE(fs::exists(layer_ + "/file"));
}

TEST_F(ContainerTest, HasTheCapabilitiesOfTheDefaultAndNoMore) {
  const std::string status = Run("cat /proc/self/status").output;
  EXPECT_THAT(status, HasSubstr("CapEff:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("CapPrm:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("CapBnd:\t00000000800405fb"));
  EXPECT_THAT(status, HasSubstr("CapInh:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("CapAmb:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
}

}  // namespace
}  // namespace gantry::runner
