#include "libimage/model/config.h"

#include <limits>

#include "libimage/base/error.h"
#include "libimage/model/letter_case.h"
#include "libimage/model/manifest.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxArguments = 10'000;
constexpr size_t kMaxArgumentBytes = 128 * 1024;  // what execve takes of one argument or variable
constexpr size_t kMaxVariables = 10'000;
constexpr size_t kMaxVolumes = 1000;
constexpr size_t kMaxPorts = 65'536 * 3;
constexpr size_t kMaxLabels = 10'000;
constexpr size_t kMaxHistory = 10'000;
constexpr size_t kMaxPathBytes = 4096;
constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxProseBytes = json::kMaxStringBytes;

std::string Argument(const json::Cursor& from) {
  const std::string& text = from.String(kMaxArgumentBytes);
  if (text.find('\0') != std::string::npos)
    from.Fail("holds a NUL byte");
  return text;
}

std::vector<std::string> Arguments(const std::optional<json::Cursor>& from, size_t max_count) {
  std::vector<std::string> out;
  if (!from)
    return out;
  for (const json::Cursor& element : from->Elements(max_count)) out.push_back(Argument(element));
  return out;
}

// Entrypoint and Cmd; images of the first years hold one string, which a shell executes.
std::vector<std::string> CommandLine(const std::optional<json::Cursor>& from) {
  if (!from || from->value().string() == nullptr)
    return Arguments(from, kMaxArguments);
  std::string text = Argument(*from);
  if (text.empty())
    return {};
  return {"/bin/sh", "-c", std::move(text)};
}

// The keys of an object that stands for a set, sorted.
std::vector<std::string> Keys(const std::optional<json::Cursor>& from, size_t max_count, size_t max_bytes) {
  std::vector<std::string> out;
  if (!from)
    return out;
  for (const auto& [key, member] : from->Members(max_count)) {
    if (key.empty() || key.size() > max_bytes || key.find('\0') != std::string::npos)
      member.Fail("this name is empty, too long or holds a NUL byte");
    out.push_back(key);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, std::string> Labels(const std::optional<json::Cursor>& from) {
  std::map<std::string, std::string> out;
  if (!from)
    return out;
  for (const auto& [key, member] : from->Members(kMaxLabels))
    out.emplace(key, member.value().is_null() ? std::string() : member.String());
  return out;
}

HealthCheck ParseHealthCheck(const json::Cursor& from) {
  const FoldedMembers members(from);
  const auto number = [&](std::string_view name) {
    const auto member = members.Find(name);
    return member ? member->Unsigned(std::numeric_limits<int64_t>::max()) : 0;
  };
  return {.test = Arguments(members.Find("Test"), kMaxArguments),
          .interval_ns = number("Interval"),
          .timeout_ns = number("Timeout"),
          .start_period_ns = number("StartPeriod"),
          .retries = number("Retries")};
}

void ParseExecution(const json::Cursor& from, ImageConfig& out) {
  const FoldedMembers members(from);
  out.user = members.Text("User", kMaxNameBytes);
  out.env = Arguments(members.Find("Env"), kMaxVariables);
  out.entrypoint = CommandLine(members.Find("Entrypoint"));
  out.cmd = CommandLine(members.Find("Cmd"));
  out.working_dir = members.Text("WorkingDir", kMaxPathBytes);
  out.volumes = Keys(members.Find("Volumes"), kMaxVolumes, kMaxPathBytes);
  out.exposed_ports = Keys(members.Find("ExposedPorts"), kMaxPorts, kMaxNameBytes);
  out.labels = Labels(members.Find("Labels"));
  out.stop_signal = members.Text("StopSignal", kMaxNameBytes);
  if (const auto check = members.Find("Healthcheck"))
    out.health_check = ParseHealthCheck(*check);
}

std::vector<Digest> ParseDiffIds(const json::Cursor& rootfs) {
  const FoldedMembers members(rootfs);
  if (members.Text("type", kMaxNameBytes) != "layers")
    rootfs.Fail("expected a member 'type' with value 'layers'");
  std::vector<Digest> out;
  if (const auto list = members.Find("diff_ids")) {
    for (const json::Cursor& element : list->Elements(kMaxLayers)) out.push_back(ParseDigest(element));
  }
  return out;
}

HistoryEntry ParseHistoryEntry(const json::Cursor& from) {
  const FoldedMembers members(from);
  const auto empty_layer = members.Find("empty_layer");
  return {.created = members.Text("created", kMaxNameBytes),
          .author = members.Text("author", kMaxProseBytes),
          .created_by = members.Text("created_by", kMaxProseBytes),
          .comment = members.Text("comment", kMaxProseBytes),
          .empty_layer = empty_layer && empty_layer->Bool()};
}

Platform ParsePlatform(const json::Cursor& root, const FoldedMembers& members) {
  Platform out{members.Text("os", kMaxNameBytes), members.Text("architecture", kMaxNameBytes),
               members.Text("variant", kMaxNameBytes), members.Text("os.version", kMaxNameBytes)};
  if (out.os.empty() || out.architecture.empty())
    root.Fail("not an image configuration: 'os' or 'architecture' is missing");
  return out;
}

}  // namespace

ImageConfig ImageConfig::Parse(std::string_view bytes) {
  if (bytes.size() > kMaxConfigBytes)
    throw Error(ErrorKind::kCorrupt, "config: larger than " + std::to_string(kMaxConfigBytes) + " bytes");
  const json::Value document = json::Parse(bytes, "config");
  const json::Cursor root(document, "config");
  const FoldedMembers members(root);

  ImageConfig out;
  out.platform = ParsePlatform(root, members);
  out.created = members.Text("created", kMaxNameBytes);
  out.author = members.Text("author", kMaxProseBytes);
  out.docker_version = members.Text("docker_version", kMaxNameBytes);
  out.parent = members.Text("parent", kMaxNameBytes);
  out.comment = members.Text("comment", kMaxProseBytes);
  if (const auto execution = members.Find("config"))
    ParseExecution(*execution, out);

  const auto rootfs = members.Find("rootfs");
  if (!rootfs)
    root.Fail("not an image configuration: 'rootfs' is missing");
  out.diff_ids = ParseDiffIds(*rootfs);
  if (const auto history = members.Find("history")) {
    for (const json::Cursor& element : history->Elements(kMaxHistory))
      out.history.push_back(ParseHistoryEntry(element));
  }
  return out;
}

}  // namespace gantry::image
