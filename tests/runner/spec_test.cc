#include "runner/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>

#include "runner/features.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kMinimal =
    R"({"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"cwd":"/","args":["sh"]},
        "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}})";

json::Value Minimal() { return json::Parse(kMinimal, "minimal"); }

// The minimal configuration with `value`, as JSON, at linux.`key`.
std::string WithLinux(const std::string& key, const std::string& value) {
  json::Value document = Minimal();
  json::Object linux_part = *document.object()->Find("linux")->object();
  linux_part.Set(key, json::Parse(value, "value"));
  document.object()->Set("linux", linux_part);
  return json::Print(document);
}

std::string WithProcess(const std::string& key, const std::string& value) {
  json::Value document = Minimal();
  json::Object process = *document.object()->Find("process")->object();
  process.Set(key, json::Parse(value, "value"));
  document.object()->Set("process", process);
  return json::Print(document);
}

std::string WithTop(const std::string& key, const std::string& value) {
  json::Value document = Minimal();
  document.object()->Set(key, json::Parse(value, "value"));
  return json::Print(document);
}

Error Refusal(const std::string& text) {
  return CaughtError([&] { Spec::Parse(text, "config.json"); });
}

TEST(SpecTest, ReadsWhatSpecWrites) {
  for (const bool rootless : {false, true}) {
    const Spec spec = Spec::Parse(json::PrintPretty(DefaultSpec(rootless)), "config.json");
    EXPECT_EQ(spec.root, "rootfs");
    EXPECT_TRUE(spec.root_read_only);
    EXPECT_THAT(spec.process->args, ElementsAre("sh"));
    EXPECT_EQ(spec.NewNamespace(CLONE_NEWUSER), rootless);
    EXPECT_EQ(spec.process->capabilities.bounding, 0x800405FBU);
    EXPECT_EQ(spec.process->capabilities.inheritable, 0U);
  }
}

TEST(Features, NameTheAnnotationsThatChooseWhatAContainerIsExecutedBy) {
  const json::Object features = Features();
  const json::Value* named = features.Find("potentiallyUnsafeConfigAnnotations");
  ASSERT_NE(named, nullptr);
  EXPECT_EQ(json::Print(*named), R"(["dev.gantry.accel","dev.gantry.isolation","dev.gantry.kernel"])");
}

TEST(SpecTest, TakesAnyVersionOfTheFirst) {
  for (const char* version : {"\"1.0.0\"", "\"1.0.2-dev\"", "\"1.1.0+x\"", "\"1.3.0\"", "\"1.99.0\""})
    EXPECT_NO_THROW(Spec::Parse(WithTop("ociVersion", version), "config.json")) << version;
  EXPECT_EQ(Refusal(WithTop("ociVersion", "\"2.0.0\"")).kind(), ErrorKind::kUnsupported);
  for (const char* version : {"\"1.\\n\"", "\"\"", "\"1\"", "\"1.0\"", "\"1.0.\"", "\"1..0\"", "\"1.0.0.0\"",
                              "\"1.0.0-\u00e9\"", "\"v1.0.0\"", "\"invalid\""})
    EXPECT_EQ(Refusal(WithTop("ociVersion", version)).kind(), ErrorKind::kCorrupt) << version;
}

TEST(SpecTest, SaysWhereItIsWrong) {
  EXPECT_THAT(Refusal(WithProcess("user", R"({"uid":-1})")).message(), HasSubstr("config.json: '/process/user/uid'"));
  EXPECT_THAT(Refusal(WithProcess("rlimits", R"([{"type":"RLIMIT_X","soft":1,"hard":1}])")).message(),
              HasSubstr("/process/rlimits/0/type"));
  EXPECT_THAT(Refusal(WithLinux("devices", R"([{"type":"c","path":"dev/x","major":1,"minor":1}])")).message(),
              HasSubstr("/linux/devices/0/path"));
}

TEST(SpecTest, RefusesWhatWouldLoosenTheContainerIfItWerePassedOver) {
  EXPECT_EQ(Refusal(WithProcess("capabilities", R"({"bounding":["CAP_NO_SUCH"]})")).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("namespaces", R"([{"type":"mount"},{"type":"bogus"}])")).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("seccomp", R"({"defaultAction":"SCMP_ACT_BOGUS"})")).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("maskedPaths", R"(["relative"])")).kind(), ErrorKind::kCorrupt);
}

TEST(SpecTest, SaysSevenToWhatItCannotDo) {
  EXPECT_EQ(Refusal(WithTop("annotations", R"({"dev.gantry.isolation":"wall"})")).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(Refusal(WithLinux("intelRdt", R"({"closID":"x"})")).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(Refusal(WithLinux("memoryPolicy", R"({"mode":"MPOL_BIND"})")).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(Refusal(WithLinux("netDevices", R"({"eth0":{}})")).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(Refusal(WithLinux("namespaces", R"([{"type":"pid"}])")).kind(), ErrorKind::kUnsupported);
}

// CVE-2022-0811: a value of the host's kernel set through a container, or a name that leads elsewhere.
TEST(SpecTest, SysctlsAreThoseOfTheContainersNamespaces) {
  const std::string spaces = R"([{"type":"mount"},{"type":"ipc"},{"type":"network"},{"type":"uts"}])";
  const auto with = [&](const std::string& sysctl) {
    json::Value document = json::Parse(WithLinux("namespaces", spaces), "x");
    json::Object linux_part = *document.object()->Find("linux")->object();
    linux_part.Set("sysctl", json::Parse(sysctl, "value"));
    document.object()->Set("linux", linux_part);
    return json::Print(document);
  };
  EXPECT_NO_THROW(Spec::Parse(with(R"({"net.ipv4.ip_forward":"1","kernel.msgmax":"1","fs.mqueue.msg_max":"2"})"), "x"));
  for (const char* bad :
       {R"({"kernel.core_pattern":"|/bin/x"})", R"({"vm.swappiness":"1"})", R"({"user.max":"1"})",
        R"({"net/../kernel/core_pattern":"x"})", R"({"net.ipv4.ip_forward":"1\n2"})", R"({"net+kernel.x":"1"})"})
    EXPECT_EQ(Refusal(with(bad)).kind(), ErrorKind::kCorrupt) << bad;
  EXPECT_EQ(Refusal(WithLinux("sysctl", R"({"net.ipv4.ip_forward":"1"})")).kind(), ErrorKind::kCorrupt);
}

TEST(SpecTest, UserNamespacesNeedMaps) {
  const std::string spaces = R"([{"type":"mount"},{"type":"user"}])";
  EXPECT_EQ(Refusal(WithLinux("namespaces", spaces)).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("uidMappings", R"([{"containerID":0,"hostID":0,"size":1}])")).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("uidMappings", R"([{"containerID":1,"hostID":4294967294,"size":2}])")).kind(),
            ErrorKind::kCorrupt);
}

TEST(SpecTest, MountsAreBindsOrHaveAType) {
  const Spec spec =
      Spec::Parse(WithTop("mounts", R"([{"destination":"/a/../b","source":"x","options":["rbind","ro","rslave"]},
                           {"destination":"/c","type":"tmpfs","source":"t","options":["nosuid","size=1k"]}])"),
                  "config.json");
  EXPECT_EQ(spec.mounts[0].destination, "/b");
  EXPECT_TRUE(spec.mounts[0].options.bind && spec.mounts[0].options.recursive);
  EXPECT_EQ(spec.mounts[0].options.propagation, uint64_t{MS_SLAVE});
  EXPECT_THAT(spec.mounts[1].options.data, ElementsAre("size=1k"));
  EXPECT_EQ(Refusal(WithTop("mounts", R"([{"destination":"/a"}])")).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithTop("mounts", R"([{"destination":"/a","type":"bind"}])")).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithTop("mounts", R"([{"destination":"/","type":"tmpfs"}])")).kind(), ErrorKind::kCorrupt);
}

TEST(SpecTest, RefusesOptionsOfMountsThatNothingWouldActOn) {
  for (const char* bad : {R"([{"destination":"/a","source":"x","options":["bind","idmap=uids=0-1-2"]}])",
                          R"([{"destination":"/a","options":["remount","size=1k"]}])",
                          R"([{"destination":"/a","source":"x","options":["bind","tmpcopyup"]}])",
                          R"([{"destination":"/a","type":"tmpfs","source":"x","options":["idmap"]}])"})
    EXPECT_EQ(Refusal(WithTop("mounts", bad)).kind(), ErrorKind::kUnsupported) << bad;
}

TEST(SpecTest, HooksHaveAbsolutePathsAndTimeouts) {
  const Spec spec = Spec::Parse(WithTop("hooks", R"({"poststart":[{"path":"/bin/x","timeout":3}]})"), "config.json");
  EXPECT_THAT(spec.hooks.poststart[0].args, ElementsAre("/bin/x"));
  EXPECT_EQ(*spec.hooks.poststart[0].timeout, 3U);
  EXPECT_EQ(Refusal(WithTop("hooks", R"({"poststop":[{"path":"x"}]})")).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithTop("hooks", R"({"poststop":[{"path":"/x","timeout":0}]})")).kind(), ErrorKind::kCorrupt);
}

TEST(SpecTest, HostNamesNeedAUtsNamespace) {
  EXPECT_THAT(Refusal(WithTop("hostname", "\"x\"")).message(), HasSubstr("/hostname"));
}

TEST(SpecTest, UnifiedFilesStayInTheGroup) {
  for (const char* bad : {R"({"../memory.max":"1"})", R"({"cgroup.procs":"1"})", R"({"x/memory.max":"1"})"})
    EXPECT_EQ(Refusal(WithLinux("resources", std::string(R"({"unified":)") + bad + "}")).kind(), ErrorKind::kCorrupt);
  EXPECT_NO_THROW(Spec::Parse(WithLinux("resources", R"({"unified":{"memory.high":"1G"}})"), "config.json"));
}

TEST(SpecTest, ErrnoOfRulesAndDefaults) {
  const Spec spec = Spec::Parse(
      WithLinux("seccomp", R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86"],
        "syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"},{"names":["write"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]})"),
      "config.json");
  EXPECT_EQ(spec.seccomp->default_action, SECCOMP_RET_ERRNO | 38U);
  EXPECT_EQ(spec.seccomp->rules[0].action, SECCOMP_RET_ERRNO | 1U);
  EXPECT_EQ(spec.seccomp->rules[1].action, SECCOMP_RET_ERRNO | 5U);
}

TEST(SpecTest, AnErrnoIsOfAnActionThatReturnsOne) {
  EXPECT_EQ(Refusal(WithLinux("seccomp", R"({"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1})")).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("seccomp", R"({"defaultAction":"SCMP_ACT_ALLOW",
                    "syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":1}]})"))
                .kind(),
            ErrorKind::kCorrupt);
}

TEST(SpecTest, AffinityIsASetOfProcessors) {
  const Spec spec = Spec::Parse(WithProcess("execCPUAffinity", R"({"initial":"7","final":"0-3, 64"})"), "config.json");
  EXPECT_THAT(spec.process->first_affinity, ElementsAre(0x80U));
  EXPECT_THAT(spec.process->final_affinity, ElementsAre(0xFU, 1U));
  EXPECT_TRUE(Spec::Parse(WithProcess("execCPUAffinity", R"({"final":""})"), "x").process->final_affinity.empty());
  for (const char* bad : {"3-1", "x", "1,,2", "-1", "0-", "8192", "0-99999999999999999999"})
    EXPECT_EQ(Refusal(WithProcess("execCPUAffinity", std::string(R"({"final":")") + bad + "\"}")).kind(),
              ErrorKind::kCorrupt)
        << bad;
}

TEST(SpecTest, ListenersAreNamedWhenAsked) {
  EXPECT_EQ(Refusal(WithLinux("seccomp", R"({"defaultAction":"SCMP_ACT_ALLOW",
                    "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]})"))
                .kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(WithLinux("seccomp", R"({"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x",
                    "syscalls":[{"names":["wait4"],"action":"SCMP_ACT_NOTIFY"}]})"))
                .kind(),
            ErrorKind::kCorrupt);
}

TEST(SpecTest, DuplicateKeysAndTrailingBytesAreRefused) {
  EXPECT_EQ(Refusal(std::string(kMinimal) + "x").kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal(R"({"ociVersion":"1.0.0","ociVersion":"1.0.0"})").kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Refusal("").kind(), ErrorKind::kCorrupt);
}

TEST(MountOptionsTest, TheLastOfOppositesCounts) {
  const MountOptions options = ParseMountOptions({"ro", "rw", "nosuid", "noatime", "strictatime", "rro", "mode=755"});
  EXPECT_EQ(options.set, uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME});
  EXPECT_EQ(options.clear & MOUNT_ATTR_RDONLY, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(options.set_all, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_THAT(options.data, ElementsAre("mode=755"));
}

TEST(MountOptionsTest, EveryNamedOptionIsActedOn) {
  for (const std::string& name : MountOptionNames()) EXPECT_TRUE(ParseMountOptions({name}).data.empty()) << name;
}

}  // namespace
}  // namespace gantry::runner
