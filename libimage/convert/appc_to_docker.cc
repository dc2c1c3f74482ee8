#include "libimage/convert/appc_to_docker.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/convert/docker_to_appc.h"
#include "libimage/model/config.h"
#include "libimage/model/execution.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxPorts = 65'535;  // of all ranges together
constexpr size_t kMaxArguments = 10'000;

[[noreturn]] void Disagree(std::string_view annotation, std::string_view field) {
  throw Error(ErrorKind::kCorrupt,
              "annotation " + Quoted(annotation) + " is not about the " + std::string(field) + " that is executed",
              "what is executed was changed after a conversion; whoever did so has to remove the annotation");
}

std::string TextOf(const AciManifest& manifest, std::string_view annotation) {
  const std::string* const value = FindPair(manifest.annotations, annotation);
  return value == nullptr ? std::string() : *value;
}

std::vector<std::string> ListIn(const AciManifest& manifest, std::string_view annotation) {
  const std::string text = TextOf(manifest, annotation);
  if (text.empty())
    return {};
  const json::Value list = json::Parse(text, annotation);
  return json::Cursor(list, std::string(annotation)).Strings(kMaxArguments);
}

Platform PlatformOf(const AciManifest& manifest, const Platform& otherwise) {
  const std::string* const os = FindPair(manifest.labels, "os");
  const std::string* const arch = FindPair(manifest.labels, "arch");
  Platform platform = otherwise;
  if (os != nullptr)
    platform.os = *os;
  if (arch == nullptr)
    return platform;
  const auto known = *arch == "arm" ? std::pair<std::string, std::string>("arm", "") : FromAppcArch(*arch);
  if (!known)
    throw Error(ErrorKind::kUnsupported, "ACI manifest: label 'arch' has value " + Quoted(*arch));
  std::tie(platform.architecture, platform.variant) = *known;
  return platform;
}

// Docker's spelling of user and group.
std::string UserOf(const AciApp& app) {
  for (const std::string& name : {app.user, app.group}) {
    if (name.starts_with('/') || name.find(':') != std::string::npos) {
      throw Error(ErrorKind::kUnsupported,
                  "the app is executed as the owner of a file, " + Quoted(name) + ", which only an ACI can say",
                  "give user and group by name or number in the ACI");
    }
  }
  return app.user == "0" && app.group == "0" ? std::string() : app.user + ":" + app.group;
}

// What of an app no annotation splits or spells otherwise.
struct Command {
  std::vector<std::string> entrypoint, cmd;
  std::string user;
};

Command CommandOf(const AciManifest& manifest) {
  const AciApp& app = *manifest.app;
  Command out{ListIn(manifest, kEntrypointAnnotation), ListIn(manifest, kCmdAnnotation),
              TextOf(manifest, kUserAnnotation)};
  std::vector<std::string> both = out.entrypoint;
  both.insert(both.end(), out.cmd.begin(), out.cmd.end());
  if (both.empty())
    out.entrypoint = app.exec;
  else if (both != app.exec)
    Disagree(out.entrypoint.empty() ? kCmdAnnotation : kEntrypointAnnotation, "exec");
  if (out.user.empty())
    out.user = UserOf(app);
  else if (out.user != app.user || out.user != app.group)
    Disagree(kUserAnnotation, "user and group");
  return out;
}

json::Object Ports(const AciApp& app) {
  json::Object out;
  size_t count = 0;
  for (const AciPort& port : app.ports) {
    if (port.count > kMaxPorts - count)
      throw Error(ErrorKind::kCorrupt, "ACI manifest: its ports are more than " + std::to_string(kMaxPorts));
    count += port.count;
    for (uint64_t i = 0; i < port.count; ++i)
      out.Set(std::to_string(port.port + i) + "/" + port.protocol, json::Object());
  }
  return out;
}

json::Object Executed(const AciManifest& manifest) {
  json::Object out;
  if (!manifest.app)
    return out;
  const AciApp& app = *manifest.app;
  const Command command = CommandOf(manifest);
  const auto add = [&out](const char* name, const auto& what, json::Value value) {
    if (!what.empty())
      out.Append(name, std::move(value));
  };
  add("User", command.user, command.user);
  const json::Object ports = Ports(app);
  add("ExposedPorts", ports, ports);
  std::vector<std::string> env;
  for (const auto& [name, value] : app.environment) env.push_back(name + "=" + value);
  add("Env", env, env);
  add("Entrypoint", command.entrypoint, command.entrypoint);
  add("Cmd", command.cmd, command.cmd);
  json::Object volumes;
  for (const AciMountPoint& point : app.mount_points) volumes.Set(point.path, json::Object());
  add("Volumes", volumes, volumes);
  add("WorkingDir", app.working_directory, app.working_directory);
  json::Object labels;
  for (const auto& [name, value] : app.user_labels) labels.Set(name, value);
  add("Labels", labels, labels);
  const std::string stop_signal = TextOf(manifest, kStopSignalAnnotation);
  add("StopSignal", stop_signal, stop_signal);
  return out;
}

json::Object Rootfs(const std::vector<AciLayer>& layers) {
  json::Array ids;
  for (const AciLayer& layer : layers) ids.emplace_back(layer.diff_id.str());
  return {{"type", "layers"}, {"diff_ids", std::move(ids)}};
}

// One entry for each layer.
json::Array History(const std::vector<AciLayer>& layers) {
  json::Array out;
  for (const AciLayer& layer : layers) {
    json::Object entry;
    if (!layer.created.empty())
      entry.Append("created", layer.created);
    entry.Append("created_by", "ACI " + layer.name);
    out.emplace_back(std::move(entry));
  }
  return out;
}

std::string NewConfig(const AciManifest& manifest, const std::vector<AciLayer>& layers, const Platform& otherwise) {
  const Platform platform = PlatformOf(manifest, otherwise);
  json::Object out;
  const auto add = [&out](const char* name, const std::string& value) {
    if (!value.empty())
      out.Append(name, value);
  };
  const std::string authors = TextOf(manifest, "authors");
  add("created", TextOf(manifest, "created"));
  add("author", authors.empty() ? TextOf(manifest, "author") : authors);  // docker2aci has both names
  add("comment", TextOf(manifest, "docker-comment"));
  add("architecture", platform.architecture);
  add("variant", platform.variant);
  add("os", platform.os);
  out.Append("config", Executed(manifest));
  out.Append("rootfs", Rootfs(layers));
  out.Append("history", History(layers));
  return json::Print(out);
}

// As the layers were made one: what made those that are gone is told, and makes no layer any more.
json::Array HistoryAfter(const json::Value& config, const std::vector<AciLayer>& layers) {
  json::Array out;
  const json::Value* const before = config.object()->Find("history");
  if (before != nullptr && before->array() != nullptr)
    out = *before->array();
  for (json::Value& entry : out) {
    if (entry.object() != nullptr)
      entry.object()->Set("empty_layer", true);
  }
  for (json::Value& entry : History(layers)) out.push_back(std::move(entry));
  return out;
}

// The configuration that the ACI carries, over these layers. What is unknown to us in it stays as it is.
std::string CarriedConfig(const AciManifest& manifest, const std::string& bytes, const std::vector<AciLayer>& layers) {
  RequireSameExecution(manifest, bytes, kConfigAnnotation);
  if (std::ranges::equal(ImageConfig::Parse(bytes).diff_ids, layers, {}, {}, &AciLayer::diff_id))
    return bytes;
  json::Value config = json::Parse(bytes, kConfigAnnotation);
  json::Array history = HistoryAfter(config, layers);
  config.object()->Set("rootfs", Rootfs(layers));
  config.object()->Set("history", std::move(history));
  return json::Print(config);
}

std::vector<std::string> Lost(const AciManifest& manifest) {
  std::vector<std::string> out;
  if (!manifest.app)
    return out;
  for (const auto& [name, value] : manifest.app->isolators) out.push_back("isolator " + Quoted(name));
  for (const AciEventHandler& handler : manifest.app->event_handlers)
    out.push_back("event handler " + Quoted(handler.name));
  if (!manifest.app->supplementary_gids.empty())
    out.emplace_back("supplementary groups");
  return out;
}

}  // namespace

void RequireSameExecution(const AciManifest& manifest, const std::string& config_bytes, std::string_view annotation) {
  const ImageConfig config = ImageConfig::Parse(config_bytes);
  const ImageConfig made = ImageConfig::Parse(NewConfig(manifest, {}, config.platform));
  const Execution is = Execution::Of(made), was = Execution::Of(config);
  const auto require = [&](bool same, std::string_view field) {
    if (!same)
      Disagree(annotation, field);
  };
  require(is.args == was.args, "exec");
  require(is.user == was.user, "user and group");
  require(is.env == was.env, "environment");
  require(is.cwd == was.cwd, "working directory");
  require(is.volumes == was.volumes, "mount points");
  require(is.ports == was.ports, "ports");
  require(is.stop_signal == was.stop_signal, "stop signal");
  require(made.labels == config.labels, "user labels");
  require(made.platform.os == config.platform.os, "label os");
  require(ToAppcArch(made.platform.architecture, made.platform.variant) ==
              ToAppcArch(config.platform.architecture, config.platform.variant),
          "label arch");
}

DockerConfig ToDockerConfig(const AciManifest& manifest, const std::vector<AciLayer>& layers,
                            const Platform& otherwise) {
  const std::string carried = TextOf(manifest, kConfigAnnotation);
  DockerConfig out{carried.empty() ? NewConfig(manifest, layers, otherwise) : CarriedConfig(manifest, carried, layers),
                   Lost(manifest)};
  try {
    ImageConfig::Parse(out.bytes);  // what we write we would read
  } catch (const Error& error) {
    throw error.WithContext("the configuration made of the ACI manifest");
  }
  return out;
}

}  // namespace gantry::image
