// What ACIs ask for, as options of a run.
#include "runner/appc.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <tuple>

#include "libimage/base/error.h"
#include "runner/filter_compiler.h"
#include "runner/pod_manifest.h"
#include "runner/seccomp.h"
#include "runner/seccomp_profile.h"
#include "runner/syscall_table.h"
#include "tests/support/bpf.h"
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
  EXPECT_EQ(Take("os/linux/oom-score-adj", "10").run.oom_score_adj, 10);
  RunOptions given;
  given.limits.memory = 7;
  given.oom_score_adj = 1;
  EXPECT_EQ(Take("resource/memory", R"({"limit":"1Mi"})", given).run.limits.memory, 7);
  EXPECT_EQ(Take("os/linux/oom-score-adj", "-10", given).run.oom_score_adj, 1);
}

TEST(AddAppc, NobodyElseIsKilledForItsMemory) {
  const Taken taken = Take("os/linux/oom-score-adj", "-10");
  EXPECT_EQ(taken.run.oom_score_adj, std::nullopt);
  EXPECT_THAT(taken.ignored, ElementsAre(HasSubstr("--oom-score-adj")));
  RunOptions given;
  given.oom_score_adj = -20;
  EXPECT_THAT(Take("os/linux/oom-score-adj", "-10", given).ignored, IsEmpty());
}

TEST(AddAppc, LabelsHandlersGroupsAndPlaces) {
  EXPECT_EQ(Take("os/linux/apparmor-profile", R"({"profile":"p"})").run.apparmor, "p");
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

TEST(AddAppc, OfWhatIsWholeByItselfThereIsOne) {
  const json::Value set = json::Parse(R"({"set":["mkdir"]})", "value");
  const json::Value profile = json::Parse(R"({"profile":"p"})", "value");
  for (const auto& [one, other, value] :
       {std::tuple("os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set", set),
        std::tuple("os/linux/seccomp-retain-set", "os/linux/seccomp-retain-set", set),
        std::tuple("os/linux/apparmor-profile", "os/linux/apparmor-profile", profile)}) {
    image::AciApp app;
    app.isolators = {{one, value}, {other, value}};
    Taken out;
    EXPECT_EQ(CaughtError([&, &app = app] { AddAppc(app, out.run, out.ignored); }).kind(), ErrorKind::kCorrupt) << one;
  }
  EXPECT_EQ(CaughtError([] { Take("os/linux/seccomp-retain-set", R"({"set":[]})"); }).kind(), ErrorKind::kCorrupt);
}

TEST(AppcFilter, RefusesWhatIsRemovedAsTheIsolatorSays) {
  std::vector<std::string> ignored;
  const SpecSeccomp named = AppcFilter(false, {"mkdir", "reboot"}, "ENOSYS", ignored).value();
  EXPECT_EQ(ActionOf(named, "mkdir"), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(ActionOf(named, "reboot"), SECCOMP_RET_ERRNO | ENOSYS);  // which no container may anyway
  EXPECT_EQ(ActionOf(named, "mount"), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(ActionOf(named, "rmdir"), SECCOMP_RET_ALLOW);
  const SpecSeccomp killing = AppcFilter(false, {"mkdir", "reboot"}, "", ignored).value();
  EXPECT_EQ(ActionOf(killing, "reboot"), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(ActionOf(killing, "mount"), SECCOMP_RET_ERRNO | EPERM);  // nobody named it
  EXPECT_THAT(ignored, IsEmpty());
  EXPECT_EQ(ActionOf(AppcFilter(false, {"execve"}, "", ignored).value(), "execve"), SECCOMP_RET_ALLOW);
  AppcFilter(false, {"no_such_call"}, "", ignored);
  EXPECT_THAT(ignored, ElementsAre(HasSubstr("execve"), HasSubstr("no_such_call")));
}

TEST(AppcFilter, RefusesWhatIsNotRetained) {
  std::vector<std::string> ignored;
  const SpecSeccomp retained = AppcFilter(true, {"mkdir"}, "", ignored).value();
  EXPECT_EQ(ActionOf(retained, "mkdir"), SECCOMP_RET_ALLOW);
  EXPECT_EQ(ActionOf(retained, "rmdir"), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(ActionOf(retained, "mount"), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(ActionOf(retained, "execve"), SECCOMP_RET_ALLOW);  // init needs it
  EXPECT_EQ(ActionOf(AppcFilter(true, {"mkdir"}, "EACCES", ignored).value(), "mount"), SECCOMP_RET_ERRNO | EACCES);
  EXPECT_THAT(ignored, IsEmpty());
  AppcFilter(true, {"mkdir", "mount", "no_such_call"}, "", ignored);
  EXPECT_THAT(ignored, ElementsAre(HasSubstr(": mount;")));
}

TEST(AppcFilter, AllowsNothingThatIsNotAllowedByDefault) {
  std::vector<std::string> ignored, all;
  for (const SyscallNumber& call : SyscallArchitectures()[0].calls) all.emplace_back(call.name);
  for (const bool retain : {true, false}) {
    const std::vector<std::string> names = retain ? all : std::vector<std::string>{"mkdir"};
    const auto filter = CompileFilter(AppcFilter(retain, names, "", ignored).value());
    seccomp_data call{};
    call.arch = SyscallArchitectures()[0].audit;
    int allowed = 0;
    for (call.nr = 0; call.nr < kNewestKnown + 10; ++call.nr) {
      for (const uint64_t low : {0x0U, 0x1U, 0x8U, 0x26U, 0x27U, 0x28U, 0x29U, 0x20008U, 0x2000000U, 0x10000000U}) {
        for (const uint64_t above : {uint64_t{0}, uint64_t{1} << 32, ~uint64_t{0} << 32}) {
          call.args[0] = above | low;
          const bool may = gantry::testing::Decide(filter, call) == SECCOMP_RET_ALLOW;
          allowed += may ? 1 : 0;
          EXPECT_TRUE(!may || gantry::testing::Decide(DefaultFilter(), call) == SECCOMP_RET_ALLOW)
              << "call " << call.nr << " with " << call.args[0];
        }
      }
    }
    EXPECT_GT(allowed, 1000);
  }
}

TEST(AppcFilter, WildcardsMaskWhatElseIsNamed) {
  std::vector<std::string> ignored;
  EXPECT_FALSE(AppcFilter(false, {"mkdir", "@appc.io/empty"}, "", ignored));
  EXPECT_THAT(ignored, IsEmpty());
  EXPECT_FALSE(AppcFilter(true, {"mkdir", "@appc.io/all"}, "", ignored));
  EXPECT_THAT(ignored, ElementsAre(HasSubstr("seccomp=unconfined")));
  ignored.clear();
  AppcFilter(true, {"@docker/default-whitelist", "@no/such"}, "ENOTHING", ignored);
  EXPECT_THAT(ignored, ElementsAre(HasSubstr("@no/such"), HasSubstr("ENOTHING")));
}

TEST(ParseQuantity, TakesKubernetesSpellings) {
  EXPECT_EQ(ParseQuantity("1"), 1000U);
  EXPECT_EQ(ParseQuantity("1.5"), 1500U);
  EXPECT_EQ(ParseQuantity("250m"), 250U);
  EXPECT_EQ(ParseQuantity("2Ki"), 2'048'000U);
  EXPECT_EQ(ParseQuantity("0.5G"), 500'000'000'000U);
  EXPECT_EQ(ParseQuantity("2P"), 2'000'000'000'000'000'000U);
  for (const char* text : {"1E", "1Ei", "99999999999999999T"})
    EXPECT_EQ(ParseQuantity(text), uint64_t{INT64_MAX}) << text;
  for (const char* text : {"", "m", "x", "-1", "1.2345"})
    EXPECT_EQ(CaughtError([&] { ParseQuantity(text); }).kind(), ErrorKind::kCorrupt) << text;
}

TEST(AddAppc, TakesTheLargestQuantities) {
  EXPECT_GT(Take("resource/cpu", R"({"limit":"8E"})").run.limits.cpu_microseconds, uint64_t{1} << 32);
  EXPECT_GT(Take("resource/memory", R"({"limit":"8E"})").run.limits.memory, int64_t{1} << 50);
}

constexpr const char* kManifest = R"({"acVersion":"0.8.11","acKind":"PodManifest",
  "apps":[{"name":"one","image":{"name":"example.com/x","id":"sha512-aa","labels":[{"name":"version","value":"1"}]},
    "app":{"exec":["/bin/x","y"],"user":"1","group":"2","environment":[{"name":"A","value":"b"}],"workingDirectory":"/w",
      "mountPoints":[{"name":"data","path":"/d"}],"isolators":[{"name":"resource/cpu","value":{"limit":"1"}}]},
    "readOnlyRootFS":true,"mounts":[{"volume":"data","path":"/data"}]}],
  "volumes":[{"name":"data","kind":"empty","mode":"0700","uid":3}],
  "isolators":[{"name":"os/unix/sysctl","value":{}}]})";

TEST(PodManifest, GivesImagesAndOptions) {
  const auto apps = PodManifest::Parse(kManifest, "it").apps;
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

TEST(PodManifest, RefusesWhatIsNone) {
  for (const char* text :
       {"{}", "[]", R"({"acKind":"ImageManifest","acVersion":"0.8.11","apps":[]})",
        R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[]})",
        R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[{"name":"x","image":{}}]})",
        R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[],"volumes":[{"name":"../x","kind":"empty"}]})"})
    EXPECT_EQ(CaughtError([&] { PodManifest::Parse(text, "it"); }).kind(), ErrorKind::kCorrupt) << text;
  EXPECT_EQ(
      CaughtError([] { PodManifest::Parse(R"({"acKind":"PodManifest","acVersion":"1.0.0","apps":[]})", "it"); }).kind(),
      ErrorKind::kUnsupported);
}

// A pod of one app with these members, and of these volumes.
PodManifest PodOf(const std::string& app, const std::string& volumes) {
  return PodManifest::Parse(R"({"acKind":"PodManifest","acVersion":"0.8.11","annotations":[{"name":"a","value":"b"}],
    "apps":[{"name":"x","image":{"name":"example.com/x"},)" +
                                app + R"(}],"volumes":[)" + volumes + "]}",
                            "it");
}

TEST(PodManifest, AMountHasAVolumeOfThePodOrOneOfItsOwn) {
  const std::string data = R"({"name":"data","kind":"host","source":"/pod"})";
  const PodManifest pod = PodOf(R"("mounts":[{"volume":"data","path":"/one"},
    {"volume":"data","path":"/two","appVolume":{"name":"data","kind":"host","source":"/own","readOnly":true}}])",
                                data);
  EXPECT_EQ(pod.annotations, (std::vector<image::AppcPair>{{"a", "b"}}));
  const RunConfig config = Plan({.cmd = {"z"}}, pod.apps[0].run);
  ASSERT_EQ(config.volumes.size(), 2U);
  EXPECT_EQ(config.volumes[0].source + " " + config.volumes[0].target, "/pod /one");
  EXPECT_EQ(config.volumes[1].source + " " + config.volumes[1].target, "/own /two");
  EXPECT_TRUE(config.volumes[1].read_only);
  EXPECT_EQ(CaughtError([&] { PodOf(R"("mounts":[{"volume":"none","path":"/one"}])", data); }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { PodOf(R"("mounts":[])", data + "," + data); }).kind(), ErrorKind::kCorrupt);
  const std::string late =
      R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[{"name":"x","image":{"name":"example.com/x"},
    "mounts":[{"volume":"late","path":"/d"}]}]})";
  EXPECT_EQ(CaughtError([&] { PodManifest::Parse(late, "it"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(PodManifest::Parse(late, "it", {{"late", {}}}).apps[0].run.mount_points.at(0).name, "late");
}

TEST(PodManifest, PublishesThePortsThatItDescribes) {
  const std::string text =
      R"({"acKind":"PodManifest","acVersion":"0.8.11","apps":[{"name":"x","image":{"name":"example.com/x"},
    "app":{"exec":["/x"],"user":"0","group":"0","ports":[{"name":"dns","protocol":"udp","port":53,"count":2}]}}],
    "ports":[{"name":"www","hostPort":8080,"hostIP":"10.0.0.1","podPort":{"name":"www","protocol":"tcp","port":80}},
             {"name":"dns","hostPort":5300},{"name":"of-the-image","hostPort":9}]})";
  const PodManifest pod = PodManifest::Parse(text, "it");
  std::string ports;
  for (const PublishedPort& port : pod.ports) ports += port.ToString() + " ";
  EXPECT_EQ(ports, "10.0.0.1:8080:80 5300:53/udp 5301:54/udp ");
  EXPECT_THAT(pod.apps[0].ignored, ElementsAre(HasSubstr("of-the-image")));
  PodPlan plan;
  RunOptions options;
  options.network = Network::kPrivate;
  options.net.ports = pod.ports;
  plan.apps.push_back({"x", "example.com/x", {}, {}, Plan({.cmd = {"z"}}, options)});
  EXPECT_EQ(PodManifest::Parse(json::Print(PrintPodManifest(plan)), "it").ports, pod.ports);
}

TEST(PrintPodManifest, WritesIsolatorsAsTheyAreRead) {
  RunOptions options;
  options.apparmor = "profile";
  options.selinux = "u:r:t:s0:c1,c2";
  options.limits.memory = 1000;
  options.limits.memory_reservation = 500;
  options.cap_drop = {"ALL"};
  PodPlan plan;
  plan.annotations = {{"a", "b"}};
  plan.apps.push_back({"x", "example.com/x", {}, {}, Plan({.cmd = {"z"}}, options), "sha512-ab", {{"c", "d"}}});
  const std::string text = json::Print(PrintPodManifest(plan));
  const PodManifest again = PodManifest::Parse(text, "it");
  EXPECT_EQ(again.annotations, plan.annotations);
  ASSERT_EQ(again.apps.size(), 1U);
  EXPECT_EQ(again.apps[0].image_id, "sha512-ab");
  EXPECT_THAT(again.apps[0].annotations,
              ElementsAre(image::AppcPair("c", "d"), image::AppcPair(kImageAnnotation, "example.com/x")));
  EXPECT_THAT(again.apps[0].ignored, IsEmpty());
  const RunConfig config = Plan({.cmd = {"z"}}, again.apps[0].run);
  EXPECT_EQ(config.apparmor, "profile");
  EXPECT_EQ(config.selinux, options.selinux);
  EXPECT_EQ(config.limits.memory, 1000);
  EXPECT_EQ(config.limits.memory_reservation, 500);
  EXPECT_EQ(config.capabilities, 0U);
}

}  // namespace
}  // namespace gantry::runner
