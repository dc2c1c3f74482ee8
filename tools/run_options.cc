#include "tools/run_options.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/execution.h"
#include "runner/filter_compiler.h"
#include "runner/seccomp_file.h"

namespace gantry::tools {
namespace {

using runner::Limits;
using runner::RunOptions;
using runner::Volume;

constexpr size_t kMaxEnvFile = 1024 * 1024;
constexpr size_t kMaxProfile = 16 * 1024 * 1024;
constexpr int64_t kLeastMemory = 1024 * 1024;  // the container's first process alone takes a third of it
constexpr uint64_t kCpuPeriod = 100'000;
constexpr uint32_t kMostMode = 07777;
constexpr uint64_t kLeastIoWeight = 10, kMostIoWeight = 1000;

[[noreturn]] void Refuse(std::string_view option, const std::string& value, std::string_view why) {
  throw Error(ErrorKind::kUsage, std::string(option) + " " + Quoted(value) + ": " + std::string(why),
              "see gantry-run(1)");
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

uint64_t Number(const std::string& text, std::string_view option) {
  const auto out = ParseDecimal<uint64_t>(text);
  if (!out)
    Refuse(option, text, "expected a number");
  return *out;
}

uint32_t Id(const std::string& text, std::string_view option) {
  const uint64_t out = Number(text, option);
  if (out > runner::kMaxSpecId)
    Refuse(option, text, "there is no such id");
  return static_cast<uint32_t>(out);
}

uint32_t Mode(const std::string& text, std::string_view option) {
  uint32_t out = 0;
  for (const char c : text) {
    if (c < '0' || c > '7' || out > kMostMode)
      Refuse(option, text, "expected a mode in octal digits");
    out = out * 8 + static_cast<uint32_t>(c - '0');
  }
  if (text.empty() || out > kMostMode)
    Refuse(option, text, "expected a mode in octal digits");
  return out;
}

std::string Absolute(const std::string& path, std::string_view option) {
  if (!path.starts_with('/'))
    Refuse(option, path, "the path is not absolute");
  return image::CleanAbsolute(path);
}

bool Truth(const std::string& text, std::string_view option) {
  if (text.empty() || text == "true" || text == "1")
    return true;
  if (text == "false" || text == "0")
    return false;
  Refuse(option, text, "expected true or false");
}

// "KEY=VALUE,KEY": each key at most once.
class Fields {
 public:
  Fields(const std::string& text, std::string_view option) : text_(text), option_(option) {
    for (const std::string& part : Split(text, ',')) {
      const size_t equals = std::min(part.find('='), part.size());
      const std::string value = equals < part.size() ? part.substr(equals + 1) : "";
      if (!fields_.emplace(part.substr(0, equals), value).second)
        Refuse(option_, text_, "a field is there twice");
    }
  }
  // The first of those names that is there, and takes it away.
  std::optional<std::string> Take(std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (const auto found = fields_.find(name); found != fields_.end()) {
        std::string out = found->second;
        fields_.erase(found);
        return out;
      }
    }
    return std::nullopt;
  }
  std::string Must(std::initializer_list<const char*> names) {
    auto out = Take(names);
    if (!out || out->empty())
      Refuse(option_, text_, "no " + std::string(*names.begin()) + " is given");
    return *out;
  }
  // What nobody took is nothing that we know.
  void End() const {
    if (!fields_.empty())
      Refuse(option_, text_, "unknown field " + Quoted(fields_.begin()->first));
  }

 private:
  std::string text_, option_;
  std::map<std::string, std::string> fields_;
};

void TakeOwner(Fields& fields, std::string_view option, Volume& out) {
  if (const auto uid = fields.Take({"uid"}))
    out.uid = Id(*uid, option);
  if (const auto gid = fields.Take({"gid"}))
    out.gid = Id(*gid, option);
  if (const auto mode = fields.Take({"mode", "tmpfs-mode"}))
    out.mode = Mode(*mode, option);
}

// "DST[:size=64m,mode=1777,exec]".
Volume ParseTmpfs(const std::string& text) {
  const size_t colon = std::min(text.find(':'), text.size());
  Volume out{.target = Absolute(text.substr(0, colon), "--tmpfs"), .kind = Volume::Kind::kTmpfs};
  if (colon == text.size())
    return out;
  Fields fields(text.substr(colon + 1), "--tmpfs");
  if (const auto size = fields.Take({"size"}))
    out.size = ParseSize(*size, "--tmpfs");
  TakeOwner(fields, "--tmpfs", out);
  out.read_only = fields.Take({"ro"}).has_value();
  out.executable = fields.Take({"exec"}).has_value();
  for (const char* so_anyway : {"rw", "noexec", "nosuid", "nodev"}) fields.Take({so_anyway});
  fields.End();
  return out;
}

// rkt's "NAME,kind=host|empty,source=,readOnly=,recursive=,mode=,uid=,gid=".
runner::NamedVolume ParseNamedVolume(const std::string& text) {
  const size_t comma = text.find(',');
  runner::NamedVolume out{text.substr(0, comma), {}};
  Fields fields(text.substr(comma + 1), "--volume");
  const std::string kind = fields.Must({"kind"});
  if (const auto read_only = fields.Take({"readOnly"}))
    out.read_only = Truth(*read_only, "--volume");
  if (kind == "host") {
    out.volume.source = Absolute(fields.Must({"source"}), "--volume");
    if (const auto recursive = fields.Take({"recursive"}))
      out.volume.recursive = Truth(*recursive, "--volume");
  } else if (kind == "empty") {
    out.volume.kind = Volume::Kind::kEmpty;
    out.volume.source = out.name;
    TakeOwner(fields, "--volume", out.volume);
  } else {
    Refuse("--volume", text, "the kind is neither host nor empty");
  }
  if (out.name.empty() || out.name.find('/') != std::string::npos || out.name.starts_with('.'))
    Refuse("--volume", text, "a volume needs a name");
  fields.End();
  return out;
}

// A source that begins with "." is one of the directory that the command was typed in.
std::string WithAbsoluteSource(const std::string& volume) {
  const std::string source = volume.substr(0, volume.find(':'));
  const bool relative = source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
  return relative ? image::CleanAbsolute(RealPath(".") + "/" + source) + volume.substr(source.size()) : volume;
}

// rkt's "volume=NAME,target=PATH".
runner::MountPoint ParseVolumeMount(const std::string& text) {
  Fields fields(text, "--mount");
  runner::MountPoint out{fields.Must({"volume"}), Absolute(fields.Must({"target"}), "--mount")};
  fields.End();
  return out;
}

// "type=bind|empty|tmpfs,source=,target=[,readonly]...".
Volume ParseMount(const std::string& text) {
  Fields fields(text, "--mount");
  const std::string type = fields.Take({"type"}).value_or("bind");
  Volume out;
  out.target = Absolute(fields.Must({"target", "destination", "dst"}), "--mount");
  if (const auto read_only = fields.Take({"readonly", "readOnly", "ro"}))
    out.read_only = Truth(*read_only, "--mount");
  if (type == "bind") {
    out.source = Absolute(fields.Must({"source", "src"}), "--mount");
    if (const auto recursive = fields.Take({"recursive"}))
      out.recursive = Truth(*recursive, "--mount");
  } else if (type == "empty") {
    out.kind = Volume::Kind::kEmpty;
    out.source = fields.Must({"source", "src"});
    if (out.source.find('/') != std::string::npos || out.source.starts_with('.'))
      Refuse("--mount", text, "the source of an empty volume is a name");
    TakeOwner(fields, "--mount", out);
  } else if (type == "tmpfs") {
    out.kind = Volume::Kind::kTmpfs;
    if (const auto size = fields.Take({"size", "tmpfs-size"}))
      out.size = ParseSize(*size, "--mount");
    TakeOwner(fields, "--mount", out);
  } else {
    Refuse("--mount", text, "the type is not bind, empty or tmpfs");
  }
  fields.End();
  return out;
}

// "NAME" is the file of that name; "NAME=FILE"; "id=NAME,source=FILE[,uid=,gid=,mode=]".
runner::Secret ParseSecret(const std::string& text) {
  runner::Secret out;
  if (text.find("id=") == std::string::npos) {
    const size_t equals = std::min(text.find('='), text.size());
    out.name = text.substr(0, equals);
    out.source = equals < text.size() ? text.substr(equals + 1) : out.name;
    out.name = out.name.substr(out.name.rfind('/') + 1);
    return out;
  }
  Fields fields(text, "--secret");
  Volume owner;
  TakeOwner(fields, "--secret", owner);
  out.name = fields.Must({"id"});
  out.source = fields.Must({"source", "src"});
  out.uid = owner.uid.value_or(0);
  out.gid = owner.gid.value_or(0);
  out.mode = owner.mode.value_or(out.mode);
  fields.End();
  return out;
}

runner::DeviceNode ParseDevice(const std::string& text) {
  const std::vector<std::string> parts = Split(text, ':');
  runner::DeviceNode out;
  out.source = Absolute(parts[0], "--device");
  out.target = out.source;
  size_t next = 1;
  if (next < parts.size() && parts[next].starts_with('/'))
    out.target = Absolute(parts[next++], "--device");
  if (next < parts.size())
    out.access = parts[next++];
  if (next < parts.size() || out.access.empty() || out.access.find_first_not_of("rwm") != std::string::npos)
    Refuse("--device", text, "expected HOST[:CONTAINER][:rwm]");
  return out;
}

runner::SpecLimit ParseUlimit(const std::string& text) {
  const size_t equals = std::min(text.find('='), text.size());
  const auto resource = runner::ParseLimitName(text.substr(0, equals));
  if (!resource || equals == text.size())
    Refuse("--ulimit", text, "expected NAME=SOFT[:HARD] with a name of getrlimit(2)");
  const std::vector<std::string> values = Split(text.substr(equals + 1), ':');
  const auto value = [&](const std::string& one) {
    return one == "unlimited" || one == "-1" ? RLIM_INFINITY : Number(one, "--ulimit");
  };
  const runner::SpecLimit out{*resource, value(values.front()), value(values.back())};
  if (values.size() > 2 || out.soft > out.hard)
    Refuse("--ulimit", text, "the soft limit is above the hard one");
  return out;
}

// "weight=500", "read-bps=/dev/sda:10m", and so on.
void TakeIo(const std::string& text, Limits& out) {
  constexpr std::pair<const char*, Limits::Rate::Kind> kRates[] = {
      {"read-bps=", Limits::Rate::Kind::kReadBytes},
      {"write-bps=", Limits::Rate::Kind::kWriteBytes},
      {"read-iops=", Limits::Rate::Kind::kReadOperations},
      {"write-iops=", Limits::Rate::Kind::kWriteOperations},
  };
  if (text.starts_with("weight=")) {
    out.io_weight = Number(text.substr(7), "--io");
    if (*out.io_weight < kLeastIoWeight || *out.io_weight > kMostIoWeight)
      Refuse("--io", text, "expected a weight from 10 to 1000");
    return;
  }
  for (const auto& [name, kind] : kRates) {
    if (!text.starts_with(name))
      continue;
    const std::string rest = text.substr(std::string(name).size());
    const size_t colon = rest.rfind(':');
    if (colon == std::string::npos)
      Refuse("--io", text, "expected DEVICE:RATE");
    out.rates.push_back({kind, Absolute(rest.substr(0, colon), "--io"), ParseSize(rest.substr(colon + 1), "--io")});
    if (out.rates.back().per_second == 0)
      Refuse("--io", text, "a rate of 0 would be none at all");
    return;
  }
  Refuse("--io", text, "expected weight=, read-bps=, write-bps=, read-iops= or write-iops=");
}

// As engines have it, 0 is as if it was not given.
std::optional<int64_t> SignedSize(const std::string& text, std::string_view option) {
  if (text.empty() || text == "0")
    return std::nullopt;
  return text == "-1" ? -1 : static_cast<int64_t>(std::min<uint64_t>(ParseSize(text, option), INT64_MAX));
}

// "1.5" of a processor.
uint64_t ParseCpus(const std::string& text) {
  const size_t point = std::min(text.find('.'), text.size());
  std::string fraction = point < text.size() ? text.substr(point + 1) : "";
  fraction.resize(5, '0');
  const auto whole = point == 0 ? 0U : ParseDecimal<uint32_t>(std::string_view(text).substr(0, point));
  const auto rest = ParseDecimal<uint32_t>(fraction);
  const uint64_t out = whole && rest ? *whole * kCpuPeriod + *rest : 0;
  if (out < kCpuPeriod / 100)
    Refuse("--cpus", text, "expected a number of processors, 0.01 or more");
  return out;
}

void TakeSecurity(const std::string& text, RunOptions& out) {
  const size_t end = std::min(text.find_first_of("=:"), text.size());
  const std::string name = text.substr(0, end);
  const std::string value = end < text.size() ? text.substr(end + 1) : "";
  if (name == "no-new-privileges") {
    out.new_privileges = !Truth(value, "--security-opt");
  } else if (name == "seccomp" && value == "unconfined") {
    out.filter = {runner::Filter::Kind::kNone};
  } else if (name == "seccomp" && !value.empty()) {
    out.seccomp_profile = value;
  } else if (name == "apparmor" && value == "unconfined") {
    out.apparmor.clear();
  } else if (name == "apparmor" && !value.empty()) {
    out.apparmor = value;
  } else if (name == "label" && value == "disable") {
    out.selinux.clear();
  } else if (name == "selinux" && !value.empty()) {
    out.selinux = value;
  } else {
    throw Error(ErrorKind::kUnsupported, "--security-opt " + Quoted(text) + " is not known",
                "no-new-privileges[=false], seccomp=FILE|unconfined, apparmor=PROFILE, selinux=LABEL");
  }
}

// "NAME=VALUE" a line, the value as it stands; "NAME" is taken over from here; '#' at its beginning makes a comment.
std::vector<std::string> ReadEnvFile(const std::string& path) {
  std::vector<std::string> out;
  size_t number = 0;
  for (const std::string& line : Split(ReadFile(path, kMaxEnvFile), '\n')) {
    ++number;
    const size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
    std::string entry = line.substr(begin);
    if (entry.ends_with('\r'))
      entry.pop_back();
    if (entry.empty() || entry.front() == '#')
      continue;
    if (entry.substr(0, entry.find('=')).find_first_of(" \t") != std::string::npos || entry.front() == '=')
      Refuse("--env-file", path, "line " + std::to_string(number) + " does not begin with the name of a variable");
    out.push_back(std::move(entry));
  }
  return out;
}

// "NAME" alone is ours, as far as we have it.
std::vector<std::string> Environment(const AppOptions& options) {
  std::vector<std::string> out;
  for (const std::string& file : options.env_files) {
    const std::vector<std::string> some = ReadEnvFile(file);
    out.insert(out.end(), some.begin(), some.end());
  }
  out.insert(out.end(), options.run.env.begin(), options.run.env.end());
  for (std::string& entry : out) {
    const char* value = entry.find('=') == std::string::npos ? std::getenv(entry.c_str()) : nullptr;
    if (value != nullptr)
      entry += std::string("=") + value;
  }
  return out;
}

void TakeLimits(const AppOptions& options, RunOptions& run) {
  run.limits.memory = SignedSize(options.memory, "--memory");
  if (run.limits.memory.value_or(0) > 0 && *run.limits.memory < kLeastMemory)
    Refuse("--memory", options.memory, "nothing runs in less than 1m");
  run.limits.memory_swap = SignedSize(options.memory_swap, "--memory-swap");
  run.limits.memory_reservation = SignedSize(options.memory_reservation, "--memory-reservation");
  if (run.limits.memory_swap && !run.limits.memory)
    Refuse("--memory-swap", options.memory_swap, "it counts memory too: give --memory");
  if (run.limits.memory_swap.value_or(-1) >= 0 && *run.limits.memory_swap < *run.limits.memory)
    Refuse("--memory-swap", options.memory_swap, "it counts memory too, and is less than --memory");
  if (!options.cpus.empty())
    run.limits.cpu_microseconds = ParseCpus(options.cpus);
  if (!options.cpu_shares.empty())
    run.limits.cpu_shares = Number(options.cpu_shares, "--cpu-shares");
  if (!options.pids.empty())
    run.limits.pids =
        options.pids == "-1" ? -1 : static_cast<int64_t>(std::min<uint64_t>(Number(options.pids, "--pids"), INT64_MAX));
  for (const std::string& one : options.io) TakeIo(one, run.limits);
  for (const std::string& one : options.ulimits) run.ulimits.push_back(ParseUlimit(one));
}

CLI::Option* List(CLI::App& app, const char* name, std::vector<std::string>& into, const char* help, const char* type) {
  return app.add_option(name, into, help)->type_name(type)->allow_extra_args(false);
}

void AddConfinementOptions(CLI::App& app, AppOptions& options) {
  List(app, "--cap-add", options.run.cap_add, "give a capability beside the default, or ALL", "CAP");
  List(app, "--cap-drop", options.run.cap_drop, "take a capability of the default away, or ALL", "CAP");
  List(app, "--security-opt", options.security,
       "no-new-privileges=false, seccomp=FILE|unconfined, apparmor=PROFILE, selinux=LABEL", "OPTION");
  List(app, "--device", options.devices, "give it a device of the host", "HOST[:CONTAINER][:rwm]");
  List(app, "--ulimit", options.ulimits, "a limit of getrlimit(2)", "NAME=SOFT[:HARD]");
  List(app, "--group-add", options.groups, "one more group of the user, a number", "GID");
  app.add_option("-m,--memory", options.memory, "the most memory")->type_name("BYTES");
  app.add_option("--memory-swap", options.memory_swap, "the most memory and swap together; -1: no limit")
      ->type_name("BYTES");
  app.add_option("--memory-reservation", options.memory_reservation, "what it keeps when memory is short")
      ->type_name("BYTES");
  app.add_option("--cpus", options.cpus, "how many processors at most: 1.5")->type_name("NUMBER");
  app.add_option("--cpu-shares", options.cpu_shares, "its weight among others; 1024 is usual")->type_name("NUMBER");
  app.add_option("--cpuset-cpus", options.run.limits.cpus, "which processors: 0-3,7")->type_name("LIST");
  app.add_option("--cpuset-mems", options.run.limits.memory_nodes, "which memory nodes")->type_name("LIST");
  app.add_option("--pids,--pids-limit", options.pids, "how many processes at most; -1: no limit; default: 2048")
      ->type_name("NUMBER");
  List(app, "--io", options.io, "weight=N; read-bps=, write-bps=, read-iops=, write-iops= and DEVICE:RATE", "LIMIT");
  app.add_option("--oom-score-adj", options.oom_score_adj, "who dies first when memory is out; -1000 to 1000")
      ->type_name("NUMBER")
      ->check(CLI::Range(-1000, 1000))
      ->option_text("NUMBER");
}

}  // namespace

runner::RunOptions Over(const runner::RunOptions& all, const runner::RunOptions& own) {
  RunOptions out = own;
  const auto before = [](auto& list, const auto& first) { list.insert(list.begin(), first.begin(), first.end()); };
  const auto unless_own = [](auto& value, const auto& otherwise) {
    if (value == std::decay_t<decltype(value)>{})
      value = otherwise;
  };
  before(out.env, all.env);
  before(out.volumes, all.volumes);
  before(out.more_volumes, all.more_volumes);
  before(out.secrets, all.secrets);
  before(out.named_volumes, all.named_volumes);
  before(out.mount_points, all.mount_points);
  before(out.devices, all.devices);
  before(out.cap_add, all.cap_add);
  before(out.cap_drop, all.cap_drop);
  before(out.ulimits, all.ulimits);
  before(out.groups, all.groups);
  unless_own(out.entrypoint, all.entrypoint);
  unless_own(out.user, all.user);
  unless_own(out.working_dir, all.working_dir);
  Limits& limits = out.limits;
  unless_own(limits.memory, all.limits.memory);
  unless_own(limits.memory_swap, all.limits.memory_swap);
  unless_own(limits.memory_reservation, all.limits.memory_reservation);
  unless_own(limits.cpu_microseconds, all.limits.cpu_microseconds);
  unless_own(limits.cpu_shares, all.limits.cpu_shares);
  unless_own(limits.io_weight, all.limits.io_weight);
  unless_own(limits.pids, all.limits.pids);
  unless_own(limits.cpus, all.limits.cpus);
  unless_own(limits.memory_nodes, all.limits.memory_nodes);
  before(limits.rates, all.limits.rates);
  unless_own(out.oom_score_adj, all.oom_score_adj);
  if (own.seccomp_profile.empty() && own.filter.kind == runner::Filter::Kind::kDefault) {
    out.filter = all.filter;
    out.seccomp_profile = all.seccomp_profile;
  }
  unless_own(out.apparmor, all.apparmor);
  unless_own(out.selinux, all.selinux);
  unless_own(out.stop_signal, all.stop_signal);
  unless_own(out.stop_seconds, all.stop_seconds);
  unless_own(out.capabilities, all.capabilities);
  out.read_only_rootfs = own.read_only_rootfs || all.read_only_rootfs;
  out.new_privileges = own.new_privileges || all.new_privileges;
  out.health = own.health && all.health;
  out.hostname = all.hostname;
  out.network = all.network;
  out.net = all.net;
  out.interactive = all.interactive;
  out.terminal = all.terminal;
  out.terminal_type = all.terminal_type;
  return out;
}

uint64_t ParseSize(const std::string& text, std::string_view option) {
  constexpr std::string_view kLetters = "bkmgt";
  std::string number = LowerAscii(text);
  if (number.ends_with("ib"))
    number.resize(number.size() - 2);
  else if (number.size() > 1 && number.ends_with('b') && kLetters.find(number[number.size() - 2]) != kLetters.npos)
    number.pop_back();
  unsigned power = 0;
  if (!number.empty() && kLetters.find(number.back()) != std::string_view::npos) {
    power = static_cast<unsigned>(kLetters.find(number.back()));
    number.pop_back();
  }
  const auto value = ParseDecimal<uint64_t>(number);
  const unsigned shift = power * 10;
  if (!value || (shift > 0 && *value >> (64 - shift) != 0))
    Refuse(option, text, "expected a size like 512m or 2g");
  return *value << shift;
}

void AddAppOptions(CLI::App& app, AppOptions& options) {
  List(app, "-v,--volume", options.run.volumes, "show a host file or directory in the container", "SRC:DST[:ro]");
  List(app, "--mount", options.mounts, "the same at length: type=bind|empty|tmpfs,source=,target=[,readonly]...",
       "FIELDS");
  List(app, "--tmpfs", options.tmpfs, "an empty file system in memory", "DST[:size=64m,mode=1777,exec]");
  List(app, "--secret", options.secrets, "a file that appears in memory at /run/secrets/NAME", "NAME=FILE");
  List(app, "-e,--env", options.run.env, "set a variable; NAME alone takes it over from here", "NAME[=VALUE]");
  List(app, "--env-file", options.env_files, "variables out of a file, one a line", "FILE");
  app.add_option("-u,--user", options.user, "USER[:GROUP], names of the image or numbers");
  app.add_option("-w,--workdir", options.working_dir, "the directory to start in");
  app.add_option("--entrypoint,--exec", options.entrypoint,
                 "the program to execute instead of the image's; '' for none");
  app.add_option("--name", options.run.name, "what the app is called in its pod; default: from the image");
  app.add_flag("--read-only,--readonly-rootfs", options.run.read_only_rootfs,
               "nothing in its root file system can be changed");
  app.add_option("--stop-signal", options.stop_signal, "what ends it, instead of the image's")->type_name("SIGNAL");
  app.add_option("--stop-timeout", options.stop_seconds, "how long it has before SIGKILL; default: 10")
      ->type_name("SECONDS");
  app.add_flag("--no-healthcheck", options.no_health, "the image's health check is not run");
  app.add_flag("--init", options.init, "accepted and always so: a process of ours reaps its orphans");
  AddConfinementOptions(app, options);
}

RunOptions Planned(const CLI::App& app, const AppOptions& options) {
  const auto given = [&](const char* name) { return app.count(name) > 0; };
  RunOptions out = options.run;
  out.env = Environment(options);
  if (given("--user"))
    out.user = options.user;
  if (given("--workdir"))
    out.working_dir = options.working_dir;
  if (given("--entrypoint"))
    out.entrypoint = options.entrypoint;
  if (given("--stop-timeout"))
    out.stop_seconds = options.stop_seconds;
  if (given("--oom-score-adj"))
    out.oom_score_adj = options.oom_score_adj;
  if (given("--stop-signal")) {
    out.stop_signal = image::ParseSignal(options.stop_signal);
    if (!out.stop_signal)
      Refuse("--stop-signal", options.stop_signal, "there is no such signal");
  }
  out.health = !options.no_health;
  for (const std::string& one : options.tmpfs) out.more_volumes.push_back(ParseTmpfs(one));
  for (const std::string& one : options.mounts) {
    if (one.starts_with("volume=") || one.find(",volume=") != std::string::npos)
      out.mount_points.push_back(ParseVolumeMount(one));
    else
      out.more_volumes.push_back(ParseMount(one));
  }
  std::erase_if(out.volumes, [&](const std::string& one) {
    const bool named = one.find(",kind=") != std::string::npos;
    if (named)
      out.named_volumes.push_back(ParseNamedVolume(one));
    return named;
  });
  for (std::string& one : out.volumes) one = WithAbsoluteSource(one);
  for (const std::string& one : options.secrets) {
    out.secrets.push_back(ParseSecret(one));
    out.secrets.back().source = RealPath(out.secrets.back().source);
  }
  for (const std::string& one : options.devices) out.devices.push_back(ParseDevice(one));
  for (const std::string& one : options.groups) out.groups.push_back(Id(one, "--group-add"));
  TakeLimits(options, out);
  for (const std::string& one : options.security) TakeSecurity(one, out);
  return out;
}

void ReadProfile(RunOptions& options) {
  const std::string file = std::exchange(options.seccomp_profile, {});
  if (file.empty())
    return;
  const uint64_t capabilities = runner::Plan({.cmd = {"x"}}, options).capabilities;
  const std::string text = ReadFile(file, kMaxProfile);
  options.filter = {runner::Filter::Kind::kProfile,
                    runner::CompileFilter(runner::ReadSeccompProfile(text, Quoted(file), capabilities))};
}

}  // namespace gantry::tools
