#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/model/aci_manifest.h"

namespace gantry::image {
namespace {

json::Array PrintPairs(const std::vector<AppcPair>& pairs) {
  json::Array out;
  for (const auto& [name, value] : pairs) out.push_back(json::Object{{"name", name}, {"value", value}});
  return out;
}

json::Array PrintLabels(std::vector<AppcPair> labels) {
  std::sort(labels.begin(), labels.end());
  return PrintPairs(labels);
}

json::Object PrintMap(const std::vector<AppcPair>& pairs) {
  json::Object out;
  for (const auto& [name, value] : pairs) out.Append(name, value);
  return out;
}

json::Array PrintMountPoints(const std::vector<AciMountPoint>& points) {
  json::Array out;
  for (const AciMountPoint& point : points) {
    json::Object members{{"name", point.name}, {"path", point.path}};
    if (point.read_only)
      members.Append("readOnly", true);
    out.push_back(std::move(members));
  }
  return out;
}

json::Array PrintPorts(const std::vector<AciPort>& ports) {
  json::Array out;
  for (const AciPort& port : ports) {
    out.push_back(json::Object{{"name", port.name},
                               {"protocol", port.protocol},
                               {"port", port.port},
                               {"count", port.count},
                               {"socketActivated", port.socket_activated}});
  }
  return out;
}

template <typename Container>
void AppendUnlessEmpty(json::Object& out, std::string name, const Container& container, json::Value printed) {
  if (!container.empty())
    out.Append(std::move(name), std::move(printed));
}

json::Object PrintApp(const AciApp& app) {
  json::Object out;
  AppendUnlessEmpty(out, "exec", app.exec, app.exec);
  json::Array handlers;
  for (const AciEventHandler& handler : app.event_handlers)
    handlers.push_back(json::Object{{"name", handler.name}, {"exec", handler.exec}});
  AppendUnlessEmpty(out, "eventHandlers", app.event_handlers, std::move(handlers));
  out.Append("user", app.user);
  out.Append("group", app.group);
  AppendUnlessEmpty(out, "supplementaryGIDs", app.supplementary_gids,
                    json::Array(app.supplementary_gids.begin(), app.supplementary_gids.end()));
  AppendUnlessEmpty(out, "workingDirectory", app.working_directory, app.working_directory);
  AppendUnlessEmpty(out, "environment", app.environment, PrintPairs(app.environment));
  AppendUnlessEmpty(out, "mountPoints", app.mount_points, PrintMountPoints(app.mount_points));
  AppendUnlessEmpty(out, "ports", app.ports, PrintPorts(app.ports));
  json::Array isolators;
  for (const auto& [name, value] : app.isolators) isolators.push_back(json::Object{{"name", name}, {"value", value}});
  AppendUnlessEmpty(out, "isolators", app.isolators, std::move(isolators));
  AppendUnlessEmpty(out, "userAnnotations", app.user_annotations, PrintMap(app.user_annotations));
  AppendUnlessEmpty(out, "userLabels", app.user_labels, PrintMap(app.user_labels));
  return out;
}

json::Array PrintDependencies(const std::vector<AciDependency>& dependencies) {
  json::Array out;
  for (const AciDependency& dependency : dependencies) {
    json::Object members{{"imageName", dependency.image_name}};
    AppendUnlessEmpty(members, "imageID", dependency.image_id, dependency.image_id);
    AppendUnlessEmpty(members, "labels", dependency.labels, PrintLabels(dependency.labels));
    if (dependency.size != 0)
      members.Append("size", dependency.size);
    out.push_back(std::move(members));
  }
  return out;
}

}  // namespace

std::string AciManifest::ToJson() const {
  json::Object out{{"acKind", "ImageManifest"}, {"acVersion", ac_version}, {"name", name}};
  AppendUnlessEmpty(out, "labels", labels, PrintLabels(labels));
  if (app)
    out.Append("app", PrintApp(*app));
  AppendUnlessEmpty(out, "annotations", annotations, PrintPairs(annotations));
  AppendUnlessEmpty(out, "dependencies", dependencies, PrintDependencies(dependencies));
  AppendUnlessEmpty(out, "pathWhitelist", path_whitelist, path_whitelist);
  return json::Print(out);
}

std::string AciManifest::ToJson(const ForEachPath& for_each) const {
  AciManifest other = *this;
  other.path_whitelist.clear();
  std::string text = other.ToJson();
  // Before a value stands one of these, so there are at most so many.
  const size_t values = 1 + static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                                              [](char c) { return c == '[' || c == ',' || c == ':'; }));
  size_t paths = 0, bytes = text.size() + std::string_view(R"(,"pathWhitelist":[])").size();
  for_each([&](std::string_view path) {
    bytes += path.size() + std::string_view(R"("/",)").size();
    ++paths;
  });
  if (paths == 0)
    return text;
  if (values + paths >= json::kMaxValues || bytes > kMaxAciManifestBytes)
    throw Error(ErrorKind::kCorrupt, "ACI manifest: its whitelist is too long");
  text.reserve(bytes + bytes / 16);  // some characters are escaped
  text.back() = ',';
  text += R"("pathWhitelist":[)";
  for_each([&](std::string_view path) {
    const std::string printed = json::Print(json::Value("/" + std::string(path)));
    json::Parse(printed, "ACI manifest: a path");
    text += printed + ",";
  });
  text.back() = ']';
  text += '}';
  if (text.size() > kMaxAciManifestBytes)
    throw Error(ErrorKind::kCorrupt, "ACI manifest: larger than " + std::to_string(kMaxAciManifestBytes) + " bytes");
  return text;
}

}  // namespace gantry::image
