// gantry-run: fetch what is missing, verify, render, execute; and what comes after.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/aci_manifest.h"
#include "runner/pod_manifest.h"
#include "tools/run_machine.h"
#include "tools/run_net.h"
#include "tools/run_options.h"
#include "tools/run_pod.h"
#include "tools/run_verbs.h"

namespace gantry::tools {
namespace {

constexpr int kOwnFailure = 125;
constexpr const char* kNextImage = "---";

struct Options {
  PodOptions pod;
  AppOptions all;  // of every app
  NetOptions net;
  std::string log_size, log_driver;
  IsolationOptions isolation;
  std::string prepared, manifest;
};

void AddPodOptions(CLI::App& app, Options& options) {
  AddPolicyOptions(app, options.pod.policy);
  app.add_option("--platform", options.pod.platform,
                 "OS/ARCH[/VARIANT] to choose from an index; default: this machine's");
  AddNetOptions(app, options.net);
  app.add_flag("-i,--interactive", options.all.run.interactive, "give it our standard input; else it is empty");
  app.add_flag("-t,--tty", options.all.run.terminal, "give it a terminal of its own");
  app.add_option("--log-driver", options.log_driver,
                 "where its output goes when it is detached: file (the default), journald, or none")
      ->check(CLI::IsMember({"file", "journald", "none"}))
      ->type_name("file|journald|none")
      ->option_text("file|journald|none");
  app.add_flag("--mds", options.pod.metadata, "give its apps the metadata service of appc at $AC_METADATA_URL");
  app.add_option("--userns", options.pod.userns,
                 "host, or auto: a user namespace with ids of its own; default: auto without root, else host")
      ->type_name("host|auto[:size=N]");
  AddIsolationOptions(app, options.isolation);
  app.add_flag("--strict", options.pod.strict, "refuse what an image asks for and cannot get, instead of telling");
  app.add_option("--pod-manifest", options.manifest, "run the apps of an appc pod manifest")->type_name("FILE");
}

void AddLifeOptions(CLI::App& app, Options& options) {
  app.add_flag("-d,--detach", options.pod.detach, "print the pod's UUID once it runs, and return");
  app.add_flag("--rm", options.pod.remove, "keep nothing after the run: so without --detach, and with it on demand");
  app.add_option("--uuid-file-save", options.pod.uuid_file, "write the pod's UUID into this file")->type_name("FILE");
  app.add_option("--sdnotify", options.pod.notify, "who tells systemd that a service is ready; default: runner")
      ->check(CLI::IsMember({"runner", "app", "none"}))
      ->type_name("runner|app|none")
      ->option_text("runner|app|none");
  app.add_option("--log-max-size", options.log_size, "of one file of a detached pod's logs; default: 10m")
      ->type_name("BYTES");
  app.add_option("--log-max-files", options.pod.log.files, "how many of them; default: 3")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, 99))
      ->option_text("NUMBER");
  app.add_flag("--json", options.pod.json,
               "print the UUID as JSON; in the foreground, UUID and code on standard error");
}

void TakeLogSize(Options& options) {
  if (!options.log_size.empty())
    options.pod.log.bytes = ParseSize(options.log_size, "--log-max-size");
}

void TakeLogDriver(Options& options) {
  const auto* const driver = std::ranges::find(runner::kLogDrivers, options.log_driver);
  if (driver != runner::kLogDrivers.end())
    options.pod.log_driver = static_cast<runner::LogDriver>(driver - runner::kLogDrivers.begin());
}

void FinishPodOptions(const CLI::App& app, Options& options) {
  TakeNet(options.net, options.all.run);
  if (const char* terminal = std::getenv("TERM"); terminal != nullptr && *terminal != '\0')
    options.all.run.terminal_type = terminal;
  options.all.run = Planned(app, options.all);
  options.pod.machine = TakeIsolation(options.isolation);
  TakeLogDriver(options);
  TakeLogSize(options);
}

NamedApp OneApp(std::vector<std::string> words, const Options& options) {
  NamedApp out{words.front(), options.all.run};
  words.erase(words.begin());
  if (!words.empty() && words.front() == "--")
    words.erase(words.begin());
  out.run.args = std::move(words);
  return out;
}

// IMAGE [OPTIONS] [-- ARGS...], of several.
NamedApp OneOfSeveral(const std::vector<std::string>& words, const Options& options) {
  if (words.empty() || words.front().starts_with('-'))
    throw Error(ErrorKind::kUsage, "no image is named between two '---'", "IMAGE [OPTIONS] [-- ARGS...] --- IMAGE ...");
  const auto arguments = std::ranges::find(words, "--");
  std::vector<std::string> own(words.begin() + 1, arguments);
  CLI::App parser("", "gantry-run");
  parser.set_help_flag();
  AppOptions given;
  AddAppOptions(parser, given);
  std::ranges::reverse(own);
  try {
    parser.parse(own);
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorKind::kUsage, "after image " + Quoted(words.front()) + ": " + error.what(),
                "arguments of the app come after '--'");
  }
  NamedApp out{words.front(), Over(options.all.run, Planned(parser, given))};
  if (arguments != words.end())
    out.run.args.assign(arguments + 1, words.end());
  return out;
}

std::vector<NamedApp> FromManifest(Options& options) {
  std::vector<NamedApp> out;
  const std::string text = ReadFile(options.manifest, image::kMaxAciManifestBytes);
  runner::RunOptions& all = options.all.run;
  runner::PodManifest pod = runner::PodManifest::Parse(text, Quoted(options.manifest), all.named_volumes);
  all.net.ports.insert(all.net.ports.end(), pod.ports.begin(), pod.ports.end());
  if (!pod.ports.empty() && all.network == runner::Network::kNone && options.net.network.empty())
    all.network = runner::Network::kPrivate;
  for (runner::ManifestApp& app : pod.apps)
    out.push_back({app.image, Over(options.all.run, app.run), std::move(app.ignored), app.substitutes,
                   std::move(app.image_id), std::move(app.annotations)});
  options.pod.annotations = std::move(pod.annotations);
  return out;
}

// What follows the options.
std::vector<NamedApp> TakeImages(const CLI::App& app, Options& options) {
  std::vector<std::string> rest = app.remaining();
  if (!rest.empty() && rest.front() == "--")
    rest.erase(rest.begin());
  if (!options.manifest.empty()) {
    if (!rest.empty())
      throw Error(ErrorKind::kUsage, "a pod manifest and an image are given", "the manifest names the images");
    return FromManifest(options);
  }
  if (rest.empty())
    throw Error(ErrorKind::kUsage, "no image is named", "gantry-run [OPTIONS] IMAGE [ARGS...]");
  if (rest.front().starts_with('-') && rest.front().size() > 1)
    throw Error(ErrorKind::kUsage, "option " + Quoted(rest.front()) + " is unknown", "see 'gantry-run --help'");
  if (std::ranges::find(rest, kNextImage) == rest.end())
    return {OneApp(std::move(rest), options)};
  std::vector<NamedApp> out;
  auto begin = rest.begin();
  for (auto end = begin; end != rest.end(); begin = end + 1) {
    end = std::find(begin, rest.end(), kNextImage);
    out.push_back(OneOfSeveral({begin, end}, options));
    if (end == rest.end())
      break;
  }
  return out;
}

int Run(const CLI::App& app, Options& options) {
  if (options.pod.common.print_confinement)
    return PrintConfinements(options.pod);
  FinishPodOptions(app, options);
  if (!options.log_driver.empty() && !options.pod.detach)
    throw Error(ErrorKind::kUsage, "--log-driver is for detached pods", "others write where we do: give --detach");
  const std::vector<NamedApp> apps = TakeImages(app, options);
  return RunApps(options.pod, apps);
}

int Prepare(const CLI::App& app, Options& options) {
  FinishPodOptions(app, options);
  const std::vector<NamedApp> apps = TakeImages(app, options);
  return PrepareApps(options.pod, apps);
}

void AddPrepareVerbs(CLI::App& app, Options& options, std::vector<Action>& actions) {
  CLI::App* prepare = app.add_subcommand("prepare", "all that run does, but for the execution; prints the pod's UUID");
  AddPodOptions(*prepare, options);
  AddAppOptions(*prepare, options.all);
  prepare->add_option("--uuid-file-save", options.pod.uuid_file, "write the pod's UUID into this file")
      ->type_name("FILE");
  prepare->add_flag("--json", options.pod.json, "print JSON");
  prepare->prefix_command();
  CLI::App* run = app.add_subcommand("run-prepared", "execute a pod that was prepared");
  run->prefix_command(false);
  run->allow_extras(false);
  AddPolicyOptions(*run, options.pod.policy);
  AddIsolationOptions(*run, options.isolation);
  AddLifeOptions(*run, options);
  run->add_option("POD", options.prepared, "its UUID, or the beginning of it")->required();
  actions.push_back({prepare, [&options, prepare] { return Prepare(*prepare, options); }});
  actions.push_back({run,
                     [&options] {
                       TakeLogSize(options);
                       options.pod.machine = TakeIsolation(options.isolation);
                       return RunPrepared(options.pod, options.prepared);
                     },
                     true});
}

// A start is some milliseconds, and to set all verbs up most of one: those that no word names are left out, unless the
// words ask for help.
void AddVerbs(CLI::App& app, Options& options, std::vector<Action>& actions, std::span<char*> words) {
  const CommonOptions& common = options.pod.common;
  const auto named = [&](std::string_view name) { return std::ranges::find(words, name) != words.end(); };
  const bool all =
      std::ranges::any_of(words, [](std::string_view word) { return word == "--help" || word.starts_with("-h"); });
  const auto wanted = [&](std::initializer_list<std::string_view> names) {
    return all || std::ranges::any_of(names, named);
  };
  if (wanted({"prepare", "run-prepared"}))
    AddPrepareVerbs(app, options, actions);
  if (wanted({"list", "status", "cat-manifest"}))
    AddShowVerbs(app, common, actions);
  if (wanted({"logs"}))
    AddLogVerb(app, common, actions);
  if (wanted({"enter", "exec", "attach"}))
    AddEnterVerbs(app, common, actions);
  if (wanted({"stop", "rm", "gc"}))
    AddEndVerbs(app, common, actions);
  if (wanted({"export"}))
    AddExportVerb(app, common, actions);
}

// Verbs leave what they do not know to the program, which takes words for those of an image's command, and options for
// those of a run.
void RefuseWhatNoVerbKnows(const CLI::App& app, const CLI::App& verb) {
  constexpr std::array kOfAll = {"root", "quiet", "verbose", "print-confinement", "policy", "insecure-options"};
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() > 0 && std::ranges::find(kOfAll, option->get_single_name()) == kOfAll.end())
      throw Error(ErrorKind::kUsage,
                  "option " + Quoted(option->get_name()) + " is one of a run, not of gantry run " + verb.get_name(),
                  "a verb's own come after it; see gantry run " + verb.get_name() + " --help");
  }
  if (const std::vector<std::string> rest = app.remaining(); !rest.empty())
    throw Error(ErrorKind::kUsage, "gantry run " + verb.get_name() + " knows no " + Quoted(rest.front()),
                "gantry run " + verb.get_name() + " --help");
}

// A verb that executes nothing has the exit codes of all programs.
int Act(const CLI::App& app, const Action& action) {
  try {
    RefuseWhatNoVerbKnows(app, *action.verb);
    return action.act();
  } catch (const ChildFailed& failed) {
    if (action.executes)
      throw;
    return failed.exit_code;
  } catch (const Error& error) {
    if (action.executes)
      throw;
    PrintError(error);
    return static_cast<int>(error.kind());
  }
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  PrepareHeap();
  ForgetSymbols();
  CLI::App app("Run images in namespaces or virtual machines: fetch what is missing, verify, render, execute.",
               "gantry-run");
  Options options;
  options.pod.command.assign(argv + 1, argv + argc);
  AddCommonOptions(app, options.pod.common);
  // -v is the volume, as users of other runners expect.
  app.remove_option(app.get_option("--verbose"));
  app.add_flag("--verbose", options.pod.common.verbose, "say what is done and why");
  AddPodOptions(app, options);
  AddAppOptions(app, options.all);
  AddLifeOptions(app, options);
  app.footer(
      "gantry-run [OPTIONS] IMAGE [--] [ARGS...]\n"
      "gantry-run [OPTIONS] IMAGE [OPTIONS] [-- ARGS...] --- IMAGE [OPTIONS] [-- ARGS...]...\n"
      "Everything after a single IMAGE is for the application.");
  app.prefix_command();
  std::vector<Action> actions;
  AddVerbs(app, options, actions, {argv, static_cast<size_t>(argc)});
  return ToolMain(
      app, argc, argv,
      [&] {
        for (const Action& action : actions) {
          if (action.verb->parsed())
            return Act(app, action);
        }
        return Run(app, options);
      },
      kOwnFailure);
}
