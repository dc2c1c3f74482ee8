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
#include "runner/notify_relay.h"
#include "runner/spec.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxManifestItems = 1024;

using json::Array;
using json::Object;

Object Isolator(std::string_view name, json::Value value) { return {{"name", name}, {"value", std::move(value)}}; }

// A set has something in it: where nothing is retained, all is removed.
Object Capabilities(uint64_t set) {
  Array names;
  for (int i = 0; i < 64; ++i) {
    if (((set != 0 ? set : kDefaultCapabilities) >> i & 1) != 0)
      names.emplace_back(CapabilityName(i));
  }
  return Isolator(set != 0 ? "os/linux/capabilities-retain-set" : "os/linux/capabilities-remove-set",
                  Object{{"set", std::move(names)}});
}

// "USER:ROLE:TYPE:LEVEL", whose level may have colons.
Object SelinuxContext(std::string_view label) {
  Object out;
  for (const char* part : {"user", "role", "type"}) {
    const size_t end = std::min(label.find(':'), label.size());
    out.Append(part, label.substr(0, end));
    label.remove_prefix(std::min(end + 1, label.size()));
  }
  out.Append("level", label);
  return out;
}

Object Memory(const Limits& limits) {
  Object out;
  if (limits.memory_reservation && *limits.memory_reservation >= 0)
    out.Append("request", std::to_string(*limits.memory_reservation));
  if (limits.memory && *limits.memory >= 0)
    out.Append("limit", std::to_string(*limits.memory));
  return out;
}

Array Isolators(const RunConfig& config) {
  Array out;
  out.emplace_back(Capabilities(config.capabilities));
  out.emplace_back(Isolator("os/linux/no-new-privileges", !config.new_privileges));
  if (Object memory = Memory(config.limits); !memory.empty())
    out.emplace_back(Isolator("resource/memory", std::move(memory)));
  if (config.limits.cpu_microseconds)
    out.emplace_back(
        Isolator("resource/cpu", Object{{"limit", std::to_string(*config.limits.cpu_microseconds / 100) + "m"}}));
  if (config.limits.cpu_shares)
    out.emplace_back(Isolator("os/linux/cpu-shares", *config.limits.cpu_shares));
  if (config.oom_score_adj)
    out.emplace_back(Isolator("os/linux/oom-score-adj", int64_t{*config.oom_score_adj}));
  if (!config.apparmor.empty())
    out.emplace_back(Isolator("os/linux/apparmor-profile", Object{{"profile", config.apparmor}}));
  if (!config.selinux.empty())
    out.emplace_back(Isolator("os/linux/selinux-context", SelinuxContext(config.selinux)));
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

std::string ImageOf(const json::Cursor& app, const std::vector<image::AppcPair>& annotations) {
  if (const std::string* called = image::FindPair(annotations, kImageAnnotation))
    return *called;
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

// What `exposed` is of the pod: said there, or by the port of that name of an app.
std::optional<json::Cursor> PortOf(const json::Cursor& exposed, const json::Cursor& apps) {
  if (auto port = exposed.Find("podPort"))
    return port;
  for (const json::Cursor& one : apps.Elements(kMaxApps)) {
    const auto app = one.Find("app");
    const auto ports = app ? app->Find("ports") : std::nullopt;
    for (const json::Cursor& port : ports ? ports->Elements(kMaxManifestItems) : std::vector<json::Cursor>()) {
      if (port.At("name").String() == exposed.At("name").String())
        return port;
    }
  }
  return std::nullopt;
}

bool TakePort(const json::Cursor& exposed, const std::optional<json::Cursor>& port, std::vector<PublishedPort>& into) {
  if (!port)
    return false;
  const auto range = [&](const json::Cursor& at, uint64_t count) {
    const uint64_t first = at.Unsigned(UINT16_MAX);
    return std::to_string(first) + (count > 1 ? "-" + std::to_string(first + count - 1) : "");
  };
  const auto several = port->Find("count");
  const uint64_t count = several ? several->Unsigned(UINT16_MAX) : 1;
  const auto address = exposed.Find("hostIP");
  try {
    for (const PublishedPort& one :
         PublishedPort::Parse((address && !address->String().empty() ? address->String() + ":" : "") +
                              range(exposed.At("hostPort"), count) + ":" + range(port->At("port"), count) + "/" +
                              port->At("protocol").String()))
      into.push_back(one);
  } catch (const Error& error) {
    exposed.Fail(error.message());
  }
  return true;
}

Array Ports(const std::vector<PublishedPort>& ports) {
  Array out;
  for (const PublishedPort& port : ports) {
    const std::string protocol = port.udp ? "udp" : "tcp";
    const std::string name = std::to_string(port.host_port) + "-" + protocol;
    Object one{{"name", name}, {"hostPort", uint64_t{port.host_port}}};
    if (port.host_address != 0)
      one.Append("hostIP", ToString(port.host_address));
    one.Append("podPort", Object{{"name", name},
                                 {"protocol", protocol},
                                 {"port", uint64_t{port.port}},
                                 {"count", uint64_t{1}},
                                 {"socketActivated", false}});
    out.emplace_back(std::move(one));
  }
  return out;
}

// A mount of an app: of one of the pod's volumes, or of one that is for this place alone.
void TakeMount(const json::Cursor& mount, RunOptions& run) {
  if (!mount.At("path").String().starts_with('/'))
    mount.At("path").Fail("expected an absolute path");
  MountPoint point{mount.At("volume").String(), image::CleanAbsolute(mount.At("path").String())};
  if (const auto own = mount.Find("appVolume")) {
    run.named_volumes.push_back(ParseVolume(*own));
    point.name = run.named_volumes.back().name = point.path;
  } else if (std::ranges::find(run.named_volumes, point.name, &NamedVolume::name) == run.named_volumes.end()) {
    mount.At("volume").Fail("the pod has no volume of this name; --volume NAME,kind= gives one");
  }
  const auto same = std::ranges::find(run.mount_points, point.path, &MountPoint::path);
  if (same == run.mount_points.end()) {
    run.mount_points.push_back(std::move(point));
  } else {
    point.read_only = same->read_only;
    *same = std::move(point);
  }
}

ManifestApp ParseOne(const json::Cursor& at, const std::vector<NamedVolume>& volumes) {
  ManifestApp out;
  out.annotations = ParseAnnotations(at);
  out.image = ImageOf(at, out.annotations);
  if (const auto id = at.At("image").Find("id"))
    out.image_id = id->String();
  out.run.name = at.At("name").String();
  out.run.named_volumes = volumes;
  out.run.env.push_back("AC_APP_NAME=" + out.run.name);
  if (const auto read_only = at.Find("readOnlyRootFS"))
    out.run.read_only_rootfs = read_only->Bool();
  const auto app = at.Find("app");
  out.substitutes = app.has_value();
  if (app)
    TakeApp(ParseApp(*app), out);
  if (const auto mounts = at.Find("mounts")) {
    for (const json::Cursor& mount : mounts->Elements(kMaxManifestItems)) TakeMount(mount, out.run);
  }
  return out;
}

}  // namespace

std::vector<image::AppcPair> ParseAnnotations(const json::Cursor& of) {
  std::vector<image::AppcPair> out;
  const auto list = of.Find("annotations");
  for (const json::Cursor& one : list ? list->Elements(kMaxManifestItems) : std::vector<json::Cursor>()) {
    const std::string& name = one.At("name").String();
    if (!image::IsAcIdentifier(name))
      one.At("name").Fail("expected an AC Identifier");
    if (image::FindPair(out, name) != nullptr)
      one.At("name").Fail("there are two annotations of this name");
    out.emplace_back(name, one.At("value").String());
  }
  return out;
}

json::Array PrintAnnotations(const std::vector<image::AppcPair>& annotations) {
  Array out;
  for (const auto& [name, value] : annotations) out.emplace_back(Object{{"name", name}, {"value", value}});
  return out;
}

PodManifest PodManifest::Parse(std::string_view text, const std::string& what, const std::vector<NamedVolume>& given) {
  const json::Value document = json::Parse(text, what);
  const json::Cursor at(document, what);
  if (at.At("acKind").String() != "PodManifest")
    at.At("acKind").Fail("expected 'PodManifest'");
  if (!at.At("acVersion").String().starts_with("0."))
    throw Error(ErrorKind::kUnsupported, what + " is of version " + Quoted(at.At("acVersion").String()));
  std::vector<NamedVolume> volumes;
  if (const auto list = at.Find("volumes")) {
    for (const json::Cursor& one : list->Elements(kMaxManifestItems)) {
      NamedVolume volume = ParseVolume(one);
      if (std::ranges::find(volumes, volume.name, &NamedVolume::name) != volumes.end())
        one.At("name").Fail("there are two volumes of this name");
      volumes.push_back(std::move(volume));
    }
  }
  volumes.insert(volumes.end(), given.begin(), given.end());
  PodManifest out;
  for (const json::Cursor& app : at.At("apps").Elements(kMaxApps)) out.apps.push_back(ParseOne(app, volumes));
  if (out.apps.empty())
    at.At("apps").Fail("expected an app");
  std::vector<std::string>& ignored = out.apps.front().ignored;
  if (const auto list = at.Find("isolators")) {
    for (const json::Cursor& one : list->Elements(kMaxManifestItems))
      ignored.push_back("isolator of the pod: " + Quoted(one.At("name").String()));
  }
  if (const auto list = at.Find("ports")) {
    for (const json::Cursor& one : list->Elements(kMaxManifestItems)) {
      if (!TakePort(one, PortOf(one, at.At("apps")), out.ports))
        ignored.push_back("port of the pod: " + Quoted(one.At("name").String()) +
                          ", which the pod manifest does not describe");
    }
  }
  out.annotations = ParseAnnotations(at);
  return out;
}

std::vector<image::AppcPair> AnnotationsOf(const AppPlan& app) {
  std::vector<image::AppcPair> out = app.annotations;
  std::erase_if(out, [](const auto& one) { return one.first == kImageAnnotation; });
  out.emplace_back(kImageAnnotation, app.image);
  return out;
}

json::Object PrintPodManifest(const PodPlan& pod) {
  Array apps;
  Array volumes;
  std::set<std::string> named;
  for (const AppPlan& app : pod.apps) {
    Array mounts;
    for (size_t i = 0; i < app.config.volumes.size(); ++i) {
      // Of the service that the pod is, not of the pod.
      if (IsNotifyVolume(app.config.volumes[i]))
        continue;
      const std::string name = VolumeName(app, i);
      if (named.insert(name).second)
        volumes.emplace_back(VolumeOf(app.config.volumes[i], name));
      mounts.emplace_back(Object{{"volume", name}, {"path", app.config.volumes[i].target}});
    }
    apps.emplace_back(Object{{"name", app.name},
                             {"image", app.image_id.empty() ? Object() : Object{{"id", app.image_id}}},
                             {"app", AppOf(app.config)},
                             {"readOnlyRootFS", app.config.read_only_rootfs},
                             {"mounts", std::move(mounts)},
                             {"annotations", PrintAnnotations(AnnotationsOf(app))}});
  }
  return {{"acVersion", image::kAppcVersion},
          {"acKind", "PodManifest"},
          {"apps", std::move(apps)},
          {"volumes", std::move(volumes)},
          {"isolators", Array()},
          {"annotations", PrintAnnotations(pod.annotations)},
          {"ports", Ports(pod.apps.empty() ? std::vector<PublishedPort>() : pod.apps.front().config.net.ports)}};
}

}  // namespace gantry::runner
