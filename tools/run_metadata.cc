#include "tools/run_metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/convert/docker_to_appc.h"
#include "libimage/model/reference.h"
#include "runner/pod_manifest.h"

namespace gantry::tools {
namespace {

constexpr const char* kSecretFile = "metadata-secret";

// Whole under its name or not there; of several that make one at once, the first counts.
void MakeSecret(const Dir& store) {
  std::string bytes(runner::kMetadataSecretBytes, '\0');
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    ThrowErrno("read random bytes");
  const std::string hidden = "." + std::string(kSecretFile) + "." + std::to_string(getpid());
  const RelPath path = RelPath::Parse(hidden);
  store.RemoveFile(path);
  const UniqueFd file = store.OpenBeneath(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  WriteFull(file.get(), AsBytes(bytes), hidden);
  const bool made = fsync(file.get()) == 0 && linkat(store.fd(), hidden.c_str(), store.fd(), kSecretFile, 0) == 0;
  const int error = errno;
  store.RemoveFile(path);
  if (!made && error != EEXIST)
    ThrowErrno("make the secret of the metadata service", error);
}

std::string Secret(const Dir& store) {
  const RelPath path = RelPath::Parse(kSecretFile);
  if (!store.Exists(path))
    MakeSecret(store);
  std::string out = store.ReadFile(path, runner::kMetadataSecretBytes);
  if (out.size() != runner::kMetadataSecretBytes)
    throw Error(ErrorKind::kCorrupt,
                "the secret of the metadata service, " + store.name() + "/" + kSecretFile + ", is not of 64 bytes",
                "remove it: what pods have signed can then be verified no more");
  return out;
}

image::AciManifest ManifestOf(const std::string& name, const std::string& called, const image::Image& image) {
  const auto original = image.manifest.annotations.find(std::string(image::kAciAnnotation));
  if (original != image.manifest.annotations.end())
    return image::AciManifest::Parse(original->second);
  const auto reference = image::Reference::Parse(called);
  return image::ToAciManifest(image, reference.docker() != nullptr ? image::AciNaming::For(*reference.docker())
                                                                   : image::AciNaming::ForLayout(name, ""));
}

}  // namespace

runner::AppMetadata DescribeApp(const runner::AppPlan& app, const image::Image& image) {
  runner::AppMetadata out{app.name, app.image_id, {}, {}};
  std::vector<image::AppcPair> annotations;
  try {
    image::AciManifest manifest = ManifestOf(app.name, app.image, image);
    out.image_manifest = manifest.ToJson();
    annotations = std::move(manifest.annotations);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported)
      throw;
  }
  // What the pod says of an app counts more than what its image does.
  for (const auto& [name, value] : runner::AnnotationsOf(app)) {
    const auto same = std::ranges::find(annotations, name, &image::AppcPair::first);
    if (same != annotations.end())
      same->second = value;
    else
      annotations.emplace_back(name, value);
  }
  out.annotations = json::Print(runner::PrintAnnotations(annotations));
  return out;
}

runner::PodMetadata DescribePod(std::vector<runner::AppMetadata> apps, const Dir& store) {
  return {runner::NewMetadataToken(), Secret(store), {}, {}, {}, std::move(apps)};
}

}  // namespace gantry::tools
