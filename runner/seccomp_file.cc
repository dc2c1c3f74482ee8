#include "runner/seccomp_file.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/descriptor.h"
#include "runner/spec.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxNames = 1024;

constexpr std::pair<std::string_view, std::string_view> kArchitectures[] = {
    {"SCMP_ARCH_X86_64", "amd64"},    {"SCMP_ARCH_AARCH64", "arm64"}, {"SCMP_ARCH_ARM", "arm"},
    {"SCMP_ARCH_PPC64LE", "ppc64le"}, {"SCMP_ARCH_S390X", "s390x"},   {"SCMP_ARCH_RISCV64", "riscv64"},
};

// "5.10" of the running kernel or older.
bool KernelIsAtLeast(const json::Cursor& at) {
  int want_major = 0, want_minor = 0, major = 0, minor = 0;
  utsname kernel{};
  if (std::sscanf(at.String().c_str(), "%d.%d", &want_major, &want_minor) != 2)
    at.Fail("expected a version like 4.8");
  if (uname(&kernel) < 0 || std::sscanf(kernel.release, "%d.%d", &major, &minor) != 2)
    return false;
  return std::pair(major, minor) >= std::pair(want_major, want_minor);
}

bool HasCapability(const json::Cursor& at, uint64_t capabilities) {
  const auto capability = ParseCapability(at.String());
  // One that is not known here nobody has.
  return capability && (capabilities >> *capability & 1) != 0;
}

// All that "includes" says, or any that "excludes" says.
bool Holds(const json::Cursor& at, uint64_t capabilities, bool all) {
  at.OnlyKeys({"caps", "arches", "minKernel"});
  bool every = true;
  bool any = false;
  const auto count = [&](bool holds) {
    every = every && holds;
    any = any || holds;
  };
  if (const auto caps = at.Find("caps")) {
    for (const json::Cursor& one : caps->Elements(kMaxNames)) count(HasCapability(one, capabilities));
  }
  if (const auto arches = at.Find("arches")) {
    const std::vector<std::string> names = arches->Strings(kMaxNames);
    if (!names.empty())
      count(std::ranges::find(names, image::Platform::Host().architecture) != names.end());
  }
  if (const auto kernel = at.Find("minKernel"))
    count(KernelIsAtLeast(*kernel));
  return all ? every : any;
}

// The native one and its kin.
std::vector<std::string> Architectures(const json::Cursor& map) {
  std::vector<std::string> out;
  const std::string own = image::Platform::Host().architecture;
  for (const json::Cursor& one : map.Elements(kMaxNames)) {
    const std::string& name = one.At("architecture").String();
    const auto* const found =
        std::ranges::find(kArchitectures, name, &std::pair<std::string_view, std::string_view>::first);
    if (found == std::end(kArchitectures) || found->second != own)
      continue;
    out.push_back(name);
    if (const auto kin = one.Find("subArchitectures")) {
      for (std::string& sub : kin->Strings(kMaxNames)) out.push_back(std::move(sub));
    }
  }
  return out;
}

SeccompRule Rule(const json::Cursor& at, const std::string& what) {
  const auto name = at.Find("name");
  if (!name || at.Find("names"))
    return ParseSeccompRule(at);
  // One name, as the oldest form has it.
  json::Object newer = *at.value().object();
  newer.Set("names", json::Array{name->value()});
  return ParseSeccompRule(json::Cursor(json::Value(std::move(newer)), what));
}

std::vector<SeccompRule> Rules(const json::Cursor& at, const std::string& what, uint64_t capabilities) {
  std::vector<SeccompRule> out;
  for (const json::Cursor& rule : at.Elements(kMaxSeccompRules)) {
    const auto includes = rule.Find("includes");
    const auto excludes = rule.Find("excludes");
    if ((!includes || Holds(*includes, capabilities, true)) && (!excludes || !Holds(*excludes, capabilities, false)))
      out.push_back(Rule(rule, what));
  }
  return out;
}

}  // namespace

SpecSeccomp ReadSeccompProfile(std::string_view text, const std::string& what, uint64_t capabilities) {
  const json::Value document = json::Parse(text, what);
  const json::Cursor at(document, what);
  if (document.object() == nullptr)
    at.Fail("expected an object");
  json::Object common;
  for (const auto& [key, value] : document.object()->members()) {
    if (key != "archMap" && key != "syscalls")
      common.Append(key, value);
  }
  SpecSeccomp out = ParseSpecSeccomp(json::Cursor(json::Value(std::move(common)), what));
  if (const auto map = at.Find("archMap"))
    out.architectures = Architectures(*map);
  if (const auto rules = at.Find("syscalls"))
    out.rules = Rules(*rules, what, capabilities);
  if (out.notifies())
    throw Error(ErrorKind::kUnsupported, what + " asks an agent, which gantry-run does not have",
                "gantry-oci has listenerPath for that");
  return out;
}

}  // namespace gantry::runner
