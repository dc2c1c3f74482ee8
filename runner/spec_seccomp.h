// linux.seccomp of a config.json: rules about system calls, by name. filter_compiler.h makes a program of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/json.h"

namespace gantry::runner {

constexpr size_t kMaxSeccompRules = 4096;
constexpr size_t kMaxSeccompNames = 4096;  // of one rule

struct SeccompCondition {
  enum class Operator { kNotEqual, kLess, kLessOrEqual, kEqual, kGreaterOrEqual, kGreater, kMaskedEqual };
  uint32_t index = 0;  // 0 to 5
  Operator op = Operator::kEqual;
  uint64_t value = 0;
  uint64_t value_two = 0;  // kMaskedEqual: (argument & value) == (value_two & value)
  friend bool operator==(const SeccompCondition&, const SeccompCondition&) = default;
};

struct SeccompRule {
  std::vector<std::string> names;
  uint32_t action = 0;                       // a value for SECCOMP_RET_*
  std::vector<SeccompCondition> conditions;  // all must hold; of two on one argument, either
};

struct SpecSeccomp {
  uint32_t default_action = 0;
  std::vector<std::string> architectures;  // SCMP_ARCH_*; the native one always counts
  std::vector<SeccompRule> rules;
  uint32_t flags = 0;  // SECCOMP_FILTER_FLAG_*
  std::string listener_path;
  std::string listener_metadata;

  bool notifies() const;  // whether a rule asks the listener
};

SpecSeccomp ParseSpecSeccomp(const json::Cursor& at);

SeccompRule ParseSeccompRule(const json::Cursor& at);  // one of its syscalls

// For the features of gantry-oci.
std::vector<std::string> SeccompActionNames();
std::vector<std::string> SeccompOperatorNames();
std::vector<std::string> SeccompFlagNames();

}  // namespace gantry::runner
