#include "tools/local_image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/convert/from_aci.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/docker_archive.h"
#include "libimage/transport/oci_layout.h"
#include "libimage/transport/plain_file.h"
#include "libsign/signature_files.h"
#include "libsign/verify.h"
#include "tools/appc_files.h"
#include "tools/local_parts.h"

namespace gantry::tools {
namespace {

using namespace local;
using image::FetchedImage;
using image::FileReference;
using image::Reference;
using image::StoreReference;

std::optional<image::StoredName> ResolveIn(const image::Store& store, const LocalName& name, const std::string& text) {
  auto found = store.Resolve(name.pinned ? name.pinned->str() : text);
  if (!found && name.fetching) {
    const image::Descriptor manifest{.media_type = name.fetching->media_type,
                                     .digest = name.pinned.value(),
                                     .size = store.ReadBlob(*name.pinned, image::kMaxManifestBytes).size()};
    found = image::StoredName{text, manifest};
  }
  if (found && name.pinned)
    found->name = text;
  return found;
}

// With what speaks for it there, without blobs.
LocalImage InStore(FetchedImage image, const image::Store& store) {
  LocalImage local{std::move(image), {}, nullptr, nullptr};
  for (std::string& signature : store.Signatures(local.image.image().descriptor.digest))
    local.evidence.Add(std::move(signature));
  local.evidence.looked_at.push_back(store.dir().name() + "/signatures");
  return local;
}

// Lets a decision find out what the image is, from `blobs`, which outlive it; `store` if that is where they are.
void AddIdentity(LocalImage& local, const image::Blobs& blobs, const image::Store* store = nullptr) {
  local.store = store;
  local.evidence.identity = [image = local.image.image(), &blobs, store] {
    return image::FindIdentity(image, blobs, store).digest;
  };
}

// The blobs of `store`, into which `fetching` still brings some.
void AwaitWhatComes(LocalImage& local, std::shared_ptr<const image::Store> store,
                    const std::shared_ptr<Fetching>& fetching) {
  auto arriving = std::make_unique<ArrivingBlobs>(
      std::move(store), [fetching] { AwaitEnd(*fetching); }, [fetching] { fetching->process.Signal(SIGTERM); });
  local.arriving = arriving.get();
  local.evidence.identity = [arriving = arriving.get(), find = std::move(local.evidence.identity)] {
    arriving->Finish();
    return find();
  };
  local.blobs = std::move(arriving);
}

Local FromStore(const LocalName& name, Purpose purpose, const std::string& text, const std::string& root,
                const sign::RegistriesD& registries) {
  std::unique_ptr<image::Lease> lease;
  auto store = OpenStore(root, purpose, lease);
  const auto found = store != nullptr ? ResolveIn(*store, name, text) : std::nullopt;
  if (!found)
    ThrowNotInStore(name, text, root);
  image::Fetched loaded = store->LoadAny(*found);
  if (const auto* artifact = std::get_if<image::FetchedArtifact>(&loaded)) {
    if (name.fetching)
      AwaitEnd(*name.fetching);
    return AllInStore(std::move(store), std::move(lease), artifact->artifact.descriptor, artifact->name, registries);
  }
  LocalImage local = InStore(std::get<FetchedImage>(std::move(loaded)), *store);
  if (lease) {
    const std::set<Digest> blobs = image::BlobsOf(local.image.image());
    lease->Add({blobs.begin(), blobs.end()});
  }
  AddIdentity(local, *store, store.get());
  local.referrers = ReferrersIn(*store, lease.get());
  if (name.fetching)
    AwaitWhatComes(local, std::move(store), name.fetching);
  else
    local.blobs = std::move(store);
  local.lease = std::move(lease);
  return local;
}

bool IsAci(const FileReference& file) { return file.format == FileReference::Format::kAci; }

bool IsDirectory(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// What an image in a file is accepted as, by its place; empty where that is not lasting.
std::string ReferenceOf(const std::string& transport, const std::string& place, const std::string& ref) {
  return place.empty() ? "" : transport + ":" + place + ":" + ref;
}

// One image, or one artifact.
Local FromLayout(std::unique_ptr<image::OciLayout> layout, const FileReference& file, const std::string& platform) {
  const auto wanted = platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform);
  image::Fetched loaded = layout->LoadAny(file.ref, wanted);
  const std::string transport = IsArchive(file) ? "oci-archive" : "oci";
  const std::string place = PlaceOf(file.path);
  const std::string reference = ReferenceOf(transport, place, file.ref);
  if (const auto* artifact = std::get_if<image::FetchedArtifact>(&loaded)) {
    LocalImages all = AllInLayout(std::move(layout), file);
    all.tops.push_back({artifact->artifact.descriptor});
    all.evidence = [of_all = all.evidence, reference](const Digest& manifest) {
      sign::Evidence evidence = of_all(manifest);
      evidence.reference = reference;
      return evidence;
    };
    return all;
  }
  LocalImage local{std::get<FetchedImage>(std::move(loaded)), {}, nullptr, nullptr};
  local.evidence.transport = transport;
  local.evidence.path = place;
  local.evidence.reference = reference;
  local.called = file.ref;
  if (!IsArchive(file))
    sign::GatherFromLayout(file.path, local.image.image().descriptor.digest, local.evidence);
  AddIdentity(local, *layout);
  local.referrers = ReferrersIn(*layout);
  local.blobs = std::move(layout);
  return local;
}

// containers-policy.json(5) knows no places for these archives, only the transport.
LocalImage FromDockerArchive(const FileReference& file) {
  auto archive = image::DockerArchive::OpenArchive(file.path);
  const size_t number = archive->Find(file.ref);
  LocalImage local{archive->Load(number), {}, nullptr, nullptr};
  local.evidence.transport = "docker-archive";
  local.evidence.reference = ReferenceOf("docker-archive", PlaceOf(file.path), file.ref);
  const std::vector<std::string>& names = archive->images()[number].names;
  local.called = !file.ref.empty() && file.ref[0] != '@' ? image::NormalisedName(file.ref)
                 : names.empty()                         ? std::string()
                                                         : names.front();
  AddIdentity(local, *archive);
  local.blobs = std::move(archive);
  return local;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

// What an ACI is accepted as, wherever its file lies.
std::string ReferenceOf(const image::AciManifest& manifest) {
  std::string reference = "aci:" + manifest.name;
  std::vector<image::AppcPair> labels = manifest.labels;
  std::sort(labels.begin(), labels.end());
  for (const auto& [name, value] : labels) reference += "," + name + "=" + value;
  return reference;
}

// The ACIs that an image is rendered from, with the signatures beside them.
std::vector<sign::AppcFile> FilesOf(const image::AciImage& image) {
  std::set<std::string> pinned;
  for (const auto& file : image.files()) {
    for (const image::AciDependency& dependency : file->manifest().dependencies) pinned.insert(dependency.image_id);
  }
  std::vector<sign::AppcFile> files;
  for (const auto& file : image.files()) {
    sign::AppcFile one{.file = file->name(),
                       .name = file->manifest().name,
                       .pinned = file != image.files().back() && pinned.contains("sha512-" + file->image_id().hex()),
                       .signature = {},
                       .open = {},
                       .hashed = {}};
    if (const auto& bytes = file->bytes()) {
      one.signature = sign::ReadDetachedBeside(file->name());
      one.open = [bytes = *bytes, what = file->name()] { return FdRangeSource(bytes.fd, 0, bytes.size, what); };
      one.hashed = bytes->hashed;
    }
    files.push_back(std::move(one));
  }
  return files;
}

// A signature for an ACI is a file beside it, of its name and ".asc" behind it.
LocalImage OpenAci(const FileReference& file, const std::string& platform,
                   const std::vector<std::string>& dependencies) {
  const auto otherwise = platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform);
  const std::string path = IsDirectory(file.path) ? image::TopAciIn(file.path) : file.path;
  auto aci = image::AciImage::Open(path, dependencies, otherwise);
  LocalImage local{FetchedImage(aci->image(), std::nullopt), {}, nullptr, nullptr};
  local.naming = aci->naming();
  local.aci = aci->files().back()->manifest();
  local.image_id = [file = aci->files().back()] { return file->image_id(); };
  local.unpacked = !aci->is_original();
  local.notes = aci->notes();
  local.evidence.transport = "aci";
  local.evidence.path = PlaceOf(path);
  local.evidence.appc = FilesOf(*aci);
  local.evidence.reference = ReferenceOf(aci->files().back()->manifest());
  if (!local.evidence.path.empty()) {
    local.evidence.looked_at.push_back(path + ".asc");
    sign::GatherBundlesBeside(path, local.evidence);
  }
  AddIdentity(local, *aci);
  local.blobs = std::move(aci);
  return local;
}

Local Open(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform,
           const sign::RegistriesD& registries) {
  if (const auto text = StoreName(name.reference))
    return FromStore(name, purpose, *text, root, registries);
  const Reference reference = FindFile(name.reference, platform, root);
  const auto* file = reference.file();
  if (file == nullptr)
    throw CannotRead(name.reference);
  return OpenLocalFile(*file, platform, name.dependencies);
}

LocalImage OnlyImage(Local local) {
  if (auto* artifact = std::get_if<LocalImages>(&local)) {
    const image::FetchedArtifact loaded = LoadArtifact(*artifact);
    ThrowNotAnImage("manifest " + loaded.artifact.descriptor.digest.str(), loaded.artifact.manifest);
  }
  return std::get<LocalImage>(std::move(local));
}

// A store of somebody else's, which we may not read, has noted nothing for us.
std::unique_ptr<image::Store> StoreIfReadable(const std::string& root) {
  return access(root.c_str(), R_OK | X_OK) == 0 ? image::Store::OpenReadOnly(root) : nullptr;
}

void AddAccepted(const sign::Judged& image, const image::Store* store, sign::Evidence& evidence) {
  const std::string reference = sign::Verifier::ReferenceOf(image, evidence);
  if (store != nullptr && !reference.empty())
    evidence.newest = store->NewestAccepted(reference);
}

// Refuses another platform, and gathers what file: lookasides hold and what was accepted before; `store` may be null.
void Complete(LocalImage& local, const std::string& platform, const sign::RegistriesD& registries,
              const image::Store* store) {
  const image::Platform& is = local.image.image().config.platform;
  if (!IsPlatform(is, platform))
    throw Error(ErrorKind::kNotFound, "the image is for " + is.ToString() + ", not for " + platform);
  if (local.image.name())
    sign::GatherLookaside(registries, *local.image.name(), local.image.image().descriptor.digest, local.evidence);
  AddAccepted(local.image, store, local.evidence);
}

}  // namespace

std::vector<image::Platform> ParsePlatforms(const std::string& text) {
  std::vector<image::Platform> platforms;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    platforms.push_back(image::Platform::Parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return platforms;
}

void AddAccepted(const sign::Judged& image, const std::string& root, sign::Evidence& evidence) {
  AddAccepted(image, StoreIfReadable(root).get(), evidence);
}

void NoteAccepted(const std::optional<image::Accepted>& accepted, const std::string& root) {
  if (accepted)
    image::Store::Open(root)->NoteAccepted(*accepted);
}

std::optional<LocalImage> OpenUnlessMissing(const LocalName& name, const image::Store& store,
                                            const std::string& platform, const sign::RegistriesD& registries) {
  const auto text = StoreName(name.reference);
  if (!text)
    return OpenLocalImage(name, Purpose::kJudge, store.dir().name(), platform, std::nullopt, registries);
  const auto found = ResolveIn(store, name, *text);
  auto loaded = found ? std::optional(store.LoadAny(*found)) : std::nullopt;
  // A tag that was an artifact's may be an image's by now; a bare name is what the store has.
  const auto* const asked = name.reference.docker();
  if (loaded && std::holds_alternative<image::FetchedArtifact>(*loaded)) {
    if (asked != nullptr && !asked->digest && !name.pinned)
      return std::nullopt;
    ThrowNotAnImage(Quoted(*text), std::get<image::FetchedArtifact>(*loaded).artifact.manifest);
  }
  auto local = loaded ? std::optional(InStore(std::get<FetchedImage>(*std::move(loaded)), store)) : std::nullopt;
  if (IsFetchable(name.reference) && (!local || !IsPlatform(local->image.image().config.platform, platform)))
    return std::nullopt;
  if (!local)
    ThrowNotInStore(name, *text, store.dir().name());
  AddIdentity(*local, store, &store);
  Complete(*local, platform, registries, &store);
  return local;
}

void KeepForImage(const Reference& reference, const std::string& root, image::Confinement& keep) {
  const auto* file = reference.file();
  keep.read.push_back(root);
  if (file != nullptr)
    keep.read.push_back(file->path);
  if (file != nullptr && IsAci(*file) && !IsDirectory(file->path))
    keep.read.push_back(DirectoryOf(file->path));
  if (reference.appc() != nullptr || (file != nullptr && (IsArchive(*file) || IsAci(*file))))
    keep.write.push_back(image::LargeTemporaryDirectory());
}

Local OpenLocalFile(const FileReference& file, const std::string& platform,
                    const std::vector<std::string>& dependencies) {
  switch (file.format) {
    case FileReference::Format::kOci:
      return FromLayout(image::OciLayout::OpenAt(file.path), file, platform);
    case FileReference::Format::kOciArchive:
      return FromLayout(image::OciLayout::OpenArchive(file.path), file, platform);
    case FileReference::Format::kDockerArchive:
      return FromDockerArchive(file);
    case FileReference::Format::kAci:
      return OpenAci(file, platform, dependencies);
    case FileReference::Format::kFiles:
      break;
  }
  throw CannotRead(Reference(file));
}

LocalImage OpenFileImage(const FileReference& file, const std::string& platform,
                         const std::vector<std::string>& dependencies) {
  return OnlyImage(OpenLocalFile(file, platform, dependencies));
}

Local OpenLocal(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform,
                const std::optional<image::DockerReference>& as, const sign::RegistriesD& registries) {
  Local opened = Open(name, purpose, root, platform, registries);
  if (auto* artifact = std::get_if<LocalImages>(&opened)) {
    if (as)
      JudgeAs(*artifact, *as, registries);
    return opened;
  }
  auto& local = std::get<LocalImage>(opened);
  if (as) {
    local.image = FetchedImage(local.image.image(), *as, local.image.index());
    local.evidence.transport.clear();  // judged by its name, not by its place
  }
  Complete(local, platform, registries, StoreIfReadable(root).get());
  return opened;
}

LocalImage OpenLocalImage(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform,
                          const std::optional<image::DockerReference>& as, const sign::RegistriesD& registries) {
  return OnlyImage(OpenLocal(name, purpose, root, platform, as, registries));
}

}  // namespace gantry::tools
