#include "runner/filter_compiler.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/syscall_table.h"
#include "tests/support/bpf.h"

namespace gantry::runner {
namespace {

using gantry::testing::Decide;
using Operator = SeccompCondition::Operator;

constexpr uint32_t kErrnoPerm = SECCOMP_RET_ERRNO | EPERM;

seccomp_data Call(uint32_t number, std::initializer_list<uint64_t> arguments = {},
                  uint32_t arch = SyscallArchitectures()[0].audit) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = arch;
  size_t i = 0;
  for (const uint64_t argument : arguments) data.args[i++] = argument;
  return data;
}

// libseccomp's program for the same rules, handed over as runc does.
std::vector<sock_filter> ByLibseccomp(const SpecSeccomp& rules) {
  const auto action = [](uint32_t ret) {
    return ret == SECCOMP_RET_ALLOW ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ret & SECCOMP_RET_DATA);
  };
  scmp_filter_ctx filter = seccomp_init(action(rules.default_action));
  for (const std::string& name : rules.architectures) {
    if (name == "SCMP_ARCH_X86")
      seccomp_arch_add(filter, SCMP_ARCH_X86);
    if (name == "SCMP_ARCH_X32")
      seccomp_arch_add(filter, SCMP_ARCH_X32);
  }
  static constexpr scmp_compare kOperators[] = {SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE,       SCMP_CMP_EQ,
                                                SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ};
  for (const SeccompRule& rule : rules.rules) {
    for (const std::string& name : rule.names) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR || rule.action == rules.default_action)
        continue;
      std::vector<scmp_arg_cmp> conditions;
      for (const SeccompCondition& c : rule.conditions)
        conditions.push_back({c.index, kOperators[static_cast<size_t>(c.op)], c.value, c.value_two});
      const int result = seccomp_rule_add_array(filter, action(rule.action), number,
                                                static_cast<unsigned>(conditions.size()), conditions.data());
      EXPECT_EQ(result, 0) << name;
    }
  }
  FILE* file = std::tmpfile();
  EXPECT_EQ(seccomp_export_bpf(filter, fileno(file)), 0);
  std::vector<sock_filter> out(static_cast<size_t>(lseek(fileno(file), 0, SEEK_END)) / sizeof(sock_filter));
  std::rewind(file);
  EXPECT_EQ(std::fread(out.data(), sizeof(sock_filter), out.size(), file), out.size());
  std::fclose(file);
  seccomp_release(filter);
  return out;
}

SpecSeccomp Profile(const std::string& text) {
  const json::Value document = json::Parse(text, "profile");
  return ParseSpecSeccomp(json::Cursor(document, "profile"));
}

// What podman and docker give containers by default, in the form that reaches a runtime: arguments of clone, socket and
// personality among it.
SpecSeccomp DefaultLike() {
  return Profile(
      R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
    "syscalls":[
    {"names":["read","write","openat","close","execve","mmap","brk","futex","newfstatat","statx","getrandom","rseq",
              "exit_group","wait4","rt_sigreturn","no_such_call","prlimit64","epoll_pwait2","openat2","faccessat2"],
     "action":"SCMP_ACT_ALLOW"},
    {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"}]},
    {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
    {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":131072,"op":"SCMP_CMP_EQ"}]},
    {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4294967295,"op":"SCMP_CMP_EQ"}]},
    {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
    {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]})");
}

void ExpectSame(const SpecSeccomp& rules, const std::vector<uint32_t>& numbers, const std::vector<uint64_t>& values) {
  const std::vector<sock_filter> ours = CompileFilter(rules);
  const std::vector<sock_filter> theirs = ByLibseccomp(rules);
  for (const uint32_t number : numbers) {
    for (const uint64_t value : values) {
      const seccomp_data call = Call(number, {value, value ^ 1, value});
      EXPECT_EQ(Decide(ours, call), Decide(theirs, call)) << "call " << number << " with " << value;
    }
  }
}

std::vector<uint32_t> Known(const SpecSeccomp& rules) {
  uint32_t newest = 0;
  for (const SeccompRule& rule : rules.rules) {
    for (const SyscallNumber& call : SyscallArchitectures()[0].calls) {
      if (std::ranges::find(rule.names, call.name) != rule.names.end())
        newest = std::max(newest, call.number);
    }
  }
  std::vector<uint32_t> out;
  for (uint32_t i = 0; i <= newest; ++i) out.push_back(i);
  return out;
}

TEST(FilterCompilerTest, DecidesAsLibseccompDoesForADefaultProfile) {
  ExpectSame(DefaultLike(), Known(DefaultLike()),
             {0, 1, 8, 0x20000, 0xFFFFFFFF, 0x7E020000, 0x10000000, 0x100000000, UINT64_MAX});
}

TEST(FilterCompilerTest, DecidesAsLibseccompDoesForEachOperator) {
  for (const char* op : {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT"}) {
    for (const char* value : {"0", "5", "4294967295", "4294967296", "30064771077", "18446744073709551615"}) {
      const SpecSeccomp rules =
          Profile(std::string(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],)") +
                  R"("action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":)" + value + R"(,"op":")" + op + "\"}]}]}");
      ExpectSame(rules, {SYS_read, SYS_write},
                 {0, 4, 5, 6, 0xFFFFFFFE, 0xFFFFFFFF, 0x100000000, 0x100000001, 30064771076, 30064771077, 30064771078,
                  0x700000006, UINT64_MAX - 1, UINT64_MAX});
    }
  }
}

TEST(FilterCompilerTest, DecidesAsLibseccompDoesForRandomRules) {
  std::mt19937 random(7);
  static constexpr const char* kOperators[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
                                               "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
  const auto calls = SyscallArchitectures()[0].calls;
  for (int round = 0; round < 40; ++round) {
    SpecSeccomp rules;
    rules.default_action = kErrnoPerm;
    std::vector<std::string> used;
    for (int i = 0; i < 60; ++i) {
      const std::string name(calls[random() % calls.size()].name);
      // Two rules of one call with conditions that both hold: which wins is libseccomp's own affair.
      if (std::ranges::find(used, name) != used.end() || seccomp_syscall_resolve_name(name.c_str()) < 0)
        continue;
      used.push_back(name);
      SeccompRule rule;
      rule.names = {name};
      rule.action =
          random() % 4 == 0 ? SECCOMP_RET_ERRNO | static_cast<uint32_t>(1 + random() % 100) : SECCOMP_RET_ALLOW;
      for (uint32_t index = 0; index < random() % 4; ++index) {
        SeccompCondition condition;
        condition.index = index;
        condition.op = static_cast<Operator>(random() % std::size(kOperators));
        condition.value = random() % 3 == 0 ? uint64_t{random()} << (random() % 33) : random() % 8;
        condition.value_two = random() % 8;
        rule.conditions.push_back(condition);
      }
      rules.rules.push_back(rule);
    }
    ExpectSame(rules, Known(rules), {0, 1, 3, 7, 0x80000000, 0x100000002, UINT64_MAX});
  }
}

TEST(FilterCompilerTest, NewerCallsAreAbsentUnderARefusingDefault) {
  const std::vector<sock_filter> filter = CompileFilter(DefaultLike());
  EXPECT_EQ(Decide(filter, Call(460)), SECCOMP_RET_ERRNO | uint32_t{ENOSYS});
  EXPECT_EQ(Decide(filter, Call(SYS_unshare)), kErrnoPerm);
  const SpecSeccomp open =
      Profile(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL"}]})");
  EXPECT_EQ(Decide(CompileFilter(open), Call(460)), SECCOMP_RET_ALLOW);
}

TEST(FilterCompilerTest, OtherArchitecturesKill) {
  SpecSeccomp rules = DefaultLike();
  rules.architectures.clear();
  EXPECT_EQ(Decide(CompileFilter(rules), Call(3, {}, AUDIT_ARCH_ARM)), SECCOMP_RET_KILL_PROCESS);
}

#if defined(__x86_64__)
TEST(FilterCompilerTest, AnotherAbiOfTheMachineHasItsOwnNumbers) {
  SpecSeccomp rules = DefaultLike();
  const std::vector<sock_filter> all = CompileFilter(rules);
  EXPECT_EQ(Decide(all, Call(3, {}, AUDIT_ARCH_I386)), SECCOMP_RET_ALLOW);  // read
  EXPECT_EQ(Decide(all, Call(0x40000000)), SECCOMP_RET_ALLOW);              // read of x32
  EXPECT_EQ(Decide(all, Call(0x40000000 | 272)), kErrnoPerm);               // unshare of x32
  rules.architectures.clear();
  const std::vector<sock_filter> native = CompileFilter(rules);
  EXPECT_EQ(Decide(native, Call(3, {}, AUDIT_ARCH_I386)), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(Decide(native, Call(0x40000000)), SECCOMP_RET_KILL_PROCESS);
}

TEST(FilterCompilerTest, SocketcallIsNoWayRoundARuleAboutArguments) {
  const SpecSeccomp rules = Profile(R"({"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
      {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
      {"names":["connect"],"action":"SCMP_ACT_ALLOW"}]})");
  const std::vector<sock_filter> filter = CompileFilter(rules);
  EXPECT_EQ(Decide(filter, Call(102, {1}, AUDIT_ARCH_I386)), kErrnoPerm);
  EXPECT_EQ(Decide(filter, Call(102, {3}, AUDIT_ARCH_I386)), SECCOMP_RET_ALLOW);
}
#endif

TEST(FilterCompilerTest, TheFirstRuleThatHoldsDecides) {
  const SpecSeccomp rules = Profile(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
      {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":2,"args":[{"index":0,"value":5,"op":"SCMP_CMP_GE"}]},
      {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":3,"args":[{"index":0,"value":7,"op":"SCMP_CMP_GE"}]},
      {"names":["write"],"action":"SCMP_ACT_ERRNO","errnoRet":4,"args":[{"index":1,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]}]})");
  const std::vector<sock_filter> filter = CompileFilter(rules);
  EXPECT_EQ(Decide(filter, Call(SYS_read, {4})), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Decide(filter, Call(SYS_read, {9})), SECCOMP_RET_ERRNO | 2U);
  EXPECT_EQ(Decide(filter, Call(SYS_write, {0, 2})), SECCOMP_RET_ERRNO | 4U);
  EXPECT_EQ(Decide(filter, Call(SYS_write, {0, 3})), SECCOMP_RET_ALLOW);
}

TEST(FilterCompilerTest, TooManyConditionsAreUnsupported) {
  SpecSeccomp rules;
  rules.default_action = SECCOMP_RET_ALLOW;
  for (int i = 0; i < 2000; ++i) {
    SeccompCondition condition;
    condition.value = static_cast<uint64_t>(i) * 3;
    rules.rules.push_back({{"read"}, kErrnoPerm, {condition}});
  }
  try {
    CompileFilter(rules);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
}

}  // namespace
}  // namespace gantry::runner
