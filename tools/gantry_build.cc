// gantry-build: images made by hand, by a script, or by a Containerfile, without a daemon.
#include <cstdio>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/build/script.h"
#include "tools/build_file.h"
#include "tools/build_session.h"
#include "tools/build_verbs.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  BuildOptions build;
  FileRequest file;
  std::string script;
};

// One command of a script, parsed as the command line is.
int Perform(BuildSession& session, const image::ScriptCommand& command) {
  const SplitLine line(command.words);
  BuildAction action;
  CLI::App app("", "gantry-build");
  app.require_subcommand(1);
  AddBuildVerbs(app, line.command, action);
  std::vector<std::string> reversed(line.words.rbegin(), line.words.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorKind::kUsage, error.what(), "gantry-build(1) lists the commands");
  }
  return action(session);
}

// As acbuild does: what a script began ends with it, however it ends.
int RunScript(BuildSession& session, const std::string& path) {
  const std::vector<image::ScriptCommand> commands = image::ParseScript(ReadFile(path, image::kMaxScriptBytes));
  const auto end = [&] {
    try {
      Perform(session, {0, {"abort"}});
    } catch (const Error&) {
      // Nothing was begun, or it was ended already.
    }
  };
  bool began = false;
  for (const image::ScriptCommand& command : commands) {
    try {
      Perform(session, command);
      began |= command.words[0] == "begin";
    } catch (const Error& error) {
      if (began)
        end();
      throw error.WithContext(path + ": line " + std::to_string(command.line));
    }
  }
  if (began)
    end();
  return 0;
}

void AddOptions(CLI::App& app, Options& options) {
  AddCommonOptions(app, options.build.common);
  AddPolicyOptions(app, options.build.policy);
  app.add_option("--work-path", options.build.work_path, "where a build is kept between commands; .gantry-build")
      ->type_name("DIR");
  app.add_option("--platform", options.build.platform,
                 "os/architecture[/variant] of the base; this machine's by default")
      ->type_name("PLATFORM");
  app.add_option("--dependency", options.build.dependencies,
                 "an ACI that may be depended on, beside those in this directory; may be repeated")
      ->allow_extra_args(false)
      ->type_name("FILE");
  app.add_flag("--debug", options.build.common.verbose, "as acbuild has it")->group("");
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Make an image: step by step, by a script, or by a Containerfile.", "gantry-build");
  const SplitLine line(std::vector<std::string>(argv, argv + argc));
  Options options;
  BuildAction action;
  AddOptions(app, options);
  AddFileOptions(app, options.file);
  AddBuildVerbs(app, line.command, action);
  CLI::App* script = app.add_subcommand("script", "perform the commands of an acbuild script");
  script->add_option("FILE", options.script, "one command a line")->required();
  script->callback([&] { action = [&](BuildSession& session) { return RunScript(session, options.script); }; });
  app.footer("gantry-build [OPTIONS] VERB [ARGUMENT...]\ngantry-build [OPTIONS] FILE [DST]");
  return ToolMain(app, static_cast<int>(line.words.size()), argv, [&] {
    if (options.build.common.print_confinement) {
      BuildSession::PrintConfinements(options.build);
      return 0;
    }
    if (!action && options.file.file.empty())
      throw gantry::Error(gantry::ErrorKind::kUsage, "neither a verb nor a Containerfile", "see 'gantry-build --help'");
    BuildSession session(options.build);
    return action ? action(session) : BuildFile(session, options.file);
  });
}
