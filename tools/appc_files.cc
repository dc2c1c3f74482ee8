#include "tools/appc_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/base/percent.h"
#include "libimage/model/descriptor.h"
#include "libimage/transport/discovery.h"

namespace gantry::tools {

std::string AppcDirectory(const std::string& root) { return root + "/aci"; }

image::AppcReference WantedAppc(const image::AppcReference& name, const std::string& platform) {
  return image::WithPlatform(name, platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform));
}

std::string AppcPath(const image::AppcReference& wanted, const std::string& root) {
  constexpr size_t kLongest = 200;  // with what stands behind it a name of a file
  image::AppcReference sorted = wanted;
  std::sort(sorted.labels.begin(), sorted.labels.end());
  const std::string text = image::Reference(sorted).ToString();
  std::string name = PercentEncoded(text.substr(text.find(':') + 1));
  if (name.size() > kLongest)
    name = Digest::Of(text).hex();
  return AppcDirectory(root) + "/" + name + ".aci";
}

image::Reference AsFile(const image::Reference& reference, const std::string& platform, const std::string& root) {
  if (reference.appc() == nullptr)
    return reference;
  const std::string path = AppcPath(WantedAppc(*reference.appc(), platform), root);
  return image::Reference(image::FileReference{image::FileReference::Format::kAci, path, {}});
}

image::Reference FindFile(const image::Reference& reference, const std::string& platform, const std::string& root) {
  image::Reference file = AsFile(reference, platform, root);
  if (reference.appc() != nullptr && access(file.file()->path.c_str(), F_OK) != 0) {
    const std::string called = reference.ToString();
    throw Error(ErrorKind::kNotFound, Quoted(called) + " is not in the store at " + Quoted(root),
                "bring it here with: gantry fetch " + called);
  }
  return file;
}

RelPath AppcPart(const std::string& file) { return RelPath::Parse(file + ".part"); }

std::optional<UniqueFd> HoldAppcPart(const Dir& dir, const std::string& file, WhenHeld when) {
  const RelPath part = AppcPart(file);
  while (true) {
    UniqueFd fd = dir.OpenBeneath(part, O_RDWR | O_CREAT, 0644);
    if (flock(fd.get(), when == WhenHeld::kWait ? LOCK_EX : LOCK_EX | LOCK_NB) < 0) {
      if (errno == EWOULDBLOCK)
        return std::nullopt;
      ThrowErrno("lock " + part.str());
    }
    struct stat ours {};
    const auto there = dir.Stat(part);
    if (fstat(fd.get(), &ours) == 0 && there && there->st_ino == ours.st_ino)
      return fd;  // else the one before has taken it away
  }
}

}  // namespace gantry::tools
