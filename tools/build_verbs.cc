#include "tools/build_verbs.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/convert/docker_to_appc.h"
#include "tools/build_copy.h"

namespace gantry::tools {
namespace {

using image::Draft;
using image::Workspace;

constexpr size_t kMaxManifestFile = 4 * 1024 * 1024;

// A verb whose arguments live as long as its action.
template <typename Arguments>
CLI::App* AddVerb(CLI::App& app, const std::string& name, const std::string& summary, BuildAction& action,
                  const std::function<void(CLI::App&, Arguments&)>& declare,
                  const std::function<int(BuildSession&, Arguments&)>& perform) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const verb = app.add_subcommand(name, summary);
  declare(*verb, *arguments);
  verb->callback([arguments, perform, &action] {
    action = [arguments, perform](BuildSession& session) { return perform(session, *arguments); };
  });
  return verb;
}

// Changes the draft, and keeps it.
int Edit(BuildSession& session, const std::function<void(Draft&)>& edit) {
  Workspace workspace = Workspace::Open(session.options().work_path);
  edit(workspace.draft());
  workspace.Save();
  return 0;
}

void RequireThere(bool there, const std::string& what, const std::string& name) {
  if (!there)
    throw Error(ErrorKind::kNotFound, "there is no " + what + " " + Quoted(name),
                "gantry build cat-manifest shows what is");
}

void RequireAcName(const std::string& name) {
  if (!image::IsAcName(name))
    throw Error(ErrorKind::kUsage, Quoted(name) + " is no name in an ACI",
                "lower-case letters and digits, between them '-'");
}

void RequireIdentifier(const std::string& name) {
  if (!image::IsAcIdentifier(name))
    throw Error(ErrorKind::kUsage, Quoted(name) + " is no name for an ACI",
                "lower-case letters and digits, between them any of -._~/");
}

struct Words {
  std::vector<std::string> words;
  std::string single;
};

// "set-exec -- CMD ARG...": what follows the options, with or without "--".
std::vector<std::string> Rest(const CLI::App& verb, const std::vector<std::string>& command) {
  std::vector<std::string> rest = verb.remaining();
  rest.insert(rest.end(), command.begin(), command.end());
  if (rest.empty())
    throw Error(ErrorKind::kUsage, verb.get_name() + " of what",
                "gantry-build " + verb.get_name() + " -- CMD [ARG...]");
  return rest;
}

// label, annotation, environment...: add NAME VALUE..., rm NAME.
struct Change {
  std::string action;
  std::vector<std::string> words;
  std::string name(size_t wanted, const char* form) const {
    if (words.size() != wanted)
      throw Error(ErrorKind::kUsage, "wrong number of arguments", std::string("gantry-build ") + form);
    return words[0];
  }
  bool adds() const { return action == "add"; }

  uint64_t count = 1, size = 0;
  bool socket_activated = false, read_only = false;
  std::string image_id;
  std::vector<std::string> labels;
};

void DeclareChange(CLI::App& verb, Change& change) {
  verb.add_option("ACTION", change.action, "add, or rm")->required()->check(CLI::IsMember({"add", "rm", "remove"}));
  verb.add_option("WORDS", change.words, "NAME and, to add, its value")->required();
}

using Applied = std::function<void(Draft&, const Change&)>;

CLI::App* AddChange(CLI::App& app, const std::string& name, const std::string& summary, BuildAction& action,
                    const Applied& apply, const std::function<void(CLI::App&, Change&)>& more = {}) {
  return AddVerb<Change>(
      app, name, summary, action,
      [&](CLI::App& verb, Change& change) {
        DeclareChange(verb, change);
        if (more)
          more(verb, change);
      },
      [apply](BuildSession& session, Change& change) {
        return Edit(session, [&](Draft& draft) { apply(draft, change); });
      });
}

void ApplyLabel(Draft& draft, const Change& change) {
  const std::string name = change.name(change.adds() ? 2 : 1, "label add NAME VALUE | label rm NAME");
  if (!change.adds())
    return RequireThere(draft.RemoveAppcLabel(name), "label", name);
  RequireIdentifier(name);
  draft.SetAppcLabel(name, change.words[1]);
}

void ApplyAnnotation(Draft& draft, const Change& change) {
  const std::string name = change.name(change.adds() ? 2 : 1, "annotation add NAME VALUE | annotation rm NAME");
  if (!change.adds())
    return RequireThere(draft.RemoveAnnotation(name), "annotation", name);
  RequireIdentifier(name);
  draft.SetAnnotation(name, change.words[1]);
}

void ApplyEnvironment(Draft& draft, const Change& change) {
  const std::string name = change.name(change.adds() ? 2 : 1, "environment add NAME VALUE | environment rm NAME");
  if (name.empty() || name.find('=') != std::string::npos)
    throw Error(ErrorKind::kUsage, Quoted(name) + " is no name of a variable");
  if (change.adds())
    return draft.SetEnvironment(name, change.words[1]);
  RequireThere(draft.RemoveEnvironment(name), "variable", name);
}

void ApplyPort(Draft& draft, const Change& change) {
  const std::string name = change.name(change.adds() ? 3 : 1, "port add NAME PROTOCOL PORT | port rm NAME");
  if (!change.adds()) {
    const auto& ports = draft.app().ports;
    const auto number = ParseDecimal<uint16_t>(name);
    const auto same = std::ranges::find_if(ports, [&](const auto& port) { return number && port.port == *number; });
    const bool by_name = std::ranges::find(ports, name, &image::AciPort::name) != ports.end();
    return RequireThere(draft.RemovePort(by_name || same == ports.end() ? name : same->name), "port", name);
  }
  RequireAcName(name);
  const auto number = ParseDecimal<uint16_t>(change.words[2]);
  if (!number || *number == 0 || change.count == 0 || change.count > 65536U - *number)
    throw Error(ErrorKind::kUsage, Quoted(change.words[2]) + " is no port", "1 to 65535");
  if (change.words[1] != "tcp" && change.words[1] != "udp" && change.words[1] != "sctp")
    throw Error(ErrorKind::kUsage, Quoted(change.words[1]) + " is no protocol", "tcp, udp or sctp");
  draft.AddPort({.name = name,
                 .protocol = change.words[1],
                 .port = *number,
                 .count = change.count,
                 .socket_activated = change.socket_activated});
}

void ApplyMount(Draft& draft, const Change& change) {
  const std::string name = change.name(change.adds() ? 2 : 1, "mount add NAME PATH | mount rm NAME");
  if (!change.adds()) {
    const auto& mounts = draft.app().mount_points;
    const auto same = std::ranges::find(mounts, name, &image::AciMountPoint::path);
    return RequireThere(draft.RemoveMount(same == mounts.end() ? name : same->name), "mount point", name);
  }
  RequireAcName(name);
  if (!change.words[1].starts_with('/'))
    throw Error(ErrorKind::kUsage, Quoted(change.words[1]) + " is no absolute path");
  draft.AddMount({name, change.words[1], change.read_only});
}

std::string ReadInput(const std::string& path) {
  return path == "-" ? ReadAll(STDIN_FILENO, kMaxManifestFile, "standard input") : ReadFile(path, kMaxManifestFile);
}

void ApplyIsolator(Draft& draft, const Change& change) {
  const std::string name = change.name(change.adds() ? 2 : 1, "isolator add NAME FILE | isolator rm NAME");
  auto& isolators = draft.app().isolators;
  const size_t removed = std::erase_if(isolators, [&](const auto& one) { return one.first == name; });
  if (!change.adds())
    return RequireThere(removed != 0, "isolator", name);
  RequireIdentifier(name);
  isolators.emplace_back(name, json::Parse(ReadInput(change.words[1]), change.words[1]));
}

void ApplyDependency(Draft& draft, const Change& change) {
  const std::string name =
      change.name(1, "dependency add NAME [--image-id ID] [--label NAME=VALUE] | dependency rm NAME");
  auto& all = draft.appc().dependencies;
  const size_t removed = std::erase_if(all, [&](const auto& one) { return one.image_name == name; });
  if (!change.adds())
    return RequireThere(removed != 0, "dependency", name);
  RequireIdentifier(name);
  image::AciDependency dependency{.image_name = name, .image_id = change.image_id, .size = change.size};
  for (const std::string& label : change.labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos)
      throw Error(ErrorKind::kUsage, Quoted(label) + " is no label", "--label NAME=VALUE");
    dependency.labels.emplace_back(label.substr(0, equals), label.substr(equals + 1));
  }
  all.push_back(std::move(dependency));
}

void DeclareDependency(CLI::App& verb, Change& change) {
  verb.add_option("--image-id", change.image_id, "exactly the image with this ID")->type_name("ID");
  verb.add_option("--label", change.labels, "a label that it must have; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  verb.add_option("--size", change.size, "its size")->type_name("BYTES");
}

// Another name of a verb, for those who are used to it.
void Hide(CLI::App* verb, bool hidden) {
  if (hidden)
    verb->group("");
}

void AddChanges(CLI::App& app, BuildAction& action) {
  AddChange(app, "label", "labels of the image", action, ApplyLabel);
  AddChange(app, "annotation", "annotations of the image", action, ApplyAnnotation);
  for (const char* name : {"environment", "env"})
    Hide(AddChange(app, name, "variables of the app", action, ApplyEnvironment), name == std::string("env"));
  AddChange(app, "port", "ports that the app listens on: add NAME PROTOCOL PORT", action, ApplyPort,
            [](CLI::App& verb, Change& change) {
              verb.add_option("--count", change.count, "so many ports, from PORT up")->type_name("N");
              verb.add_flag("--socket-activated", change.socket_activated, "the app is given sockets that listen");
            });
  AddChange(app, "mount", "places for volumes: add NAME PATH", action, ApplyMount, [](CLI::App& verb, Change& change) {
    verb.add_flag("--read-only", change.read_only, "the app only reads there");
  });
  AddChange(app, "isolator", "isolators of an ACI: add NAME FILE, whose content is JSON", action, ApplyIsolator);
  for (const char* name : {"dependency", "dep"}) {
    CLI::App* const verb =
        AddChange(app, name, "ACIs that this one is put on", action, ApplyDependency, DeclareDependency);
    Hide(verb, name == std::string("dep"));
  }
}

using Setter = std::function<void(Draft&, const std::string&)>;

CLI::App* AddSetter(CLI::App& app, const std::string& name, const std::string& summary, const std::string& operand,
                    BuildAction& action, const Setter& set) {
  return AddVerb<Words>(
      app, name, summary, action,
      [&](CLI::App& verb, Words& words) { verb.add_option(operand, words.single, operand)->required(); },
      [set](BuildSession& session, Words& words) {
        return Edit(session, [&](Draft& draft) { set(draft, words.single); });
      });
}

void SetHandler(Draft& draft, const std::string& event, const std::vector<std::string>& exec) {
  std::erase_if(draft.app().event_handlers, [&](const auto& handler) { return handler.name == event; });
  draft.app().event_handlers.push_back({event, exec});
}

void SetWorkingDirectory(Draft& draft, const std::string& path) {
  if (!path.starts_with('/'))
    throw Error(ErrorKind::kUsage, Quoted(path) + " is no absolute path");
  draft.Set("WorkingDir", path);
}

void SetGroups(Draft& draft, const std::vector<std::string>& groups) {
  std::vector<int64_t> gids;
  for (const std::string& group : groups) {
    const auto gid = ParseDecimal<uint32_t>(group);
    if (!gid)
      throw Error(ErrorKind::kUsage, Quoted(group) + " is no number of a group");
    gids.push_back(*gid);
  }
  draft.app().supplementary_gids = std::move(gids);
}

void AddSetters(CLI::App& app, const std::vector<std::string>& command, BuildAction& action) {
  AddSetter(app, "set-name", "the name of the image", "NAME", action, [](Draft& draft, const std::string& name) {
    RequireIdentifier(name);
    draft.appc().name = name;
  });
  AddSetter(app, "set-user", "whom the app runs as", "USER", action,
            [](Draft& draft, const std::string& user) { draft.SetUser(user); });
  AddSetter(app, "set-group", "the group that it runs as", "GROUP", action,
            [](Draft& draft, const std::string& group) { draft.SetGroup(group); });
  AddVerb<Words>(
      app, "set-supp-groups", "the groups that it is in beside: GID...", action,
      [](CLI::App& verb, Words& words) { verb.add_option("GIDS", words.words, "numbers; none to remove them"); },
      [](BuildSession& session, Words& words) {
        return Edit(session, [&](Draft& draft) { SetGroups(draft, words.words); });
      });
  AddSetter(app, "set-tag", "the version, as the label of that name", "TAG", action,
            [](Draft& draft, const std::string& tag) { draft.SetAppcLabel("version", tag); });
  for (const char* name : {"set-working-dir", "set-working-directory"}) {
    CLI::App* const verb = AddSetter(app, name, "where it starts", "PATH", action, SetWorkingDirectory);
    Hide(verb, name == std::string("set-working-directory"));
  }
  CLI::App* exec = AddVerb<Words>(
      app, "set-exec", "what is executed: set-exec -- CMD [ARG...]", action, [](CLI::App&, Words&) {},
      [](BuildSession&, Words&) { return 0; });
  exec->prefix_command();
  exec->callback([exec, &command, &action] {
    action = [exec, &command](BuildSession& session) {
      const std::vector<std::string> words = Rest(*exec, command);
      return Edit(session, [&](Draft& draft) { draft.SetExec(words); });
    };
  });
  auto event = std::make_shared<std::string>();
  CLI::App* handler =
      app.add_subcommand("set-event-handler", "what runs before or after the app: EVENT -- CMD [ARG...]");
  handler->add_option("EVENT", *event, "pre-start or post-stop")
      ->required()
      ->check(CLI::IsMember({"pre-start", "post-stop"}));
  handler->prefix_command();
  handler->callback([handler, event, &command, &action] {
    action = [handler, event, &command](BuildSession& session) {
      const std::vector<std::string> words = Rest(*handler, command);
      return Edit(session, [&](Draft& draft) { SetHandler(draft, *event, words); });
    };
  });
}

int Discard(BuildSession& session) {
  Workspace workspace = Workspace::Open(session.options().work_path);
  session.RemoveSteps(workspace);
  workspace.Remove();
  return 0;
}

struct BeginArguments {
  std::string base, mode = "appc";
  bool insecure = false;
};

void AddLife(CLI::App& app, BuildAction& action) {
  AddVerb<BeginArguments>(
      app, "begin", "start a build, on nothing or on an image", action,
      [](CLI::App& verb, BeginArguments& arguments) {
        verb.add_option("BASE", arguments.base, "an image, in any format, or a directory");
        verb.add_option("--build-mode", arguments.mode, "appc or oci: what a path alone means to write")
            ->check(CLI::IsMember({"appc", "oci"}))
            ->type_name("MODE");
        verb.add_flag("--insecure", arguments.insecure, "as acbuild has it")->group("");
      },
      [](BuildSession& session, BeginArguments& arguments) {
        if (arguments.insecure)
          session.AllowPlainHttp();
        return Begin(session, arguments.base, arguments.mode == "oci");
      });
  CLI::App* const layer = AddVerb<Words>(
      app, "layer", "nothing: every step that changes files makes a layer", action, [](CLI::App&, Words&) {},
      [](BuildSession&, Words&) { return 0; });
  Hide(layer, true);
  for (const char* name : {"end", "abort"}) {
    AddVerb<Words>(
        app, name, "discard the build; what was written stays", action, [](CLI::App&, Words&) {},
        [](BuildSession& session, Words&) { return Discard(session); });
  }
}

struct CopyArguments {
  std::vector<std::string> paths;
};

void AddCopies(CLI::App& app, BuildAction& action) {
  const auto declare = [](CLI::App& verb, CopyArguments& arguments) {
    verb.add_option("PATHS", arguments.paths, "files or directories here, then the place in the image")->required();
  };
  AddVerb<CopyArguments>(
      app, "copy", "copy a file or directory of this machine: copy FROM TO", action, declare,
      [](BuildSession& session, CopyArguments& arguments) { return CopyIn(session, arguments.paths, false); });
  AddVerb<CopyArguments>(
      app, "copy-to-dir", "copy files or directories into one: copy-to-dir FROM... DIR", action, declare,
      [](BuildSession& session, CopyArguments& arguments) { return CopyIn(session, arguments.paths, true); });
}

struct RunArguments {
  EngineOptions engine;
  std::string working_dir;
  bool net = false, insecure = false;
};

int RunIn(BuildSession& session, const RunArguments& arguments, const std::vector<std::string>& command) {
  const Engine engine = TakeEngine(arguments.engine);
  Workspace workspace = Workspace::Open(session.options().work_path);
  std::string created_by = "run";
  for (const std::string& word : command) created_by += " " + word;
  runner::RunOptions run{.args = command, .entrypoint = "", .user = "0:0"};
  run.working_dir = arguments.working_dir.empty() ? "/" : arguments.working_dir;
  run.network = arguments.net ? runner::Network::kHost : runner::Network::kNone;
  session.Run(workspace, created_by, run, session.FindDependencies(workspace.draft()), engine);
  return 0;
}

void AddRun(CLI::App& app, const std::vector<std::string>& command, BuildAction& action) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* run = app.add_subcommand("run", "run a command in the image: run -- CMD [ARG...]");
  AddEngineOptions(*run, arguments->engine);
  run->add_option("--working-dir", arguments->working_dir, "where it starts; / by default")->type_name("PATH");
  run->add_flag("--insecure", arguments->insecure, "as acbuild has it; nothing is fetched here")->group("");
  run->add_flag("--net", arguments->net, "with the network of this machine; without, it has none");
  run->prefix_command();
  run->callback([run, arguments, &command, &action] {
    action = [run, arguments, &command](BuildSession& session) {
      return RunIn(session, *arguments, Rest(*run, command));
    };
  });
}

struct ManifestArguments {
  std::string format = "aci", file;
  bool pretty = false;
};

int PrintManifest(BuildSession& session, const ManifestArguments& arguments) {
  const Workspace workspace = Workspace::Open(session.options().work_path);
  const Draft& draft = workspace.draft();
  const image::Image image = draft.ToImage(session.EpochOf(draft));
  const std::string text = arguments.format == "aci"
                               ? draft.Complete(image::ToAciManifest(image, {.name = draft.appc().name})).ToJson()
                               : image.config_bytes;
  const json::Value document = json::Parse(text, "the manifest");
  std::printf("%s%s", arguments.pretty ? json::PrintPretty(document).c_str() : text.c_str(),
              arguments.pretty ? "" : "\n");
  return 0;
}

int ReplaceManifest(BuildSession& session, const ManifestArguments& arguments) {
  const std::string text = ReadInput(arguments.file);
  return Edit(session, [&](Draft& draft) {
    if (arguments.format == "aci")
      draft.Replace(image::AciManifest::Parse(text));
    else
      draft.Replace(json::Parse(text, arguments.file));
  });
}

void DeclareFormat(CLI::App& verb, std::string& format) {
  verb.add_option("--format", format, "aci: the manifest of an ACI; oci: the configuration")
      ->check(CLI::IsMember({"aci", "oci"}))
      ->type_name("FORMAT");
}

void AddManifests(CLI::App& app, BuildAction& action) {
  AddVerb<ManifestArguments>(
      app, "cat-manifest", "print the manifest", action,
      [](CLI::App& verb, ManifestArguments& arguments) {
        DeclareFormat(verb, arguments.format);
        verb.add_flag("--pretty-print", arguments.pretty, "for people");
      },
      PrintManifest);
  AddVerb<ManifestArguments>(
      app, "replace-manifest", "take all that a manifest says from a file", action,
      [](CLI::App& verb, ManifestArguments& arguments) {
        DeclareFormat(verb, arguments.format);
        verb.add_option("FILE", arguments.file, "JSON; - is standard input")->required();
      },
      ReplaceManifest);
}

void AddWrites(CLI::App& app, BuildAction& action) {
  const auto perform = [](BuildSession& session, WriteRequest& request) {
    Workspace workspace = Workspace::Open(session.options().work_path);
    Draft draft = workspace.draft();
    if (draft.hides() && draft.appc().path_whitelist.empty())
      draft.appc().path_whitelist =
          session.PathsOf(draft, workspace.blobs(), workspace.dir(), session.FindDependencies(draft));
    WriteImage(session, draft, workspace.blobs(), request);
    return 0;
  };
  AddVerb<WriteRequest>(
      app, "write", "write the image", action,
      [](CLI::App& verb, WriteRequest& request) {
        AddWriteOptions(verb, request);
        verb.add_option("DST", request.destination, "a file, or any destination of gantry-convert")->required();
      },
      perform);
  AddVerb<WriteRequest>(
      app, "push", "put the image into a registry", action,
      [](CLI::App& verb, WriteRequest& request) {
        AddWriteOptions(verb, request);
        verb.add_option("NAME", request.destination, "[docker://]HOST/PATH[:TAG]")->required();
      },
      [perform](BuildSession& session, WriteRequest& request) {
        if (!request.destination.starts_with("docker://"))
          request.destination = "docker://" + request.destination;
        return perform(session, request);
      });
}

}  // namespace

SplitLine::SplitLine(std::vector<std::string> all) {
  const auto mark = std::ranges::find(all, "--");
  words.assign(all.begin(), mark);
  if (mark != all.end())
    command.assign(mark + 1, all.end());
}

void AddBuildVerbs(CLI::App& app, const std::vector<std::string>& command, BuildAction& action) {
  AddLife(app, action);
  AddSetters(app, command, action);
  AddChanges(app, action);
  AddCopies(app, action);
  AddRun(app, command, action);
  AddManifests(app, action);
  AddWrites(app, action);
}

}  // namespace gantry::tools
