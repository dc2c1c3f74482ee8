#include "libimage/transport/aci_stack.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/path_text.h"
#include "libimage/model/manifest.h"

namespace gantry::image {
namespace {

std::string Described(const AciDependency& dependency) {
  std::string out = Quoted(dependency.image_name);
  for (const auto& [name, value] : dependency.labels) out += "," + name + "=" + value;
  return out;
}

bool IsOfName(const AciDependency& wanted, const AciManifest& manifest) {
  return manifest.name == wanted.image_name && std::ranges::all_of(wanted.labels, [&](const AppcPair& label) {
           const std::string* const value = FindPair(manifest.labels, label.first);
           return value != nullptr && *value == label.second;
         });
}

std::vector<std::string> AcisIn(const std::string& directory) {
  std::vector<std::string> out;
  for (const std::string& name : Dir::Open(directory).List()) {
    if (!name.ends_with(".aci"))
      continue;
    if (out.size() == kMaxAciFilesBeside) {
      throw Error(ErrorKind::kUnsupported,
                  Quoted(directory) + " holds more than " + std::to_string(kMaxAciFilesBeside) + " ACIs",
                  "put those that are needed into a directory of their own, or give --dependency FILE");
    }
    out.push_back(directory + (directory.ends_with("/") ? "" : "/") + name);
  }
  return out;
}

std::string IdOf(const AciFile& file) { return "sha512-" + file.image_id().hex(); }

// The files among which dependencies are looked for; each is read when it is asked for, and once.
class AciFiles {
 public:
  // `top` is the file that depends on them, and none of them.
  AciFiles(std::string top, std::string directory, const std::vector<std::string>& given)
      : top_(std::move(top)), directory_(std::move(directory)) {
    for (const std::string& path : given) candidates_.push_back({.path = path, .given = true});
  }

  // Null when there is none.
  std::shared_ptr<const AciFile> TryFind(const AciDependency& wanted) {
    if (auto found = FindAmong(wanted, true))
      return found;
    AddFilesBeside();
    return FindAmong(wanted, false);
  }

  std::shared_ptr<const AciFile> Find(const AciDependency& wanted) {
    if (auto found = TryFind(wanted))
      return found;
    throw Error(ErrorKind::kNotFound, Quoted(top_) + " depends on the ACI " + Described(wanted) + ", which is not here",
                "put its file beside it, with a name that ends in .aci, or give --dependency FILE");
  }

 private:
  struct Candidate {
    std::string path;
    bool given = false;  // by the user: then it has to be an ACI
    std::optional<AciManifest> peeked = {};
    std::shared_ptr<const AciFile> file = {};
    bool broken = false;
  };

  void AddFilesBeside() {
    if (std::exchange(searched_, true))
      return;
    for (std::string& path : AcisIn(directory_)) {
      if (path != top_ && path != "./" + top_)
        candidates_.push_back({.path = std::move(path)});
    }
  }

  std::shared_ptr<const AciFile> FindAmong(const AciDependency& wanted, bool given) {
    std::vector<std::shared_ptr<const AciFile>> of_name;
    for (Candidate& candidate : candidates_) {
      if (candidate.given != given || !IsCandidate(candidate, wanted))
        continue;
      if (!wanted.image_id.empty() && IdOf(*candidate.file) == wanted.image_id)
        return CheckSize(wanted, candidate.file);
      of_name.push_back(candidate.file);
    }
    if (of_name.empty())
      return nullptr;
    if (!wanted.image_id.empty()) {
      throw Error(ErrorKind::kCorrupt,
                  Quoted(of_name.front()->name()) + " is called " + Described(wanted) + ", but its image ID is " +
                      IdOf(*of_name.front()) + ", not " + wanted.image_id,
                  "the dependency was exchanged or made anew; get the one that the ACI was made with");
    }
    if (of_name.size() > 1 && IdOf(*of_name[0]) != IdOf(*of_name[1])) {
      throw Error(ErrorKind::kUsage,
                  Quoted(of_name[0]->name()) + " and " + Quoted(of_name[1]->name()) + " are both " + Described(wanted),
                  "say which is meant with --dependency FILE");
    }
    return CheckSize(wanted, of_name.front());
  }

  // Reads no more of a file than tells that it is another one, where its manifest comes first.
  bool IsCandidate(Candidate& candidate, const AciDependency& wanted) {
    if (candidate.broken)
      return false;
    try {
      if (!candidate.file && !candidate.peeked)
        candidate.peeked = AciFile::Peek(candidate.path);
      if (!candidate.file && candidate.peeked && !IsOfName(wanted, *candidate.peeked))
        return false;
      if (!candidate.file)
        candidate.file = AciFile::Open(candidate.path, ImageId::kAtOnce);
    } catch (const Error&) {
      if (candidate.given)
        throw;
      candidate.broken = true;  // whatever lies there
      return false;
    }
    return IsOfName(wanted, candidate.file->manifest());
  }

  static std::shared_ptr<const AciFile> CheckSize(const AciDependency& wanted,
                                                  const std::shared_ptr<const AciFile>& file) {
    // Whether it is the size of the file or of what is hashed the specification leaves open.
    if (wanted.size != 0 && wanted.size != file->tar_bytes() && wanted.size != file->file_bytes()) {
      throw Error(ErrorKind::kCorrupt, Quoted(file->name()) + " has " + std::to_string(file->tar_bytes()) +
                                           " bytes, the dependency " + Described(wanted) + " says " +
                                           std::to_string(wanted.size));
    }
    return file;
  }

  std::string top_, directory_;
  std::vector<Candidate> candidates_;
  bool searched_ = false;
};

std::optional<AciManifest> ManifestOf(const std::string& path) {
  try {
    std::optional<AciManifest> first = AciFile::Peek(path);
    return first ? std::move(first) : AciFile::Open(path, ImageId::kWhenAsked)->manifest();
  } catch (const Error&) {
    return std::nullopt;  // whatever lies there
  }
}

class Stack {
 public:
  explicit Stack(AciFiles files) : files_(std::move(files)) {}

  void Add(const std::shared_ptr<const AciFile>& file, PathWhitelists only) {
    if (std::ranges::find(path_, file.get()) != path_.end())
      throw Error(ErrorKind::kCorrupt,
                  Quoted(file->name()) + " depends on itself, through " + std::to_string(path_.size()) + " ACIs");
    if (path_.size() == kMaxAciDepth)
      throw Error(ErrorKind::kCorrupt,
                  Quoted(file->name()) + " is a dependency at a depth of more than " + std::to_string(kMaxAciDepth));
    path_.push_back(file.get());
    if (!file->manifest().path_whitelist.empty())
      only.push_back(WhitelistOf(*file));
    for (const AciDependency& dependency : file->manifest().dependencies) Add(files_.Find(dependency), only);
    if (stack_.size() == kMaxLayers)
      throw Error(ErrorKind::kCorrupt,
                  Quoted(file->name()) + ": more than " + std::to_string(kMaxLayers) + " dependencies in all");
    stack_.push_back({file, std::move(only)});
    path_.pop_back();
  }

  std::vector<StackedAci> Take() { return std::move(stack_); }

 private:
  const std::shared_ptr<const PathWhitelist>& WhitelistOf(const AciFile& file) {
    auto& list = whitelists_[&file];
    if (!list)
      list = std::make_shared<const PathWhitelist>(file.manifest().path_whitelist);
    return list;
  }

  AciFiles files_;
  std::map<const AciFile*, std::shared_ptr<const PathWhitelist>> whitelists_;
  std::vector<const AciFile*> path_;  // from the top to the ACI that is being added
  std::vector<StackedAci> stack_;
};

}  // namespace

std::vector<StackedAci> OpenAciStack(const std::string& path, const std::vector<std::string>& dependencies) {
  // Its ID nobody but a dependent would ask for.
  const auto top = AciFile::Open(path, ImageId::kWhenAsked);
  Stack stack(AciFiles(top->name(), DirectoryOf(top->name()), dependencies));
  stack.Add(top, {});
  return stack.Take();
}

std::optional<std::string> FindAci(const AciDependency& wanted, const std::vector<std::string>& given,
                                   const std::string& directory) {
  const auto found = AciFiles("", directory, given).TryFind(wanted);
  return found ? std::optional(found->name()) : std::nullopt;
}

std::string TopAciIn(const std::string& directory) {
  std::vector<std::pair<std::string, AciManifest>> all;
  for (const std::string& path : AcisIn(directory)) {
    if (auto manifest = ManifestOf(path))
      all.emplace_back(path, *std::move(manifest));
  }
  std::vector<std::string> tops;
  for (const auto& [path, manifest] : all) {
    const auto leads_here = [&is = manifest](const AciDependency& dependency) { return IsOfName(dependency, is); };
    if (std::ranges::none_of(
            all, [&](const auto& other) { return std::ranges::any_of(other.second.dependencies, leads_here); }))
      tops.push_back(path);
  }
  if (tops.size() == 1)
    return tops.front();
  if (tops.empty()) {
    throw Error(ErrorKind::kNotFound, Quoted(directory) + " holds no ACI on which no other depends",
                "ACIs are found by names that end in .aci");
  }
  throw Error(ErrorKind::kUsage,
              Quoted(tops[0]) + " and " + Quoted(tops[1]) + " are both ACIs on which no other depends",
              "name the file of one");
}

}  // namespace gantry::image
