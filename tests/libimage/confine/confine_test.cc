#include "libimage/confine/confine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "libimage/base/dir.h"
#include "libimage/base/process.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::TempDir;

// What `attempt` answers in a child that keeps only `keep`; 77 when this kernel has no Landlock.
int InChild(const Confinement& keep, const std::function<int()>& attempt) {
  return Process::Fork([&] { return Confine(keep).empty() ? attempt() : 77; }).Wait().code;
}

int OpenErrno(const std::string& path, int flags) {
  const UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, 0600));
  return fd ? 0 : errno;
}

#define SKIP_WITHOUT_LANDLOCK(code)                \
  if ((code) == 77) {                              \
    GTEST_SKIP() << "this kernel has no Landlock"; \
  }

TEST(ConfineTest, FilesOutsideWhatIsKeptCannotBeOpened) {
  const TempDir kept;
  const TempDir other;
  other.dir().WriteFileAtomically(RelPath::Parse("file"), "x");
  const int code = InChild({.write = {kept.path()}}, [&] {
    const bool written = OpenErrno(kept.path() + "/new", O_CREAT | O_WRONLY) == 0;
    const bool read = OpenErrno(other.path() + "/file", O_RDONLY) == EACCES;
    const bool made = OpenErrno(other.path() + "/new", O_CREAT | O_WRONLY) == EACCES;
    return written && read && made ? 0 : 1;
  });
  SKIP_WITHOUT_LANDLOCK(code);
  EXPECT_EQ(code, 0);
}

TEST(ConfineTest, WhatMayBeReadCannotBeWritten) {
  const TempDir kept;
  kept.dir().WriteFileAtomically(RelPath::Parse("file"), "x");
  const std::string file = kept.path() + "/file";
  const int code = InChild({.read = {kept.path()}}, [&] {
    return OpenErrno(file, O_RDONLY) == 0 && OpenErrno(file, O_WRONLY) == EACCES && unlink(file.c_str()) < 0 ? 0 : 1;
  });
  SKIP_WITHOUT_LANDLOCK(code);
  EXPECT_EQ(code, 0);
}

TEST(ConfineTest, StagedFilesStillGetTheirNames) {
  const TempDir kept;
  const int code = InChild({.write = {kept.path()}}, [&] {
    kept.dir().WriteFileAtomically(RelPath::Parse("file"), "one");
    kept.dir().WriteFileAtomically(RelPath::Parse("file"), "two");
    return 0;
  });
  SKIP_WITHOUT_LANDLOCK(code);
  EXPECT_EQ(code, 0);
  EXPECT_EQ(kept.dir().ReadFile(RelPath::Parse("file"), 10), "two");
}

TEST(ConfineTest, NoProgramStartsUnlessKept) {
  EXPECT_NE(InChild({}, [] { return execl("/bin/true", "true", nullptr), errno == EACCES ? 1 : 2; }), 0);
  const int code = InChild({.execute = SystemPrograms()}, [] { return execl("/bin/true", "true", nullptr), 1; });
  SKIP_WITHOUT_LANDLOCK(code);
  EXPECT_EQ(code, 0);
}

TEST(ConfineTest, WithoutNetworkOnlyUnixSocketsCanBeMade) {
  const auto sockets = [] {
    const UniqueFd inet(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd packet(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
    const UniqueFd local(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return (inet ? 1 : 0) + (packet ? 2 : 0) + (local ? 4 : 0);
  };
  EXPECT_EQ(InChild({}, sockets) & ~64, 4);
  EXPECT_EQ(InChild({.unix_sockets = false}, sockets) & ~64, 0);
  EXPECT_EQ(InChild({.network = true}, sockets) & ~64, 7);
}

TEST(ConfineTest, CapabilitiesAreGoneButForThoseKept) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const TempDir kept;
  const std::string file = kept.path() + "/file";
  const auto chown_errno = [&] { return chown(file.c_str(), 12345, 12345) == 0 ? 0 : errno; };
  kept.dir().WriteFileAtomically(RelPath::Parse("file"), "x");
  EXPECT_EQ(InChild({.write = {kept.path()}}, chown_errno), EPERM);
  EXPECT_EQ(InChild({.write = {kept.path()}, .capabilities = {CAP_CHOWN}}, chown_errno), 0);
}

TEST(ConfineTest, MountsAreRefusedEvenWithTheCapability) {
  const int code = InChild({.capabilities = {CAP_SYS_ADMIN}},
                           [] { return mount("none", "/mnt", "tmpfs", 0, nullptr) < 0 ? errno : 0; });
  EXPECT_EQ(code, EPERM);
}

// From the lowest number to the highest, with arguments for which the kernel has another answer.
TEST(ConfineTest, CallsThatNoToolMakesAreRefusedAndTheirNeighboursAreNot) {
  for (const long number : {SYS_ptrace, SYS_personality, SYS_adjtimex, SYS_add_key, SYS_keyctl, SYS_process_vm_readv,
                            SYS_perf_event_open, SYS_io_uring_enter, SYS_mount_setattr})
    EXPECT_EQ(InChild({}, [&] { return syscall(number, -1, nullptr, -1, 0, 0, 0) < 0 ? errno : 0; }), EPERM) << number;
  for (const long number : {SYS_getuid, SYS_getppid, SYS_sched_yield, SYS_gettid, SYS_uname, SYS_close_range})
    EXPECT_NE(InChild({}, [&] { return syscall(number, -1U, -1U, -1) < 0 ? errno : 0; }), EPERM) << number;
}

TEST(ConfineTest, NoNewPrivilegesIsSet) {
  EXPECT_EQ(InChild({}, [] { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }), 1);
}

TEST(ConfineTest, DescribesWhatIsKept) {
  const std::string text = Describe({.read = {"/a"}, .write = {"/b", "/c"}, .network = true});
  EXPECT_NE(text.find("reads: /a\n"), std::string::npos);
  EXPECT_NE(text.find("writes: /b /c\n"), std::string::npos);
  EXPECT_NE(text.find("executes: nothing\n"), std::string::npos);
  EXPECT_NE(text.find("network: internet sockets\n"), std::string::npos);
}

}  // namespace
}  // namespace gantry::image
