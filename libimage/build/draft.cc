#include "libimage/build/draft.h"

#include <algorithm>
#include <map>
#include <set>

#include "libimage/base/error.h"
#include "libimage/base/time_text.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxListed = 10'000;

bool RemovePair(std::vector<AppcPair>& pairs, std::string_view name) {
  return std::erase_if(pairs, [&](const AppcPair& pair) { return pair.first == name; }) != 0;
}

void SetPair(std::vector<AppcPair>& pairs, const std::string& name, const std::string& value) {
  const auto same = std::ranges::find(pairs, name, &AppcPair::first);
  if (same == pairs.end())
    pairs.emplace_back(name, value);
  else
    same->second = value;
}

template <typename Named>
bool RemoveNamed(std::vector<Named>& all, std::string_view name) {
  return std::erase_if(all, [&](const Named& one) { return one.name == name; }) != 0;
}

template <typename Named>
void SetNamed(std::vector<Named>& all, const Named& one) {
  RemoveNamed(all, one.name);
  all.push_back(one);
}

std::vector<std::string> PortKeys(const AciPort& port) {
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < port.count; ++i) keys.push_back(std::to_string(port.port + i) + "/" + port.protocol);
  return keys;
}

std::vector<std::string> Texts(const json::Value* value) {
  return value == nullptr ? std::vector<std::string>() : json::Cursor(*value, "config").Strings(kMaxListed);
}

bool IsEmpty(const json::Value& value) {
  return value.is_null() || (value.string() != nullptr && value.string()->empty()) ||
         (value.array() != nullptr && value.array()->empty()) || (value.object() != nullptr && value.object()->empty());
}

}  // namespace

json::Object DraftLayer::ToJson() const { return {{"blob", blob.ToJson()}, {"diffId", diff_id.str()}}; }

DraftLayer DraftLayer::Parse(const json::Cursor& from) {
  return {Descriptor::Parse(from.At("blob")), ParseDigest(from.At("diffId"))};
}

Draft Draft::Empty(const Platform& platform) {
  Draft draft;
  draft.SetPlatform(platform);
  draft.appc_.name = kUnnamed;
  return draft;
}

Draft Draft::On(const Image& base, std::string name) {
  Draft draft;
  draft.config_ = *json::Parse(base.config_bytes, "config").object();
  draft.annotations_ = base.manifest.annotations;
  draft.appc_.name = kUnnamed;
  for (size_t i = 0; i < base.manifest.layers.size(); ++i)
    draft.layers_.push_back({base.manifest.layers[i], base.config.diff_ids[i]});
  draft.base_layers_ = draft.layers_.size();
  draft.base_ = {std::move(name), base.descriptor.digest};
  draft.base_history_ = base.config.history.size();
  draft.newest_ = std::max<int64_t>(ParseRfc3339(base.config.created).value_or(0), 0);
  return draft;
}

std::string Draft::ToJson() const {
  json::Array layers;
  for (const DraftLayer& layer : layers_) layers.emplace_back(layer.ToJson());
  json::Array inputs;
  for (const DraftInput& input : inputs_)
    inputs.emplace_back(json::Object{{"name", input.name}, {"digest", input.digest.str()}});
  json::Object out{{"gantryBuild", 1},
                   {"config", config_},
                   {"annotations", annotations_},
                   {"appc", json::Parse(appc_.ToJson(), "the draft")},
                   {"layers", std::move(layers)},
                   {"baseLayers", static_cast<uint64_t>(base_layers_)},
                   {"baseHistory", static_cast<uint64_t>(base_history_)},
                   {"inputs", std::move(inputs)},
                   {"newest", newest_}};
  if (base_) {
    out.Set("base", json::Object{{"name", base_->name}, {"manifest", base_->manifest.str()}});
  }
  if (hides_)
    out.Set("hides", true);
  if (writes_oci_)
    out.Set("writesOci", true);
  return json::PrintPretty(out);
}

Draft Draft::FromJson(std::string_view text) {
  const json::Value document = json::Parse(text, "the draft");
  const json::Cursor root(document, "the draft");
  root.OnlyKeys({"gantryBuild", "config", "annotations", "appc", "layers", "baseLayers", "baseHistory", "inputs",
                 "newest", "base", "hides", "writesOci"});
  if (root.At("gantryBuild").Unsigned(UINT32_MAX) != 1)
    throw Error(ErrorKind::kUnsupported, "the draft was written by another version of gantry-build",
                "begin anew, after: gantry build abort");
  Draft draft;
  const json::Object* config = root.At("config").value().object();
  if (config == nullptr)
    root.At("config").Fail("expected an object");
  draft.config_ = *config;
  draft.annotations_ = root.At("annotations").StringMap(kMaxAnnotations);
  draft.appc_ = AciManifest::Parse(json::Print(root.At("appc").value()));
  for (const json::Cursor& layer : root.At("layers").Elements(kMaxLayers))
    draft.layers_.push_back(DraftLayer::Parse(layer));
  draft.base_layers_ = root.At("baseLayers").Unsigned(draft.layers_.size());
  draft.base_history_ = root.At("baseHistory").Unsigned(UINT32_MAX);
  for (const json::Cursor& input : root.At("inputs").Elements(kMaxListed))
    draft.inputs_.push_back({input.At("name").String(), ParseDigest(input.At("digest"))});
  draft.newest_ = root.At("newest").Integer(0, INT64_MAX);
  if (const auto base = root.Find("base")) {
    draft.base_ = {base->At("name").String(), ParseDigest(base->At("manifest"))};
  }
  if (const auto hides = root.Find("hides"))
    draft.hides_ = hides->Bool();
  if (const auto oci = root.Find("writesOci"))
    draft.writes_oci_ = oci->Bool();
  return draft;
}

const json::Value* Draft::Get(const std::string& member) const {
  const json::Value* config = config_.Find("config");
  return config == nullptr || config->object() == nullptr ? nullptr : config->object()->Find(member);
}

void Draft::Set(const std::string& member, json::Value value) {
  const json::Value* was = config_.Find("config");
  json::Object executed = was != nullptr && was->object() != nullptr ? *was->object() : json::Object();
  if (IsEmpty(value))
    executed.Remove(member);
  else
    executed.Set(member, std::move(value));
  config_.Set("config", std::move(executed));
}

// A member that is an object.
json::Object Draft::Keys(const std::string& member) const {
  const json::Value* value = Get(member);
  return value != nullptr && value->object() != nullptr ? *value->object() : json::Object();
}

void Draft::SetExec(const std::vector<std::string>& exec) {
  const bool some = !exec.empty();
  Set("Entrypoint", some ? std::vector<std::string>{exec[0]} : exec);
  Set("Cmd", some ? std::vector<std::string>(exec.begin() + 1, exec.end()) : exec);
}

void Draft::SetUser(std::string_view user) {
  const json::Value* was = Get("User");
  const std::string before = was != nullptr && was->string() != nullptr ? *was->string() : "";
  const size_t colon = before.find(':');
  const bool keep = colon != std::string::npos && user.find(':') == std::string_view::npos;
  Set("User", std::string(user) + (keep ? before.substr(colon) : ""));
}

void Draft::SetGroup(std::string_view group) {
  const json::Value* was = Get("User");
  const std::string before = was != nullptr && was->string() != nullptr ? *was->string() : "";
  const std::string user = before.substr(0, before.find(':'));
  Set("User", (user.empty() ? "0" : user) + ":" + std::string(group));
}

void Draft::SetEnvironment(const std::string& name, const std::string& value) {
  std::vector<std::string> all = Texts(Get("Env"));
  const auto same = std::ranges::find_if(all, [&](const std::string& entry) { return entry.starts_with(name + "="); });
  if (same == all.end())
    all.push_back(name + "=" + value);
  else
    *same = name + "=" + value;
  Set("Env", all);
}

bool Draft::RemoveEnvironment(const std::string& name) {
  std::vector<std::string> all = Texts(Get("Env"));
  const size_t removed = std::erase_if(all, [&](const std::string& entry) { return entry.starts_with(name + "="); });
  Set("Env", all);
  return removed != 0;
}

void Draft::AddKeys(const std::string& member, const std::vector<std::string>& keys) {
  std::map<std::string, json::Value> all;
  const json::Object before = Keys(member);
  for (const auto& [key, value] : before.members()) all.emplace(key, value);
  for (const std::string& key : keys) all.emplace(key, json::Object());
  json::Object after;
  for (auto& [key, value] : all) after.Append(key, std::move(value));
  Set(member, std::move(after));
}

void Draft::RemoveKeys(const std::string& member, const std::vector<std::string>& keys) {
  const std::set<std::string> gone(keys.begin(), keys.end());
  const json::Object before = Keys(member);
  json::Object after;
  for (const auto& [key, value] : before.members()) {
    if (!gone.contains(key))
      after.Append(key, value);
  }
  Set(member, std::move(after));
}

void Draft::SetLabel(const std::string& name, const std::string& value) {
  json::Object labels = Keys("Labels");
  labels.Set(name, value);
  Set("Labels", std::move(labels));
}

bool Draft::RemoveLabel(const std::string& name) {
  json::Object labels = Keys("Labels");
  if (labels.Find(name) == nullptr)
    return false;
  labels.Remove(name);
  Set("Labels", std::move(labels));
  return true;
}

void Draft::SetPlatform(const Platform& platform) {
  config_.Set("architecture", platform.architecture);
  config_.Set("os", platform.os);
  if (platform.variant.empty())
    config_.Remove("variant");
  else
    config_.Set("variant", platform.variant);
}

void Draft::SetAppcLabel(const std::string& name, const std::string& value) {
  if (name == "arch") {
    const auto known = FromAppcArch(value);
    if (!known)
      throw Error(ErrorKind::kUsage, Quoted(value) + " is no architecture of appc", "amd64, aarch64, armv7l, ...");
    const json::Value* os = config_.Find("os");
    SetPlatform({os != nullptr && os->string() != nullptr ? *os->string() : "linux", known->first, known->second, ""});
  } else if (name == "os") {
    config_.Set("os", value);
  } else if (name != "version") {
    SetLabel(name, value);
  }
  SetPair(appc_.labels, name, value);
}

bool Draft::RemoveAppcLabel(const std::string& name) {
  const bool here = RemovePair(appc_.labels, name);
  return RemoveLabel(name) || here;
}

void Draft::SetAnnotation(const std::string& name, const std::string& value) {
  SetPair(appc_.annotations, name, value);
  annotations_[name] = value;
}

bool Draft::RemoveAnnotation(const std::string& name) {
  const bool here = RemovePair(appc_.annotations, name);
  return annotations_.erase(name) != 0 || here;
}

AciApp& Draft::app() {
  if (!appc_.app) {
    appc_.app.emplace();
    appc_.app->user = appc_.app->group = "0";  // the real ones are in the configuration
  }
  return *appc_.app;
}

void Draft::AddPort(const AciPort& port) {
  RemovePort(port.name);
  AddKeys("ExposedPorts", PortKeys(port));
  SetNamed(app().ports, port);
}

bool Draft::RemovePort(const std::string& name) {
  const auto found = std::ranges::find(app().ports, name, &AciPort::name);
  if (found == app().ports.end())
    return false;
  RemoveKeys("ExposedPorts", PortKeys(*found));
  return RemoveNamed(app().ports, name);
}

void Draft::AddMount(const AciMountPoint& mount) {
  RemoveMount(mount.name);
  AddKeys("Volumes", {mount.path});
  SetNamed(app().mount_points, mount);
}

bool Draft::RemoveMount(const std::string& name) {
  const auto found = std::ranges::find(app().mount_points, name, &AciMountPoint::name);
  if (found == app().mount_points.end())
    return false;
  RemoveKeys("Volumes", {found->path});
  return RemoveNamed(app().mount_points, name);
}

void Draft::Replace(const AciManifest& manifest) {
  const AciApp given = manifest.app.value_or(AciApp());
  config_.Remove("config");
  annotations_.clear();
  appc_ = {.name = manifest.name, .dependencies = manifest.dependencies, .path_whitelist = manifest.path_whitelist};
  for (const auto& [name, value] : manifest.labels) SetAppcLabel(name, value);
  for (const auto& [name, value] : manifest.annotations) SetAnnotation(name, value);
  if (!manifest.app)
    return;
  SetExec(given.exec);
  SetUser(given.user);
  if (given.group != given.user && !given.group.empty() && given.user != "0")
    SetGroup(given.group);
  Set("WorkingDir", given.working_directory);
  for (const auto& [name, value] : given.environment) SetEnvironment(name, value);
  for (const AciPort& port : given.ports) AddPort(port);
  for (const AciMountPoint& mount : given.mount_points) AddMount(mount);
  app().supplementary_gids = given.supplementary_gids;
  app().event_handlers = given.event_handlers;
  app().isolators = given.isolators;
  app().user_annotations = given.user_annotations;
  for (const auto& [name, value] : given.user_labels) SetLabel(name, value);
}

void Draft::Replace(const json::Value& config) {
  if (config.object() == nullptr)
    throw Error(ErrorKind::kCorrupt, "a configuration is a JSON object");
  json::Object next = *config.object();
  for (const char* kept : {"rootfs", "history"}) {
    if (const json::Value* value = config_.Find(kept))
      next.Set(kept, *value);
    else
      next.Remove(kept);
  }
  json::Object checked = next;
  checked.Set("rootfs", json::Object{{"type", "layers"}, {"diff_ids", json::Array()}});
  ImageConfig::Parse(json::Print(checked));
  config_ = std::move(next);
}

void Draft::AddHistory(const std::string& created_by) {
  const json::Value* was = config_.Find("history");
  json::Array history = was != nullptr && was->array() != nullptr ? *was->array() : json::Array();
  history.emplace_back(json::Object{{"created_by", created_by}, {"empty_layer", true}});
  config_.Set("history", std::move(history));
}

std::vector<std::string> Draft::Steps() const {
  std::vector<std::string> steps;
  const json::Value* history = config_.Find("history");
  if (history == nullptr || history->array() == nullptr)
    return steps;
  for (size_t i = base_history_; i < history->array()->size(); ++i) {
    const json::Object* entry = (*history->array())[i].object();
    const json::Value* made = entry != nullptr ? entry->Find("created_by") : nullptr;
    if (made != nullptr && made->string() != nullptr)
      steps.push_back(*made->string());
  }
  return steps;
}

void Draft::AddLayer(DraftLayer layer, const std::string& created_by) {
  if (layers_.size() >= kMaxLayers)
    throw Error(ErrorKind::kUnsupported, "an image holds at most " + std::to_string(kMaxLayers) + " layers",
                "write it with --squash, and go on from there");
  AddHistory(created_by);
  json::Array history = *config_.Find("history")->array();
  history.back().object()->Remove("empty_layer");
  config_.Set("history", std::move(history));
  layers_.push_back(std::move(layer));
}

Image Draft::ToImage(int64_t epoch) const {
  json::Object config = config_;
  json::Array diff_ids;
  Manifest manifest{.media_type = std::string(kOciManifestType),
                    .config = {.media_type = std::string(kOciConfigType), .digest = Digest::Of("")},
                    .annotations = annotations_};
  for (const DraftLayer& layer : layers_) {
    diff_ids.emplace_back(layer.diff_id.str());
    Descriptor blob = layer.blob;
    blob.media_type = LayerType(kOciManifestType, LayerCompression(blob.media_type).value_or(Compression::kNone),
                                IsForeignLayer(blob.media_type));
    manifest.layers.push_back(std::move(blob));
  }
  config.Set("created", Rfc3339(epoch));
  config.Set("rootfs", json::Object{{"type", "layers"}, {"diff_ids", std::move(diff_ids)}});
  // What is ours in the history has no time of its own.
  if (const json::Value* const history = config.Find("history"); history != nullptr && history->array() != nullptr) {
    json::Array dated = *history->array();
    for (json::Value& entry : dated) {
      if (entry.object() != nullptr && entry.object()->Find("created") == nullptr)
        entry.object()->Set("created", Rfc3339(epoch));
    }
    config.Set("history", std::move(dated));
  }
  const std::string config_bytes = json::Print(config);
  manifest.config.digest = Digest::Of(config_bytes);
  manifest.config.size = config_bytes.size();
  return Image::FromBytes(manifest.ToJson(), kOciManifestType, config_bytes);
}

Image Draft::ToImage(int64_t epoch, const std::vector<const Image*>& below) const {
  Draft seen = *this;
  std::vector<DraftLayer> layers;
  for (const Image* image : below) {
    for (size_t i = 0; i < image->manifest.layers.size(); ++i)
      layers.push_back({image->manifest.layers[i], image->config.diff_ids[i]});
  }
  seen.layers_.insert(seen.layers_.begin(), layers.begin(), layers.end());
  seen.config_.Remove("history");  // it tells of fewer layers
  return seen.ToImage(epoch);
}

AciManifest Draft::Complete(AciManifest generated) const {
  generated.name = appc_.name;
  for (const auto& [name, value] : appc_.labels) SetPair(generated.labels, name, value);
  for (const auto& [name, value] : appc_.annotations) SetPair(generated.annotations, name, value);
  generated.dependencies = appc_.dependencies;
  generated.path_whitelist = appc_.path_whitelist;
  if (!appc_.app)
    return generated;
  const AciApp& given = *appc_.app;
  AciApp app = generated.app.value_or(AciApp());
  const auto names_port = [&](const AciPort& port) {
    return std::ranges::any_of(given.ports, [&](const AciPort& own) {
      return own.protocol == port.protocol && port.port >= own.port && port.port - own.port < own.count;
    });
  };
  std::erase_if(app.ports, names_port);
  for (const AciPort& port : given.ports) SetNamed(app.ports, port);
  const auto names_mount = [&](const AciMountPoint& mount) {
    return std::ranges::find(given.mount_points, mount.path, &AciMountPoint::path) != given.mount_points.end();
  };
  std::erase_if(app.mount_points, names_mount);
  for (const AciMountPoint& mount : given.mount_points) SetNamed(app.mount_points, mount);
  app.supplementary_gids = given.supplementary_gids;
  app.event_handlers = given.event_handlers;
  app.isolators = given.isolators;
  app.user_annotations = given.user_annotations;
  generated.app = std::move(app);
  return generated;
}

VerifiedImage Authoring::Finish(const Draft& draft, const VerifiedImage* base, int64_t epoch,
                                const std::vector<const VerifiedImage*>& below) {
  const bool matches = base == nullptr ? !draft.base() && draft.base_layers() == 0
                                       : draft.base() && draft.base()->manifest == base->image().descriptor.digest;
  if (!matches)
    throw Error(ErrorKind::kFailed, "the draft was begun on another image than the one that was verified");
  std::string vouched_by = base == nullptr ? "whoever built it here" : base->vouched_by() + "; built upon here";
  std::vector<const Image*> images;
  for (const VerifiedImage* dependency : below) {
    images.push_back(&dependency->image());
    vouched_by += "; " + dependency->vouched_by();
  }
  const Image image = images.empty() ? draft.ToImage(epoch) : draft.ToImage(epoch, images);
  return {FetchedImage(image, std::nullopt), std::move(vouched_by)};
}

}  // namespace gantry::image
