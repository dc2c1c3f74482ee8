#include "tools/local_image.h"

#include <stdlib.h>

#include "libimage/base/error.h"
#include "libimage/store/store.h"
#include "libimage/transport/oci_layout.h"

namespace gantry::tools {
namespace {

using image::DockerReference;
using image::FetchedImage;

std::string AbsolutePath(const std::string& path) {
  char* const real = realpath(path.c_str(), nullptr);
  if (real == nullptr) {
    ThrowErrno("resolve " + Quoted(path));
  }
  std::string absolute = real;
  std::free(real);
  return absolute;
}

LocalImage FromLayout(const image::FileReference& file) {
  if (file.format != image::FileReference::Format::kOci) {
    throw Error(ErrorKind::kUnsupported, "only images in the store and in oci: directories have manifests to sign",
                "convert it first: gantry convert IMAGE oci:DIR");
  }
  LocalImage local{image::OciLayout::OpenAt(file.path)->Load(file.ref, image::Platform::Host()), {}};
  local.evidence.transport = "oci";
  local.evidence.path = AbsolutePath(file.path);
  return local;
}

LocalImage FromStore(const std::string& name, const std::string& fetch_as, const std::string& root) {
  const auto store = image::Store::OpenReadOnly(root);
  const auto found = store == nullptr ? std::nullopt : store->Resolve(name);
  if (!found) {
    throw Error(
        ErrorKind::kNotFound, Quoted(name) + " is not in the store at " + root,
        "gantry fetch " + fetch_as + " brings it here; with --insecure-options=image also while it is unsigned");
  }
  LocalImage local{store->Load(*found), {}};
  const Digest& digest = local.image.image().descriptor.digest;
  for (std::string& signature : store->Signatures(digest)) {
    local.evidence.Add(std::move(signature));
  }
  local.evidence.looked_at.push_back(root + "/signatures");
  return local;
}

LocalImage Find(const image::Reference& reference, const std::string& text, const std::string& root) {
  if (const auto* file = reference.file()) {
    return FromLayout(*file);
  }
  if (const auto* docker = reference.docker()) {
    return FromStore(docker->WithDefaultTag().ToString(), reference.ToString(), root);
  }
  if (const auto* stored = reference.store()) {
    return FromStore(stored->name, stored->explicitly_store ? "docker://NAME" : "docker://" + stored->name, root);
  }
  throw Error(ErrorKind::kUnsupported, Quoted(text) + " is not in the store", "fetch or convert it first");
}

}  // namespace

LocalImage OpenLocalImage(const std::string& text, const std::string& root, const std::optional<DockerReference>& as,
                          const sign::RegistriesD& registries) {
  LocalImage local = Find(image::Reference::Parse(text), text, root);
  if (as) {
    local.image = FetchedImage(local.image.image(), *as, local.image.index());
    local.evidence.transport.clear();  // judged by its name, not by its place
  }
  if (local.image.name()) {
    sign::GatherLookaside(registries, *local.image.name(), local.image.image().descriptor.digest, local.evidence);
  }
  return local;
}

}  // namespace gantry::tools
