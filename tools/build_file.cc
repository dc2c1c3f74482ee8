#include "tools/build_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/build/containerfile.h"
#include "libimage/build/fingerprint.h"
#include "libimage/build/layer_cache.h"
#include "libimage/build/words.h"
#include "libimage/model/execution.h"
#include "libimage/transport/plain_file.h"
#include "tools/build_context.h"
#include "tools/build_settings.h"

namespace gantry::tools {
namespace {

using image::BuildStage;
using image::Containerfile;
using image::Draft;
using image::Instruction;
using image::Workspace;

using Variables = std::map<std::string, std::string, std::less<>>;

std::string CacheDirectory(const FileRequest& request) {
  if (!request.cache.empty())
    return request.cache;
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  if (cache != nullptr && *cache == '/')
    return std::string(cache) + "/gantry/build";
  if (home != nullptr && *home == '/')
    return std::string(home) + "/.cache/gantry/build";
  throw Error(ErrorKind::kUsage, "it is not known where layers can be kept", "give --cache DIR, or --no-cache");
}

// "http_proxy", "NO_PROXY".
bool IsProxy(const std::string& name) {
  static const std::set<std::string> kNames{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"};
  const std::string lower = LowerAscii(name);
  const bool capitals = std::ranges::none_of(name, [](char c) { return c >= 'a' && c <= 'z'; });
  return kNames.contains(lower) && (capitals || name == lower);
}

// One stage while it is built, and after.
struct Stage {
  const BuildStage& plan;
  Workspace workspace;
  Variables arguments;
  bool has_cmd = false;  // of its own
};

class FileBuild {
 public:
  FileBuild(BuildSession& session, const FileRequest& request)
      : session_(session),
        request_(request),
        context_(BuildContext::Open(request.file, request.context)),
        file_(Parse()),
        temporary_(Dir::Open(image::LargeTemporaryDirectory())),
        engine_(TakeEngine(request.engine)) {
    if (!request.no_cache)
      cache_.emplace(CacheDirectory(request));
    for (const std::string& given : request.arguments) Give(given);
    AddPlatforms();
    for (const Instruction& argument : file_.arguments) Declare(argument, global_);
  }

  int Run() {
    const size_t last = TargetStage();
    const std::set<size_t> needed = Needed(last);
    for (const size_t i : needed) {
      for (const Instruction& step : file_.stages[i].steps) total_ += step.name.empty() ? 0 : 1;
    }
    for (const size_t i : needed) At(file_.stages[i].from, [&] { Build(i); });
    WarnOfUnused();
    const Workspace& made = stages_.at(last).workspace;
    if (!request_.write.destination.empty()) {
      WriteImage(session_, made.draft(), made.blobs(), request_.write);
      return 0;
    }
    std::printf("%s\n", made.draft().ToImage(session_.EpochOf(made.draft())).descriptor.digest.str().c_str());
    return 0;
  }

 private:
  Containerfile Parse() const {
    try {
      return Containerfile::Parse(ReadFile(context_.file(), image::kMaxContainerfileBytes));
    } catch (const Error& error) {
      throw error.WithContext(context_.file());
    }
  }

  // Errors of `body` tell the line.
  template <typename Body>
  void At(const Instruction& step, Body body) const {
    try {
      body();
    } catch (const Error& error) {
      const std::string line = context_.file() + ": line ";
      throw error.message().starts_with(line) ? error : error.WithContext(line + std::to_string(step.line));
    }
  }

  void Give(const std::string& text) {
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    const char* const value = equals == std::string::npos ? std::getenv(name.c_str()) : nullptr;
    if (equals != std::string::npos)
      given_[name] = text.substr(equals + 1);
    else if (value != nullptr)
      given_[name] = value;
  }

  // As BuildKit has them before the first FROM: what is built for, and what this machine is.
  void AddPlatforms() {
    const std::string& chosen = session_.options().platform;
    const image::Platform host = image::Platform::Host();
    for (const auto& [prefix, platform] :
         {std::pair("BUILD", host), std::pair("TARGET", chosen.empty() ? host : image::Platform::Parse(chosen))}) {
      const std::string name = prefix;
      global_[name + "PLATFORM"] = platform.ToString();
      global_[name + "OS"] = platform.os;
      global_[name + "ARCH"] = platform.architecture;
      global_[name + "VARIANT"] = platform.variant;
    }
  }

  void WarnOfUnused() const {
    for (const auto& [name, value] : given_) {
      if (!declared_.contains(name) && !IsProxy(name))
        Warn(session_.options().common, "--build-arg " + name + " has no ARG that takes it");
    }
  }

  // ARG NAME[=VALUE]...: what was given, else what stands there, else what an ARG before the first FROM said.
  void Declare(const Instruction& step, Variables& into, const Draft* draft = nullptr) {
    for (const std::string& word : image::SplitWords(step.text, RulesFor(into, draft))) {
      const size_t equals = word.find('=');
      const std::string name = word.substr(0, equals);
      declared_.insert(name);
      if (const auto given = given_.find(name); given != given_.end())
        into[name] = given->second;
      else if (equals != std::string::npos)
        into[name] = word.substr(equals + 1);
      else if (const auto global = global_.find(name); global != global_.end())
        into[name] = global->second;
    }
  }

  image::WordRules RulesFor(const Variables& arguments, const Draft* draft) const {
    return {.escape = file_.escape,
            .variable = [&arguments, draft](std::string_view name) -> std::optional<std::string> {
              if (auto value = draft != nullptr ? EnvironmentOf(*draft, name) : std::nullopt)
                return value;
              const auto found = arguments.find(name);
              return found == arguments.end() ? std::nullopt : std::optional(found->second);
            }};
  }

  size_t TargetStage() const {
    if (request_.target.empty())
      return file_.stages.size() - 1;
    if (const auto found = FindStage(request_.target, file_.stages.size()))
      return *found;
    throw Error(ErrorKind::kNotFound, "there is no stage " + Quoted(request_.target) + " in " + context_.file());
  }

  // By name, or by number from 0; the latest before `before` of a name.
  std::optional<size_t> FindStage(const std::string& name, size_t before) const {
    for (size_t i = before; i-- > 0;) {
      if (!file_.stages[i].name.empty() && file_.stages[i].name == LowerAscii(name))
        return i;
    }
    const auto number = ParseDecimal<size_t>(name);
    return number && *number < before ? number : std::nullopt;
  }

  std::string BaseName(size_t stage) const {
    return image::ExpandText(file_.stages[stage].from.text, RulesFor(global_, nullptr));
  }

  std::set<size_t> Needed(size_t target) const {
    std::set<size_t> needed{target};
    for (size_t i = target + 1; i-- > 0;) {
      if (!needed.contains(i))
        continue;
      if (const auto from = FindStage(BaseName(i), i))
        needed.insert(*from);
      for (const Instruction& step : file_.stages[i].steps) {
        const auto from = FlagOf(step, "from");
        const auto stage = from ? FindStage(*from, i) : std::nullopt;
        if (stage)
          needed.insert(*stage);
      }
    }
    return needed;
  }

  // What is no stage is an image. gantry-fetch has said why it could not bring one, and knows nothing of stages.
  Draft OnImage(const std::string& name, size_t number) const {
    try {
      return session_.NewDraft(name);
    } catch (const ChildFailed& failed) {
      std::string stages;
      for (size_t i = 0; i < number; ++i) {
        const std::string& stage = file_.stages[i].name;
        stages += (i == 0 ? "" : ", ") + (stage.empty() ? std::to_string(i) : Quoted(stage));
      }
      const bool is_kind = failed.exit_code >= 1 && failed.exit_code <= 7;
      throw Error(is_kind ? static_cast<ErrorKind>(failed.exit_code) : ErrorKind::kFailed,
                  Quoted(name) + " could not be brought here",
                  stages.empty() ? "is the name right? it is that of an image"
                                 : "is the name right? the stages before this one are " + stages);
    }
  }

  void Build(size_t number) {
    const BuildStage& plan = file_.stages[number];
    if (const auto platform = FlagOf(plan.from, "platform"))
      RequirePlatform(image::ExpandText(*platform, RulesFor(global_, nullptr)));
    const std::string base = BaseName(number);
    const auto from = FindStage(base, number);
    Draft draft = from ? stages_.at(*from).workspace.draft() : OnImage(base, number);
    const json::Value* const triggers = draft.Get("OnBuild");
    if (triggers != nullptr && triggers->array() != nullptr && !triggers->array()->empty())
      throw Error(ErrorKind::kUnsupported, Quoted(base) + " has instructions for whoever builds on it (ONBUILD)",
                  "write them into the file, on a base without them");
    Workspace workspace = Workspace::Temporary(temporary_, std::move(draft));
    if (cache_)
      workspace.UseBlobs(cache_->blobs());
    else if (from)
      workspace.UseBlobs(stages_.at(*from).workspace.blobs());
    Stage& stage = stages_.emplace(number, Stage{plan, std::move(workspace), {}}).first->second;
    for (const Instruction& step : plan.steps) {
      ++done_;
      if (!session_.options().common.quiet)
        std::fprintf(stderr, "%zu/%zu %s\n", done_, total_, step.ToString().c_str());
      At(step, [&] { Perform(stage, number, step); });
    }
  }

  void RequirePlatform(const std::string& text) const {
    const auto wanted = image::Platform::Parse(text).Canonical();
    const std::string& chosen = session_.options().platform;
    const auto built = (chosen.empty() ? image::Platform::Host() : image::Platform::Parse(chosen)).Canonical();
    if (wanted != built)
      throw Error(ErrorKind::kUnsupported, "one build is for one platform, and this one for " + built.ToString(),
                  "build with --platform " + wanted.ToString());
  }

  void Perform(Stage& stage, size_t number, const Instruction& step) {
    Draft& draft = stage.workspace.draft();
    if (!step.words && step.text.starts_with("[\""))
      Warn(session_.options().common, context_.file() + ": line " + std::to_string(step.line) + ": " + step.name +
                                          " looks like JSON, but is none: it is given to the shell");
    if (step.name == "RUN")
      return PerformRun(stage, step);
    if (step.name == "COPY" || step.name == "ADD")
      return PerformCopy(stage, number, step);
    if (step.name == "WORKDIR")
      return PerformWorkdir(stage, step);
    if (step.name == "ARG")
      Declare(step, stage.arguments, &draft);
    else
      ApplySetting(draft, step, RulesFor(stage.arguments, &draft), stage.has_cmd);
    draft.AddHistory(step.ToString());
  }

  // Makes the layer of a step, unless one of the same inputs was made before.
  void Step(Stage& stage, const Instruction& step, json::Object inputs, const std::function<void()>& make) {
    Draft& draft = stage.workspace.draft();
    json::Array below;
    for (const image::DraftLayer& layer : draft.layers()) below.emplace_back(layer.diff_id.str());
    inputs.Set("format", 1);
    inputs.Set("below", std::move(below));
    inputs.Set("epoch", session_.EpochOf(draft));
    const Digest key = Digest::Of(json::PrintCanonical(inputs));
    if (const auto made = cache_ ? cache_->Find(key) : std::nullopt) {
      Note(session_.options().common, "made before: " + step.ToString());
      if (made->layer)
        draft.AddLayer(*made->layer, step.ToString());
      else
        draft.AddHistory(step.ToString());
      return;
    }
    const size_t before = draft.layers().size();
    make();
    if (cache_)
      cache_->Keep(key, {draft.layers().size() > before ? std::optional(draft.layers().back()) : std::nullopt});
  }

  void PerformRun(Stage& stage, const Instruction& step) {
    Draft& draft = stage.workspace.draft();
    runner::RunOptions run{.args = CommandOf(draft, step), .entrypoint = ""};
    for (const auto& [name, value] : stage.arguments) {
      if (!EnvironmentOf(draft, name))
        run.env.push_back(name + "=" + value);
    }
    run.network = request_.net ? runner::Network::kHost : runner::Network::kNone;
    const auto execution = image::Execution::Of(draft.ToImage(session_.EpochOf(draft)).config);
    Step(stage, step,
         {{"run", run.args},
          {"environment", execution.env},
          {"arguments", run.env},
          {"user", execution.user},
          {"directory", execution.cwd},
          {"network", request_.net}},
         [&] {
           AddProxies(draft, run.env);
           session_.Run(stage.workspace, step.ToString(), run, {}, engine_);
         });
  }

  // As Docker has them: given, and of no ARG. They lead to the same files, and are no input.
  void AddProxies(const Draft& draft, std::vector<std::string>& environment) const {
    for (const auto& [name, value] : given_) {
      if (IsProxy(name) && !declared_.contains(name) && !EnvironmentOf(draft, name))
        environment.push_back(name + "=" + value);
    }
  }

  void PerformWorkdir(Stage& stage, const Instruction& step) {
    Draft& draft = stage.workspace.draft();
    const std::string path = InDirectory(draft, image::ExpandText(step.text, RulesFor(stage.arguments, &draft)));
    draft.Set("WorkingDir", path);
    if (path == "/")
      return draft.AddHistory(step.ToString());
    // It is the user's, as BuildKit has it.
    const json::Value* const user = draft.Get("User");
    const std::pair<uint32_t, uint32_t> owner = user == nullptr || user->string() == nullptr
                                                    ? std::pair<uint32_t, uint32_t>(0, 0)
                                                    : OwnerOf(stage, *user->string());
    Step(stage, step, {{"directory", path}, {"uid", uint64_t{owner.first}}, {"gid", uint64_t{owner.second}}}, [&] {
      session_.Add(stage.workspace, step.ToString(), [&](image::Upper& upper, const Dir&) {
        upper.MakeDirectories(upper.Resolve(path), owner);
        return int64_t{0};
      });
    });
  }

  // What a COPY copies from.
  struct From {
    std::optional<Layers> layers;  // of another image
    std::optional<image::TreeStack> stack;
    image::CopyRules rules;
  };

  From Source(Stage& stage, size_t number, const Instruction& step) {
    From from;
    const auto name = FlagOf(step, "from");
    if (!name) {
      from.stack.emplace(context_.stack());
      from.rules = context_.rules();
      return from;
    }
    if (const auto other = FindStage(*name, number)) {
      const Workspace& there = stages_.at(*other).workspace;
      from.layers.emplace(session_.Render(there.draft(), there.blobs(), there.dir()));
    } else {
      const Draft draft = OnImage(image::ExpandText(*name, RulesFor(stage.arguments, nullptr)), number);
      from.layers.emplace(session_.Render(draft, stage.workspace.blobs(), stage.workspace.dir()));
    }
    from.stack.emplace(from.layers->pointers(), session_.unpack_options().whiteouts);
    from.rules.xattrs = true;
    return from;
  }

  void PerformCopy(Stage& stage, size_t number, const Instruction& step) {
    Draft& draft = stage.workspace.draft();
    const image::WordRules words = RulesFor(stage.arguments, &draft);
    CopyPlan plan = PlanCopy(step, words);
    const bool directory = plan.to == "." || plan.to.ends_with('/') || plan.to.ends_with("/.");
    plan.to = InDirectory(draft, plan.to) + (directory ? "/" : "");
    From from = Source(stage, number, step);
    if (const auto chown = FlagOf(step, "chown"))
      from.rules.owner = OwnerOf(stage, image::ExpandText(*chown, words));
    if (const auto chmod = FlagOf(step, "chmod"))
      from.rules.mode = ModeOf(image::ExpandText(*chmod, words));
    const std::vector<CopySource> sources = ChooseSources(*from.stack, plan, from.rules);
    const Digest content = FingerprintOf(draft, from, sources, step);
    const bool adds = step.name == "ADD";
    Step(stage, step, {{"copy", content.str()}, {"to", plan.to}, {"unpack", adds}}, [&] {
      session_.Add(stage.workspace, step.ToString(), [&](image::Upper& upper, const Dir& spare) {
        const bool as_they_are = !FlagOf(step, "chown") && !FlagOf(step, "chmod");
        if (adds)
          AddInto(upper, *from.stack, sources, plan, from.rules, {spare, session_.unpack_options(), as_they_are});
        else
          CopyInto(upper, *from.stack, sources, plan, from.rules);
        return int64_t{0};  // it is noted already
      });
    });
  }

  // Of all that is copied; noted in the draft.
  Digest FingerprintOf(Draft& draft, const From& from, const std::vector<CopySource>& sources,
                       const Instruction& step) {
    const std::vector<std::string> found = session_.InChild([&]() -> std::vector<std::string> {
      std::string digests;
      int64_t newest = 0;
      for (const auto& [name, node] : sources) {
        const auto one = image::FingerprintOf(*from.stack, node, from.rules, session_.fixed_epoch(), draft.newest());
        digests += one.digest.str() + Digest::Of(name).str() + " ";
        newest = std::max(newest, one.newest);
      }
      return {Digest::Of(digests).str(), std::to_string(newest)};
    });
    const Digest digest = Digest::Parse(found.at(0));
    draft.NoteInput({step.ToString(), digest});
    draft.NoteTime(ParseDecimal<int64_t>(found.at(1)).value_or(0));
    return digest;
  }

  std::pair<uint32_t, uint32_t> OwnerOf(Stage& stage, const std::string& spec) {
    if (spec.find_first_not_of("0123456789:") == std::string::npos)
      return FindOwner(image::TreeStack({}, session_.unpack_options().whiteouts), spec);
    const Layers layers = session_.Render(stage.workspace.draft(), stage.workspace.blobs(), stage.workspace.dir());
    const image::TreeStack stack(layers.pointers(), session_.unpack_options().whiteouts);
    return FindOwner(stack, spec);
  }

  BuildSession& session_;
  const FileRequest& request_;
  BuildContext context_;
  Containerfile file_;
  Dir temporary_;
  Engine engine_;
  std::optional<image::LayerCache> cache_;
  Variables given_, global_;
  std::set<std::string, std::less<>> declared_;
  std::map<size_t, Stage> stages_;
  size_t total_ = 0, done_ = 0;
};

}  // namespace

void AddFileOptions(CLI::App& app, FileRequest& request) {
  app.add_option("FILE", request.file, "a Containerfile, or the directory that has it");
  app.add_option("DST", request.write.destination, "where the image is written, as by the verb write");
  app.add_option("--context", request.context, "what COPY copies from; the directory of FILE")->type_name("DIR");
  app.add_option("--target", request.target, "the stage to build; the last")->type_name("STAGE");
  app.add_option("--build-arg", request.arguments, "the value of an ARG; NAME alone takes it over from here")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  AddEngineOptions(app, request.engine);
  app.add_flag("--net", request.net, "RUN has the network of this machine; without, it has none");
  app.add_option("--cache", request.cache, "where layers are kept for later builds")->type_name("DIR");
  app.add_flag("--no-cache", request.no_cache, "make every layer anew, and keep none");
  AddWriteOptions(app, request.write);
}

int BuildFile(BuildSession& session, const FileRequest& request) { return FileBuild(session, request).Run(); }

}  // namespace gantry::tools
