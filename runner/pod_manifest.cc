#include "runner/pod_manifest.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <set>
#include <string>

#include "libimage/base/error.h"
#include "libimage/model/aci_manifest.h"
#include "libimage/model/execution.h"
#include "runner/appc.h"
#include "runner/spec.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxManifestItems = 1024;

using json::Array;
using json::Object;

Object Isolator(std::string_view name, json::Value value) { return {{"name", name}, {"value", std::move(value)}}; }

Array Isolators(const RunConfig& config) {
  Array out;
  Array capabilities;
  for (int i = 0; i < 64; ++i) {
    if ((config.capabilities >> i & 1) != 0)
      capabilities.emplace_back(CapabilityName(i));
  }
  out.emplace_back(Isolator("os/linux/capabilities-retain-set", Object{{"set", std::move(capabilities)}}));
  out.emplace_back(Isolator("os/linux/no-new-privileges", !config.new_privileges));
  if (config.limits.memory)
    out.emplace_back(Isolator("resource/memory", Object{{"limit", std::to_string(*config.limits.memory)}}));
  if (config.limits.cpu_microseconds)
    out.emplace_back(
        Isolator("resource/cpu", Object{{"limit", std::to_string(*config.limits.cpu_microseconds / 100) + "m"}}));
  if (config.limits.cpu_shares)
    out.emplace_back(Isolator("os/linux/cpu-shares", *config.limits.cpu_shares));
  if (config.oom_score_adj)
    out.emplace_back(Isolator("os/linux/oom-score-adj", int64_t{*config.oom_score_adj}));
  if (!config.apparmor.empty())
    out.emplace_back(Isolator("os/linux/apparmor-profile", Object{{"name", config.apparmor}}));
  return out;
}

Array Handlers(const RunConfig& config) {
  Array out;
  for (const EventHandler& handler : config.pre_start)
    out.emplace_back(Object{{"name", "pre-start"}, {"exec", handler.args}});
  for (const EventHandler& handler : config.post_stop)
    out.emplace_back(Object{{"name", "post-stop"}, {"exec", handler.args}});
  return out;
}

Object AppOf(const RunConfig& config) {
  Array environment;
  for (const std::string& entry : config.env) {
    const size_t equals = std::min(entry.find('='), entry.size());
    environment.emplace_back(
        Object{{"name", entry.substr(0, equals)}, {"value", entry.substr(std::min(equals + 1, entry.size()))}});
  }
  const size_t colon = std::min(config.user.find(':'), config.user.size());
  const std::string user = config.user.substr(0, colon);
  const std::string group = config.user.substr(std::min(colon + 1, config.user.size()));
  Object out{{"exec", config.args}, {"user", user.empty() ? "0" : user}, {"group", group.empty() ? "0" : group}};
  if (!config.groups.empty()) {
    Array groups;
    for (const uint32_t gid : config.groups) groups.emplace_back(uint64_t{gid});
    out.Append("supplementaryGIDs", std::move(groups));
  }
  out.Append("workingDirectory", config.working_dir);
  out.Append("environment", std::move(environment));
  if (Array handlers = Handlers(config); !handlers.empty())
    out.Append("eventHandlers", std::move(handlers));
  out.Append("isolators", Isolators(config));
  return out;
}

// Of the pod: an empty one by its own name, others by their app and number.
std::string VolumeName(const AppPlan& app, size_t index) {
  const Volume& volume = app.config.volumes[index];
  return volume.kind == Volume::Kind::kEmpty ? volume.source : app.name + "-" + std::to_string(index);
}

Object VolumeOf(const Volume& volume, const std::string& name) {
  Object out{{"name", name}, {"kind", volume.kind == Volume::Kind::kHost ? "host" : "empty"}};
  if (volume.kind == Volume::Kind::kHost) {
    out.Append("source", volume.source);
    out.Append("readOnly", volume.read_only);
    out.Append("recursive", volume.recursive);
    return out;
  }
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", volume.mode.value_or(volume.kind == Volume::Kind::kEmpty ? 0755 : 01777));
  out.Append("mode", mode);
  out.Append("uid", uint64_t{volume.uid.value_or(0)});
  out.Append("gid", uint64_t{volume.gid.value_or(0)});
  return out;
}

// The app as an image manifest's, for its reader.
image::AciApp ParseApp(const json::Cursor& at) {
  const Object manifest{
      {"acKind", "ImageManifest"}, {"acVersion", image::kAppcVersion}, {"name", "app"}, {"app", at.value()}};
  try {
    return *image::AciManifest::Parse(json::Print(manifest)).app;
  } catch (const Error& error) {
    at.Fail(error.message());
  }
}

std::optional<uint32_t> Id(const json::Cursor& at, const char* name) {
  const auto found = at.Find(name);
  return found ? std::optional(static_cast<uint32_t>(found->Unsigned(kMaxSpecId))) : std::nullopt;
}

NamedVolume ParseVolume(const json::Cursor& at) {
  NamedVolume out{at.At("name").String(), {}};
  const std::string& kind = at.At("kind").String();
  if (!image::IsAcName(out.name))
    at.At("name").Fail("expected an AC Name");
  if (kind == "host") {
    out.volume.source = at.At("source").String();
    if (!out.volume.source.starts_with('/'))
      at.At("source").Fail("expected an absolute path");
    if (const auto recursive = at.Find("recursive"))
      out.volume.recursive = recursive->Bool();
  } else if (kind == "empty") {
    out.volume.kind = Volume::Kind::kEmpty;
    out.volume.source = out.name;
    out.volume.uid = Id(at, "uid");
    out.volume.gid = Id(at, "gid");
    if (const auto mode = at.Find("mode")) {
      unsigned value = 0;
      const std::string& text = mode->String(5);
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
      if (error != std::errc() || end != text.data() + text.size() || value > 07777)
        mode->Fail("expected a mode in octal digits");
      out.volume.mode = value;
    }
  } else {
    at.At("kind").Fail("expected 'host' or 'empty'");
  }
  if (const auto read_only = at.Find("readOnly"))
    out.read_only = read_only->Bool();
  return out;
}

std::string ImageOf(const json::Cursor& app) {
  if (const auto annotations = app.Find("annotations")) {
    for (const json::Cursor& one : annotations->Elements(kMaxManifestItems)) {
      if (one.At("name").String() == kImageAnnotation)
        return one.At("value").String();
    }
  }
  const json::Cursor image = app.At("image");
  const auto name = image.Find("name");
  if (!name)
    image.Fail("expected the name of an image, or the annotation " + std::string(kImageAnnotation) + " of the app");
  std::string out = name->String();
  if (const auto labels = image.Find("labels")) {
    for (const json::Cursor& one : labels->Elements(kMaxManifestItems)) {
      if (one.At("name").String() == "version")
        out += ":" + one.At("value").String();
    }
  }
  return out;
}

void TakeApp(const image::AciApp& app, ManifestApp& out) {
  RunOptions& run = out.run;
  run.entrypoint = "";
  run.args = app.exec;
  if (!app.user.empty())
    run.user = app.group.empty() ? app.user : app.user + ":" + app.group;
  if (!app.working_directory.empty())
    run.working_dir = app.working_directory;
  for (const auto& [name, value] : app.environment) run.env.push_back(name + "=" + value);
  AddAppc(app, run, out.ignored);
}

ManifestApp ParseOne(const json::Cursor& at, const std::vector<NamedVolume>& volumes) {
  ManifestApp out;
  out.image = ImageOf(at);
  out.run.name = at.At("name").String();
  out.run.named_volumes = volumes;
  out.run.env.push_back("AC_APP_NAME=" + out.run.name);
  if (const auto read_only = at.Find("readOnlyRootFS"))
    out.run.read_only_rootfs = read_only->Bool();
  if (const auto app = at.Find("app"))
    TakeApp(ParseApp(*app), out);
  if (const auto mounts = at.Find("mounts")) {
    for (const json::Cursor& mount : mounts->Elements(kMaxManifestItems)) {
      const std::string& path = mount.At("path").String();
      if (!path.starts_with('/'))
        mount.At("path").Fail("expected an absolute path");
      std::erase_if(out.run.mount_points, [&](const MountPoint& point) { return point.path == path; });
      out.run.mount_points.push_back({mount.At("volume").String(), image::CleanAbsolute(path)});
    }
  }
  return out;
}

}  // namespace

std::vector<ManifestApp> ParsePodManifest(std::string_view text, const std::string& what) {
  const json::Value document = json::Parse(text, what);
  const json::Cursor at(document, what);
  if (at.At("acKind").String() != "PodManifest")
    at.At("acKind").Fail("expected 'PodManifest'");
  if (!at.At("acVersion").String().starts_with("0."))
    throw Error(ErrorKind::kUnsupported, what + " is of version " + Quoted(at.At("acVersion").String()));
  std::vector<NamedVolume> volumes;
  if (const auto list = at.Find("volumes")) {
    for (const json::Cursor& one : list->Elements(kMaxManifestItems)) volumes.push_back(ParseVolume(one));
  }
  std::vector<ManifestApp> out;
  for (const json::Cursor& app : at.At("apps").Elements(kMaxApps)) out.push_back(ParseOne(app, volumes));
  if (out.empty())
    at.At("apps").Fail("expected an app");
  for (const char* of_pod : {"isolators", "ports"}) {
    const auto list = at.Find(of_pod);
    for (const json::Cursor& one : list ? list->Elements(kMaxManifestItems) : std::vector<json::Cursor>())
      out.front().ignored.push_back(std::string(of_pod) + " of the pod: " + Quoted(one.At("name").String()));
  }
  return out;
}

json::Object PrintPodManifest(const PodPlan& pod) {
  Array apps;
  Array volumes;
  std::set<std::string> named;
  for (const AppPlan& app : pod.apps) {
    Array mounts;
    for (size_t i = 0; i < app.config.volumes.size(); ++i) {
      const std::string name = VolumeName(app, i);
      if (named.insert(name).second)
        volumes.emplace_back(VolumeOf(app.config.volumes[i], name));
      mounts.emplace_back(Object{{"volume", name}, {"path", app.config.volumes[i].target}});
    }
    apps.emplace_back(
        Object{{"name", app.name},
               {"image", Object{{"id", app.digest ? std::string(Name(app.digest->algorithm())) + "-" + app.digest->hex()
                                                  : std::string()}}},
               {"app", AppOf(app.config)},
               {"readOnlyRootFS", app.config.read_only_rootfs},
               {"mounts", std::move(mounts)},
               {"annotations", Array{Object{{"name", kImageAnnotation}, {"value", app.image}}}}});
  }
  return {{"acVersion", image::kAppcVersion},
          {"acKind", "PodManifest"},
          {"apps", std::move(apps)},
          {"volumes", std::move(volumes)},
          {"isolators", Array()},
          {"annotations", Array()},
          {"ports", Array()}};
}

}  // namespace gantry::runner
