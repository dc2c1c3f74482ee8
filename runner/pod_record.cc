#include "runner/pod_record.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/time_text.h"
#include "runner/config_json.h"
#include "runner/container_state.h"
#include "runner/pod_manifest.h"

namespace gantry::runner {
namespace {

constexpr std::string_view kKept = "kept";
constexpr std::string_view kMachine = "vm";
constexpr std::string_view kKinds[] = {"prepared",  "runner", "started",  "exited", "healthy",
                                       "unhealthy", "failed", "measured", "network"};
constexpr std::string_view kStates[] = {"preparing", "prepared", "running", "exited", "killed", "unreadable"};
constexpr const char* kMeasuredParts[] = {"kernel", "initramfs", "root"};
constexpr size_t kMaxDiffIds = 1024;
constexpr size_t kMaxAddresses = 256;
constexpr size_t kShownOutput = 4096;

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    // A line without an end is being written.
    if (end == std::string_view::npos)
      break;
    out.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return out;
}

AppPlan ParseApp(const json::Cursor& at) {
  AppPlan out;
  out.name = at.At("name").String();
  out.image = at.At("image").String();
  if (const auto digest = at.Find("digest"))
    out.digest = Digest::Parse(digest->String());
  for (const std::string& id : at.At("diffIDs").Strings(kMaxDiffIds)) out.diff_ids.push_back(Digest::Parse(id));
  out.config = ParseConfig(at.At("config"));
  if (const auto id = at.Find("imageID"))
    out.image_id = id->String();
  out.annotations = ParseAnnotations(at);
  return out;
}

LogDriver ParseLogDriver(const json::Cursor& at) {
  const auto* const found = std::ranges::find(kLogDrivers, at.String());
  if (found == kLogDrivers.end())
    at.Fail("unknown log driver");
  return static_cast<LogDriver>(found - kLogDrivers.begin());
}

PodEvent ParseEvent(const json::Cursor& at) {
  PodEvent out;
  const json::Cursor kind = at.At("event");
  const auto* const found = std::ranges::find(kKinds, kind.String());
  if (found == std::end(kKinds))
    kind.Fail("unknown event");
  out.kind = static_cast<PodEvent::Kind>(found - std::begin(kKinds));
  out.time = at.At("time").String();
  if (const auto app = at.Find("app"))
    out.app = app->String();
  if (const auto pid = at.Find("pid"))
    out.pid = static_cast<pid_t>(pid->Integer(0, std::numeric_limits<pid_t>::max()));
  if (const auto start = at.Find("startTime"))
    out.start_time = start->Unsigned(std::numeric_limits<uint64_t>::max());
  if (const auto code = at.Find("code"))
    out.code = static_cast<int>(code->Integer(0, 255));
  if (const auto text = at.Find("text"))
    out.text = text->String();
  for (const char* part : kMeasuredParts) {
    if (const auto digest = at.Find(part))
      out.digests.emplace(part, Digest::Parse(digest->String()));
  }
  if (const auto addresses = at.Find("addresses"))
    out.addresses = addresses->Strings(kMaxAddresses);
  return out;
}

bool Lives(const PodEvent& event) {
  const auto now = StartTimeOf(event.pid);
  return event.pid > 0 && now && *now == event.start_time;
}

}  // namespace

std::string PrintPlan(const PodPlan& plan, const std::vector<std::string>& cgroups) {
  std::string out;
  if (plan.kept)
    out += std::string(kKept) + "\n";
  for (const AppPlan& app : plan.apps) {
    if (app.digest)
      out += app.digest->str() + "\n";
    for (const Digest& diff_id : app.diff_ids) out += diff_id.str() + "\n";
  }
  for (const std::string& path : cgroups) out += path + "\n";
  json::Array apps;
  for (const AppPlan& app : plan.apps) {
    std::vector<std::string> diff_ids;
    for (const Digest& diff_id : app.diff_ids) diff_ids.push_back(diff_id.str());
    json::Object one{{"name", app.name}, {"image", app.image}};
    if (app.digest)
      one.Append("digest", app.digest->str());
    one.Append("diffIDs", diff_ids);
    one.Append("config", PrintConfig(app.config));
    if (!app.image_id.empty())
      one.Append("imageID", app.image_id);
    if (!app.annotations.empty())
      one.Append("annotations", PrintAnnotations(app.annotations));
    apps.emplace_back(std::move(one));
  }
  json::Object all{{"created", plan.created}, {"apps", std::move(apps)}};
  if (plan.own_ids != 0)
    all.Append("ownIDs", uint64_t{plan.own_ids});
  if (plan.log != LogDriver::kFile)
    all.Append("log", kLogDrivers[static_cast<size_t>(plan.log)]);
  if (plan.metadata)
    all.Append("metadata", true);
  if (plan.machine)
    all.Append("isolation", kMachine);
  if (!plan.command.empty()) {
    all.Append("command", plan.command);
    all.Append("directory", plan.directory);
  }
  if (!plan.annotations.empty())
    all.Append("annotations", PrintAnnotations(plan.annotations));
  return out + json::Print(all) + "\n";
}

std::string PrintEvent(const PodEvent& event) {
  json::Object out{{"event", kKinds[static_cast<size_t>(event.kind)]}, {"time", NowText()}};
  if (!event.app.empty())
    out.Append("app", event.app);
  if (event.pid != 0) {
    out.Append("pid", event.pid);
    out.Append("startTime", event.start_time);
  }
  if (event.kind == PodEvent::Kind::kExited)
    out.Append("code", event.code);
  if (!event.text.empty())
    out.Append("text", event.text.substr(0, kShownOutput));
  for (const auto& [part, digest] : event.digests) out.Append(part, digest.str());
  if (!event.addresses.empty())
    out.Append("addresses", event.addresses);
  return json::Print(out) + "\n";
}

std::string_view ToString(PodState state) { return kStates[static_cast<size_t>(state)]; }

PodRecord PodRecord::Parse(std::string_view text, const std::string& uuid) {
  PodRecord out;
  out.uuid_ = uuid;
  const std::string what = "the file of the pod " + uuid;
  for (const std::string_view line : Lines(text)) {
    if (line == kKept) {
      out.plan_.kept = true;
    } else if (line.starts_with('{')) {
      const json::Value value = json::Parse(line, what);
      const json::Cursor at(value, what);
      if (out.whole_) {
        out.events_.push_back(ParseEvent(at));
        continue;
      }
      out.plan_.created = at.At("created").String();
      for (const json::Cursor& app : at.At("apps").Elements(kMaxApps)) out.plan_.apps.push_back(ParseApp(app));
      if (const auto ids = at.Find("ownIDs"))
        out.plan_.own_ids = static_cast<uint32_t>(ids->Unsigned(kMaxSpecId));
      if (const auto log = at.Find("log"))
        out.plan_.log = ParseLogDriver(*log);
      if (const auto metadata = at.Find("metadata"))
        out.plan_.metadata = metadata->Bool();
      if (const auto isolation = at.Find("isolation"))
        out.plan_.machine = isolation->String() == kMachine;
      if (const auto command = at.Find("command"))
        out.plan_.command = command->Strings(kMaxSpecArguments);
      if (const auto directory = at.Find("directory"))
        out.plan_.directory = directory->String();
      out.plan_.annotations = ParseAnnotations(at);
      out.whole_ = true;
    }
  }
  return out;
}

// The events that can be read say at least who attends to it.
PodRecord PodRecord::Salvage(std::string_view text, const std::string& uuid, std::string problem) {
  PodRecord out;
  out.uuid_ = uuid;
  out.problem_ = std::move(problem);
  out.whole_ = true;
  for (const std::string_view line : Lines(text)) {
    out.plan_.kept = out.plan_.kept || line == kKept;
    try {
      const json::Value value = json::Parse(line, uuid);
      out.events_.push_back(ParseEvent(json::Cursor(value, uuid)));
    } catch (const Error&) {
      // what has the problem, or is no event
    }
  }
  return out;
}

std::optional<PodRecord> PodRecord::Read(const Dir& pods, const std::string& uuid) {
  const auto fd = pods.TryOpenBeneath(RelPath::Parse(uuid + "/" + kPodFile), O_RDONLY | O_NOFOLLOW);
  if (!fd)
    return std::nullopt;
  const bool free = flock(fd->get(), LOCK_SH | LOCK_NB) == 0;
  if (free)
    flock(fd->get(), LOCK_UN);
  const std::string text = ReadAll(fd->get(), kMaxRecordBytes, "the file of the pod " + uuid);
  PodRecord out;
  try {
    out = Parse(text, uuid);
  } catch (const Error& error) {
    out = Salvage(text, uuid, error.message());
  }
  if (!out.whole_)
    return std::nullopt;
  out.locked_ = !free;
  return out;
}

PodState PodRecord::state() const {
  if (!problem_.empty())
    return locked_ ? PodState::kRunning : PodState::kUnreadable;
  size_t running = 0;
  size_t ended = 0;
  for (const AppPlan& app : plan_.apps) {
    const AppStatus status = StatusOf(app.name);
    running += status.pid ? 1 : 0;
    ended += status.code ? 1 : 0;
  }
  if (running > 0)
    return PodState::kRunning;
  if (!plan_.apps.empty() && ended == plan_.apps.size())
    return PodState::kExited;
  if (locked_)
    return ended > 0 ? PodState::kRunning : PodState::kPreparing;
  if (events_.empty() || events_.back().kind == PodEvent::Kind::kPrepared)
    return events_.empty() ? PodState::kKilled : PodState::kPrepared;
  return events_.back().kind == PodEvent::Kind::kFailed ? PodState::kExited : PodState::kKilled;
}

AppStatus PodRecord::StatusOf(const std::string& app) const {
  AppStatus out;
  for (const PodEvent& event : events_) {
    if (event.app != app)
      continue;
    if (event.kind == PodEvent::Kind::kStarted) {
      out.started = event.time;
      out.exited.clear();
      out.code.reset();
      out.pid = Lives(event) ? std::optional(event.pid) : std::nullopt;
      out.health = App(app).config.health ? "starting" : "";
      ++out.starts;
    } else if (event.kind == PodEvent::Kind::kExited) {
      out.exited = event.time;
      out.code = event.code;
      out.pid.reset();
      out.health.clear();
    } else if (event.kind == PodEvent::Kind::kMeasured) {
      out.measured = event.digests;
    } else if (event.kind == PodEvent::Kind::kHealthy || event.kind == PodEvent::Kind::kUnhealthy) {
      out.health = event.kind == PodEvent::Kind::kHealthy ? "healthy" : "unhealthy";
      out.health_output = event.text;
    }
  }
  return out;
}

std::optional<int> PodRecord::code() const {
  size_t ended = 0;
  for (const PodEvent& event : events_) {
    if (event.kind == PodEvent::Kind::kFailed)
      return event.code == 0 ? 125 : event.code;
    if (event.kind == PodEvent::Kind::kExited && event.code != 0)
      return event.code;
    ended += event.kind == PodEvent::Kind::kExited ? 1 : 0;
  }
  return ended >= plan_.apps.size() && !plan_.apps.empty() ? std::optional(0) : std::nullopt;
}

std::vector<std::string> PodRecord::addresses() const {
  if (state() != PodState::kRunning && state() != PodState::kPreparing)
    return {};
  for (auto event = events_.rbegin(); event != events_.rend(); ++event) {
    if (event->kind == PodEvent::Kind::kNetwork)
      return event->addresses;
  }
  return {};
}

std::optional<pid_t> PodRecord::runner() const {
  for (auto event = events_.rbegin(); event != events_.rend(); ++event) {
    if (event->kind == PodEvent::Kind::kRunner)
      return Lives(*event) ? std::optional(event->pid) : std::nullopt;
  }
  return std::nullopt;
}

const AppPlan& PodRecord::App(const std::string& name) const {
  if (name.empty() && plan_.apps.size() == 1)
    return plan_.apps.front();
  std::string names;
  for (const AppPlan& app : plan_.apps) {
    if (app.name == name)
      return app;
    names += (names.empty() ? "" : ", ") + app.name;
  }
  throw Error(ErrorKind::kUsage,
              name.empty() ? "pod " + uuid_ + " has several apps" : "pod " + uuid_ + " has no app " + Quoted(name),
              "give --app one of: " + names);
}

bool IsUuid(std::string_view name) {
  if (name.size() != 36)
    return false;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'f');
    if (dash ? name[i] != '-' : !hex)
      return false;
  }
  return true;
}

std::vector<PodRecord> ListPods(const Dir& pods) {
  std::vector<PodRecord> out;
  for (const std::string& name : pods.List()) {
    if (!IsUuid(name))
      continue;
    if (auto record = PodRecord::Read(pods, name))
      out.push_back(*std::move(record));
  }
  std::ranges::stable_sort(out, std::greater<>(), [](const PodRecord& pod) { return pod.plan().created; });
  return out;
}

PodRecord FindPod(const Dir& pods, const std::string& text, bool any) {
  if (text.empty())
    throw Error(ErrorKind::kUsage, "no pod is named", "see 'gantry run list'");
  std::vector<PodRecord> found;
  for (PodRecord& pod : ListPods(pods)) {
    const auto& apps = pod.plan().apps;
    if (pod.uuid().starts_with(text) || std::ranges::find(apps, text, &AppPlan::name) != apps.end())
      found.push_back(std::move(pod));
  }
  if (found.empty())
    throw Error(ErrorKind::kNotFound, "there is no pod " + Quoted(text), "'gantry run list' lists the pods");
  if (found.size() > 1)
    throw Error(ErrorKind::kUsage, Quoted(text) + " names " + std::to_string(found.size()) + " pods",
                "give more of the UUID: " + found[0].uuid() + ", " + found[1].uuid());
  if (!any && !found.front().problem().empty())
    throw Error(ErrorKind::kCorrupt, found.front().problem(),
                "remove the pod with: gantry run rm -f " + found.front().uuid());
  return std::move(found.front());
}

}  // namespace gantry::runner
