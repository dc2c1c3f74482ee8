#include "libimage/model/aci_manifest.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/letter_case.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxPairs = 10'000;
constexpr size_t kMaxArguments = 10'000;
constexpr size_t kMaxGroups = 65'536;
constexpr size_t kMaxIsolators = 1000;
constexpr size_t kMaxPorts = 65'535;
constexpr size_t kMaxMountPoints = 1000;
constexpr size_t kMaxDependencies = 1000;
constexpr size_t kMaxWhitelist = 1'000'000;
constexpr size_t kMaxTextBytes = 128 * 1024;
constexpr size_t kMaxPathBytes = 4096;
constexpr size_t kMaxNameBytes = 1024;

struct ValidArch {
  std::string_view os;
  std::string_view archs;  // between spaces
};

constexpr std::array kValidArchs = {
    ValidArch{"linux", " amd64 i386 aarch64 aarch64_be armv6l armv7l armv7b ppc64 ppc64le s390x "},
    ValidArch{"freebsd", " amd64 i386 arm "},
    ValidArch{"darwin", " x86_64 i386 "},
};

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool IsVariableName(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
  });
}

// RFC 3339, section 5.6, digit by digit; days of a month are not counted.
bool IsTimestamp(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd";
  const auto matches = [](std::string_view part, std::string_view shape) {
    return part.size() == shape.size() && std::equal(part.begin(), part.end(), shape.begin(), [](char c, char s) {
             return s == 'd' ? c >= '0' && c <= '9' : c == s;
           });
  };
  if (!matches(text.substr(0, kShape.size()), kShape))
    return false;
  text.remove_prefix(kShape.size());
  if (text.starts_with('.')) {
    const size_t end = std::min(text.find_first_not_of("0123456789", 1), text.size());
    if (end == 1)
      return false;
    text.remove_prefix(end);
  }
  return text == "Z" || matches(text, "+dd:dd") || matches(text, "-dd:dd");
}

std::string RequiredText(const json::Cursor& object, const FoldedMembers& members, std::string_view name,
                         size_t max_bytes) {
  std::string out = members.Text(name, max_bytes);
  if (out.empty())
    object.Fail("member " + Quoted(name) + " is missing or empty");
  return out;
}

std::string Identifier(const json::Cursor& object, const FoldedMembers& members, std::string_view name) {
  std::string out = RequiredText(object, members, name, kMaxNameBytes);
  if (!IsAcIdentifier(out))
    object.Fail(Quoted(name) + " is not an AC Identifier: " + Quoted(out));
  return out;
}

std::string AcName(const json::Cursor& object, const FoldedMembers& members) {
  std::string out = RequiredText(object, members, "name", kMaxNameBytes);
  if (!IsAcName(out))
    object.Fail("'name' is not an AC Name: " + Quoted(out));
  return out;
}

// Every element of the list `name`, or nothing when it is absent.
void ForEach(const FoldedMembers& members, std::string_view name, size_t max_count,
             const std::function<void(const json::Cursor&)>& body) {
  if (const auto list = members.Find(name)) {
    for (const json::Cursor& element : list->Elements(max_count)) body(element);
  }
}

std::vector<std::string> Texts(const FoldedMembers& members, std::string_view name, size_t max_count) {
  std::vector<std::string> out;
  ForEach(members, name, max_count, [&](const json::Cursor& element) {
    out.push_back(element.String(kMaxTextBytes));
    if (out.back().find('\0') != std::string::npos)
      element.Fail("holds a NUL byte");
  });
  return out;
}

// A list of {"name":..,"value":..} whose names differ.
std::vector<AppcPair> Pairs(const FoldedMembers& members, std::string_view list, bool (*valid)(std::string_view),
                            std::string_view kind, size_t max_value_bytes = kMaxTextBytes) {
  std::vector<AppcPair> out;
  std::set<std::string> seen;
  ForEach(members, list, kMaxPairs, [&](const json::Cursor& element) {
    const FoldedMembers pair(element);
    std::string name = RequiredText(element, pair, "name", kMaxTextBytes);
    if (!valid(name))
      element.Fail("'name' is not " + std::string(kind) + ": " + Quoted(name));
    if (!seen.insert(name).second)
      element.Fail("the second of name " + Quoted(name));
    out.emplace_back(std::move(name), pair.Text("value", max_value_bytes));
  });
  return out;
}

std::vector<AppcPair> ParseLabels(const json::Cursor& object, const FoldedMembers& members) {
  std::vector<AppcPair> out = Pairs(members, "labels", IsAcIdentifier, "an AC Identifier");
  if (FindPair(out, "name") != nullptr)
    object.Fail("a label is called 'name'");
  const std::string* os = FindPair(out, "os");
  if (os == nullptr)
    return out;
  const auto* valid =
      std::find_if(kValidArchs.begin(), kValidArchs.end(), [&](const ValidArch& v) { return v.os == *os; });
  if (valid == kValidArchs.end())
    object.Fail("label 'os' has value " + Quoted(*os) + ", which appc does not know");
  const std::string* arch = FindPair(out, "arch");
  if (arch != nullptr &&
      (arch->find(' ') != std::string::npos || valid->archs.find(" " + *arch + " ") == std::string_view::npos))
    object.Fail("label 'arch' has value " + Quoted(*arch) + ", which appc does not know for " + *os);
  return out;
}

std::vector<AppcPair> ParseAnnotations(const json::Cursor& object, const FoldedMembers& members) {
  // Some carry documents.
  std::vector<AppcPair> out = Pairs(members, "annotations", IsAcIdentifier, "an AC Identifier", json::kMaxStringBytes);
  if (const std::string* created = FindPair(out, "created"); created != nullptr && !IsTimestamp(*created))
    object.Fail("annotation 'created' is not a time of RFC 3339: " + Quoted(*created));
  for (const std::string_view name : {"homepage", "documentation"}) {
    const std::string* url = FindPair(out, name);
    if (url != nullptr && !url->starts_with("http://") && !url->starts_with("https://"))
      object.Fail("annotation " + Quoted(name) + " is not an http or https URL: " + Quoted(*url));
  }
  return out;
}

// The members of an object of strings, in their order.
std::vector<AppcPair> ParseUserMap(const FoldedMembers& members, std::string_view name) {
  std::vector<AppcPair> out;
  if (const auto map = members.Find(name)) {
    for (const auto& [key, value] : map->Members(kMaxPairs)) out.emplace_back(key, value.String());
  }
  return out;
}

bool Flag(const FoldedMembers& members, std::string_view name) {
  const auto member = members.Find(name);
  return member && member->Bool();
}

AciEventHandler ParseEventHandler(const json::Cursor& from, std::set<std::string>& seen) {
  const FoldedMembers members(from);
  AciEventHandler out{members.Text("name", kMaxNameBytes), Texts(members, "exec", kMaxArguments)};
  if (out.name != "pre-start" && out.name != "post-stop")
    from.Fail("expected the name 'pre-start' or 'post-stop'");
  if (!seen.insert(out.name).second)
    from.Fail("the second event handler for " + Quoted(out.name));
  if (out.exec.empty())
    from.Fail("member 'exec' is missing or empty");
  return out;
}

AciMountPoint ParseMountPoint(const json::Cursor& from, std::set<std::string>& seen) {
  const FoldedMembers members(from);
  AciMountPoint out{AcName(from, members), RequiredText(from, members, "path", kMaxPathBytes),
                    Flag(members, "readOnly")};
  if (!seen.insert(out.name).second)
    from.Fail("the second mount point of name " + Quoted(out.name));
  return out;
}

AciPort ParsePort(const json::Cursor& from, std::set<std::string>& seen) {
  constexpr uint64_t kLast = 65'535;
  const FoldedMembers members(from);
  AciPort out{.name = AcName(from, members), .protocol = RequiredText(from, members, "protocol", kMaxNameBytes)};
  if (!seen.insert(out.name).second)
    from.Fail("the second port of name " + Quoted(out.name));
  if (const auto port = members.Find("port"))
    out.port = port->Unsigned(kLast);
  if (out.port == 0)
    from.Fail("expected a member 'port' from 1 to 65535");
  if (const auto count = members.Find("count"))
    out.count = std::max<uint64_t>(1, count->Unsigned(kLast));  // docker2aci writes 0 for 1
  if (out.count - 1 > kLast - out.port)
    from.Fail("its range of ports ends after 65535");
  out.socket_activated = Flag(members, "socketActivated");
  return out;
}

AciApp ParseApp(const json::Cursor& from) {
  const FoldedMembers members(from);
  AciApp out{.exec = Texts(members, "exec", kMaxArguments),
             .user = RequiredText(from, members, "user", kMaxNameBytes),
             .group = RequiredText(from, members, "group", kMaxNameBytes)};
  if (!out.exec.empty() && out.exec.front().empty())
    from.Fail("'exec' names no program");
  constexpr int64_t kMaxGid = 4'294'967'294;
  ForEach(members, "supplementaryGIDs", kMaxGroups,
          [&](const json::Cursor& gid) { out.supplementary_gids.push_back(gid.Integer(0, kMaxGid)); });
  std::set<std::string> handlers;
  ForEach(members, "eventHandlers", 2,
          [&](const json::Cursor& handler) { out.event_handlers.push_back(ParseEventHandler(handler, handlers)); });
  out.working_directory = members.Text("workingDirectory", kMaxPathBytes);
  if (!out.working_directory.empty() && out.working_directory.front() != '/')
    from.Fail("'workingDirectory' is not absolute: " + Quoted(out.working_directory));
  out.environment = Pairs(members, "environment", IsVariableName, "a name of a variable");
  std::set<std::string> points;
  ForEach(members, "mountPoints", kMaxMountPoints,
          [&](const json::Cursor& point) { out.mount_points.push_back(ParseMountPoint(point, points)); });
  std::set<std::string> ports;
  ForEach(members, "ports", kMaxPorts, [&](const json::Cursor& port) { out.ports.push_back(ParsePort(port, ports)); });
  ForEach(members, "isolators", kMaxIsolators, [&](const json::Cursor& isolator) {
    const FoldedMembers parts(isolator);
    const auto value = parts.Find("value");
    out.isolators.emplace_back(Identifier(isolator, parts, "name"), value ? value->value() : json::Value());
  });
  out.user_annotations = ParseUserMap(members, "userAnnotations");
  out.user_labels = ParseUserMap(members, "userLabels");
  return out;
}

AciDependency ParseDependency(const json::Cursor& from) {
  constexpr std::string_view kPrefix = "sha512-";
  const FoldedMembers members(from);
  AciDependency out{.image_name = Identifier(from, members, "imageName"),
                    .image_id = members.Text("imageID", kMaxNameBytes),
                    .labels = ParseLabels(from, members)};
  if (!out.image_id.empty() &&
      (!out.image_id.starts_with(kPrefix) || !Digest::TryParse("sha512:" + out.image_id.substr(kPrefix.size()))))
    from.Fail("'imageID' is not sha512- and 128 hexadecimal digits: " + Quoted(out.image_id));
  if (const auto size = members.Find("size"))
    out.size = size->Unsigned(kMaxBlobBytes);
  return out;
}

// Semantic versions; builds of one major version read each other's manifests.
std::string ParseVersion(const json::Cursor& root, const FoldedMembers& members) {
  std::string out = RequiredText(root, members, "acVersion", kMaxNameBytes);
  const std::string_view numbers = std::string_view(out).substr(0, out.find_first_of("-+"));
  const size_t first = std::min(numbers.find('.'), numbers.size());
  const size_t second = std::min(numbers.find('.', first + 1), numbers.size());
  if (first == numbers.size() || second == numbers.size() || !IsDigits(numbers.substr(0, first)) ||
      !IsDigits(numbers.substr(first + 1, second - first - 1)) || !IsDigits(numbers.substr(second + 1)) ||
      numbers.find_first_not_of("0.") == std::string_view::npos)
    root.Fail("'acVersion' is not a semantic version: " + Quoted(out));
  if (numbers.substr(0, first) != kAppcVersion.substr(0, kAppcVersion.find('.'))) {
    throw Error(ErrorKind::kUnsupported, "ACI manifest: its format is version " + Quoted(out),
                "this gantry reads versions 0.x of the App Container specification");
  }
  return out;
}

}  // namespace

const std::string* FindPair(const std::vector<AppcPair>& pairs, std::string_view name) {
  const auto found = std::find_if(pairs.begin(), pairs.end(), [&](const AppcPair& pair) { return pair.first == name; });
  return found == pairs.end() ? nullptr : &found->second;
}

AciManifest AciManifest::Parse(std::string_view bytes) {
  if (bytes.size() > kMaxAciManifestBytes)
    throw Error(ErrorKind::kCorrupt, "ACI manifest: larger than " + std::to_string(kMaxAciManifestBytes) + " bytes");
  const json::Value document = json::Parse(bytes, "ACI manifest");
  const json::Cursor root(document, "ACI manifest");
  const FoldedMembers members(root);
  if (members.Text("acKind", kMaxNameBytes) != "ImageManifest")
    root.Fail("expected a member 'acKind' with value 'ImageManifest'");
  AciManifest out{.ac_version = ParseVersion(root, members),
                  .name = Identifier(root, members, "name"),
                  .labels = ParseLabels(root, members),
                  .annotations = ParseAnnotations(root, members)};
  if (const auto app = members.Find("app"))
    out.app = ParseApp(*app);
  ForEach(members, "dependencies", kMaxDependencies,
          [&](const json::Cursor& dependency) { out.dependencies.push_back(ParseDependency(dependency)); });
  out.path_whitelist = Texts(members, "pathWhitelist", kMaxWhitelist);
  for (const std::string& path : out.path_whitelist) {
    if (!path.starts_with('/'))
      members.Find("pathWhitelist")->Fail("not an absolute path: " + Quoted(path));
  }
  return out;
}

}  // namespace gantry::image
