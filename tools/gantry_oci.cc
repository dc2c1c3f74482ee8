// gantry-oci: the command line of an OCI runtime, for engines.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "runner/bundle_container.h"
#include "runner/container_state.h"
#include "tools/oci_exec.h"
#include "tools/oci_options.h"
#include "tools/oci_show.h"
#include "tools/oci_update.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

using Command = std::function<int()>;

struct Options {
  OciOptions common;
  runner::CreateOptions create;
  std::string id;
  std::string signal = "TERM";
  bool all = false;
  bool force = false;
  bool no_subreaper = false;
  OciExecOptions exec;
  OciShowOptions show;
  OciUpdateOptions update;
};

CLI::App* Add(CLI::App& app, const char* name, const char* summary, Options& options) {
  CLI::App* command = app.add_subcommand(name, summary);
  command->add_option("ID", options.id, "the container")->required();
  return command;
}

void AddCreateOptions(CLI::App& command, Options& options) {
  runner::CreateOptions& create = options.create;
  command.add_option("-b,--bundle", create.bundle, "the bundle's directory; default: the working directory")
      ->type_name("DIR");
  command.add_option("-f,--config", create.config, "instead of the bundle's config.json")->type_name("FILE");
  AddProcessOptions(command, create.process);
  command.add_flag("--no-pivot", create.no_pivot, "change the root without pivot_root, for an initramfs");
  command.add_flag("--no-new-keyring", create.no_new_keyring, "keep the session keyring");
}

using Commands = std::vector<std::pair<CLI::App*, Command>>;

runner::RuntimeOptions Runtime(const Options& options) { return RuntimeOptionsOf(options.common); }

void AddCreate(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* create = Add(app, "create", "set a container up, to be started", options);
  AddCreateOptions(*create, options);
  commands.emplace_back(create, [&options] {
    options.create.id = options.id;
    options.create.process.detach = true;
    runner::Create(Runtime(options), options.create);
    return 0;
  });
}

void AddStart(CLI::App& app, Options& options, Commands& commands) {
  commands.emplace_back(Add(app, "start", "start a container that was created", options), [&options] {
    runner::Start(Runtime(options), options.id);
    return 0;
  });
}

void AddRun(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* run = Add(app, "run", "create and start, and wait for the end", options);
  AddCreateOptions(*run, options);
  run->add_flag("-d,--detach", options.create.process.detach, "do not wait");
  run->add_flag("--keep", options.create.keep, "keep the state of what has ended");
  run->add_flag("--no-subreaper", options.no_subreaper, "accepted: it never is one");
  commands.emplace_back(run, [&options] {
    options.create.id = options.id;
    return runner::Run(Runtime(options), options.create).code;
  });
}

void AddKill(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* kill = Add(app, "kill", "send a signal to the first process", options);
  kill->add_option("SIGNAL", options.signal, "a name or a number; default: TERM");
  kill->add_flag("-a,--all", options.all, "to every process");
  commands.emplace_back(kill, [&options] {
    runner::Kill(Runtime(options), options.id, SignalNamed(options.signal), options.all);
    return 0;
  });
}

void AddDelete(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* remove = Add(app, "delete", "remove what has ended, or was never started", options);
  remove->add_flag("-f,--force", options.force, "kill it first; not being there is no error");
  commands.emplace_back(remove, [&options] {
    runner::Delete(Runtime(options), options.id, options.force);
    return 0;
  });
}

void AddPause(CLI::App& app, Options& options, Commands& commands) {
  commands.emplace_back(Add(app, "pause", "stop all processes for a while", options), [&options] {
    runner::Pause(Runtime(options), options.id, true);
    return 0;
  });
}

void AddResume(CLI::App& app, Options& options, Commands& commands) {
  commands.emplace_back(Add(app, "resume", "let them go on", options), [&options] {
    runner::Pause(Runtime(options), options.id, false);
    return 0;
  });
}

void AddExec(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* exec = app.add_subcommand("exec", "one more process in a running container");
  AddExecOptions(*exec, options.exec);
  commands.emplace_back(
      exec, [&options, exec] { return ExecInContainer(Runtime(options), exec->remaining(), options.exec); });
}

void AddState(CLI::App& app, Options& options, Commands& commands) {
  commands.emplace_back(Add(app, "state", "what is known of a container, as JSON", options),
                        [&options] { return ShowState(Runtime(options), options.id); });
}

void AddList(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* list = app.add_subcommand("list", "all containers");
  AddListOptions(*list, options.show);
  commands.emplace_back(list, [&options] { return ShowList(Runtime(options), options.show); });
}

void AddPs(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* ps = app.add_subcommand("ps", "the processes of a container");
  AddPsOptions(*ps, options.show);
  commands.emplace_back(ps, [&options, ps] { return ShowProcesses(Runtime(options), ps->remaining(), options.show); });
}

void AddEvents(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* events = Add(app, "events", "what a container uses, as lines of JSON", options);
  AddEventsOptions(*events, options.show);
  commands.emplace_back(events, [&options] { return ShowEvents(Runtime(options), options.id, options.show); });
}

void AddUpdate(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* update = Add(app, "update", "change the limits of a container", options);
  AddUpdateOptions(*update, options.update);
  commands.emplace_back(update, [&options] {
    runner::Update(Runtime(options), options.id, ResourcesOf(options.update));
    return 0;
  });
}

void AddFeatures(CLI::App& app, Options&, Commands& commands) {
  commands.emplace_back(app.add_subcommand("features", "what this runtime can do, as JSON"), ShowFeatures);
}

void AddSpec(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* spec = app.add_subcommand("spec", "write a config.json to begin with");
  AddSpecOptions(*spec, options.show);
  commands.emplace_back(spec, [&options] { return WriteSpec(options.show); });
}

// Engines ask by `checkpoint --help` whether there are any: it must fail, and whatever else is given say why.
void AddCheckpoints(CLI::App& app, const char* name, Commands& commands) {
  CLI::App* command = app.add_subcommand(name)->group("");
  command->set_help_flag();
  command->prefix_command();
  command->allow_extras();
  commands.emplace_back(command, []() -> int {
    throw Error(ErrorKind::kUnsupported, "checkpoints are not supported: a container cannot be saved and restored",
                "commit its root file system with the engine, or use runc with CRIU");
  });
}

void AddCheckpoint(CLI::App& app, Options&, Commands& commands) { AddCheckpoints(app, "checkpoint", commands); }
void AddRestore(CLI::App& app, Options&, Commands& commands) { AddCheckpoints(app, "restore", commands); }

struct Entry {
  std::string_view name;
  void (*add)(CLI::App& app, Options& options, Commands& commands);
};
constexpr Entry kCommands[] = {
    {"create", AddCreate},  {"start", AddStart},       {"run", AddRun},       {"kill", AddKill},
    {"delete", AddDelete},  {"pause", AddPause},       {"resume", AddResume}, {"exec", AddExec},
    {"state", AddState},    {"list", AddList},         {"ps", AddPs},         {"events", AddEvents},
    {"update", AddUpdate},  {"features", AddFeatures}, {"spec", AddSpec},     {"checkpoint", AddCheckpoint},
    {"restore", AddRestore}};

// A start is some milliseconds, and to set all commands up a third of one: those that no word names are left out,
// unless none is named or the words ask for help.
void AddCommands(CLI::App& app, Options& options, Commands& commands, std::span<char*> words) {
  const auto named = [&](const Entry& entry) { return std::ranges::find(words, entry.name) != words.end(); };
  const bool help =
      std::ranges::any_of(words, [](std::string_view word) { return word == "--help" || word.starts_with("-h"); });
  const bool all = help || std::ranges::none_of(kCommands, named);
  for (const Entry& entry : kCommands) {
    if (all || named(entry))
      entry.add(app, options, commands);
  }
}

// Engines read the log, where there is one.
int Logged(const Options& options, const Command& command) {
  try {
    return command();
  } catch (const Error& error) {
    WriteLog(options.common, "error", error.message());
    throw;
  }
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  PrepareHeap();
  CLI::App app("Run containers out of bundles, as engines ask for it (OCI runtime specification).", "gantry-oci");
  Options options;
  Commands commands;
  AddOciOptions(app, options.common);
  AddCommands(app, options, commands, {argv, static_cast<size_t>(argc)});
  app.require_subcommand(1);
  return ToolMain(app, argc, argv, [&] {
    for (const auto& [command, body] : commands) {
      if (command->parsed())
        return Logged(options, body);
    }
    return 0;
  });
}
