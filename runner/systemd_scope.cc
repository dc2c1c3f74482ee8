#include "runner/systemd_scope.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "libimage/base/error.h"
#include "runner/cgroup_files.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxAnswer = 64 * 1024;
constexpr int kAttempts = 1000;  // of 10 ms
constexpr const char* kBooted = "/run/systemd/system";

bool IsUnitName(std::string_view name) {
  return !name.empty() && name.size() < 200 && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '\\' || c == '@';
  });
}

// "a-b.slice" lies in "a.slice".
std::string SlicePath(const std::string& slice) {
  if (slice == "-.slice")
    return "";
  std::string out;
  const std::string name = slice.substr(0, slice.rfind('.'));
  for (size_t end = name.find('-');; end = name.find('-', end + 1)) {
    out += "/" + name.substr(0, end) + ".slice";
    if (end == std::string::npos)
      return out;
  }
}

gantry::Process StartHolder() {
  return gantry::Process::Fork([] {
    for (;;) pause();
    return 0;
  });
}

bool InScope(pid_t pid, const std::string& unit) {
  return ReadControl("/proc/" + std::to_string(pid) + "/cgroup").find("/" + unit + "\n") != std::string::npos;
}

}  // namespace

Scope Scope::ParseText(const std::string& text, const std::string& id) {
  Scope out{"system.slice", id + ".scope", {}};
  if (!text.empty()) {
    const size_t first = text.find(':');
    const size_t second = first == std::string::npos ? first : text.find(':', first + 1);
    if (second == std::string::npos || text.find(':', second + 1) != std::string::npos)
      throw Error(ErrorKind::kUsage,
                  "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got " +
                      Quoted(text) + " instead");
    const std::string slice = text.substr(0, first);
    const std::string prefix = text.substr(first + 1, second - first - 1);
    const std::string name = text.substr(second + 1);
    if (!slice.empty())
      out.slice = slice;
    out.unit = name.ends_with(".slice") ? name : (prefix.empty() ? "" : prefix + "-") + name + ".scope";
  }
  if (!IsUnitName(out.slice) || !out.slice.ends_with(".slice") || !IsUnitName(out.unit))
    throw Error(ErrorKind::kUsage, "linux.cgroupsPath " + Quoted(text) + " does not name a slice and a scope");
  out.path = SlicePath(out.slice) + "/" + out.unit;
  return out;
}

Scope Scope::Parse(const std::string& text, const std::string& id) {
  Scope out = ParseText(text, id);
  struct stat status {};
  if (lstat(kBooted, &status) < 0 || !S_ISDIR(status.st_mode))
    throw Error(ErrorKind::kUnsupported, "systemd does not run this machine, so it can make no control groups",
                "leave --systemd-cgroup out; of an engine, choose the cgroup manager 'cgroupfs'");
  return out;
}

ScopeHolder::ScopeHolder(const Scope& scope) : process_(StartHolder()) {
  // StartTransientUnit(name, mode, properties, aux).
  const std::vector<std::string> call = {"busctl",
                                         geteuid() == 0 ? "--system" : "--user",
                                         "call",
                                         "org.freedesktop.systemd1",
                                         "/org/freedesktop/systemd1",
                                         "org.freedesktop.systemd1.Manager",
                                         "StartTransientUnit",
                                         "ssa(sv)a(sa(sv))",
                                         scope.unit,
                                         "replace",
                                         "6",
                                         "Description",
                                         "s",
                                         "gantry container",
                                         "Slice",
                                         "s",
                                         scope.slice,
                                         "Delegate",
                                         "b",
                                         "true",
                                         "DefaultDependencies",
                                         "b",
                                         "false",
                                         "CollectMode",
                                         "s",
                                         "inactive-or-failed",
                                         "PIDs",
                                         "au",
                                         "1",
                                         std::to_string(process_.pid()),
                                         "0"};
  if (RunCaptured(call, {}, kMaxAnswer).status.code != 0)
    throw Error(ErrorKind::kFailed, "systemd did not make the scope " + Quoted(scope.unit),
                "see the lines of busctl above; without root a user's systemd is needed");
  for (int i = 0; !InScope(process_.pid(), scope.unit); ++i) {
    if (i == kAttempts)
      throw Error(ErrorKind::kFailed, "systemd did not put a process into the scope " + Quoted(scope.unit),
                  "see: systemctl status " + scope.unit);
    const timespec pause = {0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace gantry::runner
