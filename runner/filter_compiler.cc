#include "runner/filter_compiler.h"

#include <errno.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>

#include "libimage/base/error.h"
#include "runner/syscall_table.h"

namespace gantry::runner {
namespace {

using Code = std::vector<sock_filter>;
using Operator = SeccompCondition::Operator;

constexpr size_t kFarthest = 255;  // of a conditional jump
constexpr uint32_t kNoSys = SECCOMP_RET_ERRNO | ENOSYS;

sock_filter Statement(unsigned code, uint32_t k) { return {static_cast<uint16_t>(code), 0, 0, k}; }
sock_filter Jump(unsigned code, uint32_t k, size_t yes, size_t no) {
  return {static_cast<uint16_t>(BPF_JMP | code | BPF_K), static_cast<uint8_t>(yes), static_cast<uint8_t>(no), k};
}
sock_filter Return(uint32_t action) { return Statement(BPF_RET | BPF_K, action); }
sock_filter Load(size_t offset) { return Statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
void Append(Code& to, const Code& more) { to.insert(to.end(), more.begin(), more.end()); }

// One comparison of a 64-bit argument, a half at a time. Where the answer is known in the middle it jumps: to the end
// of the test, or `skip` further when the condition does not hold.
class Test {
 public:
  Test(const SeccompCondition& condition, size_t skip) : skip_(skip) {
    const bool big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    const size_t at = offsetof(seccomp_data, args) + condition.index * sizeof(uint64_t);
    high_ = at + (big ? 0 : 4);
    low_ = at + (big ? 4 : 0);
    const uint64_t value = condition.value;
    switch (condition.op) {
      case Operator::kEqual:
        Equal(value, kContinue, kPass, kFail);
        break;
      case Operator::kNotEqual:
        Equal(value, kContinue, kFail, kPass);
        break;
      case Operator::kGreater:
        Ordered(BPF_JGT, value, kPass, kFail);
        break;
      case Operator::kGreaterOrEqual:
        Ordered(BPF_JGE, value, kPass, kFail);
        break;
      case Operator::kLess:
        Ordered(BPF_JGE, value, kFail, kPass);
        break;
      case Operator::kLessOrEqual:
        Ordered(BPF_JGT, value, kFail, kPass);
        break;
      case Operator::kMaskedEqual:
        Masked(value, condition.value_two);
        break;
    }
  }

  Code Finish() const {
    Code out;
    for (size_t i = 0; i < steps_.size(); ++i) {
      sock_filter step = steps_[i].filter;
      step.jt = Offset(steps_[i].yes, i);
      step.jf = Offset(steps_[i].no, i);
      out.push_back(step);
    }
    return out;
  }

 private:
  enum Target { kContinue, kPass, kFail };
  struct Step {
    sock_filter filter;
    Target yes = kContinue;
    Target no = kContinue;
  };

  uint8_t Offset(Target target, size_t at) const {
    const size_t to_end = steps_.size() - at - 1;
    return static_cast<uint8_t>(target == kContinue ? 0 : target == kPass ? to_end : to_end + skip_);
  }
  void Add(const sock_filter& filter, Target yes = kContinue, Target no = kContinue) {
    steps_.push_back({filter, yes, no});
  }
  void Equal(uint64_t value, Target high_same, Target same, Target other) {
    Add(Load(high_));
    Add(Jump(BPF_JEQ, static_cast<uint32_t>(value >> 32), 0, 0), high_same, other);
    Add(Load(low_));
    Add(Jump(BPF_JEQ, static_cast<uint32_t>(value), 0, 0), same, other);
  }
  void Ordered(unsigned low_comparison, uint64_t value, Target more, Target less) {
    Add(Load(high_));
    Add(Jump(BPF_JGT, static_cast<uint32_t>(value >> 32), 0, 0), more, kContinue);
    Add(Jump(BPF_JEQ, static_cast<uint32_t>(value >> 32), 0, 0), kContinue, less);
    Add(Load(low_));
    Add(Jump(low_comparison, static_cast<uint32_t>(value), 0, 0), more, less);
  }
  void Masked(uint64_t mask, uint64_t value) {
    for (const auto& [at, shift] : {std::pair{high_, 32}, std::pair{low_, 0}}) {
      Add(Load(at));
      Add(Statement(BPF_ALU | BPF_AND | BPF_K, static_cast<uint32_t>(mask >> shift)));
      Add(Jump(BPF_JEQ, static_cast<uint32_t>((value & mask) >> shift), 0, 0), shift == 0 ? kPass : kContinue, kFail);
    }
  }

  size_t skip_;
  size_t high_ = 0;
  size_t low_ = 0;
  std::vector<Step> steps_;
};

struct Alternative {
  std::vector<SeccompCondition> conditions;  // each argument at most once
  uint32_t action;
};

// What one system call answers.
struct Answer {
  std::vector<Alternative> alternatives;
  std::optional<uint32_t> always;
};

Code CodeOf(const Answer& answer, uint32_t otherwise) {
  if (answer.always)
    return {Return(*answer.always)};
  Code out;
  for (const Alternative& alternative : answer.alternatives) {
    Code tests = {Return(alternative.action)};
    for (auto condition = alternative.conditions.rbegin(); condition != alternative.conditions.rend(); ++condition) {
      Code test = Test(*condition, tests.size()).Finish();
      Append(test, tests);
      tests = std::move(test);
    }
    Append(out, tests);
  }
  out.push_back(Return(otherwise));
  return out;
}

// Numbers from `first` up to the next interval's answer alike.
struct Interval {
  uint32_t first;
  Code code;
};

void AppendSearch(std::span<const Interval> intervals, Code& out) {
  if (intervals.size() == 1) {
    Append(out, intervals.front().code);
    return;
  }
  const size_t middle = intervals.size() / 2;
  const size_t at = out.size();
  out.emplace_back();
  AppendSearch(intervals.first(middle), out);
  const size_t below = out.size() - at - 1;
  if (below <= kFarthest) {
    out[at] = Jump(BPF_JGE, intervals[middle].first, below, 0);
  } else {
    out[at] = Jump(BPF_JGE, intervals[middle].first, 0, 1);
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(at) + 1,
               Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(below)));
  }
  AppendSearch(intervals.subspan(middle), out);
}

// Two conditions on one argument cannot both be meant: runc, and so everybody's profile, takes each as a rule.
std::vector<Alternative> AlternativesOf(const SeccompRule& rule) {
  std::array<int, 6> seen{};
  for (const SeccompCondition& condition : rule.conditions) ++seen[condition.index];
  if (std::ranges::none_of(seen, [](int count) { return count > 1; }))
    return {{rule.conditions, rule.action}};
  std::vector<Alternative> out;
  for (const SeccompCondition& condition : rule.conditions) out.push_back({{condition}, rule.action});
  return out;
}

void Add(Answer& answer, const SeccompRule& rule) {
  if (rule.conditions.empty()) {
    if (!answer.always)
      answer.always = rule.action;
    return;
  }
  for (Alternative& alternative : AlternativesOf(rule)) answer.alternatives.push_back(std::move(alternative));
}

// Calls that are also parts of socketcall and ipc on i386, with their numbers there.
struct Part {
  std::string_view name;
  std::string_view whole;
  uint64_t number;
};
constexpr Part kParts[] = {
    {"socket", "socketcall", 1},
    {"bind", "socketcall", 2},
    {"connect", "socketcall", 3},
    {"listen", "socketcall", 4},
    {"accept", "socketcall", 5},
    {"getsockname", "socketcall", 6},
    {"getpeername", "socketcall", 7},
    {"socketpair", "socketcall", 8},
    {"send", "socketcall", 9},
    {"recv", "socketcall", 10},
    {"sendto", "socketcall", 11},
    {"recvfrom", "socketcall", 12},
    {"shutdown", "socketcall", 13},
    {"setsockopt", "socketcall", 14},
    {"getsockopt", "socketcall", 15},
    {"sendmsg", "socketcall", 16},
    {"recvmsg", "socketcall", 17},
    {"accept4", "socketcall", 18},
    {"recvmmsg", "socketcall", 19},
    {"sendmmsg", "socketcall", 20},
    {"semop", "ipc", 1},
    {"semget", "ipc", 2},
    {"semctl", "ipc", 3},
    {"semtimedop", "ipc", 4},
    {"msgsnd", "ipc", 11},
    {"msgrcv", "ipc", 12},
    {"msgget", "ipc", 13},
    {"msgctl", "ipc", 14},
    {"shmat", "ipc", 21},
    {"shmdt", "ipc", 22},
    {"shmget", "ipc", 23},
    {"shmctl", "ipc", 24},
};

// Numbers by name, of names that mostly come in the order of the alphabet.
class Numbers {
 public:
  explicit Numbers(const SyscallArchitecture& architecture) : calls_(architecture.calls) {}

  std::optional<uint32_t> Find(std::string_view name) {
    const bool before = next_ == 0 || calls_[next_ - 1].name < name;
    for (int i = 0; before && i < kNear && next_ < calls_.size() && calls_[next_].name < name; ++i) ++next_;
    if (!before || (next_ < calls_.size() && calls_[next_].name < name))
      next_ = static_cast<size_t>(std::ranges::lower_bound(calls_, name, {}, &SyscallNumber::name) - calls_.begin());
    if (next_ == calls_.size() || calls_[next_].name != name)
      return std::nullopt;
    return calls_[next_++].number;
  }

 private:
  static constexpr int kNear = 8;
  std::span<const SyscallNumber> calls_;
  size_t next_ = 0;
};

// What a rule says about one number.
struct Mention {
  uint32_t number = 0;
  const SeccompRule* rule = nullptr;
  const Part* part = nullptr;  // as the argument of `number`
};

// In the order of the rules.
std::vector<Mention> MentionsIn(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  std::vector<Mention> out;
  Numbers numbers(architecture);
  for (const SeccompRule& rule : rules.rules) {
    for (const std::string& name : rule.names) {
      if (const auto number = numbers.Find(name))
        out.push_back({*number, &rule});
      if (!architecture.multiplexed || !rule.conditions.empty())
        continue;
      if (const auto* const part = std::ranges::find(kParts, name, &Part::name); part != std::end(kParts))
        out.push_back({*Numbers(architecture).Find(part->whole), &rule, part});
    }
  }
  return out;
}

void Add(Answer& answer, const Mention& mention) {
  if (mention.part == nullptr) {
    Add(answer, *mention.rule);
    return;
  }
  SeccompCondition condition;
  condition.value = mention.part->number;
  answer.alternatives.push_back({{condition}, mention.rule->action});
}

bool Refuses(uint32_t action) {
  const uint32_t kind = action & SECCOMP_RET_ACTION_FULL;
  return kind != SECCOMP_RET_ALLOW && kind != SECCOMP_RET_LOG && kind != SECCOMP_RET_TRACE;
}

// Stable, by a place for each of the few numbers that there are.
void SortByNumber(std::vector<Mention>& mentions, uint32_t first) {
  std::vector<uint32_t> begins;
  for (const Mention& mention : mentions) {
    begins.resize(std::max<size_t>(begins.size(), mention.number - first + 2));
    ++begins[mention.number - first + 1];
  }
  for (size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
  std::vector<Mention> out(mentions.size());
  for (const Mention& mention : mentions) out[begins[mention.number - first]++] = mention;
  mentions = std::move(out);
}

// Intervals of equal answers, added from the lowest number on.
class Intervals {
 public:
  explicit Intervals(uint32_t otherwise) : otherwise_(otherwise) {}

  void Add(uint32_t first, uint32_t action) {
    if (action != constant_)
      all_.push_back({first, {Return(action)}});
    constant_ = action;
  }
  void Add(uint32_t first, const Answer& answer) {
    if (answer.always) {
      Add(first, *answer.always);
    } else {
      all_.push_back({first, CodeOf(answer, otherwise_)});
      constant_.reset();
    }
  }
  bool empty() const { return all_.empty(); }
  void AppendTo(Code& out) const { AppendSearch(all_, out); }

 private:
  uint32_t otherwise_;
  std::optional<uint32_t> constant_;  // what the last one answers, without conditions
  std::vector<Interval> all_;
};

void AppendCode(const SpecSeccomp& rules, const SyscallArchitecture& architecture, Code& out) {
  std::vector<Mention> mentions = MentionsIn(rules, architecture);
  SortByNumber(mentions, architecture.first);
  // Whatever the rules say about it.
  uint32_t newest = architecture.first;
  for (const Mention& mention : mentions) newest = mention.part == nullptr ? std::max(newest, mention.number) : newest;
  std::erase_if(mentions, [&](const Mention& mention) { return mention.rule->action == rules.default_action; });
  Intervals intervals(rules.default_action);
  uint32_t next = 0;
  for (size_t i = 0; i < mentions.size();) {
    const uint32_t number = mentions[i].number;
    Answer answer;
    for (; i < mentions.size() && mentions[i].number == number; ++i) Add(answer, mentions[i]);
    if (number > next)
      intervals.Add(next, rules.default_action);
    intervals.Add(number, answer);
    next = number + 1;
  }
  if (next <= newest || intervals.empty() || !Refuses(rules.default_action))
    intervals.Add(next, rules.default_action);
  if (Refuses(rules.default_action) && !rules.rules.empty())
    intervals.Add(std::max(next, newest + 1), kNoSys);
  intervals.AppendTo(out);
}

Code CodeOf(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  Code out;
  AppendCode(rules, architecture, out);
  return out;
}

// Skips `code` unless the accumulator has `value` (equal) or is at least it.
Code Unless(unsigned comparison, uint32_t value, const Code& code) {
  Code out;
  if (code.size() <= kFarthest) {
    out.push_back(Jump(comparison, value, 0, code.size()));
  } else {
    out.push_back(Jump(comparison, value, 1, 0));
    out.push_back(Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(code.size())));
  }
  Append(out, code);
  return out;
}

bool Listed(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  return &architecture == SyscallArchitectures().data() ||
         std::ranges::find(rules.architectures, architecture.name) != rules.architectures.end();
}

// Of one AUDIT_ARCH_: its own numbers, and those above the bit of the architecture that shares it.
Code CodeOfShared(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  Code out = {Load(offsetof(seccomp_data, nr))};
  for (const SyscallArchitecture& other : SyscallArchitectures()) {
    if (other.audit == architecture.audit && other.first != 0) {
      const Code above = Listed(rules, other) ? CodeOf(rules, other) : Code{Return(SECCOMP_RET_KILL_PROCESS)};
      Append(out, Unless(BPF_JGE, other.first, above));
    }
  }
  AppendCode(rules, architecture, out);
  return out;
}

}  // namespace

std::vector<sock_filter> CompileFilter(const SpecSeccomp& rules) {
  Code out = {Load(offsetof(seccomp_data, arch))};
  for (const SyscallArchitecture& architecture : SyscallArchitectures()) {
    if (architecture.first == 0 && Listed(rules, architecture))
      Append(out, Unless(BPF_JEQ, architecture.audit, CodeOfShared(rules, architecture)));
  }
  out.push_back(Return(SECCOMP_RET_KILL_PROCESS));
  if (out.size() > BPF_MAXINSNS)
    throw Error(ErrorKind::kUnsupported, "the system call filter is longer than the kernel's 4096 steps",
                "use fewer rules with conditions in linux.seccomp");
  return out;
}

}  // namespace gantry::runner
