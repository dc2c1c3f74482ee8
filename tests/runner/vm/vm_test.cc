// The parts of a virtual machine that need none: its kernel, its files, its command line, and what is said to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "libimage/base/fd.h"
#include "runner/vm/accelerator.h"
#include "runner/vm/frame.h"
#include "runner/vm/guest_channel.h"
#include "runner/vm/initramfs.h"
#include "runner/vm/job.h"
#include "runner/vm/kernel.h"
#include "runner/vm/machine.h"
#include "runner/vm/pack_job.h"
#include "runner/vm/virtual_machine.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner::vm {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

RunConfig Config() {
  RunConfig config;
  config.working_dir = "/srv";
  config.terminal = true;
  config.capabilities = 5;
  config.limits.pids = 7;
  config.volumes = {{"/a", "/data", true}, {"/b", "/file", false}};
  config.volumes.push_back({.target = "/mem", .kind = Volume::Kind::kTmpfs, .mode = 0750, .size = 4096});
  return config;
}

// The first bytes of a bzImage, by Documentation/arch/x86/boot.rst.
std::string BzImage(const std::string& version) {
  std::string out(0x400, '\0');
  out.replace(0x202, 4, "HdrS");
  out[0x20E] = static_cast<char>(0x00);
  out[0x20F] = static_cast<char>(0x01);  // at 0x200 + 0x100
  out.replace(0x300, version.size(), version);
  return out;
}

TEST(KernelVersionTest, IsReadFromTheHeader) {
  EXPECT_EQ(KernelVersion(BzImage("6.1.0-9-cloud-amd64 (root@builder) #1 SMP")), "6.1.0-9-cloud-amd64");
}

TEST(KernelVersionTest, RefusesWhatIsNoKernel) {
  EXPECT_EQ(KernelVersion(""), std::nullopt);
  EXPECT_EQ(KernelVersion(std::string(0x400, 'x')), std::nullopt);
  EXPECT_EQ(KernelVersion(BzImage("")), std::nullopt);
  EXPECT_EQ(KernelVersion(BzImage("../../etc")), std::nullopt);
  EXPECT_EQ(KernelVersion(BzImage("6.1\n/x")), std::nullopt);
  std::string far = BzImage("6.1");
  far[0x20F] = '\x7f';
  EXPECT_EQ(KernelVersion(far), std::nullopt);
}

TEST(KernelVersionTest, OrdersAsPeopleCount) {
  EXPECT_TRUE(OlderKernel("6.1.0-9-amd64", "6.1.0-10-amd64"));
  EXPECT_FALSE(OlderKernel("6.10.0", "6.9.0"));
}

TEST(FindKernelTest, ModulesLieBesideBoot) {
  const TempDir top;
  top.dir().MakeDirs(RelPath::Parse("boot"));
  top.dir().MakeDirs(RelPath::Parse("lib/modules/5.0-test"));
  const std::string file = top.path() + "/boot/vmlinuz";
  std::ofstream(file) << BzImage("5.0-test x");
  const GuestKernel kernel = FindKernel(file);
  EXPECT_EQ(kernel.version, "5.0-test");
  EXPECT_EQ(kernel.modules, RealPath(top.path()) + "/lib/modules/5.0-test");
  std::ofstream(file) << "no kernel";
  EXPECT_EQ(CaughtError([&] { FindKernel(file); }).kind(), ErrorKind::kUnsupported);
}

constexpr const char* kDep =
    "kernel/a/ring.ko:\n"
    "kernel/a/virtio.ko: kernel/a/ring.ko\n"
    "kernel/b/virtio-blk.ko.xz: kernel/a/virtio.ko kernel/a/ring.ko\n"
    "kernel/c/overlay.ko:\n"
    "/etc/passwd.ko:\n"
    "kernel/../../out.ko:\n";

TEST(OrderModulesTest, WhatIsNeededComesFirstAndOnce) {
  const ModuleOrder order = OrderModules(kDep, "kernel/x/erofs.ko\n", {"virtio", "virtio_blk", "erofs", "overlay"});
  EXPECT_THAT(order.files, ElementsAre("kernel/a/ring.ko", "kernel/a/virtio.ko", "kernel/b/virtio-blk.ko.xz",
                                       "kernel/c/overlay.ko"));
  EXPECT_THAT(order.missing, ElementsAre());
}

TEST(OrderModulesTest, SaysWhatIsMissingAndStaysInItsDirectory) {
  const ModuleOrder order = OrderModules(kDep, "", {"passwd", "out", "nothing"});
  EXPECT_THAT(order.files, ElementsAre());
  EXPECT_THAT(order.missing, ElementsAre("passwd", "out", "nothing"));
}

// Golden bytes by the kernel's buffer-format.rst, written by hand.
TEST(CpioTest, IsNewcAsTheKernelReadsIt) {
  const std::string out = MakeCpio({{"init", S_IFREG | 0755, "hello"}});
  EXPECT_EQ(out.substr(0, 110),
            "070701"
            "00000001"
            "000081ED"
            "00000000"
            "00000000"
            "00000001"
            "00000000"
            "00000005"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000005"
            "00000000");
  EXPECT_EQ(out.substr(110, 6), std::string("init\0\0", 6));
  EXPECT_EQ(out.substr(116, 8), std::string("hello\0\0\0", 8));
  EXPECT_THAT(out, HasSubstr("TRAILER!!!"));
  EXPECT_EQ(out.size() % 4, 0U);
  EXPECT_EQ(out, MakeCpio({{"init", S_IFREG | 0755, "hello"}}));
}

TEST(SplitSignatureTest, TakesOffWhatTheBuildAppended) {
  const std::string mark = "~Module signature appended~\n";
  const auto trailer = [](size_t size) {
    return std::string(8, '\0') + std::string(2, '\0') + static_cast<char>(size >> 8) + static_cast<char>(size & 255);
  };
  const std::string signature = "signature" + trailer(9) + mark;
  const SignedModule split = SplitSignature("module" + signature);
  EXPECT_EQ(split.module, "module");
  EXPECT_EQ(split.signature, signature);
  for (const std::string& other : {std::string("module"), mark, "x" + trailer(2) + mark, std::string()}) {
    EXPECT_EQ(SplitSignature(other).module, other);
    EXPECT_EQ(SplitSignature(other).signature, "");
  }
}

TEST(MachineTest, HasNoNetworkAndNoOtherDevice) {
  const std::vector<std::string> args = MachineArguments({.program = "/usr/bin/qemu", .memory_mib = 256});
  for (const char* needed : {"-nodefaults", "-no-user-config", "-sandbox", "-no-reboot"})
    EXPECT_THAT(args, Contains(needed));
  EXPECT_THAT(args, Contains("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"));
  EXPECT_THAT(MachineArguments({.roots = 2, .shares = 1, .macs = {"02:00:00:00:00:01"}}),
              AllOf(Contains("tap,vhost=off,id=net0,fd=8"), Contains("virtio-blk-device,drive=root-1,serial=app-1")));
  for (const std::string& arg : args) {
    EXPECT_THAT(arg, Not(HasSubstr("net")));
    EXPECT_THAT(arg, Not(HasSubstr("user,")));
  }
  EXPECT_EQ(std::ranges::count(args, "-device"), 3);  // the serial bus, its port, the root
}

TEST(MachineTest, TellsAnEmulatedKernelItsClock) {
  EXPECT_THAT(KernelArguments({.accelerator = Accelerator::kTcg, .tsc_khz = 1234567}),
              HasSubstr("tsc_early_khz=1234567"));
  EXPECT_THAT(KernelArguments({.accelerator = Accelerator::kKvm}), Not(HasSubstr("tsc")));
}

TEST(MachineSizeTest, IsWhatTheLimitsSay) {
  const RunConfig any;
  EXPECT_EQ(SizeOf({any}).memory_mib, 512U);
  EXPECT_EQ(SizeOf({any}).cpus, 1U);
  RunConfig config;
  config.limits.memory = (int64_t{96} << 20) + 1;
  config.limits.cpu_microseconds = 150'000;
  EXPECT_EQ(SizeOf({config}).memory_mib, 97U);
  EXPECT_EQ(SizeOf({config}).cpus, 2U);
  EXPECT_EQ(SizeOf({config, config, any, any}).memory_mib, 97U + 97U + 512U);
  EXPECT_EQ(SizeOf({config, config, any, any}).cpus, 3U);
  config.limits.memory = (int64_t{64} << 20) - 1;
  EXPECT_EQ(CaughtError([&] { SizeOf({any, config}); }).kind(), ErrorKind::kUsage);
}

TEST(RequireMachineCanTest, ListsAllThatItCannot) {
  RunConfig config = Config();
  RequireMachineCan({config});
  config.apparmor = "a profile";
  config.sockets = 1;
  config.post_stop = {{{"/bin/x"}}};
  const Error error = CaughtError([&] { RequireMachineCan({config}); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.message(), HasSubstr("AppArmor profile 'a profile'; event handlers; sockets of systemd"));
}

TEST(AcceleratorTest, TheAnswerOfAProbeHoldsForOneBoot) {
  const TempDir cache;
  const std::string boot = ReadFile("/proc/sys/kernel/random/boot_id", 128);
  std::ofstream(cache.path() + "/kvm") << boot << "for the test";
  EXPECT_EQ(ChooseAccelerator(std::nullopt, cache.dir()).reason, "for the test");
  EXPECT_EQ(CaughtError([&] { ChooseAccelerator(Accelerator::kKvm, cache.dir()); }).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(ChooseAccelerator(Accelerator::kTcg, cache.dir()).reason, "");
  std::ofstream(cache.path() + "/kvm") << boot;
  EXPECT_EQ(ChooseAccelerator(std::nullopt, cache.dir()).accelerator, Accelerator::kKvm);
  std::ofstream(cache.path() + "/kvm") << "another boot\nfor the test";
  EXPECT_NE(ChooseAccelerator(std::nullopt, cache.dir()).reason, "for the test");
}

TEST(AcceleratorTest, AProbeEndsAndSaysWhy) {
  const std::string problem = ProbeKvm();
  if (problem.empty())
    GTEST_SKIP() << "KVM works here";
  EXPECT_THAT(problem, Not(HasSubstr("\n")));
}

std::string FrameBytes(FrameType type, uint8_t stream, const std::string& payload, uint16_t process = 0) {
  return PrintFrame(process, type, stream, payload);
}

// What a reader makes of `bytes` that come `piece` at a time: a line each.
std::string ReadFrames(FrameRule rule, std::string bytes, size_t piece) {
  const auto reader = std::make_unique<FrameReader>(rule);
  std::string out;
  while (!bytes.empty()) {
    size_t room = 0;
    char* into = reader->Room(room);
    const size_t count = std::min({room, piece, bytes.size()});
    std::copy_n(bytes.data(), count, into);
    reader->Took(count);
    bytes.erase(0, count);
    Frame frame;
    FrameReader::Result result{};
    while ((result = reader->Next(frame)) == FrameReader::Result::kFrame)
      out += std::to_string(static_cast<int>(frame.type)) + ":" + std::to_string(frame.size) + " ";
    if (result == FrameReader::Result::kBroken)
      return out + "broken";
  }
  return out;
}

TEST(FrameReaderTest, FramesComeWholeHoweverTheyArrive) {
  const std::string bytes = FrameBytes(FrameType::kOutput, 1, std::string(kMaxFrameBytes, 'x')) +
                            FrameBytes(FrameType::kExit, 0, "1234") + FrameBytes(FrameType::kOutput, 2, "y");
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, bytes.size()})
    EXPECT_EQ(ReadFrames(GuestMaySend, bytes, piece), "38:32768 41:4 38:1 ");
}

TEST(FrameReaderTest, WhatOneSideMayNotSayIsTheEnd) {
  for (const std::string& bytes :
       {FrameBytes(FrameType::kJob, 0, "x"), FrameBytes(FrameType::kOutput, 3, "x"),
        FrameBytes(FrameType::kOutput, 1, ""), FrameBytes(FrameType::kExit, 0, "12345"),
        FrameBytes(FrameType::kOutput, 1, std::string(kMaxFrameBytes + 1, 'x')), std::string(8, '\xff'),
        FrameBytes(FrameType::kHello, 0, "1234", 1), FrameBytes(FrameType::kStarted, 0, "", kMaxProcesses)})
    EXPECT_EQ(ReadFrames(GuestMaySend, bytes, 4096), "broken");
  for (const std::string& bytes :
       {FrameBytes(FrameType::kExit, 0, "1234"), FrameBytes(FrameType::kSignal, 0, "123"),
        FrameBytes(FrameType::kInput, 0, ""), FrameBytes(FrameType::kInputEnd, 1, ""),
        FrameBytes(FrameType::kEnter, 0, std::string(24, 'x')), FrameBytes(FrameType::kEnter, 0, "short", 1),
        FrameBytes(FrameType::kJob, 0, "x", kMaxApps), FrameBytes(FrameType::kTaken, 0, "12345"),
        FrameBytes(FrameType::kInputEnd, 0, "", kMaxProcesses)})
    EXPECT_EQ(ReadFrames(HostMaySend, bytes, 4096), "broken");
}

// The job of Config() in a machine with a network device that has an address and a route.
std::string PackConfig(const EtcFiles& etc, const std::string& address, const RunConfig& config = Config()) {
  const GuestDevice device{"eth0", {2, 0, 0, 0, 0, 7}, 1400, {address}};
  return PackJob({.config = config,
                  .etc = etc,
                  .hostname = "name",
                  .root_type = "erofs",
                  .places = {{0, true}, {1, false}, {}},
                  .apps = 2,
                  .devices = {device}});
}

// A request of the kind, so long as it says, with so many bytes.
std::string Request(uint16_t type, uint32_t says, size_t bytes) {
  nlmsghdr head{};
  head.nlmsg_len = says;
  head.nlmsg_type = type;
  std::string out(bytes, '\0');
  std::memcpy(out.data(), &head, std::min(bytes, sizeof head));
  return out;
}

TEST(JobTest, ArrivesAsItWasPacked) {
  const EtcFiles etc = {{"hostname", "name\n"}, {"hosts", std::string("a\0b", 3)}};
  RunConfig config = Config();
  config.limits.memory = int64_t{96} << 20;
  const std::string bytes = PackConfig(etc, Request(RTM_NEWADDR, 24, 24) + Request(RTM_NEWROUTE, 36, 36), config);
  Job job;
  ASSERT_TRUE(JobReader(bytes.data(), bytes.size()).Read(job));
  EXPECT_STREQ(job.root_type, "erofs");
  EXPECT_STREQ(job.hostname, "name");
  EXPECT_STREQ(job.working_dir, "/srv");
  EXPECT_EQ(job.head.terminal, 1U);
  EXPECT_EQ(job.head.interactive, 0U);
  EXPECT_EQ(job.head.capabilities, 5U);
  EXPECT_EQ(job.head.pids, 7U);
  ASSERT_EQ(job.head.file_count, 2U);
  EXPECT_EQ(std::string(job.files[1].text, job.files[1].size), std::string("a\0b", 3));
  ASSERT_EQ(job.head.volume_count, 3U);
  EXPECT_STREQ(job.targets[0], "/data");
  EXPECT_EQ(job.volumes[0].directory, 1U);
  EXPECT_EQ(job.volumes[1].read_only, 0U);
  EXPECT_EQ(job.volumes[1].memory, 0U);
  EXPECT_EQ(job.volumes[2].memory, 1U);
  EXPECT_EQ(job.volumes[2].mode, 0750U);
  EXPECT_EQ(job.volumes[2].size, 4096U);
  EXPECT_EQ(job.volumes[1].share, 1U);
  EXPECT_EQ(job.head.apps, 2U);
  EXPECT_EQ(job.head.memory, uint64_t{96} << 20);
  ASSERT_EQ(job.head.device_count, 1U);
  EXPECT_STREQ(job.device_names[0], "eth0");
  EXPECT_EQ(job.devices[0].mac[5], 7);
  EXPECT_EQ(job.devices[0].mtu, 1400U);
  EXPECT_EQ(RequestSize(job.requests[0], job.devices[0].size, 0), 24U);
  EXPECT_EQ(RequestSize(job.requests[0], job.devices[0].size, 24), 36U);
}

TEST(JobTest, RefusesWhatIsNoSettingOfADevice) {
  const auto reads = [](const std::string& request) {
    const std::string bytes = PackConfig({}, request);
    Job job;
    return JobReader(bytes.data(), bytes.size()).Read(job);
  };
  EXPECT_TRUE(reads(Request(RTM_NEWADDR, 24, 24)));
  EXPECT_FALSE(reads(Request(RTM_NEWADDR, 20, 20))) << "without a place for the device";
  EXPECT_FALSE(reads(Request(RTM_NEWROUTE, 24, 24))) << "without a place for the device";
  EXPECT_FALSE(reads(Request(RTM_NEWADDR, 28, 24))) << "longer than it is";
  EXPECT_FALSE(reads(Request(RTM_NEWADDR, 0, 24))) << "without an end";
  EXPECT_FALSE(reads(Request(RTM_NEWADDR, 25, 25))) << "not aligned";
  EXPECT_FALSE(reads(Request(RTM_DELLINK, 36, 36))) << "of another kind";
  EXPECT_FALSE(reads(Request(RTM_NEWADDR, 24, 12))) << "cut off";
}

TEST(JobTest, NoOffsetLeadsOutOfIt) {
  const std::string bytes = PackConfig({{"hosts", "text"}}, Request(RTM_NEWADDR, 24, 24));
  Job job;
  for (size_t size = 0; size < bytes.size() - 8; ++size) {
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    static_cast<void>(JobReader(cut.data(), cut.size()).Read(job));
  }
  for (size_t at = 0; at < sizeof(JobHead); at += 4) {
    std::string damaged = bytes;
    std::memset(damaged.data() + at, 0xff, 4);
    static_cast<void>(JobReader(damaged.data(), damaged.size()).Read(job));
  }
  std::string other = bytes;
  other[0] = 'x';
  EXPECT_FALSE(JobReader(other.data(), other.size()).Read(job));
  const auto keeps = [](size_t volumes, const std::vector<bool>& directories) {
    RunConfig config = Config();
    config.volumes.resize(volumes);
    std::vector<VolumePlace> places;
    for (const bool directory : directories) places.push_back({0, directory});
    const std::string packed = PackJob({.config = config,
                                        .etc = {},
                                        .hostname = "name",
                                        .root_type = "erofs",
                                        .places = places,
                                        .keeps_changes = true,
                                        .devices = {}});
    Job read;
    return JobReader(packed.data(), packed.size()).Read(read);
  };
  EXPECT_TRUE(keeps(2, {false, true}));
  EXPECT_FALSE(keeps(2, {true, false})) << "changes in a file";
  EXPECT_FALSE(keeps(3, {true, true, true})) << "changes in memory";
  const std::string outside = PackConfig({{"../shadow", "text"}}, Request(RTM_NEWADDR, 24, 24));
  EXPECT_FALSE(JobReader(outside.data(), outside.size()).Read(job));
}

}  // namespace
}  // namespace gantry::runner::vm
