#include "tools/local_image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/transport/oci_layout.h"
#include "libimage/transport/plain_file.h"

namespace gantry::tools {
namespace {

using image::FetchedImage;
using image::FileReference;
using image::Reference;
using image::StoreReference;

constexpr size_t kMaxFetchOutput = 64 * 1024;

// By gantry-fetch; the digest that it prints pins what was verified and named a moment ago.
LocalName Fetch(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                const CommonOptions& common) {
  std::vector<std::string> argv{Sibling("gantry-fetch"), "--root", StoreRoot(common)};
  if (!platform.empty())
    argv.insert(argv.end(), {"--platform", platform});
  if (common.quiet)
    argv.emplace_back("--quiet");
  if (common.verbose)
    argv.emplace_back("--verbose");
  for (const std::string& argument : policy.Arguments()) argv.push_back(argument);
  argv.push_back(text);
  const Captured fetched = RunCaptured(argv, "", kMaxFetchOutput);
  if (fetched.status.code != 0)
    throw ChildFailed{fetched.status.code};
  const std::string line = fetched.output.substr(0, fetched.output.find('\n'));
  const size_t at = line.rfind('@');
  if (at == std::string::npos)
    throw Error(ErrorKind::kFailed, "gantry-fetch answered " + Quoted(line) + " instead of NAME@DIGEST");
  return {Reference(StoreReference{line.substr(0, at), true}), Digest::Parse(line.substr(at + 1))};
}

bool IsPlatform(const image::Platform& is, const std::string& wanted_text) {
  if (wanted_text.empty())
    return true;
  const auto wanted = image::Platform::Parse(wanted_text);
  return is.os == wanted.os && is.architecture == wanted.architecture &&
         (wanted.variant.empty() || is.variant == wanted.variant);
}

// How the store calls what is named so; nullopt for what is not in a store.
std::optional<std::string> StoreName(const Reference& reference) {
  if (const auto* docker = reference.docker())
    return docker->WithDefaultTag().ToString();
  if (const auto* stored = reference.store())
    return stored->name;
  return std::nullopt;
}

bool IsHere(const std::string& name, const std::string& platform, const std::string& root) {
  const auto store = image::Store::OpenReadOnly(root);
  const auto found = store != nullptr ? store->Resolve(name) : std::nullopt;
  return found && (platform.empty() || IsPlatform(store->Load(*found).image().config.platform, platform));
}

std::unique_ptr<image::Store> OpenStore(const std::string& root, Purpose purpose,
                                        std::unique_ptr<image::Lease>& lease) {
  auto store = image::Store::OpenReadOnly(root);
  if (store == nullptr || purpose == Purpose::kJudge || access(root.c_str(), W_OK) != 0)
    return store;
  store = image::Store::Open(root);
  lease = store->NewLease();
  return store;
}

LocalImage FromStore(const LocalName& name, Purpose purpose, const std::string& text, const std::string& root) {
  std::unique_ptr<image::Lease> lease;
  auto store = OpenStore(root, purpose, lease);
  auto found = store != nullptr ? store->Resolve(name.pinned ? name.pinned->str() : text) : std::nullopt;
  if (!found) {
    const auto* stored = name.reference.store();
    const std::string hint = stored != nullptr && stored->explicitly_store
                                 ? "gantry store list shows what is"
                                 : "bring it here with: gantry fetch docker://" + text +
                                       " (with --insecure-options=image also while it is unsigned)";
    throw Error(ErrorKind::kNotFound, Quoted(text) + " is not in the store at " + Quoted(root), hint);
  }
  if (name.pinned)
    found->name = text;
  LocalImage local{store->Load(*found), {}, nullptr, nullptr};
  if (lease) {
    const std::set<Digest> blobs = image::BlobsOf(local.image.image());
    lease->Add({blobs.begin(), blobs.end()});
  }
  for (std::string& signature : store->Signatures(local.image.image().descriptor.digest))
    local.evidence.Add(std::move(signature));
  local.evidence.looked_at.push_back(root + "/signatures");
  local.blobs = std::move(store);
  local.lease = std::move(lease);
  return local;
}

Error CannotRead(const Reference& reference) {
  return {ErrorKind::kUnsupported, "cannot read an image from " + Quoted(reference.ToString()),
          "docker://, store:, oci: and oci-archive: can be read"};
}

bool IsArchive(const FileReference& file) { return file.format == FileReference::Format::kOciArchive; }

// A pipe has no place that a policy could name.
std::string PlaceOf(const std::string& path) {
  struct stat status {};
  const bool lasting = stat(path.c_str(), &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
  return lasting ? RealPath(path) : std::string();
}

LocalImage Open(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform) {
  if (const auto text = StoreName(name.reference))
    return FromStore(name, purpose, *text, root);
  const auto* file = name.reference.file();
  if (file == nullptr)
    throw CannotRead(name.reference);
  return OpenFileImage(*file, platform);
}

}  // namespace

std::string Sibling(const std::string& name) {
  const std::string beside = ProgramDirectory() + "/" + name;
  return access(beside.c_str(), X_OK) == 0 ? beside : name;
}

LocalName BringHere(const std::string& text, const std::string& platform, Fetching fetching,
                    const PolicyOptions& policy, const CommonOptions& common) {
  const Reference reference = Reference::Parse(text);
  const auto name = StoreName(reference);
  const bool only_here = !name || (reference.store() != nullptr && reference.store()->explicitly_store);
  const bool ask = fetching == Fetching::kAlways && reference.docker() != nullptr;
  if (only_here || (!ask && IsHere(*name, platform, StoreRoot(common))))
    return {reference};
  if (reference.docker() == nullptr)
    return Fetch("docker://" + image::DockerReference::Parse(*name).ToString(), platform, policy, common);
  return Fetch(reference.ToString(), platform, policy, common);
}

void KeepForImage(const Reference& reference, image::Confinement& keep) {
  if (const auto* file = reference.file(); file != nullptr && IsArchive(*file))
    keep.write.push_back(image::LargeTemporaryDirectory());
}

LocalImage OpenFileImage(const FileReference& file, const std::string& platform) {
  if (file.format != FileReference::Format::kOci && !IsArchive(file))
    throw CannotRead(Reference(file));
  const bool archive = IsArchive(file);
  auto layout = archive ? image::OciLayout::OpenArchive(file.path) : image::OciLayout::OpenAt(file.path);
  const auto wanted = platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform);
  LocalImage local{layout->Load(file.ref, wanted), {}, nullptr, nullptr};
  local.evidence.transport = archive ? "oci-archive" : "oci";
  local.evidence.path = PlaceOf(file.path);
  local.blobs = std::move(layout);
  return local;
}

LocalImage OpenLocalImage(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform,
                          const std::optional<image::DockerReference>& as, const sign::RegistriesD& registries) {
  LocalImage local = Open(name, purpose, root, platform);
  const image::Platform& is = local.image.image().config.platform;
  if (!IsPlatform(is, platform))
    throw Error(ErrorKind::kNotFound, "the image is for " + is.ToString() + ", not for " + platform);
  if (as) {
    local.image = FetchedImage(local.image.image(), *as, local.image.index());
    local.evidence.transport.clear();  // judged by its name, not by its place
  }
  if (local.image.name())
    sign::GatherLookaside(registries, *local.image.name(), local.image.image().descriptor.digest, local.evidence);
  return local;
}

}  // namespace gantry::tools
