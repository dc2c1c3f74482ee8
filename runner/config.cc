#include "runner/config.h"

#include <linux/capability.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "runner/net/pod_network.h"

namespace gantry::runner {

namespace {

constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kMaxArgumentBytes = 2 * 1024 * 1024;  // what execve takes with the usual stack limit
constexpr size_t kMaxHostnameBytes = 63;

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }
constexpr uint64_t kAllCapabilities = (Bit(CAP_LAST_CAP) << 1) - 1;

std::string_view NameOf(std::string_view assignment) { return assignment.substr(0, assignment.find('=')); }

void RemoveEnv(std::vector<std::string>& env, std::string_view name) {
  std::erase_if(env, [&](const std::string& entry) { return NameOf(entry) == name; });
}

void SetEnv(std::vector<std::string>& env, const std::string& assignment) {
  const auto same = std::ranges::find(env, NameOf(assignment), [](const std::string& e) { return NameOf(e); });
  if (same != env.end())
    *same = assignment;
  else
    env.push_back(assignment);
}

// The image's, then what a program may rely on, then the command line's.
std::vector<std::string> MergedEnv(const image::Execution& image, const RunOptions& options) {
  std::vector<std::string> env;
  env.emplace_back(kDefaultPath);
  if (options.terminal)
    env.push_back("TERM=" + options.terminal_type);
  for (const std::string& entry : image.env) SetEnv(env, entry);
  SetEnv(env, "container=gantry");
  for (const std::string& entry : options.env) {
    if (NameOf(entry).empty())
      throw Error(ErrorKind::kUsage, "environment entry " + Quoted(entry) + " has no name", "give --env NAME=VALUE");
    if (entry.find('=') == std::string::npos)
      RemoveEnv(env, entry);
    else
      SetEnv(env, entry);
  }
  return env;
}

std::vector<std::string> MergedArgs(const image::ImageConfig& image, const RunOptions& options) {
  std::vector<std::string> out = image.entrypoint;
  if (options.entrypoint)
    out = options.entrypoint->empty() ? std::vector<std::string>{} : std::vector<std::string>{*options.entrypoint};
  const bool image_arguments = options.args.empty() && !options.entrypoint;
  const std::vector<std::string>& rest = image_arguments ? image.cmd : options.args;
  out.insert(out.end(), rest.begin(), rest.end());
  if (out.empty() || out.front().empty())
    throw Error(ErrorKind::kUsage, "the image does not say what to execute", "give a command after the image's name");
  return out;
}

std::string WorkingDir(const image::Execution& image, const RunOptions& options) {
  if (!options.working_dir)
    return image.cwd;
  if (!options.working_dir->starts_with('/'))
    throw Error(ErrorKind::kUsage, "working directory " + Quoted(*options.working_dir) + " is not absolute",
                "give --workdir /PATH");
  return image::CleanAbsolute(*options.working_dir);
}

bool IsAtOrBelow(std::string_view path, std::string_view top) {
  return path == top || (path.starts_with(top) && path.size() > top.size() && path[top.size()] == '/');
}

void RefuseKernelPlaces(const std::string& target, std::string_view what) {
  if (target == "/" || IsAtOrBelow(target, "/proc") || IsAtOrBelow(target, "/sys"))
    throw Error(ErrorKind::kUsage,
                std::string(what) + ": the target may not be '/', /proc, /sys or below them: " + Quoted(target));
}

uint64_t CapabilitySet(const std::vector<std::string>& names, std::string_view option) {
  uint64_t out = 0;
  for (const std::string& name : names) {
    const auto capability = ParseCapability(name);
    if (capability)
      out |= Bit(*capability);
    else if (LowerAscii(name) == "all")
      out |= kAllCapabilities;
    else
      throw Error(ErrorKind::kUsage, std::string(option) + ": there is no capability " + Quoted(name),
                  "give names as in capabilities(7), with or without CAP_, or ALL");
  }
  return out;
}

// What is added by name counts more than ALL dropped, what is dropped by name more than what is added.
uint64_t Capabilities(const RunOptions& options) {
  const auto is_all = [](const std::string& name) { return LowerAscii(name) == "all"; };
  const uint64_t add = CapabilitySet(options.cap_add, "--cap-add");
  const uint64_t drop = CapabilitySet(options.cap_drop, "--cap-drop");
  const uint64_t base = options.capabilities.value_or(kDefaultCapabilities);
  return std::ranges::any_of(options.cap_drop, is_all) ? add : (base | add) & ~drop;
}

// With something to execute.
std::optional<image::HealthCheck> Health(const image::ImageConfig& image, const RunOptions& options) {
  if (!options.health || !image.health_check || image.health_check->test.empty() ||
      image.health_check->test.front() == "NONE")
    return std::nullopt;
  image::HealthCheck out = *image.health_check;
  if (out.test.front() == "CMD-SHELL")
    out.test = {"/bin/sh", "-c", out.test.size() > 1 ? out.test[1] : ""};
  else
    out.test.erase(out.test.begin());
  if (out.test.empty())
    return std::nullopt;
  return out;
}

// What the image has a place for and nobody gave stays a part of the root; of a read-only one it becomes an empty
// volume.
void FillMountPoints(const RunOptions& options, const std::vector<std::string>& of_image, RunConfig& config) {
  std::vector<MountPoint> points = options.mount_points;
  for (const std::string& path : of_image) {
    if (std::ranges::find(points, path, &MountPoint::path) == points.end())
      points.push_back({path, path});
  }
  for (const MountPoint& point : points) {
    const auto given = std::ranges::find(options.named_volumes, point.name, &NamedVolume::name);
    const bool placed = std::ranges::find(config.volumes, point.path, &Volume::target) != config.volumes.end();
    if (placed || (given == options.named_volumes.end() && (!options.read_only_rootfs || point.read_only)))
      continue;
    Volume volume{.kind = Volume::Kind::kTmpfs, .executable = true};
    if (given != options.named_volumes.end()) {
      volume = given->volume;
      volume.read_only = given->read_only.value_or(point.read_only);
    }
    volume.target = point.path;
    config.volumes.push_back(std::move(volume));
  }
}

void CheckPlaces(const RunConfig& config) {
  std::set<std::string> targets;
  for (const Volume& volume : config.volumes) {
    RefuseKernelPlaces(volume.target, "volume");
    if (!targets.insert(volume.target).second)
      throw Error(ErrorKind::kUsage, "two volumes have the target " + Quoted(volume.target));
  }
  for (const DeviceNode& device : config.devices) RefuseKernelPlaces(device.target, "device");
  std::set<std::string> names;
  for (const Secret& secret : config.secrets) {
    if (secret.name.empty() || secret.name.find('/') != std::string::npos || secret.name.starts_with('.') ||
        !names.insert(secret.name).second)
      throw Error(ErrorKind::kUsage, "secret " + Quoted(secret.name) + " has no name that is a file's, or one twice");
  }
}

// The configuration that the command line changes, not the image.
void TakeConfinement(const RunOptions& options, RunConfig& config) {
  // Else the default would stand for it.
  if (!options.seccomp_profile.empty())
    throw Error(ErrorKind::kFailed, "the seccomp profile " + Quoted(options.seccomp_profile) + " has not been read");
  config.capabilities = Capabilities(options);
  config.secrets = options.secrets;
  config.devices = options.devices;
  config.limits = options.limits;
  config.ulimits = options.ulimits;
  config.groups = options.groups;
  config.oom_score_adj = options.oom_score_adj;
  config.new_privileges = options.new_privileges;
  config.filter = options.filter;
  config.apparmor = options.apparmor;
  config.selinux = options.selinux;
}

std::string Hostname(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.'; };
  if (name.size() > kMaxHostnameBytes || !std::ranges::all_of(name, allowed) || name.starts_with('-'))
    throw Error(ErrorKind::kUsage, "host name " + Quoted(name) + " is not one",
                "letters, digits, '-' and '.', at most 63 of them");
  return name;
}

void CheckText(const std::vector<std::string>& texts, std::string_view what, ErrorKind kind) {
  size_t bytes = 0;
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos)
      throw Error(kind, std::string(what) + " " + Quoted(text) + " holds a NUL byte");
    bytes += text.size() + 1;
  }
  if (bytes > kMaxArgumentBytes)
    throw Error(kind, std::string(what) + "s are longer than 2 MiB", "no program could be started with them");
}

void CheckText(const RunConfig& config, const RunOptions& options) {
  CheckText(options.args, "argument", ErrorKind::kUsage);
  CheckText(options.env, "environment entry", ErrorKind::kUsage);
  CheckText(config.args, "the image's argument", ErrorKind::kCorrupt);
  CheckText(config.env, "the image's environment entry", ErrorKind::kCorrupt);
  CheckText({config.user, config.working_dir}, "user or working directory", ErrorKind::kCorrupt);
}

}  // namespace

const uint64_t kDefaultCapabilities = Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_FOWNER) | Bit(CAP_FSETID) |
                                      Bit(CAP_KILL) | Bit(CAP_NET_BIND_SERVICE) | Bit(CAP_SETFCAP) | Bit(CAP_SETGID) |
                                      Bit(CAP_SETPCAP) | Bit(CAP_SETUID) | Bit(CAP_SYS_CHROOT);

Volume Volume::Parse(const std::string& text) {
  const auto refuse = [&](std::string_view why) {
    throw Error(
        ErrorKind::kUsage, "volume " + Quoted(text) + ": " + std::string(why),
        "give SRC:DST or SRC:DST:ro, both absolute; an empty volume is --mount type=empty,source=NAME,target=DST");
  };
  const size_t first = text.find(':');
  if (first == std::string::npos)
    refuse("no ':' between source and target");
  if (first > 0 && text.find('/') > first && text.front() != '.')
    refuse("the source is no path, and there are no volumes that outlive their pod");
  const size_t second = std::min(text.find(':', first + 1), text.size());
  Volume out;
  out.source = text.substr(0, first);
  out.target = text.substr(first + 1, second - first - 1);
  if (second < text.size()) {
    const std::string mode = text.substr(second + 1);
    if (mode != "ro" && mode != "rw")
      refuse("the mode is neither 'ro' nor 'rw'");
    out.read_only = mode == "ro";
  }
  if (text.find('\0') != std::string::npos || !out.source.starts_with('/') || !out.target.starts_with('/'))
    refuse("source and target are not both absolute paths");
  out.target = image::CleanAbsolute(out.target);
  RefuseKernelPlaces(out.target, "volume " + Quoted(text));
  return out;
}

bool operator==(const Filter& a, const Filter& b) {
  const auto same = [](const sock_filter& x, const sock_filter& y) {
    return x.code == y.code && x.jt == y.jt && x.jf == y.jf && x.k == y.k;
  };
  return a.kind == b.kind && std::ranges::equal(a.program, b.program, same);
}

RunConfig Plan(const image::ImageConfig& image, const RunOptions& options) {
  if (!image.platform.os.empty() && image.platform.os != "linux")
    throw Error(ErrorKind::kUnsupported, "the image is for " + Quoted(image.platform.os) + ", not for linux",
                "choose another with --platform linux/ARCH");
  const auto execution = image::Execution::Of(image);
  RunConfig config;
  config.args = MergedArgs(image, options);
  config.env = MergedEnv(execution, options);
  config.working_dir = WorkingDir(execution, options);
  config.stop_signal = options.stop_signal.value_or(execution.stop_signal);
  config.stop_seconds = options.stop_seconds.value_or(kDefaultStopSeconds);
  config.health = Health(image, options);
  TakeConfinement(options, config);
  config.user = options.user.value_or(image.user);
  config.hostname = Hostname(options.hostname);
  options.net.Check();
  if (!options.net.ports.empty() && !IsAttached(options.network))
    throw Error(ErrorKind::kUsage, "ports are published of a network of the pod's own", "give --net=private");
  config.network = options.network;
  config.net = options.net;
  config.interactive = options.interactive;
  config.terminal = options.terminal;
  config.read_only_rootfs = options.read_only_rootfs;
  if (options.volumes.size() + options.more_volumes.size() > kMaxVolumes)
    throw Error(ErrorKind::kUsage, "more than 128 volumes");
  for (const std::string& volume : options.volumes) config.volumes.push_back(Volume::Parse(volume));
  config.volumes.insert(config.volumes.end(), options.more_volumes.begin(), options.more_volumes.end());
  FillMountPoints(options, execution.volumes, config);
  CheckPlaces(config);
  config.pre_start = options.pre_start;
  config.post_stop = options.post_stop;
  CheckText(config, options);
  return config;
}

}  // namespace gantry::runner
