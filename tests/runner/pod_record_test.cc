// What a pod's file says of it, and the states that follow.
#include "runner/pod_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include "runner/config_json.h"
#include "runner/container_state.h"
#include "runner/filter_compiler.h"
#include "runner/pod.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;

const std::string kUuid = "01234567-89ab-4cde-8f01-23456789abcd";

RunConfig FullConfig() {
  RunConfig out;
  out.args = {"/bin/x", "a b"};
  out.env = {"A=1"};
  out.working_dir = "/srv";
  out.user = "web:staff";
  out.hostname = "h";
  out.network = Network::kHost;
  out.net = {.ports = {{0x7F000001, 8080, 80, true}},
             .hosts = {{"a", "::1"}},
             .resolver = {{"1.1.1.1"}, {"x"}, {"y"}},
             .plugin_seconds = 7};
  out.interactive = true;
  out.read_only_rootfs = true;
  out.capabilities = 5;
  out.volumes = {{"/a", "/b", true},
                 {.source = "data", .target = "/d", .kind = Volume::Kind::kEmpty, .uid = 1, .gid = 2, .mode = 0750},
                 {.target = "/t", .kind = Volume::Kind::kTmpfs, .size = 4096, .executable = true}};
  out.volumes[0].recursive = false;
  out.secrets = {{"key", "/etc/key", 3, 4, 0440}};
  out.devices = {{"/dev/null", "/dev/n", "r"}};
  out.limits.memory = 1 << 20;
  out.limits.memory_swap = -1;
  out.limits.cpu_microseconds = 50'000;
  out.limits.pids = -1;
  out.limits.cpus = "0-1";
  out.limits.rates = {{Limits::Rate::Kind::kWriteOperations, "/dev/sda", 7}};
  out.ulimits = {{7, 10, 20}};
  out.groups = {70};
  out.oom_score_adj = -5;
  out.new_privileges = true;
  out.filter = {Filter::Kind::kProfile, {{0x06, 0, 0, 0x7FFF0000}}};
  out.apparmor = "p";
  out.selinux = "l";
  out.stop_signal = 3;
  out.stop_seconds = 4;
  out.health = image::HealthCheck{{"x"}, 1, 2, 3, 4};
  out.pre_start = {{{"/pre"}}};
  out.post_stop = {{{"/post", "x"}}};
  return out;
}

PodPlan PlanOfTwo() {
  return {true,
          "2026-01-01T00:00:00Z",
          {{"one", "image", Digest::Of("m"), {Digest::Of("l")}, FullConfig()}, {"two", "other", {}, {}, FullConfig()}}};
}

std::string File(const std::vector<PodEvent>& events) {
  std::string out = PrintPlan(PlanOfTwo(), {"/sys/fs/cgroup/x/gantry-" + kUuid});
  for (const PodEvent& event : events) out += PrintEvent(event);
  return out;
}

PodEvent Started(const std::string& app, pid_t pid) {
  return {PodEvent::Kind::kStarted, app, pid, StartTimeOf(pid).value_or(1)};
}
PodEvent Exited(const std::string& app, int code) { return {PodEvent::Kind::kExited, app, 0, 0, code}; }

TEST(ConfigJson, KeepsEverything) {
  const json::Value printed(PrintConfig(FullConfig()));
  const RunConfig parsed = ParseConfig(json::Cursor(printed, "config"));
  EXPECT_EQ(json::Value(PrintConfig(parsed)), printed);
  EXPECT_EQ(parsed.volumes, FullConfig().volumes);
  EXPECT_EQ(parsed.limits, FullConfig().limits);
  EXPECT_EQ(parsed.filter, FullConfig().filter);
  EXPECT_EQ(parsed.pre_start, FullConfig().pre_start);
}

TEST(ConfigJson, RefusesAFilterThatLetsEverythingPass) {
  json::Object printed = PrintConfig(FullConfig());
  for (const char* program : {"", "AAAA", "?"}) {
    printed.Set("program", program);
    const json::Value value(printed);
    EXPECT_EQ(CaughtError([&] { ParseConfig(json::Cursor(value, "config")); }).kind(), ErrorKind::kCorrupt) << program;
  }
  printed.Remove("program");
  const json::Value value(printed);
  EXPECT_EQ(CaughtError([&] { ParseConfig(json::Cursor(value, "config")); }).kind(), ErrorKind::kCorrupt);
}

TEST(ConfigJson, AFilterIsNoLongerThanTheKernelTakes) {
  RunConfig config = FullConfig();
  config.filter.program.resize(BPF_MAXINSNS, config.filter.program.front());
  const json::Value longest(PrintConfig(config));
  EXPECT_EQ(ParseConfig(json::Cursor(longest, "config")).filter, config.filter);
  config.filter.program.push_back(config.filter.program.front());
  const json::Value longer(PrintConfig(config));
  EXPECT_EQ(CaughtError([&] { ParseConfig(json::Cursor(longer, "config")); }).kind(), ErrorKind::kCorrupt);
}

TEST(ConfigJson, ReadsTheProfileThatAnEarlierVersionWrote) {
  const std::string profile =
      R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]})";
  json::Object printed = PrintConfig(FullConfig());
  printed.Remove("program");
  printed.Set("profile", profile);
  const json::Value value(printed);
  const json::Value rules = json::Parse(profile, "profile");
  EXPECT_EQ(ParseConfig(json::Cursor(value, "config")).filter,
            (Filter{Filter::Kind::kProfile, CompileFilter(ParseSpecSeccomp(json::Cursor(rules, "profile")))}));
  printed.Set("profile", "{}");
  const json::Value none(printed);
  EXPECT_EQ(CaughtError([&] { ParseConfig(json::Cursor(none, "config")); }).kind(), ErrorKind::kCorrupt);
}

TEST(PodRecord, ReadsWhatWasWritten) {
  const PodRecord pod = PodRecord::Parse(File({}), kUuid);
  EXPECT_TRUE(pod.plan().kept);
  EXPECT_EQ(pod.plan().created, "2026-01-01T00:00:00Z");
  ASSERT_EQ(pod.plan().apps.size(), 2U);
  EXPECT_EQ(pod.plan().apps[0].digest, Digest::Of("m"));
  EXPECT_EQ(pod.plan().apps[0].diff_ids, std::vector{Digest::Of("l")});
  EXPECT_EQ(pod.App("two").image, "other");
  EXPECT_EQ(CaughtError([&] { pod.App(""); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(CaughtError([&] { pod.App("three"); }).kind(), ErrorKind::kUsage);
}

TEST(PodRecord, SaysWhetherItIsAVirtualMachine) {
  PodPlan plan = PlanOfTwo();
  EXPECT_FALSE(PodRecord::Parse(PrintPlan(plan, {}), kUuid).plan().machine);
  plan.machine = true;
  EXPECT_TRUE(PodRecord::Parse(PrintPlan(plan, {}), kUuid).plan().machine);
}

TEST(PodRecord, KeepsWhatAMachineStartedWith) {
  PodEvent event{PodEvent::Kind::kMeasured, "one"};
  event.digests = {{"kernel", Digest::Of("k")}, {"initramfs", Digest::Of("i")}, {"root", Digest::Of("r")}};
  const PodRecord record = PodRecord::Parse(File({event, Started("one", getpid())}), kUuid);
  EXPECT_EQ(record.StatusOf("one").measured, event.digests);
  EXPECT_TRUE(record.StatusOf("two").measured.empty());
}

TEST(PodRecord, StateFollowsFromEventsAndProcesses) {
  const auto state = [](const std::vector<PodEvent>& events) { return PodRecord::Parse(File(events), kUuid).state(); };
  EXPECT_EQ(state({}), PodState::kKilled);
  EXPECT_EQ(state({{PodEvent::Kind::kPrepared}}), PodState::kPrepared);
  EXPECT_EQ(state({Started("one", getpid())}), PodState::kRunning);
  EXPECT_EQ(state({Started("one", getpid()), Exited("one", 0)}), PodState::kKilled);
  EXPECT_EQ(state({Started("one", 1 << 30)}), PodState::kKilled);
  EXPECT_EQ(state({Exited("one", 0), Exited("two", 1)}), PodState::kExited);
  PodEvent reused = Started("one", getpid());
  ++reused.start_time;  // the number is another process's now
  EXPECT_EQ(state({reused}), PodState::kKilled);
}

TEST(PodRecord, TheCodeIsThatOfTheFirstThatFailed) {
  const auto code = [](const std::vector<PodEvent>& events) { return PodRecord::Parse(File(events), kUuid).code(); };
  EXPECT_EQ(code({Exited("one", 0)}), std::nullopt);
  EXPECT_EQ(code({Exited("one", 0), Exited("two", 0)}), 0);
  EXPECT_EQ(code({Exited("two", 9), Exited("one", 143)}), 9);
}

TEST(PodRecord, EveryStartIsCounted) {
  const PodRecord pod = PodRecord::Parse(File({Started("one", getpid()),
                                               {PodEvent::Kind::kUnhealthy, "one", 0, 0, 0, "why"},
                                               Exited("one", 1),
                                               Started("one", getpid()),
                                               {PodEvent::Kind::kHealthy, "one"}}),
                                         kUuid);
  const AppStatus status = pod.StatusOf("one");
  EXPECT_EQ(status.starts, 2U);
  EXPECT_EQ(status.pid, getpid());
  EXPECT_EQ(status.code, std::nullopt);
  EXPECT_EQ(status.health, "healthy");
}

TEST(PodRecord, ALineThatIsBeingWrittenIsNotRead) {
  std::string text = File({Exited("one", 1)});
  text += PrintEvent(Exited("two", 2)).substr(0, 20);
  EXPECT_EQ(PodRecord::Parse(text, kUuid).events().size(), 1U);
}

TEST(PodRecord, WhatNobodyWroteIsCorrupt) {
  for (const char* line :
       {"{\"event\":\"no such\",\"time\":\"\"}\n", "{\"event\":\"exited\",\"time\":\"\",\"code\":-1}\n", "{]\n"})
    EXPECT_EQ(CaughtError([&] { PodRecord::Parse(File({}) + line, kUuid); }).kind(), ErrorKind::kCorrupt) << line;
}

TEST(PodRecord, IsFoundByBeginningAndByAppThatOnlyOneHas) {
  const TempDir temp;
  const Dir pods = Dir::Open(temp.path());
  const std::string other = "01234567-0000-4000-8000-000000000000";
  for (const std::string& uuid : {kUuid, other}) {
    const Dir dir = pods.MakeDirs(RelPath::Parse(uuid));
    PodPlan plan = PlanOfTwo();
    plan.apps[1].name = uuid == other ? "mine" : "two";
    dir.WriteFileAtomically(RelPath::Parse(kPodFile), PrintPlan(plan, {}));
  }
  pods.MakeDirs(RelPath::Parse("no-uuid"));
  EXPECT_EQ(FindPod(pods, kUuid).uuid(), kUuid);
  EXPECT_EQ(FindPod(pods, "01234567-0").uuid(), other);
  EXPECT_EQ(FindPod(pods, "mine").uuid(), other);
  EXPECT_EQ(CaughtError([&] { FindPod(pods, "one"); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(CaughtError([&] { FindPod(pods, "0123"); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(CaughtError([&] { FindPod(pods, "f"); }).kind(), ErrorKind::kNotFound);
  EXPECT_EQ(ListPods(pods).size(), 2U);
}

TEST(PodRecord, OneThatCannotBeReadIsNoReasonNotToFindTheOthers) {
  const TempDir store;
  const Dir pods = Dir::Open(store.path());
  const std::string other = "01234567-0000-4123-8123-0123456789ab";
  const auto write = [&](const std::string& uuid, const std::string& text) {
    pods.MakeDirs(RelPath::Parse(uuid)).WriteFileAtomically(RelPath::Parse(kPodFile), text);
  };
  const PodEvent runner{PodEvent::Kind::kRunner, {}, getpid(), StartTimeOf(getpid()).value_or(0)};
  write(kUuid, "kept\n{\"created\":\"x\",\"apps\":[{\"later\":1}]}\n" + PrintEvent(runner));
  write(other, File({}));
  EXPECT_EQ(ListPods(pods).size(), 2U);
  EXPECT_EQ(FindPod(pods, other).uuid(), other);
  EXPECT_EQ(CaughtError([&] { FindPod(pods, kUuid); }).kind(), ErrorKind::kCorrupt);
  const PodRecord pod = FindPod(pods, kUuid, true);
  EXPECT_EQ(pod.state(), PodState::kUnreadable);
  EXPECT_TRUE(pod.plan().kept);
  EXPECT_EQ(pod.runner(), getpid());
  EXPECT_THAT(pod.problem(), ::testing::HasSubstr(kUuid));
  RemovePod(pods, kUuid, std::nullopt, false);
  EXPECT_EQ(ListPods(pods).size(), 1U);
}

TEST(PodRecord, KeptPodsAreSweptByAge) {
  const TempDir temp;
  const Dir pods = Dir::Open(temp.path());
  const auto make = [&](const std::string& uuid, bool kept, bool prepared) {
    PodPlan plan = PlanOfTwo();
    plan.kept = kept;
    pods.MakeDirs(RelPath::Parse(uuid))
        .WriteFileAtomically(RelPath::Parse(kPodFile),
                             PrintPlan(plan, {}) + (prepared ? PrintEvent({PodEvent::Kind::kPrepared}) : ""));
  };
  const std::string gone = "01234567-0000-4000-8000-000000000000", prepared = "11234567-0000-4000-8000-000000000000";
  make(kUuid, true, false);
  make(gone, false, false);
  make(prepared, true, true);
  EXPECT_EQ(SweepPods(pods, std::nullopt), 1U);
  EXPECT_EQ(SweepPods(pods, std::nullopt, {3600, 3600}), std::vector<std::string>{});
  EXPECT_EQ(SweepPods(pods, std::nullopt, {0, 3600}), std::vector{kUuid});
  EXPECT_EQ(SweepPods(pods, std::nullopt, {3600, 0}), std::vector{prepared});
}

}  // namespace
}  // namespace gantry::runner
