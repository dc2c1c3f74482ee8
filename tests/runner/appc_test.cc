// What ACIs ask for, as options of a run.
#include "runner/appc.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/seccomp.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "runner/filter_compiler.h"
#include "runner/pod_manifest.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Taken {
  RunOptions run;
  std::vector<std::string> ignored;
};

Taken Take(const std::string& name, const std::string& value, RunOptions run = {}) {
  image::AciApp app;
  app.isolators = {{name, json::Parse(value, "value")}};
  Taken out{std::move(run), {}};
  AddAppc(app, out.run, out.ignored);
  return out;
}

uint64_t Bit(int capability) { return uint64_t{1} << capability; }

TEST(AddAppc, CapabilitiesAreTakenAwayNotGiven) {
  const std::string set = R"({"set":["CAP_CHOWN","CAP_SYS_ADMIN"]})";
  Taken taken = Take("os/linux/capabilities-retain-set", set);
  EXPECT_EQ(taken.run.capabilities, Bit(CAP_CHOWN));
  EXPECT_THAT(taken.ignored, ElementsAre(HasSubstr("CAP_SYS_ADMIN")));
  RunOptions given;
  given.cap_add = {"SYS_ADMIN"};
  EXPECT_THAT(Take("os/linux/capabilities-retain-set", set, given).ignored, IsEmpty());
  EXPECT_EQ(Take("os/linux/capabilities-remove-set", set).run.capabilities, kDefaultCapabilities & ~Bit(CAP_CHOWN));
}

TEST(AddAppc, LimitsAreTheCommandLinesFirst) {
  EXPECT_EQ(Take("resource/memory", R"({"limit":"1Mi"})").run.limits.memory, 1 << 20);
  EXPECT_EQ(Take("resource/cpu", R"({"limit":"500m"})").run.limits.cpu_microseconds, 50'000U);
  EXPECT_EQ(Take("os/linux/cpu-shares", "512").run.limits.cpu_shares, 512U);
  EXPECT_EQ(Take("os/linux/oom-score-adj", "-10").run.oom_score_adj, -10);
  RunOptions given;
  given.limits.memory = 7;
  given.oom_score_adj = 1;
  EXPECT_EQ(Take("resource/memory", R"({"limit":"1Mi"})", given).run.limits.memory, 7);
  EXPECT_EQ(Take("os/linux/oom-score-adj", "-10", given).run.oom_score_adj, 1);
}

TEST(AddAppc, LabelsHandlersGroupsAndPlaces) {
  EXPECT_EQ(Take("os/linux/apparmor-profile", R"({"name":"p"})").run.apparmor, "p");
  EXPECT_EQ(Take("os/linux/selinux-context", R"({"user":"u","role":"r","type":"t","level":"l"})").run.selinux,
            "u:r:t:l");
  image::AciApp app;
  app.event_handlers = {{"pre-start", {"/a"}}, {"post-stop", {"/b", "c"}}};
  app.supplementary_gids = {7};
  app.mount_points = {{"data", "/var//data", true}};
  Taken out;
  AddAppc(app, out.run, out.ignored);
  EXPECT_EQ(out.run.pre_start, (std::vector<EventHandler>{{{"/a"}}}));
  EXPECT_EQ(out.run.post_stop, (std::vector<EventHandler>{{{"/b", "c"}}}));
  EXPECT_EQ(out.run.groups, std::vector<uint32_t>{7});
  EXPECT_EQ(out.run.mount_points, (std::vector<MountPoint>{{"data", "/var/data", true}}));
}

TEST(AddAppc, TellsWhatItDoesNotKnowAndRefusesWhatIsWrong) {
  EXPECT_THAT(Take("resource/network-bandwidth", R"({"limit":"1G"})").ignored,
              ElementsAre(HasSubstr("network-bandwidth")));
  EXPECT_THAT(Take("os/linux/no-new-privileges", "false").ignored, ElementsAre(HasSubstr("no-new-privileges")));
  EXPECT_THAT(Take("os/linux/no-new-privileges", "true").ignored, IsEmpty());
  for (const auto& [name, value] :
       {std::pair("resource/memory", R"({"limit":"lots"})"), std::pair("os/linux/oom-score-adj", "2000"),
        std::pair("os/linux/capabilities-retain-set", "{}"), std::pair("resource/cpu", R"({"limit":-1})")})
    EXPECT_EQ(CaughtError([&, n = name, v = value] { Take(n, v); }).kind(), ErrorKind::kCorrupt) << name;
}

// The action for a call, of the rules that name it.
uint32_t ActionOf(const SpecSeccomp& filter, const std::string& name) {
  for (const SeccompRule& rule : filter.rules) {
    if (std::ranges::find(rule.names, name) != rule.names.end())
      return rule.action;
  }
  return filter.default_action;
}

TEST(AppcFilter, NamesWhatIsRefusedAndKeepsWhatInitNeeds) {
  std::vector<std::string> ignored;
  const SpecSeccomp removed = AppcFilter(false, {"mkdir", "execve"}, "ENOSYS", ignored);
  EXPECT_EQ(ActionOf(removed, "mkdir"), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(ActionOf(removed, "execve"), SECCOMP_RET_ALLOW);
  const SpecSeccomp retained = AppcFilter(true, {"mkdir", "mount"}, "", ignored);
  EXPECT_EQ(ActionOf(retained, "mkdir"), SECCOMP_RET_ALLOW);
  EXPECT_EQ(ActionOf(retained, "rmdir"), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(ActionOf(retained, "mount"), SECCOMP_RET_ERRNO | EPERM);  // the default does not have it either
  EXPECT_THAT(ignored, IsEmpty());
  AppcFilter(true, {"@appc.io/all", "@no/such"}, "ENOTHING", ignored);
  EXPECT_EQ(ignored.size(), 2U);
}

TEST(ParseQuantity, TakesKubernetesSpellings) {
  EXPECT_EQ(ParseQuantity("1"), 1000U);
  EXPECT_EQ(ParseQuantity("1.5"), 1500U);
  EXPECT_EQ(ParseQuantity("250m"), 250U);
  EXPECT_EQ(ParseQuantity("2Ki"), 2'048'000U);
  EXPECT_EQ(ParseQuantity("0.5G"), 500'000'000'000U);
  for (const char* text : {"", "m", "x", "-1", "1.2345", "1Ei", "99999999999999999T"})
    EXPECT_EQ(CaughtError([&] { ParseQuantity(text); }).kind(), ErrorKind::kCorrupt) << text;
}

constexpr const char* kManifest = R"({"acVersion":"0.8.11","acKind":"PodManifest",
  "apps":[{"name":"one","image":{"name":"example.com/x","id":"sha512-aa","labels":[{"name":"version","value":"1"}]},
    "app":{"exec":["/bin/x","y"],"user":"1","group":"2","environment":[{"name":"A","value":"b"}],"workingDirectory":"/w",
      "mountPoints":[{"name":"data","path":"/d"}],"isolators":[{"name":"resource/cpu","value":{"limit":"1"}}]},
    "readOnlyRootFS":true,"mounts":[{"volume":"data","path":"/data"}]}],
  "volumes":[{"name":"data","kind":"empty","mode":"0700","uid":3}],
  "isolators":[{"name":"os/unix/sysctl","value":{}}]})";

TEST(ParsePodManifest, GivesImagesAndOptions) {
  const auto apps = ParsePodManifest(kManifest, "it");
  ASSERT_EQ(apps.size(), 1U);
  EXPECT_EQ(apps[0].image, "example.com/x:1");
  const RunOptions& run = apps[0].run;
  EXPECT_EQ(run.name, "one");
  EXPECT_EQ(run.args, (std::vector<std::string>{"/bin/x", "y"}));
  EXPECT_EQ(run.entrypoint, "");
  EXPECT_EQ(run.user, "1:2");
  EXPECT_EQ(run.working_dir, "/w");
  EXPECT_TRUE(run.read_only_rootfs);
  EXPECT_EQ(run.limits.cpu_microseconds, 100'000U);
  const RunConfig config = Plan({.cmd = {"z"}}, run);
  ASSERT_EQ(config.volumes.size(), 2U);
  EXPECT_EQ(config.volumes[0].target, "/d");
  EXPECT_EQ(config.volumes[1].source, "data");
  EXPECT_EQ(config.volumes[1].mode, 0700U);
  EXPECT_THAT(apps[0].ignored, ElementsAre(HasSubstr("sysctl")));
}

TEST(ParsePodManifest, RefusesWhatIsNone) {
  for (const char* text :
       {"{}", "[]", R"({"acKind":"ImageManifest","acVersion":"0.8.11","apps":[]})",
        R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[]})",
        R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[{"name":"x","image":{}}]})",
        R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[],"volumes":[{"name":"../x","kind":"empty"}]})"})
    EXPECT_EQ(CaughtError([&] { ParsePodManifest(text, "it"); }).kind(), ErrorKind::kCorrupt) << text;
  EXPECT_EQ(
      CaughtError([] { ParsePodManifest(R"({"acKind":"PodManifest","acVersion":"1.0.0","apps":[]})", "it"); }).kind(),
      ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::runner
