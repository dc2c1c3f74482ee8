// Images that were fetched by appc names: files below aci/ of the store, as they came, with their signatures beside
// them.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/dir.h"
#include "libimage/model/reference.h"

namespace gantry::tools {

// Where the store at `root` keeps images that were fetched by appc names, as files.
std::string AppcDirectory(const std::string& root);
// What is looked for: with os and arch, of `platform` as on the command line where the name does not say.
image::AppcReference WantedAppc(const image::AppcReference& name, const std::string& platform);
// The file of that image.
std::string AppcPath(const image::AppcReference& wanted, const std::string& root);
// A name as it is opened here: an appc: is the file that it was fetched to, which may not be there.
image::Reference AsFile(const image::Reference& reference, const std::string& platform, const std::string& root);
// The same, but kNotFound, with the command that would fetch it, when it is not there.
image::Reference FindFile(const image::Reference& reference, const std::string& platform, const std::string& root);

// The file in which `file` of that directory comes in. Its name is no ACI's, so that nobody takes it for a dependency.
RelPath AppcPart(const std::string& file);
// Opens it, or makes it, and locks it: one at a time brings that image here or takes it away, with what belongs to it.
// Whoever holds it may remove it. Of one that somebody holds kSkip is nullopt.
enum class WhenHeld { kWait, kSkip };
std::optional<UniqueFd> HoldAppcPart(const Dir& dir, const std::string& file, WhenHeld when);

}  // namespace gantry::tools
