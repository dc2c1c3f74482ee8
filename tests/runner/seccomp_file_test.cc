// Profiles of system calls as Docker writes them.
#include "runner/seccomp_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using ::testing::HasSubstr;
using ::testing::Not;

std::string WithRule(const std::string& rest) {
  return R"({"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
    {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
    "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["mount"],"action":"SCMP_ACT_ALLOW")" +
         rest + "}]}";
}

TEST(ReadSeccompProfile, KeepsRulesWhoseConditionsHold) {
  const uint64_t admin = uint64_t{1} << CAP_SYS_ADMIN;
  const std::string needs = WithRule(R"(,"includes":{"caps":["CAP_SYS_ADMIN"]})");
  EXPECT_THAT(ReadSeccompProfile(needs, "it", admin), HasSubstr("mount"));
  EXPECT_THAT(ReadSeccompProfile(needs, "it", 0), Not(HasSubstr("mount")));
  const std::string unless = WithRule(R"(,"excludes":{"caps":["CAP_SYS_ADMIN"]})");
  EXPECT_THAT(ReadSeccompProfile(unless, "it", admin), Not(HasSubstr("mount")));
  EXPECT_THAT(ReadSeccompProfile(unless, "it", 0), HasSubstr("mount"));
  EXPECT_THAT(ReadSeccompProfile(WithRule(R"(,"includes":{"arches":["no-such"]})"), "it", 0), Not(HasSubstr("mount")));
  EXPECT_THAT(ReadSeccompProfile(WithRule(R"(,"includes":{"minKernel":"3.1"})"), "it", 0), HasSubstr("mount"));
  EXPECT_THAT(ReadSeccompProfile(WithRule(R"(,"includes":{"minKernel":"99.0"})"), "it", 0), Not(HasSubstr("mount")));
}

TEST(ReadSeccompProfile, RefusesWhatItCannotKeep) {
  EXPECT_EQ(CaughtError([] { ReadSeccompProfile(WithRule(R"(,"includes":{"moon":1})"), "it", 0); }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([] { ReadSeccompProfile("[]", "it", 0); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([] { ReadSeccompProfile(R"({"defaultAction":"SCMP_ACT_NONE"})", "it", 0); }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([] {
              ReadSeccompProfile(R"({"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[{"names":["read"],
                "action":"SCMP_ACT_NOTIFY"}]})",
                                 "it", 0);
            }).kind(),
            ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::runner
