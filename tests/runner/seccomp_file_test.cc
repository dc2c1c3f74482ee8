// Profiles of system calls as Docker writes them.
#include "runner/seccomp_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/model/descriptor.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using ::testing::ElementsAre;

std::string WithRule(const std::string& rest) {
  return R"({"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
    {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
    "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["mount"],"action":"SCMP_ACT_ALLOW")" +
         rest + "}]}";
}

// Whether a rule about mount(2) is left.
bool HasMount(const std::string& profile, uint64_t capabilities) {
  const SpecSeccomp read = ReadSeccompProfile(profile, "it", capabilities);
  return std::ranges::any_of(read.rules,
                             [](const SeccompRule& rule) { return rule.names == std::vector<std::string>{"mount"}; });
}

TEST(ReadSeccompProfile, KeepsRulesWhoseConditionsHold) {
  const uint64_t admin = uint64_t{1} << CAP_SYS_ADMIN;
  const std::string needs = WithRule(R"(,"includes":{"caps":["CAP_SYS_ADMIN"]})");
  EXPECT_TRUE(HasMount(needs, admin));
  EXPECT_FALSE(HasMount(needs, 0));
  const std::string unless = WithRule(R"(,"excludes":{"caps":["CAP_SYS_ADMIN"]})");
  EXPECT_FALSE(HasMount(unless, admin));
  EXPECT_TRUE(HasMount(unless, 0));
  EXPECT_FALSE(HasMount(WithRule(R"(,"includes":{"arches":["no-such"]})"), 0));
  EXPECT_TRUE(HasMount(WithRule(R"(,"includes":{"minKernel":"3.1"})"), 0));
  EXPECT_FALSE(HasMount(WithRule(R"(,"includes":{"minKernel":"99.0"})"), 0));
}

TEST(ReadSeccompProfile, TakesThisMachinesArchitecturesAndTheOldestForm) {
  const bool arm = image::Platform::Host().architecture == "arm64";
  EXPECT_THAT(ReadSeccompProfile(WithRule(""), "it", 0).architectures,
              ElementsAre(arm ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64", arm ? "SCMP_ARCH_ARM" : "SCMP_ARCH_X86"));
  const SpecSeccomp oldest = ReadSeccompProfile(
      R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"mount","action":"SCMP_ACT_ALLOW","args":[]}]})", "it",
      0);
  ASSERT_EQ(oldest.rules.size(), 1U);
  EXPECT_THAT(oldest.rules[0].names, ElementsAre("mount"));
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
