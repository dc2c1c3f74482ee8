#include "tools/local_image.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
#include "tools/local_parts.h"
#include "tools/registries.h"

namespace gantry::tools {
namespace {

using namespace local;
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
  if (!found || platform.empty())
    return found.has_value();
  const image::Fetched loaded = store->LoadAny(*found);
  const auto* fetched = std::get_if<FetchedImage>(&loaded);
  return fetched == nullptr || IsPlatform(fetched->image().config.platform, platform);
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

constexpr const char* kMaybeKilled = "was it killed? see the kernel's log for 'Out of memory'";

// When it failed it has said why, unless it could not.
void RequireSuccess(const ExitStatus& fetch) {
  if (fetch.signalled)
    throw Error(ErrorKind::kFailed, "gantry-fetch was ended by signal " + std::to_string(fetch.code - 128),
                kMaybeKilled);
  if (fetch.code != 0)
    throw ChildFailed{fetch.code};
}

// What it prints.
std::string RunFetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                     const CommonOptions& common) {
  const Captured fetched = RunCaptured(FetchCommand(reference, selection, policy, common), "", kMaxFetchOutput);
  RequireSuccess(fetched.status);
  return fetched.output;
}

// Of what gantry-fetch prints; empty when it ends without one.
std::string NextLine(int output) {
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

LocalName BeginFetch(const Reference& reference, const std::vector<std::string>& selection, const PolicyOptions& policy,
                     const CommonOptions& common) {
  std::vector<std::string> argv = FetchCommand(reference, selection, policy, common);
  argv.insert(argv.end(), {"--json", "--early"});
  Pipe in = MakePipe(), out = MakePipe();
  const auto fetching = std::make_shared<Fetching>(
      Fetching{Process::Start(argv, {{in.read.get(), STDIN_FILENO}, {out.write.get(), STDOUT_FILENO}}),
               std::move(out.read),
               {}});
  out.write.Reset();
  const std::string said = NextLine(fetching->output.get());
  if (said.empty()) {
    RequireSuccess(fetching->process.Wait());
    throw Error(ErrorKind::kFailed, "gantry-fetch ended well and said nothing of what it brought");
  }
  const json::Value value = json::Parse(said, "what gantry-fetch says");
  const json::Cursor line(value, "what gantry-fetch says");
  fetching->media_type = line.At("mediaType").String();
  return {.reference = Reference(StoreReference{line.At("name").String(), true}),
          .pinned = Digest::Parse(line.At("digest").String()),
          .fetching = fetching};
}

void AwaitChecked(Fetching& fetching) {
  if (!NextLine(fetching.output.get()).empty())
    return;
  RequireSuccess(fetching.process.Wait());
  throw Error(ErrorKind::kFailed, "gantry-fetch ended well and has not brought all layers");
}

void AwaitEnd(Fetching& fetching) { RequireSuccess(fetching.process.Wait()); }

std::unique_ptr<ArrivingBlobs> BlobsBeside(std::shared_ptr<const image::Store> store,
                                           std::shared_ptr<const Fetching> fetching) {
  const auto given_up = std::make_shared<Pipe>(MakePipe());
  const auto await = [fetching = std::move(fetching), given_up] {
    std::array<pollfd, 2> polls{pollfd{fetching->output.get(), POLLIN, 0}, pollfd{given_up->read.get(), POLLIN, 0}};
    while (poll(polls.data(), polls.size(), -1) < 0 && errno == EINTR) {
    }
    // What it says there the parent reads.
    if ((polls[0].revents & POLLIN) == 0)
      throw Error(ErrorKind::kFailed, "gantry-fetch has not brought all layers", kMaybeKilled);
  };
  const auto give_up = [given_up] { WriteFull(given_up->write.get(), AsBytes("."), "a pipe"); };
  return std::make_unique<ArrivingBlobs>(std::move(store), await, give_up);
}

bool IsInStore(const image::DockerReference& name, const std::string& platform, const std::string& root) {
  return IsHere(name.WithDefaultTag().ToString(), platform, root);
}

std::vector<std::string> ForPlatform(const std::string& platform) {
  return platform.empty() ? std::vector<std::string>() : std::vector<std::string>{"--platform", platform};
}

std::vector<std::string> OfImage(const std::string& platform) {
  std::vector<std::string> out = ForPlatform(platform);
  out.emplace_back("--only-image");
  return out;
}

namespace {

using Selection = std::vector<std::string>(const std::string& platform);

// What `fetch` brings when it is not here.
template <typename FetchIt>
LocalName Bring(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                const CommonOptions& common, FetchIt fetch, Selection* selection) {
  const Reference reference = Reference::Parse(text);
  if (reference.appc() != nullptr)
    return {BringAppcHere(reference, platform, policy, common)};
  if (!IsFetchable(reference))
    return {reference};
  if (auto here = FindHere(reference, platform, StoreRoot(common)))
    return {*here};
  return fetch(reference, selection(platform), policy, common);
}

}  // namespace

LocalName BringHere(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                    const CommonOptions& common) {
  return Bring(text, platform, policy, common, Fetch, OfImage);
}

LocalName BringBeginning(const std::string& text, const std::string& platform, const PolicyOptions& policy,
                         const CommonOptions& common) {
  return Bring(text, platform, policy, common, BeginFetch, ForPlatform);
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
