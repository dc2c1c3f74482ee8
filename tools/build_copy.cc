#include "tools/build_copy.h"

#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "libimage/base/error.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/tree_stack.h"

namespace gantry::tools {
namespace {

using image::Draft;
using image::TreeStack;
using image::Workspace;

image::CopyRules Rules() { return {.owner = std::pair<uint32_t, uint32_t>(0, 0)}; }

// "a/b/" is "b" in "a", "." is "" in ".".
std::pair<std::string, std::string> Split(const std::string& path) {
  const std::string real = RealPath(path);
  const size_t slash = real.rfind('/');
  return {slash == 0 ? "/" : real.substr(0, slash), real.substr(slash + 1)};
}

// Returns the newest time.
int64_t CopyFromHost(image::Upper& upper, const std::vector<std::string>& from, const std::string& to,
                     bool into_directory) {
  for (const std::string& path : from) {
    const auto [parent, name] = Split(path);
    const Dir dir = Dir::Open(parent);
    const TreeStack stack({&dir}, image::UnpackOptions::Whiteouts::kOverlayUser);
    const auto node = name.empty() ? stack.Root() : stack.Resolve(name, false);
    if (!node)
      throw Error(ErrorKind::kNotFound, Quoted(path) + " does not exist");
    upper.Copy(stack, *node, upper.Resolve(into_directory ? to + "/" + name : to), Rules());
  }
  return upper.newest();
}

// A file can be copied where they are missing: then the directories above it are new ones.
Dependencies FindDependenciesHere(BuildSession& session, Draft& draft) {
  try {
    return session.FindDependencies(draft);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
    Warn(session.options().common, error.message() + ": what it has is not seen by the copy");
    return {};
  }
}

// The content of a directory as the first layer: owners, modes, times and extended attributes kept.
void AddRootfs(BuildSession& session, Workspace& workspace, const std::string& directory) {
  const std::string created_by = "begin " + directory.substr(directory.find_last_of('/') + 1);
  session.Add(workspace, created_by, [&](image::Upper& upper, const Dir&) {
    const Dir dir = Dir::Open(directory);
    const TreeStack stack({&dir}, image::UnpackOptions::Whiteouts::kOverlayUser);
    upper.Copy(stack, stack.Root().value(), "", {.xattrs = true});
    return upper.newest();
  });
  Draft& draft = workspace.draft();
  if (!draft.layers().empty())
    draft.NoteInput({created_by, draft.layers().back().diff_id});
  workspace.Save();
}

// acbuild's way to name a file: a path that begins with "." or "/". nullopt for the root of an image, as a directory.
std::optional<std::string> ImageAt(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) < 0)
    throw Error(ErrorKind::kNotFound, Quoted(path) + " does not exist");
  if (!S_ISDIR(status.st_mode))
    return "aci:" + path;
  return access((path + "/oci-layout").c_str(), F_OK) == 0 ? std::optional("oci:" + path) : std::nullopt;
}

int BeginOnDirectory(BuildSession& session, const std::string& directory, Draft draft) {
  Workspace workspace = Workspace::Begin(session.options().work_path, std::move(draft));
  try {
    AddRootfs(session, workspace, directory);
  } catch (...) {
    session.RemoveSteps(workspace);
    workspace.Remove();
    throw;
  }
  return 0;
}

}  // namespace

int CopyIn(BuildSession& session, const std::vector<std::string>& paths, bool into_directory) {
  if (paths.size() < 2 || (!into_directory && paths.size() != 2))
    throw Error(ErrorKind::kUsage, "copy what, and where to", "gantry-build copy FROM TO | copy-to-dir FROM... DIR");
  Workspace workspace = Workspace::Open(session.options().work_path);
  // Names alone: where the files lie on this machine is nobody's business.
  std::string created_by = into_directory ? "copy-to-dir" : "copy";
  for (const std::string& path : paths) {
    const bool last = &path == &paths.back();
    created_by += " " + (last ? path : path.substr(path.find_last_of('/') + 1));
  }
  const std::vector<std::string> from(paths.begin(), paths.end() - 1);
  Draft& draft = workspace.draft();
  const size_t before = draft.layers().size();
  session.Add(
      workspace, created_by,
      [&](image::Upper& upper, const Dir&) { return CopyFromHost(upper, from, paths.back(), into_directory); },
      FindDependenciesHere(session, draft));
  if (draft.layers().size() > before) {
    draft.NoteInput({created_by, draft.layers().back().diff_id});
    workspace.Save();
  }
  return 0;
}

int Begin(BuildSession& session, const std::string& base, bool writes_oci) {
  // Refused before anything is fetched.
  const std::string& path = session.options().work_path;
  if (access((path + "/draft.json").c_str(), F_OK) == 0)
    Workspace::Begin(path, Draft::Empty(image::Platform::Host()));
  const bool is_path = base.starts_with('.') || base.starts_with('/');
  const std::optional<std::string> image = is_path ? ImageAt(base) : base;
  Draft draft = session.NewDraft(image.value_or(std::string()));
  if (writes_oci)
    draft.WriteOci();
  if (!image)
    return BeginOnDirectory(session, base, std::move(draft));
  Workspace::Begin(path, std::move(draft));
  return 0;
}

}  // namespace gantry::tools
