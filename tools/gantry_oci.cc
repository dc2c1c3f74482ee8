// gantry-oci: the command line of an OCI runtime, for engines.
#include <csignal>
#include <cstdio>
#include <functional>
#include <string>
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

void AddLifeCommands(CLI::App& app, Options& options, std::vector<std::pair<CLI::App*, Command>>& commands) {
  const auto runtime = [&options] { return RuntimeOptionsOf(options.common); };
  CLI::App* create = Add(app, "create", "set a container up, to be started", options);
  AddCreateOptions(*create, options);
  commands.emplace_back(create, [&options, runtime] {
    options.create.id = options.id;
    options.create.process.detach = true;
    runner::Create(runtime(), options.create);
    return 0;
  });
  commands.emplace_back(Add(app, "start", "start a container that was created", options), [&options, runtime] {
    runner::Start(runtime(), options.id);
    return 0;
  });
  CLI::App* run = Add(app, "run", "create and start, and wait for the end", options);
  AddCreateOptions(*run, options);
  run->add_flag("-d,--detach", options.create.process.detach, "do not wait");
  run->add_flag("--keep", options.create.keep, "keep the state of what has ended");
  run->add_flag("--no-subreaper", options.no_subreaper, "accepted: it never is one");
  commands.emplace_back(run, [&options, runtime] {
    options.create.id = options.id;
    return runner::Run(runtime(), options.create).code;
  });
  CLI::App* kill = Add(app, "kill", "send a signal to the first process", options);
  kill->add_option("SIGNAL", options.signal, "a name or a number; default: TERM");
  kill->add_flag("-a,--all", options.all, "to every process");
  commands.emplace_back(kill, [&options, runtime] {
    runner::Kill(runtime(), options.id, SignalNamed(options.signal), options.all);
    return 0;
  });
  CLI::App* remove = Add(app, "delete", "remove what has ended, or was never started", options);
  remove->add_flag("-f,--force", options.force, "kill it first; not being there is no error");
  commands.emplace_back(remove, [&options, runtime] {
    runner::Delete(runtime(), options.id, options.force);
    return 0;
  });
  for (const bool pause : {true, false}) {
    CLI::App* command =
        Add(app, pause ? "pause" : "resume", pause ? "stop all processes for a while" : "let them go on", options);
    commands.emplace_back(command, [&options, runtime, pause] {
      runner::Pause(runtime(), options.id, pause);
      return 0;
    });
  }
}

void AddOtherCommands(CLI::App& app, Options& options, std::vector<std::pair<CLI::App*, Command>>& commands) {
  const auto runtime = [&options] { return RuntimeOptionsOf(options.common); };
  CLI::App* exec = app.add_subcommand("exec", "one more process in a running container");
  AddExecOptions(*exec, options.exec);
  commands.emplace_back(
      exec, [&options, runtime, exec] { return ExecInContainer(runtime(), exec->remaining(), options.exec); });
  CLI::App* state = Add(app, "state", "what is known of a container, as JSON", options);
  commands.emplace_back(state, [&options, runtime] { return ShowState(runtime(), options.id); });
  CLI::App* list = app.add_subcommand("list", "all containers");
  AddListOptions(*list, options.show);
  commands.emplace_back(list, [&options, runtime] { return ShowList(runtime(), options.show); });
  CLI::App* ps = Add(app, "ps", "the processes of a container", options);
  AddPsOptions(*ps, options.show);
  commands.emplace_back(ps, [&options, runtime] { return ShowProcesses(runtime(), options.id, options.show); });
  CLI::App* events = Add(app, "events", "what a container uses, as lines of JSON", options);
  AddEventsOptions(*events, options.show);
  commands.emplace_back(events, [&options, runtime] { return ShowEvents(runtime(), options.id, options.show); });
  CLI::App* update = Add(app, "update", "change the limits of a container", options);
  AddUpdateOptions(*update, options.update);
  commands.emplace_back(update, [&options, runtime] {
    runner::Update(runtime(), options.id, ResourcesOf(options.update));
    return 0;
  });
  commands.emplace_back(app.add_subcommand("features", "what this runtime can do, as JSON"), ShowFeatures);
  CLI::App* spec = app.add_subcommand("spec", "write a config.json to begin with");
  AddSpecOptions(*spec, options.show);
  commands.emplace_back(spec, [&options] { return WriteSpec(options.show); });
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
  CLI::App app("Run containers out of bundles, as engines ask for it (OCI runtime specification).", "gantry-oci");
  Options options;
  std::vector<std::pair<CLI::App*, Command>> commands;
  AddOciOptions(app, options.common);
  AddLifeCommands(app, options, commands);
  AddOtherCommands(app, options, commands);
  app.require_subcommand(1);
  return ToolMain(app, argc, argv, [&] {
    for (const auto& [command, body] : commands) {
      if (command->parsed())
        return Logged(options, body);
    }
    return 0;
  });
}
