#include "tools/build_context.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "runner/user.h"

namespace gantry::tools {
namespace {

using image::TreeStack;

constexpr size_t kTarMagicAt = 257;

bool IsDirectory(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool Exists(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

std::string FindFile(const std::string& file) {
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

void RefuseToUnpack(const TreeStack& from, const TreeStack::Node& node) {
  if (!S_ISREG(node.status.st_mode))
    return;
  const UniqueFd fd = from.OpenFile(node);
  std::array<std::byte, 512> head{};
  const size_t n = ReadFull(fd.get(), head, Quoted(node.path));
  const std::string_view text = AsText(std::span(head).first(n));
  const bool tar = text.size() > kTarMagicAt + 5 && text.substr(kTarMagicAt, 5) == "ustar";
  if (tar || image::DetectCompression(std::span(head).first(n)) != image::Compression::kNone)
    throw Error(ErrorKind::kUnsupported, "ADD does not unpack archives, such as " + Quoted(node.path),
                "COPY copies it as it is; unpack it in a RUN");
}

// Entries that match component by component.
void Expand(const TreeStack& from, const TreeStack::Node& at, std::string_view rest,
            std::vector<TreeStack::Node>& into) {
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view component = rest.substr(0, slash);
  if (component.empty() || component == ".") {
    if (slash < rest.size())
      Expand(from, at, rest.substr(slash + 1), into);
    return;
  }
  if (!at.is_directory())
    return;
  for (const TreeStack::Node& node : from.List(at)) {
    if (!image::Matches(component, image::SplitPath(node.path).second))
      continue;
    if (slash == rest.size())
      into.push_back(node);
    else
      Expand(from, node, rest.substr(slash + 1), into);
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
  plan.pattern = std::ranges::any_of(plan.from, [](const std::string& from) { return image::HasPattern(from); });
  if (step.name == "ADD")
    std::ranges::for_each(plan.from, RefuseToFetch);
  return plan;
}

std::vector<TreeStack::Node> ChooseSources(const TreeStack& from, const CopyPlan& plan, const image::CopyRules& rules,
                                           bool adding) {
  std::vector<TreeStack::Node> chosen;
  for (const std::string& text : plan.from) {
    std::vector<TreeStack::Node> found;
    if (image::HasPattern(text)) {
      if (const auto root = from.Root())
        Expand(from, *root, text, found);
    } else if (auto node = from.Resolve(text)) {
      found.push_back(*std::move(node));
    }
    std::erase_if(found, [&](const TreeStack::Node& node) {
      return rules.left_out && !node.path.empty() && rules.left_out(node.path) &&
             !(node.is_directory() && rules.exceptions);
    });
    if (found.empty())
      throw Error(ErrorKind::kNotFound, "there is no " + Quoted(text) + " to copy",
                  "is it outside of the context, or in its .dockerignore?");
    chosen.insert(chosen.end(), found.begin(), found.end());
  }
  for (const TreeStack::Node& node : chosen) {
    if (adding)
      RefuseToUnpack(from, node);
  }
  return chosen;
}

void CopyInto(image::Upper& upper, const TreeStack& from, const std::vector<TreeStack::Node>& nodes,
              const CopyPlan& plan, const image::CopyRules& rules) {
  const std::string to = upper.Resolve(plan.to);
  const bool into = plan.to.ends_with('/') || plan.several() || upper.IsDirectory(to);
  for (const TreeStack::Node& node : nodes) {
    if (node.is_directory() || !into)
      upper.Copy(from, node, to, rules);
    else
      upper.Copy(from, node, upper.Resolve(to + "/" + std::string(image::SplitPath(node.path).second)), rules);
  }
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
