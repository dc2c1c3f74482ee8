#include "tools/image_source.h"

#include <stdlib.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/transport/oci_layout.h"
#include "libsign/registries_d.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxFetchOutput = 64 * 1024;

// gantry-fetch beside this program, else in PATH.
std::string FetchProgram() {
  std::string self(4096, '\0');
  const ssize_t n = readlink("/proc/self/exe", self.data(), self.size());
  if (n > 0) {
    self.resize(static_cast<size_t>(n));
    const std::string beside = self.substr(0, self.rfind('/') + 1) + "gantry-fetch";
    if (access(beside.c_str(), X_OK) == 0)
      return beside;
  }
  return "gantry-fetch";
}

std::variant<LocalName, int> FetchByChild(const std::string& text, const std::string& platform,
                                          const PolicyOptions& policy, const CommonOptions& common) {
  std::vector<std::string> argv{FetchProgram(), "--root", StoreRoot(common)};
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
    return fetched.status.code;
  // "NAME@DIGEST": the digest pins what was verified and named a moment ago.
  const std::string line = fetched.output.substr(0, fetched.output.find('\n'));
  const size_t at = line.rfind('@');
  if (at == std::string::npos)
    throw Error(ErrorKind::kFailed, "gantry-fetch answered " + Quoted(line) + " instead of NAME@DIGEST");
  return LocalName{image::Reference(image::StoreReference{line.substr(0, at), true}),
                   Digest::Parse(line.substr(at + 1))};
}

std::string RealPath(const std::string& path) {
  char* const found = realpath(path.c_str(), nullptr);
  if (found == nullptr)
    ThrowErrno("resolve " + Quoted(path));
  std::string real = found;
  std::free(found);
  return real;
}

// One that can hold a lease if we may write there.
std::unique_ptr<image::Store> OpenStore(const std::string& root, std::unique_ptr<image::Lease>& lease) {
  if (image::Store::OpenReadOnly(root) == nullptr)
    return nullptr;
  try {
    auto store = image::Store::Open(root);
    lease = store->NewLease();
    return store;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFailed)
      throw;
    return image::Store::OpenReadOnly(root);  // another user's
  }
}

ImageSource FromStore(const LocalName& name, const std::string& root) {
  const std::string& text = name.reference.store()->name;
  std::unique_ptr<image::Lease> lease;
  auto store = OpenStore(root, lease);
  auto found = store ? store->Resolve(name.pinned ? name.pinned->str() : text) : std::nullopt;
  if (!found) {
    throw Error(ErrorKind::kNotFound, Quoted(text) + " is not in the store at " + root,
                "gantry store list shows what is; gantry fetch docker://NAME brings an image here");
  }
  if (name.pinned)
    found->name = text;
  ImageSource source{store->Load(*found), {}, nullptr, nullptr};
  if (lease) {
    const std::set<Digest> blobs = image::BlobsOf(source.image.image());
    lease->Add({blobs.begin(), blobs.end()});
  }
  const Digest& manifest = source.image.image().descriptor.digest;
  for (std::string& signature : store->Signatures(manifest)) source.evidence.Add(std::move(signature));
  source.evidence.looked_at.push_back(root + "/signatures");
  if (source.image.name())
    sign::GatherLookaside(sign::RegistriesD::Load(), *source.image.name(), manifest, source.evidence);
  source.blobs = std::move(store);
  source.lease = std::move(lease);
  return source;
}

ImageSource FromLayout(const image::FileReference& file, const std::string& platform) {
  auto layout = image::OciLayout::OpenAt(file.path);
  const auto wanted = platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform);
  ImageSource source{layout->Load(file.ref, wanted), {}, nullptr, nullptr};
  source.evidence.transport = "oci";
  source.evidence.path = RealPath(file.path);
  source.blobs = std::move(layout);
  return source;
}

void RefuseOtherPlatform(const image::Image& image, const std::string& platform) {
  if (platform.empty())
    return;
  const auto wanted = image::Platform::Parse(platform);
  const image::Platform& is = image.config.platform;
  if (is.os != wanted.os || is.architecture != wanted.architecture)
    throw Error(ErrorKind::kNotFound, "the image is for " + is.ToString() + ", not for " + wanted.ToString());
}

}  // namespace

std::variant<LocalName, int> BringHere(const image::Reference& reference, const std::string& platform,
                                       const PolicyOptions& policy, const CommonOptions& common) {
  if (reference.docker() != nullptr)
    return FetchByChild(reference.ToString(), platform, policy, common);
  if (const auto* stored = reference.store()) {
    const auto store = image::Store::OpenReadOnly(StoreRoot(common));
    if (stored->explicitly_store || (store != nullptr && store->Resolve(stored->name)))
      return LocalName{reference, std::nullopt};
    return FetchByChild("docker://" + stored->name, platform, policy, common);
  }
  const auto* file = reference.file();
  if (file == nullptr || file->format != image::FileReference::Format::kOci) {
    throw Error(ErrorKind::kUnsupported, "cannot read an image from " + Quoted(reference.ToString()),
                "docker://, store: and oci: can be read");
  }
  return LocalName{reference, std::nullopt};
}

ImageSource OpenSource(const LocalName& name, const std::string& platform, const std::string& store_root) {
  const auto* file = name.reference.file();
  ImageSource source = file != nullptr ? FromLayout(*file, platform) : FromStore(name, store_root);
  RefuseOtherPlatform(source.image.image(), platform);
  return source;
}

}  // namespace gantry::tools
