// gantry run list, status, cat-manifest.
#include <time.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "runner/pod_manifest.h"
#include "tools/run_pod.h"
#include "tools/run_verbs.h"
#include "tools/table.h"

namespace gantry::tools {
namespace {

using runner::AppStatus;
using runner::PodRecord;
using runner::PodState;

constexpr size_t kShortUuid = 8;

struct ShowOptions {
  VerbOptions verb;
  bool full = false, wait = false, wait_ready = false;
};

std::string AppState(const PodRecord& pod, const AppStatus& status) {
  if (status.pid)
    return "running";
  if (status.code)
    return "exited";
  return pod.state() == PodState::kRunning ? "starting" : std::string(ToString(pod.state()));
}

json::Object AppJson(const PodRecord& pod, const runner::AppPlan& app) {
  const AppStatus status = pod.StatusOf(app.name);
  json::Object out{{"name", app.name}, {"image", app.image}, {"state", AppState(pod, status)}};
  if (app.digest)
    out.Append("digest", app.digest->str());
  if (status.pid)
    out.Append("pid", *status.pid);
  if (status.code)
    out.Append("code", *status.code);
  if (!status.started.empty())
    out.Append("started", status.started);
  if (!status.exited.empty())
    out.Append("exited", status.exited);
  out.Append("starts", uint64_t{status.starts});
  if (!status.health.empty())
    out.Append("health", status.health);
  if (!status.health_output.empty())
    out.Append("healthOutput", status.health_output);
  json::Object measured;
  for (const auto& [part, digest] : status.measured) measured.Append(part, digest.str());
  if (!status.measured.empty())
    out.Append("verifiedBoot", std::move(measured));
  return out;
}

json::Object PortJson(const runner::PublishedPort& port) {
  return {{"hostAddress", runner::ToString(port.host_address)},
          {"hostPort", uint64_t{port.host_port}},
          {"port", uint64_t{port.port}},
          {"protocol", port.udp ? "udp" : "tcp"}};
}

// All apps of a pod have its network.
std::vector<runner::PublishedPort> PortsOf(const PodRecord& pod) {
  const auto& apps = pod.plan().apps;
  return apps.empty() ? std::vector<runner::PublishedPort>{} : apps.front().config.net.ports;
}

json::Object PodJson(const PodRecord& pod) {
  json::Object out{{"uuid", pod.uuid()},
                   {"state", ToString(pod.state())},
                   {"created", pod.plan().created},
                   {"kept", pod.plan().kept}};
  if (const auto runner = pod.runner())
    out.Append("runner", *runner);
  if (const auto code = pod.code(); code && pod.state() == PodState::kExited)
    out.Append("code", *code);
  for (const runner::PodEvent& event : pod.events()) {
    if (event.kind == runner::PodEvent::Kind::kFailed)
      out.Append("reason", event.text);
  }
  if (!pod.problem().empty())
    out.Set("reason", pod.problem());
  if (const auto addresses = pod.addresses(); !addresses.empty())
    out.Append("addresses", addresses);
  json::Array ports;
  for (const runner::PublishedPort& port : PortsOf(pod)) ports.emplace_back(PortJson(port));
  if (!ports.empty())
    out.Append("ports", std::move(ports));
  json::Array apps;
  for (const runner::AppPlan& app : pod.plan().apps) apps.emplace_back(AppJson(pod, app));
  out.Append("apps", std::move(apps));
  return out;
}

int List(const ShowOptions& options) {
  const std::optional<Dir> dir = TryOpenPods(*options.verb.common);
  const std::vector<PodRecord> pods = dir ? runner::ListPods(*dir) : std::vector<PodRecord>();
  if (options.verb.json) {
    json::Array out;
    for (const PodRecord& pod : pods) out.emplace_back(PodJson(pod));
    PrintJson(std::move(out));
    return 0;
  }
  if (options.verb.common->quiet) {
    for (const PodRecord& pod : pods) std::printf("%s\n", pod.uuid().c_str());
    return 0;
  }
  Table table({"UUID", "APP", "IMAGE", "STATE", "CODE", "HEALTH", "CREATED"});
  for (const PodRecord& pod : pods) {
    std::string uuid = options.full ? pod.uuid() : pod.uuid().substr(0, kShortUuid);
    if (!pod.problem().empty())
      table.Add({uuid, "", "", std::string(ToString(pod.state())), "", "", ""});
    std::string created = pod.plan().created.substr(0, 19) + "Z";
    for (const runner::AppPlan& app : pod.plan().apps) {
      const AppStatus status = pod.StatusOf(app.name);
      table.Add({std::exchange(uuid, ""), app.name, app.image, AppState(pod, status),
                 status.code ? std::to_string(*status.code) : "", status.health, std::exchange(created, "")});
    }
  }
  std::fputs(table.ToString().c_str(), stdout);
  return 0;
}

bool IsReady(const PodRecord& pod) {
  for (const runner::AppPlan& app : pod.plan().apps) {
    const AppStatus status = pod.StatusOf(app.name);
    if (!status.pid || (app.config.health && status.health != "healthy"))
      return false;
  }
  return true;
}

bool HasEnded(const PodRecord& pod) {
  return pod.state() == PodState::kExited || pod.state() == PodState::kKilled || pod.state() == PodState::kUnreadable;
}

void Print(const PodRecord& pod) {
  std::printf("uuid=%s\nstate=%s\ncreated=%s\n", pod.uuid().c_str(), std::string(ToString(pod.state())).c_str(),
              pod.plan().created.c_str());
  if (const auto runner = pod.runner())
    std::printf("runner=%d\n", *runner);
  for (const std::string& address : pod.addresses()) std::printf("address=%s\n", address.c_str());
  for (const runner::PublishedPort& port : PortsOf(pod)) std::printf("port=%s\n", port.ToString().c_str());
  for (const runner::AppPlan& app : pod.plan().apps) {
    const AppStatus status = pod.StatusOf(app.name);
    const char* name = app.name.c_str();
    if (status.pid)
      std::printf("pid-%s=%d\n", name, *status.pid);
    if (status.code)
      std::printf("app-%s=%d\n", name, *status.code);
    if (!status.started.empty())
      std::printf("started-%s=%s\n", name, status.started.c_str());
    if (!status.exited.empty())
      std::printf("exited-%s=%s\n", name, status.exited.c_str());
    if (!status.health.empty())
      std::printf("health-%s=%s\n", name, status.health.c_str());
    for (const auto& [part, digest] : status.measured)
      std::printf("%s-%s=%s\n", part.c_str(), name, digest.str().c_str());
    if (status.starts > 1)
      std::printf("starts-%s=%u\n", name, status.starts);
  }
}

int Status(const ShowOptions& options) {
  const Dir pods = OpenPods(*options.verb.common);
  PodRecord pod = NamedPod(pods, options.verb);
  const timespec pause = {0, 50'000'000};
  while ((options.wait && !HasEnded(pod)) || (options.wait_ready && !IsReady(pod) && !HasEnded(pod))) {
    nanosleep(&pause, nullptr);
    auto again = PodRecord::Read(pods, pod.uuid());
    if (!again)
      throw Error(ErrorKind::kNotFound, "pod " + pod.uuid() + " is gone", "only pods of --detach without --rm stay");
    pod = *std::move(again);
  }
  if (options.verb.json)
    PrintJson(PodJson(pod));
  else
    Print(pod);
  return options.wait_ready && !IsReady(pod) ? static_cast<int>(ErrorKind::kFailed) : 0;
}

int CatManifest(const ShowOptions& options) {
  PrintJson(runner::PrintPodManifest(NamedPod(OpenPods(*options.verb.common), options.verb).plan()));
  return 0;
}

}  // namespace

void AddShowVerbs(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions) {
  const auto options = std::make_shared<ShowOptions>();
  options->verb.common = &common;
  CLI::App* list =
      AddVerb(app, "list", "print the pods: what runs, what has ended, what is prepared", "", options->verb);
  list->add_flag("--full", options->full, "print UUIDs whole");
  CLI::App* status = AddVerb(app, "status", "print what is known of one pod", "POD", options->verb);
  status->add_flag("--wait", options->wait, "wait until it has ended");
  status->add_flag("--wait-ready", options->wait_ready, "wait until its apps run, and are healthy where they tell");
  CLI::App* manifest = AddVerb(app, "cat-manifest", "print a pod as an appc pod manifest", "POD", options->verb);
  actions.push_back({list, [options] { return List(*options); }});
  actions.push_back({status, [options] { return Status(*options); }});
  actions.push_back({manifest, [options] { return CatManifest(*options); }});
}

}  // namespace gantry::tools
