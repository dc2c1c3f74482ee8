// gantry run stop, rm, gc.
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/pod.h"
#include "tools/run_ids.h"
#include "tools/run_pod.h"
#include "tools/run_verbs.h"
#include "tools/table.h"

namespace gantry::tools {
namespace {

using runner::PodRecord;
using runner::PodState;

struct EndOptions {
  VerbOptions verb;
  bool force = false;
  std::string time, grace = "30m", expire = "24h";
};

// Signals the process only if it is still the one that the record names.
void Signal(const std::optional<pid_t>& pid, int number, const std::function<bool()>& still) {
  if (!pid)
    return;
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
  if (pidfd && still())
    syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
}

bool Runs(const Dir& pods, const std::string& uuid) {
  const auto pod = PodRecord::Read(pods, uuid);
  return pod && (pod->state() == PodState::kRunning || pod->state() == PodState::kPreparing);
}

bool AwaitEnd(const Dir& pods, const std::string& uuid, uint64_t seconds) {
  const timespec pause = {0, 20'000'000};
  for (uint64_t i = 0; i < seconds * 50; ++i) {
    if (!Runs(pods, uuid))
      return true;
    nanosleep(&pause, nullptr);
  }
  return !Runs(pods, uuid);
}

void KillApps(const Dir& pods, const PodRecord& pod) {
  // With its runner all of it ends; its apps are not known.
  if (!pod.problem().empty())
    Signal(pod.runner(), SIGKILL, [&] { return Runs(pods, pod.uuid()); });
  for (const runner::AppPlan& app : pod.plan().apps) {
    Signal(pod.StatusOf(app.name).pid, SIGKILL, [&] {
      const auto now = PodRecord::Read(pods, pod.uuid());
      return now && now->StatusOf(app.name).pid;
    });
  }
}

// How it ended: "stopped", or "killed" when its time was over.
std::string StopPod(const Dir& pods, const PodRecord& pod, const EndOptions& options) {
  if (!Runs(pods, pod.uuid()))
    throw Error(ErrorKind::kFailed, "pod " + pod.uuid() + " does not run: it is " + std::string(ToString(pod.state())),
                "'gantry run rm' removes it");
  unsigned seconds = pod.problem().empty() ? 0 : runner::kDefaultStopSeconds;
  for (const runner::AppPlan& app : pod.plan().apps) seconds = std::max(seconds, app.config.stop_seconds);
  uint64_t patience = options.time.empty() ? seconds : ParseSeconds(options.time);
  if (options.force)
    patience = 0;
  else
    Signal(pod.runner(), SIGTERM, [&] { return Runs(pods, pod.uuid()); });
  if (patience > 0 && AwaitEnd(pods, pod.uuid(), patience))
    return "stopped";
  const auto now = PodRecord::Read(pods, pod.uuid());
  KillApps(pods, now ? *now : pod);
  if (!AwaitEnd(pods, pod.uuid(), 10))
    throw Error(ErrorKind::kFailed, "pod " + pod.uuid() + " does not end", "one of its processes waits for a device");
  return "killed";
}

void Say(const VerbOptions& options, const json::Array& done) {
  if (options.json) {
    PrintJson(done);
    return;
  }
  for (const json::Value& one : done) std::printf("%s\n", one.object()->Find("uuid")->string()->c_str());
}

// Of several: one that cannot be ended is told, and keeps nobody from the others.
class Ends {
 public:
  // `end` says what is told of it.
  void Try(const std::function<json::Object()>& end) {
    try {
      done_.emplace_back(end());
    } catch (const Error& error) {
      PrintError(error);
      code_ = static_cast<int>(error.kind());
    }
  }
  int Tell(const VerbOptions& options) const {
    Say(options, done_);
    return code_;
  }

 private:
  json::Array done_;
  int code_ = 0;
};

int Stop(const EndOptions& options) {
  const Dir pods = OpenPods(*options.verb.common);
  Ends ends;
  for (const PodRecord& pod : NamedPods(pods, options.verb))
    ends.Try([&] { return json::Object{{"uuid", pod.uuid()}, {"how", StopPod(pods, pod, options)}}; });
  return ends.Tell(options.verb);
}

// What is left of a pod that was not to be kept, because its network could not be undone: known by its UUID alone.
bool IsRest(const Dir& pods, const std::string& name) {
  return runner::IsUuid(name) && pods.Exists(RelPath::Parse(name)) && !PodRecord::Read(pods, name);
}

int Remove(EndOptions options) {
  const Dir pods = OpenPods(*options.verb.common);
  const auto map = MapOfUser(*options.verb.common);
  const auto remove = [&](const std::string& uuid) {
    if (const auto error = runner::RemovePod(pods, uuid, map, options.force))
      Warn(*options.verb.common, error->message());
    return json::Object{{"uuid", uuid}};
  };
  std::vector<std::string> rests;
  std::erase_if(options.verb.pods, [&](const std::string& name) {
    const bool rest = IsRest(pods, name);
    if (rest)
      rests.push_back(name);
    return rest;
  });
  // Nothing is removed before all names are known.
  std::vector<PodRecord> records;
  if (rests.empty() || !options.verb.pods.empty() || !options.verb.uuid_file.empty())
    records = NamedPods(pods, options.verb);
  Ends ends;
  for (const std::string& uuid : rests) ends.Try([&] { return remove(uuid); });
  for (const PodRecord& pod : records) {
    ends.Try([&] {
      if (options.force && Runs(pods, pod.uuid()))
        StopPod(pods, pod, options);
      else if (Runs(pods, pod.uuid()))
        throw Error(ErrorKind::kFailed, "pod " + pod.uuid() + " runs", "stop it first, or give --force");
      return remove(pod.uuid());
    });
  }
  return ends.Tell(options.verb);
}

int Collect(const EndOptions& options) {
  const runner::SweepAges ages{ParseSeconds(options.grace), ParseSeconds(options.expire)};
  const std::optional<Dir> pods = TryOpenPods(*options.verb.common);
  const std::vector<std::string> swept =
      pods ? runner::SweepPods(*pods, MapOfUser(*options.verb.common), ages) : std::vector<std::string>();
  if (options.verb.json)
    PrintJson(json::Object{{"removed", swept}});
  else
    std::printf("%zu dead pods removed\n", swept.size());
  return 0;
}

}  // namespace

void AddEndVerbs(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions) {
  const auto options = std::make_shared<EndOptions>();
  options->verb.common = &common;
  options->verb.any = true;
  CLI::App* stop =
      AddVerb(app, "stop", "end pods: the stop signal, and SIGKILL when their time is over", "POD...", options->verb);
  stop->add_option("-t,--time", options->time, "how long they have, instead of their stop timeout: 10, 10s, 1m")
      ->type_name("TIME");
  CLI::App* remove = AddVerb(app, "rm", "remove pods that have ended, with their logs", "POD...", options->verb);
  for (CLI::App* verb : {stop, remove}) verb->add_flag("-f,--force", options->force, "at once, by SIGKILL");
  CLI::App* collect =
      AddVerb(app, "gc", "remove what ended, was killed, or was prepared and never run", "", options->verb);
  collect->add_option("--grace-period", options->grace, "leave what ended more recently; default: 30m")
      ->type_name("TIME")
      ->option_text("TIME");
  collect->add_option("--expire-prepared", options->expire, "leave what was prepared more recently; default: 24h")
      ->type_name("TIME")
      ->option_text("TIME");
  actions.push_back({stop, [options] { return Stop(*options); }});
  actions.push_back({remove, [options] { return Remove(*options); }});
  actions.push_back({collect, [options] { return Collect(*options); }});
}

}  // namespace gantry::tools
