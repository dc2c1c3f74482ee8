// What an ACI that is being made depends on: found among files and in the store, never in the network, and seen by what
// is run in the build.
#include <sys/mman.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/tree_stack.h"
#include "libimage/transport/aci_stack.h"
#include "tools/build_session.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxPathsBytes = 64 * 1024 * 1024;

// As the store may have it: a version is a tag there.
std::string StoredAs(const image::AciDependency& wanted) {
  const std::string* const version = image::FindPair(wanted.labels, "version");
  return wanted.image_name + (version == nullptr ? "" : ":" + *version);
}

// Of a directory and all below it, each ended by NUL.
void WritePaths(const image::TreeStack& tree, const image::TreeStack::Node& directory, std::string& into) {
  for (const image::TreeStack::Node& node : tree.List(directory)) {
    into.append("/").append(node.path).push_back('\0');
    if (node.is_directory())
      WritePaths(tree, node, into);
  }
}

}  // namespace

// What OpenBase takes.
std::string BuildSession::PlaceOf(const image::AciDependency& wanted) const {
  const std::vector<std::string> found = InPlainChild([&]() -> std::vector<std::string> {
    Confine(options_.common, {.read = {"/"}, .write = {}, .execute = {}, .unix_sockets = false});
    const auto path = image::FindAci(wanted, options_.dependencies, ".");
    return path ? std::vector<std::string>{*path} : std::vector<std::string>();
  });
  if (!found.empty())
    return "aci:" + found.front();
  // An image ID is the digest of an ACI, which the store does not have.
  if (wanted.image_id.empty() && store_->Resolve(StoredAs(wanted)))
    return "store:" + StoredAs(wanted);
  throw Error(ErrorKind::kNotFound, "the dependency " + Quoted(wanted.image_name) + " is not here",
              "put its file into this directory, with a name that ends in .aci, give --dependency FILE, or fetch it");
}

Dependencies BuildSession::FindDependencies(image::Draft& draft) {
  Dependencies out;
  for (const image::AciDependency& wanted : draft.appc().dependencies) {
    out.push_back(OpenBase(PlaceOf(wanted)));
    const image::DraftInput input{"dependency " + StoredAs(wanted), out.back().image.image().descriptor.digest};
    const auto before = std::ranges::find(draft.inputs(), input.name, &image::DraftInput::name);
    if (before == draft.inputs().end())
      draft.NoteInput(input);
    else if (before->digest != input.digest)
      throw Error(
          ErrorKind::kFailed,
          "the " + input.name + " is another image by now: " + input.digest.str() + ", it was " + before->digest.str(),
          "begin anew, or put the image back");
  }
  return out;
}

std::vector<std::string> BuildSession::PathsOf(const image::Draft& draft, const image::BlobDirectory& blobs,
                                               const Dir& work, const Dependencies& below) {
  const Layers layers = Render(draft, blobs, work, below);
  const UniqueFd file(memfd_create("paths", MFD_CLOEXEC));
  if (!file)
    ThrowErrno("make a file in memory");
  InChild([&]() -> std::vector<std::string> {
    Confine(options_.common, StepConfinement(work));
    const image::TreeStack tree(layers.pointers(), unpack_options().whiteouts);
    std::string paths;
    if (const auto root = tree.Root())
      WritePaths(tree, *root, paths);
    WriteFull(file.get(), AsBytes(paths), "the paths of the image");
    return {};
  });
  std::vector<std::string> out;
  if (lseek(file.get(), 0, SEEK_SET) < 0)
    ThrowErrno("read the paths of the image");
  const std::string paths = ReadAll(file.get(), kMaxPathsBytes, "the paths of the image");
  for (size_t begin = 0; begin < paths.size();) {
    const size_t end = paths.find('\0', begin);
    out.push_back(paths.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

}  // namespace gantry::tools
