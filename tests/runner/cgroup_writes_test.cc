#include "runner/cgroup_writes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "runner/device_filter.h"
#include "runner/systemd_scope.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

SpecResources Resources(const std::string& text) {
  const json::Value document = json::Parse(text, "resources");
  return ParseSpecResources(json::Cursor(document, "resources"));
}

TEST(CgroupWritesTest, MemoryOfV2CountsSwapAlone) {
  const SpecResources resources = Resources(R"({"memory":{"limit":1000,"swap":1500,"reservation":-1}})");
  EXPECT_THAT(WritesForV1(resources), Contains(ControlWrite{"memory", "memory.memsw.limit_in_bytes", "1500", false}));
  EXPECT_THAT(WritesForV2(resources), ElementsAre(ControlWrite{"memory", "memory.max", "1000", false},
                                                  ControlWrite{"memory", "memory.low", "max", false},
                                                  ControlWrite{"memory", "memory.swap.max", "500", false}));
}

TEST(CgroupWritesTest, SharesBecomeAWeight) {
  for (const auto& [shares, weight] : {std::pair{2, "1"}, {1024, "39"}, {262144, "10000"}, {1, "1"}})
    EXPECT_THAT(WritesForV2(Resources("{\"cpu\":{\"shares\":" + std::to_string(shares) + "}}")),
                ElementsAre(ControlWrite{"cpu", "cpu.weight", weight, false}));
}

TEST(CgroupWritesTest, QuotaAndPeriodAreOneFileInV2) {
  EXPECT_THAT(WritesForV2(Resources(R"({"cpu":{"quota":50000}})")),
              ElementsAre(ControlWrite{"cpu", "cpu.max", "50000 100000", false}));
  EXPECT_THAT(WritesForV2(Resources(R"({"cpu":{"quota":-1,"period":2000}})")),
              ElementsAre(ControlWrite{"cpu", "cpu.max", "max 2000", false}));
}

TEST(CgroupWritesTest, NothingAskedForIsNothingWritten) {
  EXPECT_THAT(WritesForV1({}), IsEmpty());
  EXPECT_THAT(WritesForV2({}), IsEmpty());
}

TEST(CgroupWritesTest, ZeroIsAsItIs) {
  const SpecResources resources = Resources(R"({"memory":{"limit":0,"swap":0,"reservation":0,"kernel":0,"kernelTCP":0},
      "cpu":{"shares":0,"quota":0,"period":0},"pids":{"limit":0},"blockIO":{"weight":0}})");
  EXPECT_THAT(WritesForV1(resources), IsEmpty());
  EXPECT_THAT(WritesForV2(resources), IsEmpty());
}

TEST(CgroupWritesTest, ReservationsOfHugePagesAreLimitedWhereTheyAreCounted) {
  const SpecResources resources = Resources(R"({"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]})");
  EXPECT_THAT(WritesForV1(resources),
              ElementsAre(ControlWrite{"hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304", false},
                          ControlWrite{"hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4194304", true}));
  EXPECT_THAT(WritesForV2(resources), ElementsAre(ControlWrite{"hugetlb", "hugetlb.2MB.max", "4194304", false},
                                                  ControlWrite{"hugetlb", "hugetlb.2MB.rsvd.max", "4194304", true}));
}

TEST(CgroupWritesTest, WeightsAreThoseOfTheSchedulerThatIsThere) {
  const SpecResources resources =
      Resources(R"({"blockIO":{"weight":100,"weightDevice":[{"major":8,"minor":0,"weight":1000}]}})");
  EXPECT_THAT(WritesForV1(resources),
              ElementsAre(ControlWrite{"blkio", "blkio.weight", "100", false, "blkio.bfq.weight", "100"},
                          ControlWrite{"blkio", "blkio.weight_device", "8:0 1000", false, "blkio.bfq.weight_device",
                                       "8:0 1000"}));
  EXPECT_THAT(WritesForV2(resources),
              ElementsAre(ControlWrite{"io", "io.weight", "default 910", false, "io.bfq.weight", "default 100"},
                          ControlWrite{"io", "io.weight", "8:0 10000", false, "io.bfq.weight", "8:0 1000"}));
}

TEST(CgroupWritesTest, WhatNoKernelDoesAnyMoreIsUnsupported) {
  for (const char* text : {R"({"memory":{"kernel":1000}})", R"({"memory":{"useHierarchy":false}})"}) {
    EXPECT_EQ(CaughtError([&] { WritesForV1(Resources(text)); }).kind(), ErrorKind::kUnsupported) << text;
    EXPECT_EQ(CaughtError([&] { WritesForV2(Resources(text)); }).kind(), ErrorKind::kUnsupported) << text;
  }
}

TEST(CgroupWritesTest, WhatV2CannotSayIsUnsupported) {
  for (const char* text :
       {R"({"network":{"classID":1}})", R"({"cpu":{"realtimeRuntime":1}})", R"({"memory":{"swap":100}})",
        R"({"memory":{"swappiness":1}})", R"({"memory":{"kernelTCP":1}})", R"({"memory":{"disableOOMKiller":true}})",
        R"({"blockIO":{"leafWeight":10}})", R"({"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}})"})
    EXPECT_EQ(CaughtError([&] { WritesForV2(Resources(text)); }).kind(), ErrorKind::kUnsupported) << text;
}

TEST(CgroupWritesTest, RefusesImpossibleLimits) {
  for (const char* text : {R"({"memory":{"limit":2000,"swap":1000}})", R"({"cpu":{"cpus":"0-1;x"}})",
                           R"({"devices":[{"allow":true,"type":"x"}]})", R"({"devices":[{"allow":true,"access":"q"}]})",
                           R"({"hugepageLimits":[{"pageSize":"../x","limit":1}]})", R"({"rdma":{"mlx5_0":{}}})",
                           R"({"pids":{"limit":"1"}})"})
    EXPECT_EQ(CaughtError([&] { Resources(text); }).kind(), ErrorKind::kCorrupt) << text;
}

// What the program answers: an interpreter of the few instructions it has.
bool Allows(const std::vector<DeviceRule>& rules, char type, uint32_t major, uint32_t minor, unsigned access) {
  const std::vector<bpf_insn> program = CompileDeviceFilter(rules);
  uint64_t r[11] = {};
  const uint32_t context[] = {access << 16 | (type == 'b' ? 1U : 2U), major, minor};
  for (size_t pc = 0; pc < program.size(); ++pc) {
    const bpf_insn& step = program[pc];
    uint64_t& to = r[step.dst_reg];
    const uint64_t value = (step.code & BPF_X) != 0 ? r[step.src_reg] : static_cast<uint64_t>(int64_t{step.imm});
    switch (step.code & ~unsigned{BPF_X}) {
      case BPF_LDX | BPF_W | BPF_MEM:
        to = context[static_cast<size_t>(step.off) / 4];
        break;
      case BPF_ALU | BPF_AND:
        to &= value;
        break;
      case BPF_ALU | BPF_RSH:
        to >>= value;
        break;
      case BPF_ALU | BPF_MOV:
      case BPF_ALU64 | BPF_MOV:
        to = value;
        break;
      case BPF_JMP | BPF_JNE:
        pc += to != value ? static_cast<size_t>(step.off) : 0;
        break;
      case BPF_JMP | BPF_JEQ:
        pc += to == value ? static_cast<size_t>(step.off) : 0;
        break;
      case BPF_JMP | BPF_EXIT:
        return r[0] != 0;
      default:
        ADD_FAILURE() << "instruction " << static_cast<int>(step.code);
        return false;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return false;
}

constexpr unsigned kMknod = 1, kRead = 2, kWrite = 4;

TEST(DeviceFilterTest, TheLastRuleThatMatchesDecides) {
  const std::vector<DeviceRule> rules = {
      {true, 'c', 10, {}, "rwm"}, {false, 'c', 10, 200, "w"}, {true, 'b', 8, 0, "r"}};
  EXPECT_TRUE(Allows(rules, 'c', 10, 1, kRead | kWrite));
  EXPECT_TRUE(Allows(rules, 'c', 10, 200, kRead));
  EXPECT_FALSE(Allows(rules, 'c', 10, 200, kWrite));
  EXPECT_FALSE(Allows(rules, 'c', 10, 200, kRead | kWrite));
  EXPECT_TRUE(Allows(rules, 'b', 8, 0, kRead));
  EXPECT_FALSE(Allows(rules, 'b', 8, 0, kRead | kWrite));
  EXPECT_FALSE(Allows(rules, 'b', 8, 1, kRead));
  EXPECT_FALSE(Allows(rules, 'c', 8, 0, kRead));
}

TEST(DeviceFilterTest, EveryContainerHasTheStandardDevices) {
  const std::vector<DeviceRule> rules = WithStandardDevices({{false, 'a', {}, {}, "rwm"}});
  EXPECT_TRUE(Allows(rules, 'c', 1, 3, kRead | kWrite));
  EXPECT_TRUE(Allows(rules, 'c', 136, 7, kRead | kWrite));
  EXPECT_TRUE(Allows(rules, 'b', 8, 0, kMknod));
  EXPECT_FALSE(Allows(rules, 'b', 8, 0, kRead));
  EXPECT_FALSE(Allows(rules, 'c', 1, 1, kRead));
}

TEST(DeviceFilterTest, ARuleAboutAllEndsTheProgram) {
  EXPECT_TRUE(Allows({{true, 'a', {}, {}, "rwm"}}, 'b', 8, 0, kRead | kWrite));
  EXPECT_FALSE(Allows({}, 'c', 1, 3, kRead));
}

TEST(ScopeTest, ASliceIsAPath) {
  const Scope scope = Scope::ParseText("machine-a.slice:libpod:abc", "id");
  EXPECT_EQ(scope.unit, "libpod-abc.scope");
  EXPECT_EQ(scope.path, "/machine.slice/machine-a.slice/libpod-abc.scope");
  EXPECT_EQ(Scope::ParseText("", "id").path, "/system.slice/id.scope");
  EXPECT_EQ(Scope::ParseText("-.slice:p:n", "id").path, "/p-n.scope");
  for (const char* text : {"/plain/path", "a:b", "a:b:c:d", "a/../b.slice:p:n", "x.slice:p:n/.."})
    EXPECT_EQ(CaughtError([&] { Scope::ParseText(text, "id"); }).kind(), ErrorKind::kUsage) << text;
}

}  // namespace
}  // namespace gantry::runner
