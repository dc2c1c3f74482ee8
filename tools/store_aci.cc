#include "tools/store_aci.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/base/percent.h"
#include "libimage/transport/aci_file.h"
#include "libimage/transport/discovery.h"
#include "tools/appc_files.h"

namespace gantry::tools {
namespace {

constexpr std::string_view kImage = ".aci", kSignature = ".asc";
constexpr std::string_view kTransport = "appc:";

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// As people write them: the version, os, arch, and the others.
image::AppcReference InOrder(image::AppcReference wanted) {
  const auto rank = [](const std::pair<std::string, std::string>& label) {
    return label.first == "version" ? 0 : label.first == "os" ? 1 : label.first == "arch" ? 2 : 3;
  };
  std::stable_sort(wanted.labels.begin(), wanted.labels.end(),
                   [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return wanted;
}

// Of the name of a file; nullopt for the digest of a long one, which has no labels.
std::optional<image::AppcReference> WantedBy(std::string_view file) {
  try {
    const auto text = PercentDecoded(file.substr(0, file.size() - kImage.size()));
    if (!text)
      return std::nullopt;
    const image::AppcReference wanted = *image::Reference::Parse(std::string(kTransport) + *text).appc();
    const bool is_whole = !wanted.labels.empty() && FileName(AppcPath(wanted, "")) == file;
    return is_whole ? std::optional(InOrder(wanted)) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// What the image calls itself; of a file that is none, what the file is called.
image::AppcReference NamedBy(const std::string& path) {
  image::AppcReference out{"unreadable/" + FileName(path), {}};
  try {
    const auto first = image::AciFile::Peek(path);
    const image::AciManifest manifest =
        first ? *first : image::AciFile::Open(path, image::ImageId::kWhenAsked)->manifest();
    out = InOrder({manifest.name, manifest.labels});
  } catch (const Error&) {
    // Check tells why.
  }
  return out;
}

std::string LabelOf(const image::AppcReference& wanted, std::string_view name) {
  const auto found =
      std::find_if(wanted.labels.begin(), wanted.labels.end(), [&](const auto& label) { return label.first == name; });
  return found == wanted.labels.end() ? "" : found->second;
}

std::string PathInStore(const std::string& file) { return "aci/" + file; }

}  // namespace

std::string StoredAci::platform() const {
  const std::string os = LabelOf(wanted, "os");
  const auto machine = image::FromAppcArch(LabelOf(wanted, "arch"));
  if (os.empty() || !machine)
    return "-";
  return image::Platform{.os = os, .architecture = machine->first, .variant = machine->second}.ToString();
}

json::Object StoredAci::ToJson() const {
  json::Object out{{"name", name()}, {"size", bytes}, {"signed", is_signed}, {"file", PathInStore(file)}};
  if (platform() != "-")
    out.Set("platform", platform());
  return out;
}

StoredAcis::StoredAcis(const std::string& root) : root_(root) {
  try {
    dir_.emplace(Dir::Open(AppcDirectory(root)));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
  }
}

std::vector<StoredAci> StoredAcis::List() const {
  std::vector<StoredAci> out;
  const std::vector<std::string> files = dir_ ? dir_->List() : std::vector<std::string>();
  for (const std::string& file : files) {
    const auto status = file.ends_with(kImage) ? dir_->Stat(RelPath::Parse(file)) : std::nullopt;
    if (!status || !S_ISREG(status->st_mode))
      continue;
    const auto wanted = WantedBy(file);
    out.push_back({.wanted = wanted ? *wanted : NamedBy(dir_->name() + "/" + file),
                   .file = file,
                   .bytes = static_cast<uint64_t>(status->st_size),
                   .is_signed = dir_->Exists(RelPath::Parse(file + std::string(kSignature))),
                   .is_exact = wanted.has_value()});
  }
  std::sort(out.begin(), out.end(), [](const StoredAci& a, const StoredAci& b) { return a.name() < b.name(); });
  return out;
}

std::optional<StoredAci> StoredAcis::Find(const std::string& name) const {
  if (!name.starts_with(kTransport))
    return std::nullopt;
  const image::Reference reference = image::Reference::Parse(name);
  const std::string file = FileName(AppcPath(WantedAppc(*reference.appc(), {}), root_));
  for (const StoredAci& aci : List()) {
    if (aci.file == file || aci.name() == reference.ToString())
      return aci;
  }
  return std::nullopt;
}

json::Object StoredAcis::Show(const StoredAci& aci) const {
  const auto read = image::AciFile::Open(dir_->name() + "/" + aci.file);
  json::Object out = aci.ToJson();
  out.Set("imageID", read->image_id().str());
  out.Set("manifest", json::Parse(read->manifest().ToJson(), "the manifest of an ACI"));
  return out;
}

void StoredAcis::Remove(const StoredAci& aci) const {
  // Else the signature that a fetch has just written may go, and its image come after it.
  const auto held = HoldAppcPart(*dir_, aci.file, WhenHeld::kWait);
  dir_->RemoveFile(RelPath::Parse(aci.file));
  dir_->RemoveFile(RelPath::Parse(aci.file + std::string(kSignature)));
  dir_->RemoveFile(AppcPart(aci.file));
}

std::vector<image::StoreProblem> StoredAcis::Check() const {
  std::vector<image::StoreProblem> out;
  for (const StoredAci& aci : List()) {
    try {
      const auto read = image::AciFile::Open(dir_->name() + "/" + aci.file, image::ImageId::kWhenAsked);
      if (aci.is_exact)
        image::RequireSame(read->manifest(), aci.wanted);
    } catch (const Error& error) {
      out.push_back({PathInStore(aci.file), error.message()});
    }
  }
  return out;
}

// A file that somebody fetches into is locked; a signature without its image may be about to get it.
std::vector<RelPath> StoredAcis::LeftoverFiles() const {
  std::vector<RelPath> out;
  for (const std::string& file : dir_ ? dir_->List() : std::vector<std::string>()) {
    const RelPath path = RelPath::Parse(file);
    const std::string image = file.substr(0, file.rfind('.'));
    if (!image.ends_with(kImage))
      continue;
    if (path == AppcPart(image)) {
      const auto fd = dir_->TryOpenBeneath(path, O_RDONLY);
      if (fd && flock(fd->get(), LOCK_EX | LOCK_NB) == 0)
        out.push_back(path);
    } else if (file == image + std::string(kSignature) && !dir_->Exists(AppcPart(image)) &&
               !dir_->Exists(RelPath::Parse(image))) {
      out.push_back(path);
    }
  }
  return out;
}

std::vector<std::string> StoredAcis::Leftovers() const {
  std::vector<std::string> out;
  for (const RelPath& path : LeftoverFiles()) out.push_back(PathInStore(path.str()));
  return out;
}

size_t StoredAcis::RemoveLeftovers() const {
  size_t count = 0;
  for (const RelPath& path : LeftoverFiles()) {
    const std::string image = path.str().substr(0, path.str().rfind('.'));
    const RelPath part = AppcPart(image);
    const auto held = HoldAppcPart(*dir_, image, WhenHeld::kSkip);
    if (!held)
      continue;
    if (path != part && !dir_->Exists(RelPath::Parse(image)))
      dir_->RemoveFile(path);
    dir_->RemoveFile(part);
    ++count;
  }
  return count;
}

}  // namespace gantry::tools
