#include "libimage/convert/docker_to_appc.h"

#include <algorithm>
#include <set>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/convert/appc_to_docker.h"

namespace gantry::image {
namespace {

constexpr std::string_view kOriginalNameAnnotation = "appc.io/docker/originalname";
constexpr std::string_view kRegistryAnnotation = "appc.io/docker/registryurl";
constexpr std::string_view kRepositoryAnnotation = "appc.io/docker/repository";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

[[noreturn]] void Unsupported(const std::string& problem, const std::string& hint) {
  throw Error(ErrorKind::kUnsupported, problem, hint);
}

// RFC 3339, as far as appc validators look: anything else would make the ACI invalid.
bool IsTime(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() <= kShape.size())
    return false;
  for (size_t i = 0; i < kShape.size(); ++i) {
    if (kShape[i] == '0' ? !IsDigit(text[i]) : text[i] != kShape[i])
      return false;
  }
  text.remove_prefix(kShape.size());
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const size_t digits = std::find_if_not(text.begin(), text.end(), IsDigit) - text.begin();
    if (digits == 0)
      return false;
    text.remove_prefix(digits);
  }
  return text == "Z" || (text.size() == 6 && (text[0] == '+' || text[0] == '-') && IsDigit(text[1]) &&
                         IsDigit(text[2]) && text[3] == ':' && IsDigit(text[4]) && IsDigit(text[5]));
}

std::vector<AppcPair> Annotations(const Image& image, const AciNaming& naming) {
  const ImageConfig& config = image.config;
  std::vector<AppcPair> out;
  const auto add = [&out](std::string_view name, const std::string& value) {
    if (!value.empty())
      out.emplace_back(name, value);
  };
  const auto list = [](const std::vector<std::string>& texts) {
    return texts.empty() ? std::string() : json::Print(json::Value(texts));
  };
  add("authors", config.author);
  add("created", IsTime(config.created) ? config.created : "");
  add("docker-comment", config.comment);
  add(kOriginalNameAnnotation, naming.original_name);
  add(kRegistryAnnotation, naming.registry);
  add(kRepositoryAnnotation, naming.repository);
  add("appc.io/docker/imageid", image.manifest.config.digest.str());
  add("appc.io/docker/manifesthash", image.descriptor.digest.str());
  add(kEntrypointAnnotation, list(config.entrypoint));
  add(kCmdAnnotation, list(config.cmd));
  add(kUserAnnotation, config.user.find(':') == std::string::npos ? config.user : "");
  add(kStopSignalAnnotation, config.stop_signal);
  add(kConfigAnnotation, image.config_bytes.size() <= json::kMaxStringBytes ? image.config_bytes : "");
  return out;
}

void SetUser(const std::string& docker, AciApp& app) {
  const size_t colon = docker.find(':');
  app.user = docker.empty() ? "0" : docker.substr(0, colon);
  app.group = colon == std::string::npos ? app.user : docker.substr(colon + 1);
  if (app.user.empty())
    Unsupported("the image's user " + Quoted(docker) + " has a group and no user, and an ACI needs both",
                "set a user in the image");
  if (app.group.empty())
    app.group = app.user;
}

std::vector<AppcPair> Environment(const std::vector<std::string>& docker) {
  std::vector<AppcPair> out;
  for (const std::string& entry : docker) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos)
      continue;
    const std::string name = entry.substr(0, equals);
    const auto allowed = [](char c) { return IsLetter(c) || IsDigit(c) || c == '_' || c == '.' || c == '-'; };
    if (name.empty() || !(IsLetter(name[0]) || name[0] == '_') || !std::all_of(name.begin(), name.end(), allowed)) {
      Unsupported("an ACI cannot hold the environment variable " + Quoted(name),
                  "names begin with a letter or '_', then letters, digits, '_', '.' and '-'; convert to oci: instead");
    }
    const auto same = std::find_if(out.begin(), out.end(), [&](const AppcPair& pair) { return pair.first == name; });
    if (same == out.end()) {
      out.emplace_back(name, entry.substr(equals + 1));
    } else {
      same->second = entry.substr(equals + 1);
    }
  }
  return out;
}

AciPort Port(const std::string& docker) {
  const size_t slash = docker.find('/');
  const std::string number = docker.substr(0, slash);
  AciPort port;
  port.port = ParseDecimal<uint64_t>(number).value_or(0);
  if (port.port < 1 || port.port > 65535) {
    Unsupported("an ACI cannot hold the exposed port " + Quoted(docker),
                "expected one number from 1 to 65535, and a protocol: 80/tcp");
  }
  port.name = ToAcName(docker);
  port.protocol = slash == std::string::npos ? "tcp" : docker.substr(slash + 1);
  return port;
}

std::vector<AciPort> Ports(const std::vector<std::string>& docker) {
  std::vector<AciPort> out;
  for (const std::string& text : docker) {
    AciPort port = Port(text);
    const auto same = std::find_if(out.begin(), out.end(), [&](const AciPort& p) { return p.name == port.name; });
    if (same == out.end())
      out.push_back(std::move(port));
    else if (same->port != port.port)
      Unsupported("two exposed ports of the image would be called " + Quoted(port.name) + " in an ACI", "");
  }
  std::sort(out.begin(), out.end(), [](const AciPort& a, const AciPort& b) { return a.name < b.name; });
  return out;
}

// "volume/var/lib/x_y" is "volume-var-lib-x-y"; doubled and final slashes do not count.
std::string VolumeName(const std::string& path) {
  std::string joined = "volume/";
  for (const char c : path) {
    if (c != '/' || joined.back() != '/')
      joined += c;
  }
  return ToAcName(joined);
}

std::vector<AciMountPoint> MountPoints(const std::vector<std::string>& volumes) {
  std::vector<AciMountPoint> out;
  std::set<std::string> taken;
  for (const std::string& path : volumes) taken.insert(VolumeName(path));
  std::set<std::string> given;
  for (const std::string& path : volumes) {
    const std::string plain = VolumeName(path);
    std::string name = plain;
    for (int i = 1; given.contains(name) || (i > 1 && taken.contains(name)); ++i)
      name = plain + "-" + std::to_string(i);
    given.insert(name);
    out.push_back({name, path, false});
  }
  std::sort(out.begin(), out.end(), [](const AciMountPoint& a, const AciMountPoint& b) { return a.name < b.name; });
  return out;
}

}  // namespace

AciNaming AciNaming::For(const DockerReference& name) {
  AciNaming naming;
  naming.registry = name.host == "docker.io" ? "registry-1.docker.io" : name.host;
  naming.repository = name.path;
  naming.name = ToAcIdentifier(naming.registry + "/" + naming.repository);
  naming.version = name.digest && name.tag.empty() ? "" : name.WithDefaultTag().tag;
  naming.original_name = name.ToString();
  return naming;
}

AciNaming AciNaming::ForLayout(const std::string& directory, const std::string& ref) {
  if (ref.find('/') != std::string::npos) {
    try {
      return For(DockerReference::Parse(ref));
    } catch (const Error&) {
      // Any text may stand there.
    }
  }
  std::string path = directory;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  AciNaming naming;
  naming.name = ToAcIdentifier(path.substr(path.rfind('/') + 1));
  naming.version = ref.find(':') == std::string::npos ? ref : "";
  return naming;
}

AciNaming AciNaming::Of(const AciManifest& manifest) {
  const auto text = [](const std::vector<AppcPair>& pairs, std::string_view key) {
    const std::string* const value = FindPair(pairs, key);
    return value == nullptr ? std::string() : *value;
  };
  return {.name = manifest.name,
          .version = text(manifest.labels, "version"),
          .original_name = text(manifest.annotations, kOriginalNameAnnotation),
          .registry = text(manifest.annotations, kRegistryAnnotation),
          .repository = text(manifest.annotations, kRepositoryAnnotation)};
}

std::string AciNaming::FileStem() const {
  std::string stem = repository.empty() ? name : repository;
  if (!version.empty())
    stem += "-" + version;
  std::replace(stem.begin(), stem.end(), '/', '-');
  return stem;
}

AciApp ToAciApp(const ImageConfig& config) {
  AciApp app;
  app.exec = config.entrypoint;
  app.exec.insert(app.exec.end(), config.cmd.begin(), config.cmd.end());
  SetUser(config.user, app);
  if (!config.working_dir.empty() && !config.working_dir.starts_with('/')) {
    Unsupported("an ACI cannot hold the relative working directory " + Quoted(config.working_dir),
                "set an absolute one in the image, or convert to oci:");
  }
  app.working_directory = config.working_dir;
  app.environment = Environment(config.env);
  app.mount_points = MountPoints(config.volumes);
  app.ports = Ports(config.exposed_ports);
  for (const auto& [name, value] : config.labels) app.user_labels.emplace_back(name, value);
  return app;
}

std::vector<AppcPair> ToAciPlatform(const Platform& platform) {
  if (platform.os != "linux" && platform.os != "freebsd" && platform.os != "darwin") {
    Unsupported("an ACI cannot hold an image for " + Quoted(platform.os),
                "choose another with --platform, or convert to oci:");
  }
  // The specification lists the architectures of each system; Docker's that are on no list stay unsaid.
  const std::optional<std::string> arch = ToAppcArch(platform.architecture, platform.variant);
  const bool listed = platform.os == "linux" || platform.architecture == "amd64" || platform.architecture == "386" ||
                      (platform.os == "freebsd" && platform.architecture == "arm");
  if (!arch || !listed)
    return {};
  const bool darwin = platform.os == "darwin" && platform.architecture == "amd64";
  const bool bsd_arm = platform.os == "freebsd" && platform.architecture == "arm";
  return {{"arch", darwin ? "x86_64" : bsd_arm ? "arm" : *arch}, {"os", platform.os}};
}

namespace {

AciManifest PlainManifest(const Image& image, const AciNaming& naming) {
  AciManifest manifest;
  manifest.name = naming.name;
  manifest.labels = ToAciPlatform(image.config.platform);
  if (!naming.version.empty())
    manifest.labels.emplace_back("version", naming.version);
  manifest.app = ToAciApp(image.config);
  manifest.annotations = Annotations(image, naming);
  return manifest;
}

// What only an ACI has, and what says what the image was called before.
void Restore(const AciManifest& carried, const Image& image, AciManifest& manifest) {
  RequireSameExecution(carried, image.config_bytes, kAciAnnotation);
  manifest.app = carried.app;
  const auto add = [](const std::vector<AppcPair>& from, std::vector<AppcPair>& to) {
    for (const AppcPair& pair : from) {
      if (FindPair(to, pair.first) == nullptr)
        to.push_back(pair);
    }
  };
  add(carried.labels, manifest.labels);
  add(carried.annotations, manifest.annotations);
}

}  // namespace

AciManifest ToAciManifest(const Image& image, const AciNaming& naming) {
  AciManifest manifest = PlainManifest(image, naming);
  const auto carried = image.manifest.annotations.find(std::string(kAciAnnotation));
  if (carried != image.manifest.annotations.end())
    Restore(AciManifest::Parse(carried->second), image, manifest);
  return manifest;
}

}  // namespace gantry::image
