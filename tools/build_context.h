// COPY and ADD: where the files are, which of them are meant, and where they go.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/build/containerfile.h"
#include "libimage/build/patterns.h"
#include "libimage/build/upper.h"
#include "libimage/build/words.h"
#include "libimage/layer/tree_stack.h"

namespace gantry::tools {

// A Containerfile, and the directory that COPY copies from, without what its .dockerignore says.
class BuildContext {
 public:
  // `file` may be a directory with a Containerfile or a Dockerfile; an empty `context` is the directory of the file.
  static BuildContext Open(const std::string& file, const std::string& context);

  const std::string& file() const { return file_; }
  image::TreeStack stack() const;
  // All of it belongs to root in the image.
  image::CopyRules rules() const;

 private:
  std::string file_;
  std::shared_ptr<const Dir> dir_;
  std::shared_ptr<const image::IgnoredPaths> ignored_;
};

struct CopyPlan {
  std::vector<std::string> from;  // with patterns
  std::string to;                 // absolute, once the working directory is before it
};

CopyPlan PlanCopy(const image::Instruction& step, const image::WordRules& words);

// Something to copy, under the name that it has where it was found: links are followed.
struct CopySource {
  std::string name;
  image::TreeStack::Node node;
};

// What is meant, in order. kNotFound when there is nothing of a name.
std::vector<CopySource> ChooseSources(const image::TreeStack& from, const CopyPlan& plan,
                                      const image::CopyRules& rules);

// The content of directories, and files under their names, or the only file under the name that the plan gives it.
void CopyInto(image::Upper& upper, const image::TreeStack& from, const std::vector<CopySource>& sources,
              const CopyPlan& plan, const image::CopyRules& rules);

// What ADD needs to unpack archives.
struct Unpacking {
  const Dir& spare;  // an empty directory
  image::UnpackOptions options;
  bool keeps_attributes = true;  // false: --chown or --chmod is given, which is kUnsupported for an archive
};

// The same, but archives are unpacked where the others are copied to.
void AddInto(image::Upper& upper, const image::TreeStack& from, const std::vector<CopySource>& sources,
             const CopyPlan& plan, const image::CopyRules& rules, const Unpacking& unpacking);

// USER[:GROUP], numbers or names that the image has; the group of a user without one has the user's number, as Docker
// has it.
std::pair<uint32_t, uint32_t> FindOwner(const image::TreeStack& image, const std::string& spec);

// "0755", "644".
uint32_t ModeOf(const std::string& text);

// The value of --NAME, as written.
std::optional<std::string> FlagOf(const image::Instruction& step, std::string_view name);

}  // namespace gantry::tools
