#include "tools/local_image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/process.h"
#include "libimage/convert/from_aci.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/docker_archive.h"
#include "libimage/transport/oci_layout.h"
#include "libimage/transport/plain_file.h"
#include "libsign/signature_files.h"
#include "libsign/verify.h"
#include "tools/appc_files.h"
#include "tools/registries.h"

namespace gantry::tools {
namespace {

using image::FetchedImage;
using image::FileReference;
using image::Reference;
using image::StoreReference;

constexpr size_t kMaxFetchOutput = 64 * 1024;

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

// Whether gantry-fetch could bring it.
bool IsFetchable(const Reference& reference) {
  const auto* stored = reference.store();
  return reference.docker() != nullptr || (stored != nullptr && !stored->explicitly_store);
}

// What a bare name may stand for; nothing for a digest.
std::vector<image::DockerReference> Candidates(const std::string& name) {
  if (Digest::TryParse(name) || name.find_first_not_of("0123456789abcdef") == std::string::npos)
    return {};
  return ResolveShortName(name);
}

bool IsHere(const std::string& name, const std::string& platform, const std::string& root) {
  const auto store = image::Store::OpenReadOnly(root);
  const auto found = store != nullptr ? store->Resolve(name) : std::nullopt;
  return found && (platform.empty() || IsPlatform(store->Load(*found).image().config.platform, platform));
}

// The name under which the store has what a bare name may stand for; nullopt for docker://, which is always asked for.
std::optional<Reference> FindHere(const Reference& reference, const std::string& platform, const std::string& root) {
  if (reference.docker() != nullptr)
    return std::nullopt;
  const std::string& name = reference.store()->name;
  if (IsHere(name, platform, root))
    return reference;
  for (const image::DockerReference& candidate : Candidates(name)) {
    const std::string full = candidate.WithDefaultTag().ToString();
    if (IsHere(full, platform, root))
      return Reference(StoreReference{full, false});
  }
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

// With its evidence, without blobs; nullopt when it is not there.
std::optional<LocalImage> FindInStore(const LocalName& name, const std::string& text, const image::Store& store) {
  auto found = store.Resolve(name.pinned ? name.pinned->str() : text);
  if (!found && name.fetching) {
    const image::Descriptor manifest{.media_type = name.fetching->media_type,
                                     .digest = name.pinned.value(),
                                     .size = store.ReadBlob(*name.pinned, image::kMaxManifestBytes).size()};
    found = image::StoredName{text, manifest};
  }
  if (!found)
    return std::nullopt;
  if (name.pinned)
    found->name = text;
  LocalImage local{store.Load(*found), {}, nullptr, nullptr};
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

// Those of a store, leased as they are named.
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

// The blobs of `store`, into which `fetching` still brings some.
void AwaitWhatComes(LocalImage& local, std::shared_ptr<const image::Store> store, std::shared_ptr<Fetching> fetching) {
  auto arriving = std::make_unique<ArrivingBlobs>(std::move(store), [fetching = std::move(fetching)] {
    if (const ExitStatus ended = fetching->process.Wait(); ended.code != 0)
      throw ChildFailed{ended.code};
  });
  local.arriving = arriving.get();
  local.evidence.identity = [arriving = arriving.get(), find = std::move(local.evidence.identity)] {
    arriving->Finish();
    return find();
  };
  local.blobs = std::move(arriving);
}

LocalImage FromStore(const LocalName& name, Purpose purpose, const std::string& text, const std::string& root) {
  std::unique_ptr<image::Lease> lease;
  auto store = OpenStore(root, purpose, lease);
  auto local = store != nullptr ? FindInStore(name, text, *store) : std::nullopt;
  if (!local)
    ThrowNotInStore(name, text, root);
  if (lease) {
    const std::set<Digest> blobs = image::BlobsOf(local->image.image());
    lease->Add({blobs.begin(), blobs.end()});
  }
  AddIdentity(*local, *store, store.get());
  local->referrers = ReferrersIn(*store, lease.get());
  if (name.fetching)
    AwaitWhatComes(*local, std::move(store), name.fetching);
  else
    local->blobs = std::move(store);
  local->lease = std::move(lease);
  return *std::move(local);
}

Error CannotRead(const Reference& reference) {
  return {ErrorKind::kUnsupported, "cannot read an image from " + Quoted(reference.ToString()),
          "docker://, store:, oci:, oci-archive:, docker-archive: and aci: can be read"};
}

bool IsArchive(const FileReference& file) {
  return file.format == FileReference::Format::kOciArchive || file.format == FileReference::Format::kDockerArchive;
}
bool IsAci(const FileReference& file) { return file.format == FileReference::Format::kAci; }

bool IsDirectory(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// A pipe has no place that a policy could name.
std::string PlaceOf(const std::string& path) {
  struct stat status {};
  const bool lasting = stat(path.c_str(), &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
  return lasting ? RealPath(path) : std::string();
}

// What an image in a file is accepted as, by its place; empty where that is not lasting.
std::string ReferenceOf(const std::string& transport, const std::string& place, const std::string& ref) {
  return place.empty() ? "" : transport + ":" + place + ":" + ref;
}

LocalImage FromLayout(std::unique_ptr<image::OciLayout> layout, const FileReference& file,
                      const std::string& platform) {
  const auto wanted = platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform);
  LocalImage local{layout->Load(file.ref, wanted), {}, nullptr, nullptr};
  local.evidence.transport = IsArchive(file) ? "oci-archive" : "oci";
  local.evidence.path = PlaceOf(file.path);
  local.evidence.reference = ReferenceOf(local.evidence.transport, local.evidence.path, file.ref);
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

LocalImages AllOfLayout(std::unique_ptr<image::OciLayout> layout, const FileReference& file) {
  LocalImages all;
  std::set<Digest> about_others;
  for (const auto& [subject, referrers] : file.ref.empty() ? layout->Referrers() : decltype(layout->Referrers())()) {
    for (const image::Descriptor& referrer : referrers) about_others.insert(referrer.digest);
  }
  for (const image::Descriptor& listed : layout->Listed(file.ref)) {
    const auto name = listed.annotations.find(std::string(image::kRefNameAnnotation));
    if (file.ref.empty() && (about_others.contains(listed.digest) ||
                             (name != listed.annotations.end() && image::SubjectOfTag(name->second))))
      continue;  // signatures and the like go where their image goes
    all.tops.push_back({listed, {}});
    if (name != listed.annotations.end())
      all.tops.back().names.push_back(name->second);
  }
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
image::Descriptor TopOf(const image::Store& store, const image::StoredName& found, const FetchedImage& image) {
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
  LocalImages all;
  std::unique_ptr<image::Store> store = OpenStore(root, Purpose::kRead, all.lease);
  // By name: the same image may have another one, under which no index led to it.
  const auto found =
      store != nullptr ? store->Resolve(name.pinned ? text + "@" + name.pinned->str() : text) : std::nullopt;
  if (!found)
    ThrowNotInStore(name, text, root);
  const FetchedImage image = store->Load(*found);
  const image::Descriptor top = TopOf(*store, *found, image);
  if (all.lease)
    all.lease->Add({top.digest});
  all.tops.push_back({top});
  all.name = image.name();
  // The store lives in all.blobs.
  all.evidence = [store = store.get(), registries, name = image.name()](const Digest& manifest) {
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

LocalImage Open(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform) {
  if (const auto text = StoreName(name.reference))
    return FromStore(name, purpose, *text, root);
  const Reference reference = FindFile(name.reference, platform, root);
  const auto* file = reference.file();
  if (file == nullptr)
    throw CannotRead(name.reference);
  return OpenFileImage(*file, platform, name.dependencies);
}

// A store of somebody else's, which we may not read, has noted nothing for us.
std::unique_ptr<image::Store> StoreIfReadable(const std::string& root) {
  return access(root.c_str(), R_OK | X_OK) == 0 ? image::Store::OpenReadOnly(root) : nullptr;
}

void AddAccepted(const FetchedImage& image, const image::Store* store, sign::Evidence& evidence) {
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

std::vector<std::string> FetchCommand(const Reference& reference, const std::vector<std::string>& selection,
                                      const PolicyOptions& policy, const CommonOptions& common) {
  std::vector<std::string> argv{Sibling("gantry-fetch"), "--root", StoreRoot(common)};
  argv.insert(argv.end(), selection.begin(), selection.end());
  if (common.quiet)
    argv.emplace_back("--quiet");
  if (common.verbose)
    argv.emplace_back("--verbose");
  for (const std::string& argument : policy.Arguments()) argv.push_back(argument);
  argv.push_back(reference.ToString());
  return argv;
}

// What it prints.
std::string RunFetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                     const CommonOptions& common) {
  const Captured fetched = RunCaptured(FetchCommand(reference, selection, policy, common), "", kMaxFetchOutput);
  if (fetched.status.code != 0)
    throw ChildFailed{fetched.status.code};
  return fetched.output;
}

// Of what gantry-fetch prints; empty when it ends without one.
std::string FirstLine(int output) {
  std::string line;
  for (char c = 0; ReadFull(output, std::as_writable_bytes(std::span(&c, 1)), "what gantry-fetch says") == 1;) {
    if (c == '\n')
      return line;
    if (line.size() == kMaxFetchOutput)
      break;
    line += c;
  }
  return {};
}

// Until it says what it has decided.
LocalName BeginFetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                     const CommonOptions& common) {
  std::vector<std::string> argv = FetchCommand(reference, selection, policy, common);
  argv.insert(argv.end(), {"--json", "--early"});
  Pipe in = MakePipe(), out = MakePipe();
  const auto fetching = std::make_shared<Fetching>(
      Fetching{Process::Start(argv, {{in.read.get(), STDIN_FILENO}, {out.write.get(), STDOUT_FILENO}}), {}});
  out.write.Reset();
  const std::string said = FirstLine(out.read.get());
  if (said.empty()) {
    if (const int code = fetching->process.Wait().code; code != 0)
      throw ChildFailed{code};
    throw Error(ErrorKind::kFailed, "gantry-fetch ended well and said nothing of what it brought");
  }
  const json::Value value = json::Parse(said, "what gantry-fetch says");
  const json::Cursor line(value, "what gantry-fetch says");
  fetching->media_type = line.At("mediaType").String();
  return {.reference = Reference(StoreReference{line.At("name").String(), true}),
          .pinned = Digest::Parse(line.At("digest").String()),
          .fetching = fetching};
}

// What was fetched by an appc name before, else now.
Reference BringAppcHere(const Reference& reference, const std::string& platform, const PolicyOptions& policy,
                        const CommonOptions& common) {
  Reference file = AsFile(reference, platform, StoreRoot(common));
  if (access(file.file()->path.c_str(), F_OK) != 0)
    RunFetch(reference, ForPlatform(platform), policy, common);
  return file;
}

}  // namespace

std::string Sibling(const std::string& name) {
  const std::string beside = ProgramDirectory() + "/" + name;
  return access(beside.c_str(), X_OK) == 0 ? beside : name;
}

std::vector<image::Platform> ParsePlatforms(const std::string& text) {
  std::vector<image::Platform> platforms;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    platforms.push_back(image::Platform::Parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return platforms;
}

LocalName Fetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                const CommonOptions& common) {
  const std::string said = RunFetch(reference, selection, policy, common);
  // The digest pins what was verified and named a moment ago.
  const std::string line = said.substr(0, said.find('\n'));
  const size_t at = line.rfind('@');
  if (at == std::string::npos)
    throw Error(ErrorKind::kFailed, "gantry-fetch answered " + Quoted(line) + " instead of NAME@DIGEST");
  return {Reference(StoreReference{line.substr(0, at), true}), Digest::Parse(line.substr(at + 1))};
}

bool IsInStore(const image::DockerReference& name, const std::string& platform, const std::string& root) {
  return IsHere(name.WithDefaultTag().ToString(), platform, root);
}

std::vector<std::string> ForPlatform(const std::string& platform) {
  return platform.empty() ? std::vector<std::string>() : std::vector<std::string>{"--platform", platform};
}

namespace {

// What `fetch` brings when it is not here.
template <typename FetchIt>
LocalName Bring(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                const CommonOptions& common, FetchIt fetch) {
  const Reference reference = Reference::Parse(text);
  if (reference.appc() != nullptr)
    return {BringAppcHere(reference, platform, policy, common)};
  if (!IsFetchable(reference))
    return {reference};
  if (auto here = FindHere(reference, platform, StoreRoot(common)))
    return {*here};
  return fetch(reference, ForPlatform(platform), policy, common);
}

}  // namespace

LocalName BringHere(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                    const CommonOptions& common) {
  return Bring(text, platform, policy, common, Fetch);
}

LocalName BringBeginning(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                         const CommonOptions& common) {
  return Bring(text, platform, policy, common, BeginFetch);
}

LocalName BringAllHere(const std::string& text, const std::string& platforms, const PolicyOptions& policy,
                       const CommonOptions& common) {
  const Reference reference = Reference::Parse(text);
  if (!IsFetchable(reference))
    return {reference};
  if (auto here = FindHere(reference, {}, StoreRoot(common)))
    return {*here};
  const std::vector<std::string> all = {"--all"};
  return Fetch(reference, platforms.empty() ? all : ForPlatform(platforms), policy, common);
}

void AddAccepted(const FetchedImage& image, const std::string& root, sign::Evidence& evidence) {
  AddAccepted(image, StoreIfReadable(root).get(), evidence);
}

void NoteAccepted(const image::VerifiedImage& image, const std::string& root) {
  if (image.accepted())
    image::Store::Open(root)->NoteAccepted(*image.accepted());
}

std::optional<LocalImage> OpenUnlessMissing(const LocalName& name, const image::Store& store,
                                            const std::string& platform, const sign::RegistriesD& registries) {
  const auto text = StoreName(name.reference);
  if (!text)
    return OpenLocalImage(name, Purpose::kJudge, store.dir().name(), platform, std::nullopt, registries);
  auto local = FindInStore(name, *text, store);
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

LocalImage OpenFileImage(const FileReference& file, const std::string& platform,
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
  }
  throw CannotRead(Reference(file));
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
  if (file != nullptr && IsAci(*file)) {
    throw Error(ErrorKind::kUnsupported, Quoted(name.reference.ToString()) + " is one image, and never several",
                "leave out --all, and give one platform");
  }
  throw CannotRead(name.reference);
}

LocalImage OpenLocalImage(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform,
                          const std::optional<image::DockerReference>& as, const sign::RegistriesD& registries) {
  LocalImage local = Open(name, purpose, root, platform);
  if (as) {
    local.image = FetchedImage(local.image.image(), *as, local.image.index());
    local.evidence.transport.clear();  // judged by its name, not by its place
  }
  Complete(local, platform, registries, StoreIfReadable(root).get());
  return local;
}

}  // namespace gantry::tools
