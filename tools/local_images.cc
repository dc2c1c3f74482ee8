// All that a name leads to.
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/docker_archive.h"
#include "libsign/signature_files.h"
#include "tools/local_image.h"
#include "tools/local_parts.h"

namespace gantry::tools {

using image::FileReference;
using image::Reference;

namespace local {

std::optional<std::string> StoreName(const Reference& reference) {
  if (const auto* docker = reference.docker())
    return docker->WithDefaultTag().ToString();
  if (const auto* stored = reference.store())
    return stored->name;
  return std::nullopt;
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

[[noreturn]] void ThrowNotInStore(const LocalName& name, const std::string& text, const std::string& root) {
  const auto* stored = name.reference.store();
  const std::string hint = stored != nullptr && stored->explicitly_store
                               ? "gantry store list shows what is"
                               : "bring it here with: gantry fetch docker://" + text +
                                     " (with --insecure-options=image also while it is unsigned)";
  throw Error(ErrorKind::kNotFound, Quoted(text) + " is not in the store at " + Quoted(root), hint);
}

Error CannotRead(const Reference& reference) {
  return {ErrorKind::kUnsupported, "cannot read an image from " + Quoted(reference.ToString()),
          "docker://, store:, oci:, oci-archive:, docker-archive: and aci: can be read"};
}

bool IsArchive(const FileReference& file) {
  return file.format == FileReference::Format::kOciArchive || file.format == FileReference::Format::kDockerArchive;
}
std::string PlaceOf(const std::string& path) {
  struct stat status {};
  const bool lasting = stat(path.c_str(), &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
  return lasting ? RealPath(path) : std::string();
}

image::ReferrersOf ReferrersIn(const image::Store& store, image::Lease* lease) {
  return [&store, lease](const Digest& subject) {
    std::vector<image::Descriptor> found = store.Referrers(subject);
    if (lease != nullptr) {
      for (const image::Descriptor& referrer : found) lease->Add({referrer.digest});
    }
    return found;
  };
}

image::ReferrersOf ReferrersIn(const image::OciLayout& layout) {
  return [&layout, all = std::make_shared<std::optional<std::map<Digest, std::vector<image::Descriptor>>>>()](
             const Digest& subject) {
    if (!*all)
      all->emplace(layout.Referrers());
    const auto found = (*all)->find(subject);
    return found == (*all)->end() ? std::vector<image::Descriptor>() : found->second;
  };
}

LocalImages AllInStore(std::unique_ptr<image::Store> store, std::unique_ptr<image::Lease> lease,
                       const image::Descriptor& top, const std::optional<image::DockerReference>& name,
                       const sign::RegistriesD& registries) {
  LocalImages all;
  all.lease = std::move(lease);
  if (all.lease)
    all.lease->Add({top.digest});
  all.tops.push_back({top});
  all.name = name;
  // The store lives in all.blobs.
  all.evidence = [store = store.get(), registries, name](const Digest& manifest) {
    sign::Evidence evidence;
    for (std::string& signature : store->Signatures(manifest)) evidence.Add(std::move(signature));
    evidence.looked_at.push_back(store->dir().name() + "/signatures");
    if (name)
      sign::GatherLookaside(registries, *name, manifest, evidence);
    return evidence;
  };
  all.referrers = ReferrersIn(*store, all.lease.get());
  all.blobs = std::move(store);
  return all;
}

LocalImages AllInLayout(std::unique_ptr<image::OciLayout> layout, const FileReference& file) {
  LocalImages all;
  all.evidence = [archive = IsArchive(file), path = file.path, place = PlaceOf(file.path)](const Digest& manifest) {
    sign::Evidence evidence;
    evidence.transport = archive ? "oci-archive" : "oci";
    evidence.path = place;
    if (!archive)
      sign::GatherFromLayout(path, manifest, evidence);
    return evidence;
  };
  all.referrers = ReferrersIn(*layout);
  all.blobs = std::move(layout);
  return all;
}

}  // namespace local

namespace {

using namespace local;

LocalImages AllOfLayout(std::unique_ptr<image::OciLayout> opened, const FileReference& file) {
  const image::OciLayout& layout = *opened;
  LocalImages all = AllInLayout(std::move(opened), file);
  std::set<Digest> about_others;
  for (const auto& [subject, referrers] : file.ref.empty() ? layout.Referrers() : decltype(layout.Referrers())()) {
    for (const image::Descriptor& referrer : referrers) about_others.insert(referrer.digest);
  }
  for (const image::Descriptor& listed : layout.Listed(file.ref)) {
    const auto name = listed.annotations.find(std::string(image::kRefNameAnnotation));
    if (file.ref.empty() && (about_others.contains(listed.digest) ||
                             (name != listed.annotations.end() && image::SubjectOfTag(name->second))))
      continue;  // signatures and the like go where their image goes
    all.tops.push_back({listed, {}});
    if (name != listed.annotations.end())
      all.tops.back().names.push_back(name->second);
  }
  return all;
}

LocalImages AllOfDockerArchive(const FileReference& file) {
  auto archive = image::DockerArchive::OpenArchive(file.path);
  LocalImages all;
  const size_t first = file.ref.empty() ? 0 : archive->Find(file.ref);
  const size_t end = file.ref.empty() ? archive->images().size() : first + 1;
  for (size_t i = first; i < end; ++i)
    all.tops.push_back({archive->Load(i).image().descriptor, archive->images()[i].names});
  all.evidence = [](const Digest&) {
    sign::Evidence evidence;
    evidence.transport = "docker-archive";
    return evidence;
  };
  all.blobs = std::move(archive);
  return all;
}

// The index that led to an image, if the store has it; else what has the name.
image::Descriptor TopOf(const image::Store& store, const image::StoredName& found, const sign::Judged& image) {
  if (!image.index() || !store.HasBlob(*image.index()))
    return found.descriptor;
  const std::string bytes = store.ReadBlob(*image.index(), image::kMaxManifestBytes);
  const image::ManifestOrIndex document = image::ParseManifest(bytes);
  const auto* index = std::get_if<image::Index>(&document);
  if (index == nullptr)
    return found.descriptor;
  return {.media_type = index->media_type, .digest = *image.index(), .size = bytes.size()};
}

LocalImages AllOfStore(const LocalName& name, const std::string& text, const std::string& root,
                       const sign::RegistriesD& registries) {
  std::unique_ptr<image::Lease> lease;
  std::unique_ptr<image::Store> store = OpenStore(root, Purpose::kRead, lease);
  // By name: the same image may have another one, under which no index led to it.
  const auto found =
      store != nullptr ? store->Resolve(name.pinned ? text + "@" + name.pinned->str() : text) : std::nullopt;
  if (!found)
    ThrowNotInStore(name, text, root);
  const image::Fetched loaded = store->LoadAny(*found);
  const sign::Judged judged(loaded);
  const image::Descriptor top = TopOf(*store, *found, judged);
  return AllInStore(std::move(store), std::move(lease), top, judged.name(), registries);
}

}  // namespace

image::FetchedArtifact LoadArtifact(const LocalImages& local) {
  const image::Descriptor& top = local.tops.front().descriptor;
  const std::string what = "manifest " + top.digest.str();
  std::string bytes = Drain(*local.blobs->Open(top, what), image::kMaxManifestBytes, what);
  return {image::Artifact::FromBytes(std::move(bytes), top.media_type, top.digest), local.name};
}

void JudgeAs(LocalImages& all, const image::DockerReference& as, const sign::RegistriesD& registries) {
  all.name = as;
  all.evidence = [of_place = all.evidence, as, registries](const Digest& manifest) {
    sign::Evidence evidence = of_place(manifest);
    evidence.transport.clear();
    sign::GatherLookaside(registries, as, manifest, evidence);
    return evidence;
  };
}

LocalImages OpenLocalImages(const LocalName& name, const std::string& root, const sign::RegistriesD& registries) {
  if (const auto text = StoreName(name.reference))
    return AllOfStore(name, *text, root, registries);
  const auto* file = name.reference.file();
  if (file != nullptr && file->format == FileReference::Format::kOci)
    return AllOfLayout(image::OciLayout::OpenAt(file->path), *file);
  if (file != nullptr && file->format == FileReference::Format::kOciArchive)
    return AllOfLayout(image::OciLayout::OpenArchive(file->path), *file);
  if (file != nullptr && file->format == FileReference::Format::kDockerArchive)
    return AllOfDockerArchive(*file);
  if (file != nullptr && file->format == FileReference::Format::kAci) {
    throw Error(ErrorKind::kUnsupported, Quoted(name.reference.ToString()) + " is one image, and never several",
                "leave out --all, and give one platform");
  }
  throw CannotRead(name.reference);
}

}  // namespace gantry::tools
