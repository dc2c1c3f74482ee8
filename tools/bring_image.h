// Names that are not on this machine yet, brought here by a gantry-fetch that is a child: for programs that have no
// network themselves.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"
#include "tools/arriving_blobs.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

// The program `name` beside this one, else the one in PATH.
std::string Sibling(const std::string& name);

// A gantry-fetch that has decided about an image and still brings its layers.
struct Fetching {
  Process process;
  UniqueFd output;         // where it says once more what it has decided, when all of it is here and was checked
  std::string media_type;  // of the manifest
};

// Until all of it is here and was checked, or until it has ended. Both throw when it has not brought everything:
// ChildFailed, where it has said why.
void AwaitChecked(Fetching& fetching);
void AwaitEnd(Fetching& fetching);

// The blobs of `store`, into which it still brings some, for a forked child of the process that started it. All have
// come when they were checked, though some may have no name in the store yet. The parent has to await that, too, and
// alone can await the end: it tells why it failed.
std::unique_ptr<ArrivingBlobs> BlobsBeside(std::shared_ptr<const image::Store> store,
                                           std::shared_ptr<const Fetching> fetching);

// A name that OpenLocalImage can open without the network.
struct LocalName {
  image::Reference reference;
  std::optional<Digest> pinned = std::nullopt;   // what was fetched; the name is not looked up again
  std::vector<std::string> dependencies = {};    // ACIs for an aci:, beside those in its directory
  std::shared_ptr<Fetching> fetching = nullptr;  // of `pinned`, where its layers still come
};

// What `text` is on this machine, after gantry-fetch, a child with the same store, platform and policy flags, has
// brought what has to be brought: docker:// always, a bare name when the store lacks it or has it for another platform.
// Throws ChildFailed when it could not, or what the registry has is an artifact: nothing of one is brought. Call before
// Confine.
LocalName BringHere(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                    const CommonOptions& common);

// The same, artifacts too, but where gantry-fetch is asked it need only have decided: the documents are here, and
// layers still come.
LocalName BringBeginning(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                         const CommonOptions& common);

// The same of all that the name leads to, or of a list of platforms; for OpenLocalImages.
LocalName BringAllHere(const std::string& text, const std::string& platforms, const PolicyOptions& policy,
                       const CommonOptions& common);

// The options of gantry-fetch for a platform; none for an empty text. OfImage: and for an image, an artifact fails.
std::vector<std::string> ForPlatform(const std::string& platform);
std::vector<std::string> OfImage(const std::string& platform);

// Whether the store at `root` has the name for that platform; any, when `platform` is empty.
bool IsInStore(const image::DockerReference& name, const std::string& platform, const std::string& root);

// As BringHere without a look at the store: gantry-fetch, given `selection` for what to take, brings a docker:// or a
// bare name.
LocalName Fetch(const image::Reference& reference, const std::vector<std::string>& selection,
                const PolicyOptions& policy, const CommonOptions& common);

// As Fetch, but only until it has decided; or to its end, where it cannot tell earlier.
LocalName BeginFetch(const image::Reference& reference, const std::vector<std::string>& selection,
                     const PolicyOptions& policy, const CommonOptions& common);

}  // namespace gantry::tools
