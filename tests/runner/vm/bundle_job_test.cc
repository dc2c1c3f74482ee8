#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "runner/bundle_machine.h"
#include "runner/bundle_plan.h"
#include "runner/vm/bundle_bounds.h"
#include "runner/vm/job_bundle.h"
#include "runner/vm/pack_bundle.h"

namespace gantry::runner::vm {
namespace {

constexpr const char* kConfig = R"({"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true},"hostname":"inside",
  "process":{"args":["sh"],"cwd":"/srv","user":{"uid":0,"gid":0}},
  "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"]},
            {"destination":"/data","type":"bind","source":"/data","options":["rbind","ro"]},
            {"destination":"/t","type":"tmpfs","source":"tmpfs","options":["size=64k","mode=700"]}],
  "linux":{"namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"}],
           "maskedPaths":["/proc/keys"],"readonlyPaths":["/proc/sys","/proc/irq"],
           "sysctl":{"net.ipv4.ip_forward":"1"},"resources":{"pids":{"limit":7}}}})";

// Packed as an attendant does it.
std::string Pack(const Spec& whole) {
  Spec spec = whole;
  spec.namespaces.clear();
  const BundlePlace place{.id = "x", .bundle = "/", .root = "/"};
  const BundleCgroup cgroup;
  BundleSetup setup(spec, place, cgroup);
  return PackBundleJob({.spec = whole,
                        .plan = setup.plan(),
                        .volumes = {{.source = "/rootfs", .target = "/"}, {.source = "/data", .target = "/data"}},
                        .places = {{0, true}, {1, true}},
                        .shown = {0, 1, 0}});
}

bool Read(const std::string& bytes, JobBundle& out) {
  // On the heap and of this very size, so that sanitizers see a read beyond it.
  static std::vector<char> kept;
  kept.assign(bytes.begin(), bytes.end());
  kept.shrink_to_fit();
  Job job;
  return JobReader(kept.data(), kept.size()).Read(job) && job.head.bundle != 0 &&
         JobBundleReader(kept.data(), kept.size(), job).Read(out);
}

TEST(JobBundleTest, ArrivesAsItWasPacked) {
  const auto bundle = std::make_unique<JobBundle>();
  const std::string bytes = Pack(Spec::Parse(kConfig, "config.json"));
  ASSERT_TRUE(Read(bytes, *bundle));
  const BundlePlan& plan = bundle->plan;
  ASSERT_EQ(plan.mount_count, 3U);
  EXPECT_STREQ(plan.mounts[0].type, "proc");
  EXPECT_EQ(plan.mounts[0].set, uint64_t{MOUNT_ATTR_NOSUID});
  EXPECT_EQ(bundle->volumes[0], PackedJobMount::kNewFileSystem);
  EXPECT_STREQ(plan.mounts[1].type, "");
  EXPECT_STREQ(plan.mounts[1].target, "/data");
  EXPECT_EQ(plan.mounts[1].set, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(bundle->volumes[1], 1U);
  EXPECT_STREQ(plan.mounts[2].data[0], "size=64k");
  EXPECT_STREQ(plan.mounts[2].data[1], "mode=700");
  EXPECT_EQ(plan.mounts[2].data[2], nullptr);
  ASSERT_EQ(plan.masked_count, 1U);
  EXPECT_STREQ(plan.masked[0], "/proc/keys");
  ASSERT_EQ(plan.read_only_count, 2U);
  EXPECT_STREQ(plan.read_only[1], "/proc/irq");
  ASSERT_EQ(plan.sysctl_count, 1U);
  EXPECT_STREQ(plan.sysctls[0].path, "net/ipv4/ip_forward");
  EXPECT_STREQ(plan.sysctls[0].value, "1");
  EXPECT_EQ(plan.node_count, 6U);
  EXPECT_TRUE(plan.fill_dev);
  EXPECT_EQ(plan.domainname, nullptr);
  EXPECT_GT(bundle->device_filter_count, 10U);
}

TEST(JobBundleTest, NoOffsetLeadsOutOfIt) {
  const auto bundle = std::make_unique<JobBundle>();
  const std::string bytes = Pack(Spec::Parse(kConfig, "config.json"));
  for (size_t size = 0; size < bytes.size(); size += 3) static_cast<void>(Read(bytes.substr(0, size), *bundle));
  EXPECT_FALSE(Read(bytes.substr(0, bytes.size() - 8), *bundle)) << "cut off";
  for (size_t at = sizeof(JobHead); at + 4 <= bytes.size(); at += 4) {
    std::string damaged = bytes;
    std::memset(damaged.data() + at, 0xff, 4);
    static_cast<void>(Read(damaged, *bundle));
  }
}

TEST(JobBundleTest, RefusesMoreThanTheGuestHasRoomFor) {
  Spec spec = Spec::Parse(kConfig, "config.json");
  spec.masked_paths.assign(kMaxBundlePaths + 1, "/proc/keys");
  EXPECT_THROW(Pack(spec), Error);
}

std::string Refusal(const std::function<void(Spec&)>& change) {
  Spec spec = Spec::Parse(kConfig, "config.json");
  change(spec);
  try {
    RequireMachineCan(spec);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    return error.message();
  }
  return "";
}

TEST(BundleBoundsTest, NamesEachPropertyThatAMachineCannotHave) {
  EXPECT_EQ(Refusal([](Spec&) {}), "");
  EXPECT_NE(Refusal([](Spec& spec) {
              spec.process->apparmor_profile = "x";
              spec.hooks.prestart.emplace_back();
              spec.resources.memory.swap = 1;
            }).find("process.apparmorProfile; hooks.prestart; linux.resources.memory.swap"),
            std::string::npos);
  EXPECT_NE(Refusal([](Spec& spec) { spec.namespaces.pop_back(), spec.namespaces[2].path = "/proc/1/ns/ipc"; }), "");
}

TEST(BundleBoundsTest, LimitsAreTheSizeOfTheMachine) {
  Spec spec = Spec::Parse(kConfig, "config.json");
  EXPECT_EQ(SizeOf(spec).memory_mib, 512U);
  EXPECT_EQ(SizeOf(spec).cpus, 1U);
  spec.resources.memory.limit = (int64_t{128} << 20) - 1;
  spec.resources.cpu.quota = 150'000;
  EXPECT_EQ(SizeOf(spec).memory_mib, 128U);
  EXPECT_EQ(SizeOf(spec).cpus, 2U);
  spec.resources.cpu.quota = 6'400'001;
  EXPECT_THROW(SizeOf(spec), Error);
  spec.resources.cpu.quota.reset();
  spec.resources.memory.limit = int64_t{63} << 20;
  EXPECT_THROW(SizeOf(spec), Error);
}

TEST(BundleMachineTest, ItsGroupsOnTheHostLeaveWhatHoldsInside) {
  SpecResources resources;
  resources.memory.limit = 1;
  resources.memory.reservation = 1;
  resources.pids = 1;
  resources.cpu.shares = 9;
  const SpecResources out = ResourcesOfMachine(resources);
  EXPECT_FALSE(out.memory.limit || out.pids);
  EXPECT_EQ(out.cpu.shares, 9U);
  EXPECT_NO_THROW(RequireMachineUpdates({.cpu = resources.cpu}));
  EXPECT_THROW(RequireMachineUpdates(resources), Error);
}

}  // namespace
}  // namespace gantry::runner::vm
