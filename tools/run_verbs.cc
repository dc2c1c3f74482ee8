#include "tools/run_verbs.h"

#include <algorithm>
#include <cstdio>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxUuidFile = 4096;

}  // namespace

std::vector<runner::PodRecord> NamedPods(const Dir& pods, const VerbOptions& options) {
  std::vector<runner::PodRecord> out;
  for (const std::string& name : options.pods) out.push_back(runner::FindPod(pods, name, options.any));
  if (!options.uuid_file.empty())
    out.push_back(runner::FindPod(pods, std::string(Trimmed(ReadFile(options.uuid_file, kMaxUuidFile))), options.any));
  if (out.empty())
    throw Error(ErrorKind::kUsage, "no pod is named", "give a UUID or its beginning; see 'gantry run list'");
  return out;
}

runner::PodRecord NamedPod(const Dir& pods, const VerbOptions& options) {
  std::vector<runner::PodRecord> out = NamedPods(pods, options);
  if (out.size() != 1)
    throw Error(ErrorKind::kUsage, "more than one pod is named");
  return std::move(out.front());
}

const runner::AppPlan& MeantApp(const runner::PodRecord& pod, const VerbOptions& options, const std::string& app) {
  const auto& apps = pod.plan().apps;
  if (app.empty() && !options.pods.empty() &&
      std::ranges::find(apps, options.pods.front(), &runner::AppPlan::name) != apps.end())
    return pod.App(options.pods.front());
  return pod.App(app);
}

pid_t RunningPid(const runner::PodRecord& pod, const std::string& app) {
  const auto pid = pod.StatusOf(app).pid;
  if (!pid)
    throw Error(ErrorKind::kFailed, "app " + Quoted(app) + " of pod " + pod.uuid() + " does not run",
                "the pod is " + std::string(ToString(pod.state())) + "; see 'gantry run status'");
  return *pid;
}

void RefuseMachine(const runner::PodRecord& pod, std::string_view done) {
  if (pod.plan().machine)
    throw Error(ErrorKind::kUnsupported,
                "pod " + pod.uuid() + " runs in a virtual machine and cannot be " + std::string(done),
                "run it without --isolation=vm for that");
}

void PrintJson(const json::Value& value) { std::fputs(json::PrintPretty(value).c_str(), stdout); }

CLI::App* AddVerb(CLI::App& app, const char* name, const char* help, const char* operand, VerbOptions& options) {
  CLI::App* verb = app.add_subcommand(name, help);
  verb->fallthrough();
  verb->add_flag("--json", options.json, "print JSON");
  if (*operand == '\0')
    return verb;
  verb->add_option(operand, options.pods, "UUIDs, their beginnings, or names of apps");
  verb->add_option("--uuid-file", options.uuid_file, "the pod whose UUID is in this file")->type_name("FILE");
  return verb;
}

}  // namespace gantry::tools
