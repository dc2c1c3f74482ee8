#include "libimage/build/workspace.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

const RelPath kLock = RelPath::Parse("lock");
const RelPath kDraft = RelPath::Parse("draft.json");
const RelPath kBlobs = RelPath::Parse("blobs");
const RelPath kStep = RelPath::Parse("step");

// Held until the descriptor is closed; never by what is executed.
UniqueFd Lock(const Dir& dir, const std::string& path) {
  UniqueFd fd = dir.OpenBeneath(kLock, O_RDWR | O_CREAT, 0600);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0)
    return fd;
  if (errno != EWOULDBLOCK)
    ThrowErrno("lock " + Quoted(path));
  throw Error(ErrorKind::kFailed, "another gantry-build is at work in " + Quoted(path),
              "wait for it, or build in another place with --work-path");
}

// For people who find a build in progress.
std::string Describe(const Draft& draft, bool interrupted) {
  std::string text = Quoted(draft.appc().name);
  if (draft.base())
    text += " on " + Quoted(draft.base()->name);
  text += ", " + std::to_string(draft.layers().size() - draft.base_layers()) + " layers made";
  return text + (interrupted ? ", the last step interrupted and without effect" : "");
}

}  // namespace

Workspace::Workspace(std::string path, Dir dir, UniqueFd lock, Draft draft)
    : path_(std::move(path)),
      dir_(std::move(dir)),
      lock_(std::move(lock)),
      draft_(std::move(draft)),
      blobs_(Dir::Create(dir_.name() + "/" + kBlobs.str(), 0700)),
      interrupted_(dir_.Exists(kStep)) {}

Workspace::Workspace(Workspace&& other) noexcept
    : path_(std::move(other.path_)),
      dir_(std::move(other.dir_)),
      lock_(std::move(other.lock_)),
      draft_(std::move(other.draft_)),
      blobs_(std::move(other.blobs_)),
      interrupted_(other.interrupted_),
      temporary_(std::exchange(other.temporary_, false)) {}

Workspace::~Workspace() {
  try {
    if (temporary_)
      Remove();
  } catch (const std::exception&) {
    // It lies where temporary files lie.
  }
}

Workspace Workspace::Begin(const std::string& path, Draft draft) {
  Dir::Create(path, 0700);
  Dir dir = Dir::Open(RealPath(path));
  UniqueFd lock = Lock(dir, path);
  // Without a draft it is what a `begin` left that was killed.
  if (dir.Exists(kDraft)) {
    const Draft there = Draft::FromJson(dir.ReadFile(kDraft, kMaxDraftBytes));
    throw Error(ErrorKind::kFailed,
                "a build is in progress in " + Quoted(path) + ": " + Describe(there, dir.Exists(kStep)),
                "go on with it, or discard it with: gantry build abort");
  }
  Workspace workspace(path, std::move(dir), std::move(lock), std::move(draft));
  workspace.Save();
  return workspace;
}

Workspace Workspace::Open(const std::string& path) {
  struct stat status {};
  if (stat((path + "/" + kDraft.str()).c_str(), &status) < 0)
    throw Error(ErrorKind::kNotFound, "no build is in progress in " + Quoted(path),
                "start one with: gantry build begin");
  Dir dir = Dir::Open(RealPath(path));
  UniqueFd lock = Lock(dir, path);
  Draft draft = Draft::FromJson(dir.ReadFile(kDraft, kMaxDraftBytes));
  return {path, std::move(dir), std::move(lock), std::move(draft)};
}

Workspace Workspace::Temporary(const Dir& in, Draft draft) {
  std::string path = in.name() + "/gantry-build-XXXXXX";
  if (mkdtemp(path.data()) == nullptr)
    ThrowErrno("make a directory in " + Quoted(in.name()));
  Dir dir = Dir::Open(RealPath(path));
  UniqueFd lock = Lock(dir, path);
  Workspace workspace(path, std::move(dir), std::move(lock), std::move(draft));
  workspace.temporary_ = true;
  return workspace;
}

void Workspace::Save() const {
  if (!temporary_)
    dir_.WriteFileAtomically(kDraft, draft_.ToJson(), 0600);
}

Dir Workspace::NewStep(const std::string& name) const {
  const RelPath path = kStep / RelPath::Parse(name);
  dir_.MakeDirs(kStep, 0755);
  dir_.RemoveTree(path);
  dir_.MakeDirs(path, 0755);
  return Dir::Open(dir_.name() + "/" + path.str());
}

void Workspace::RemoveSteps() const { dir_.RemoveTree(kStep); }

void Workspace::Remove() {
  temporary_ = false;
  dir_.RemoveFile(kDraft);  // first: without it there is no build
  for (const std::string& name : dir_.List()) dir_.RemoveTree(RelPath::Parse(name));
  if (rmdir(path_.c_str()) < 0 && errno != ENOENT)
    ThrowErrno("remove " + Quoted(path_));
}

}  // namespace gantry::image
