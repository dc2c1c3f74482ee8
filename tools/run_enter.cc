// gantry run enter and attach.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "libimage/base/error.h"
#include "runner/attach.h"
#include "runner/enter.h"
#include "runner/vm/entry.h"
#include "tools/run_pod.h"
#include "tools/run_verbs.h"

namespace gantry::tools {
namespace {

struct InsideOptions {
  VerbOptions verb;
  std::string app, user, working_dir;
  std::vector<std::string> env;
  bool interactive = false, terminal = false;
};

// For --json, beside what the app prints.
int Report(const VerbOptions& options, const std::string& uuid, const std::string& app, int code) {
  if (options.json)
    std::fprintf(stderr, "%s\n", json::Print(json::Object{{"uuid", uuid}, {"app", app}, {"code", code}}).c_str());
  return code;
}

ExitStatus EnterContainer(const runner::AppPlan& app, const std::string& uuid, pid_t pid,
                          const runner::EnterOptions& options) {
  auto process = runner::EnteredProcess::Start(app, uuid, pid, options);
  if (process.failure())
    PrintError(process.failure()->error);
  return process.Wait();
}

int Enter(const CLI::App& verb, InsideOptions& options) {
  std::vector<std::string> words = verb.remaining();
  if (!words.empty() && words.front() == "--")
    words.erase(words.begin());
  if (options.verb.uuid_file.empty() && !words.empty()) {
    if (words.front().starts_with('-'))
      throw Error(ErrorKind::kUsage, "option " + Quoted(words.front()) + " is unknown", "gantry run enter --help");
    options.verb.pods = {words.front()};
    words.erase(words.begin());
  }
  if (!words.empty() && words.front() == "--")
    words.erase(words.begin());
  RequireTerminal(options.terminal, options.interactive);
  const Dir pods = OpenPods(*options.verb.common);
  const runner::PodRecord pod = NamedPod(pods, options.verb);
  const runner::AppPlan& app = MeantApp(pod, options.verb, options.app);
  runner::EnterOptions enter{.args = words.empty() ? std::vector<std::string>{"/bin/sh"} : words,
                             .env = options.env,
                             .terminal = options.terminal,
                             .interactive = options.interactive};
  if (!options.user.empty())
    enter.user = options.user;
  if (!options.working_dir.empty())
    enter.working_dir = options.working_dir;
  if (const char* terminal = std::getenv("TERM"); options.terminal && terminal != nullptr && *terminal != '\0')
    enter.env.insert(enter.env.begin(), std::string("TERM=") + terminal);
  const pid_t pid = RunningPid(pod, app.name);
  try {
    const ExitStatus status =
        pod.plan().machine
            ? runner::vm::EnterGuest(pods.OpenDir(RelPath::Parse(pod.uuid())),
                                     static_cast<uint16_t>(&app - pod.plan().apps.data()), app, pod.uuid(), enter)
            : EnterContainer(app, pod.uuid(), pid, enter);
    return Report(options.verb, pod.uuid(), app.name, status.code);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
    PrintError(error);
    return Report(options.verb, pod.uuid(), app.name, 127);
  }
}

int AttachTo(InsideOptions& options) {
  const Dir pods = OpenPods(*options.verb.common);
  const runner::PodRecord pod = NamedPod(pods, options.verb);
  const runner::AppPlan& app = MeantApp(pod, options.verb, options.app);
  RunningPid(pod, app.name);
  const runner::AttachOptions attach{.app = app.name, .input = app.config.interactive, .terminal = app.config.terminal};
  const int code = runner::Attach(pods.OpenDir(RelPath::Parse(pod.uuid())), attach).code;
  return Report(options.verb, pod.uuid(), app.name, code);
}

}  // namespace

void AddEnterVerbs(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions) {
  const auto options = std::make_shared<InsideOptions>();
  options->verb.common = &common;
  CLI::App* enter = app.add_subcommand("enter", "run a command in a pod, confined as its app is; default: /bin/sh");
  enter->alias("exec");
  enter->prefix_command();
  enter->footer("gantry run enter [OPTIONS] POD [--] [COMMAND [ARGS...]]");
  enter->add_flag("--json", options->verb.json, "print JSON at the end, on standard error");
  enter->add_option("--uuid-file", options->verb.uuid_file, "the pod whose UUID is in this file")->type_name("FILE");
  enter->add_flag("-i,--interactive", options->interactive, "give it our standard input");
  enter->add_flag("-t,--tty", options->terminal, "give it a terminal of its own");
  enter->add_option("-e,--env", options->env, "set a variable")->type_name("NAME=VALUE")->allow_extra_args(false);
  enter->add_option("-u,--user", options->user, "USER[:GROUP], names of the image or numbers");
  enter->add_option("-w,--workdir", options->working_dir, "the directory to start in");
  CLI::App* attach =
      AddVerb(app, "attach", "see what an app of a detached pod writes, and type to it", "POD", options->verb);
  for (CLI::App* verb : {enter, attach})
    verb->add_option("--app", options->app, "which, of several")->type_name("NAME");
  actions.push_back({enter, [options, enter] { return Enter(*enter, *options); }, true});
  actions.push_back({attach, [options] { return AttachTo(*options); }, true});
}

}  // namespace gantry::tools
