#include "tools/build_context.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/stream.h"
#include "libimage/build/add_archive.h"
#include "libimage/layer/layer.h"
#include "libimage/model/execution.h"
#include "runner/user.h"

namespace gantry::tools {
namespace {

using image::TreeStack;

bool IsDirectory(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool Exists(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

std::string FindFile(const std::string& file) {
  if (!Exists(file))
    throw Error(ErrorKind::kNotFound, "there is neither a verb nor a Containerfile " + Quoted(file),
                "gantry-build --help lists the verbs");
  if (!IsDirectory(file))
    return file;
  for (const char* name : {"/Containerfile", "/Dockerfile"}) {
    if (Exists(file + name))
      return file + name;
  }
  throw Error(ErrorKind::kNotFound, Quoted(file) + " has neither a Containerfile nor a Dockerfile");
}

image::IgnoredPaths ReadIgnored(const std::string& file, const std::string& directory) {
  for (const std::string& path :
       {file + ".dockerignore", directory + "/.containerignore", directory + "/.dockerignore"}) {
    if (!Exists(path))
      continue;
    try {
      return image::IgnoredPaths::Parse(ReadFile(path, image::kMaxIgnoreBytes));
    } catch (const Error& error) {
      throw error.WithContext(path);
    }
  }
  return {};
}

void RefuseToFetch(const std::string& from) {
  if (from.find("://") != std::string::npos || from.starts_with("git@"))
    throw Error(ErrorKind::kUnsupported, "ADD of " + Quoted(from) + " is not supported: a build has no network",
                "fetch it first, and COPY it");
}

// Entries that match component by component; links are followed where they lead to something.
void Expand(const TreeStack& from, const std::string& at, std::string_view rest, std::vector<CopySource>& into) {
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view component = rest.substr(0, slash);
  if (component.empty() || component == ".") {
    if (slash < rest.size())
      Expand(from, at, rest.substr(slash + 1), into);
    return;
  }
  const auto directory = from.Resolve(at);
  if (!directory || !directory->is_directory())
    return;
  for (const TreeStack::Node& node : from.List(*directory)) {
    if (!image::Matches(component, image::SplitPath(node.path).second))
      continue;
    if (slash < rest.size())
      Expand(from, node.path, rest.substr(slash + 1), into);
    else
      into.push_back({std::string(image::SplitPath(node.path).second), from.Resolve(node.path).value_or(node)});
  }
}

std::string ReadAccounts(const TreeStack& image, const std::string& path) {
  const auto node = image.Resolve(path);
  if (!node || !S_ISREG(node->status.st_mode))
    return {};
  return ReadAll(image.OpenFile(*node).get(), runner::kMaxAccountFileBytes, path);
}

}  // namespace

BuildContext BuildContext::Open(const std::string& file, const std::string& context) {
  BuildContext out;
  out.file_ = FindFile(file);
  const size_t slash = out.file_.rfind('/');
  const std::string directory = !context.empty()             ? context
                                : slash == std::string::npos ? "."
                                                             : out.file_.substr(0, std::max<size_t>(slash, 1));
  out.dir_ = std::make_shared<const Dir>(Dir::Open(directory));
  out.ignored_ = std::make_shared<const image::IgnoredPaths>(ReadIgnored(out.file_, directory));
  return out;
}

TreeStack BuildContext::stack() const { return {{dir_.get()}, image::UnpackOptions::Whiteouts::kOverlayUser}; }

image::CopyRules BuildContext::rules() const {
  return {.owner = std::pair<uint32_t, uint32_t>(0, 0),
          .left_out = [ignored = ignored_](const std::string& path) { return ignored->Has(path); },
          .exceptions = ignored_->has_exceptions()};
}

CopyPlan PlanCopy(const image::Instruction& step, const image::WordRules& words) {
  CopyPlan plan;
  if (step.words) {
    for (const std::string& word : *step.words) plan.from.push_back(image::ExpandText(word, words));
  } else {
    plan.from = image::SplitWords(step.text, words);
  }
  if (plan.from.size() < 2)
    throw Error(ErrorKind::kCorrupt, step.name + " needs what to copy, and where to");
  plan.to = plan.from.back();
  plan.from.pop_back();
  if (plan.from.size() > 1 && !plan.to.ends_with('/') && plan.to != "." && !plan.to.ends_with("/."))
    throw Error(ErrorKind::kCorrupt, step.name + " of several files needs a directory to put them into",
                "end it with a slash: " + Quoted(plan.to + "/"));
  if (step.name == "ADD")
    std::ranges::for_each(plan.from, RefuseToFetch);
  return plan;
}

std::vector<CopySource> ChooseSources(const TreeStack& from, const CopyPlan& plan, const image::CopyRules& rules) {
  std::vector<CopySource> chosen;
  for (const std::string& text : plan.from) {
    std::vector<CopySource> found;
    if (image::HasPattern(text))
      Expand(from, "", text, found);
    else if (auto node = from.Resolve(text))
      found.push_back({std::string(image::SplitPath(image::CleanAbsolute(text)).second), *std::move(node)});
    const size_t before = found.size();
    std::erase_if(found, [&](const CopySource& source) {
      const TreeStack::Node& node = source.node;
      return rules.left_out && !node.path.empty() && rules.left_out(node.path) &&
             !(node.is_directory() && rules.exceptions);
    });
    if (found.empty())
      throw Error(ErrorKind::kNotFound, "there is no " + Quoted(text) + " to copy",
                  before != 0 ? "the .dockerignore leaves it out"
                              : "paths are those below the context, which --context chooses");
    chosen.insert(chosen.end(), found.begin(), found.end());
  }
  return chosen;
}

void CopyInto(image::Upper& upper, const TreeStack& from, const std::vector<CopySource>& sources, const CopyPlan& plan,
              const image::CopyRules& rules) {
  const std::string to = upper.Resolve(plan.to);
  const bool into = plan.to.ends_with('/') || sources.size() > 1 || upper.IsDirectory(to);
  for (const CopySource& source : sources) {
    if (source.node.is_directory() || !into)
      upper.Copy(from, source.node, to, rules);
    else
      upper.Copy(from, source.node, upper.Resolve(to + "/" + source.name), rules);
  }
}

void AddInto(image::Upper& upper, const TreeStack& from, const std::vector<CopySource>& sources, const CopyPlan& plan,
             const image::CopyRules& rules, const Unpacking& unpacking) {
  std::vector<CopySource> copied;
  for (const CopySource& source : sources) {
    const auto open = [&] { return FdSource(from.OpenFile(source.node), Quoted(source.name)); };
    if (!S_ISREG(source.node.status.st_mode) || !image::IsArchive(open(), Quoted(source.name))) {
      copied.push_back(source);
      continue;
    }
    if (!unpacking.keeps_attributes)
      throw Error(ErrorKind::kUnsupported, "--chown and --chmod do not apply to what is in " + Quoted(source.name),
                  "files of an archive keep their owners and modes; change them in a RUN");
    const std::string number = std::to_string(&source - sources.data());
    const Dir unpacked = unpacking.spare.MakeDirs(RelPath::Parse(number), 0700);
    image::CopyRules extracted{.xattrs = true, .replaces = true};
    extracted.implied = image::UnpackArchive(open(), unpacked, unpacking.options, Quoted(source.name));
    const TreeStack tree({&unpacked}, unpacking.options.whiteouts);
    upper.Copy(tree, tree.Root().value(), upper.Resolve(plan.to), extracted);
  }
  if (!copied.empty())
    CopyInto(upper, from, copied, plan, rules);
}

std::pair<uint32_t, uint32_t> FindOwner(const TreeStack& image, const std::string& spec) {
  const runner::AccountFiles files{ReadAccounts(image, "etc/passwd"), ReadAccounts(image, "etc/group")};
  const runner::Credentials who = runner::ResolveUser(files, spec);
  return {who.uid, spec.find(':') == std::string::npos ? who.uid : who.gid};
}

uint32_t ModeOf(const std::string& text) {
  uint32_t mode = 0;
  const char* const end = text.data() + text.size();
  const auto [at, problem] = std::from_chars(text.data(), end, mode, 8);
  if (problem != std::errc() || at != end || mode > 07777)
    throw Error(ErrorKind::kUnsupported, "--chmod=" + text + " is not supported", "write an octal number, as 0755");
  return mode;
}

std::optional<std::string> FlagOf(const image::Instruction& step, std::string_view name) {
  for (const auto& [flag, value] : step.flags) {
    if (flag == name)
      return value;
  }
  return std::nullopt;
}

}  // namespace gantry::tools
