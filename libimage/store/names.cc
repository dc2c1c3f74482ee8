// Names (index.json) and evidence of a LocalStore.
#include <fcntl.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr size_t kMinPrefixDigits = 12;
constexpr const char* kSeeCheck = "see what else is wrong with: gantry store check";

std::optional<DockerReference> TryParseDocker(const std::string& name) {
  try {
    return DockerReference::Parse(name);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string Normalised(const std::string& name) {
  const std::optional<DockerReference> reference = TryParseDocker(name);
  return reference ? reference->WithDefaultTag().ToString() : name;
}

const StoredName* FindName(const std::vector<StoredName>& names, const std::string& name) {
  const auto found = std::find_if(names.begin(), names.end(), [&](const StoredName& one) { return one.name == name; });
  return found == names.end() ? nullptr : &*found;
}

bool IsDigestPrefix(std::string_view digits) {
  return digits.size() >= kMinPrefixDigits && digits.size() <= 128 &&
         digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// All names of one digest are the same image: the first stands for them.
std::optional<StoredName> ByDigest(const std::vector<StoredName>& names, std::string_view text) {
  std::string_view digits = text;
  std::string algorithm;
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    algorithm = text.substr(0, colon);
    digits = text.substr(colon + 1);
  }
  if (!IsDigestPrefix(digits))
    return std::nullopt;
  const StoredName* found = nullptr;
  for (const StoredName& name : names) {
    const Digest& digest = name.descriptor.digest;
    if (!digest.hex().starts_with(digits) || (!algorithm.empty() && Name(digest.algorithm()) != algorithm))
      continue;
    if (found != nullptr && found->descriptor.digest != digest) {
      throw Error(ErrorKind::kUsage, Quoted(text) + " is the beginning of more than one digest in the store",
                  "give more digits: " + found->descriptor.digest.str() + " or " + digest.str());
    }
    if (found == nullptr)
      found = &name;
  }
  return found == nullptr ? std::nullopt : std::optional(*found);
}

RelPath SignatureName(size_t n) { return RelPath::Parse("signature-" + std::to_string(n)); }

void RequireStoredName(const std::string& name) {
  if (!IsStoredName(name)) {
    throw Error(ErrorKind::kUsage, "an image cannot be stored as " + Quoted(name),
                "a name has 1 to 1024 printable characters and no spaces");
  }
}

}  // namespace

RelPath PathOfReferrers(const Digest& subject) { return RelPath::Parse("referrers/" + FileNameOf(subject)); }

RelPath PathOfSignatures(const Digest& manifest) { return RelPath::Parse("signatures/" + FileNameOf(manifest)); }

IndexDocument LocalStore::ReadIndex() const {
  const std::string what = Quoted("index.json") + " in " + Quoted(root_->name());
  const std::optional<UniqueFd> fd =
      root_->TryOpenBeneath(RelPath::Parse("index.json"), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) {
    throw Error(ErrorKind::kCorrupt, what + " is missing",
                "the names of the images are lost: restore it from a backup, or choose another store with --root");
  }
  return IndexDocument::Parse(ReadAll(fd->get(), kMaxStoreIndexBytes, what), what);
}

void LocalStore::WriteIndex(const IndexDocument& index) const {
  root_->WriteFileAtomically(RelPath::Parse("index.json"), index.Print());
}

void LocalStore::SetName(const std::string& name, const VerifiedImage& image) {
  Descriptor descriptor = image.image().descriptor;
  descriptor.platform = image.image().config.platform;
  SetName(name, std::move(descriptor), BlobsOf(image.image()), image.vouched_by(), image.index());
}

void LocalStore::SetName(const std::string& name, const VerifiedArtifact& artifact) {
  Descriptor descriptor = artifact.artifact().descriptor;
  descriptor.artifact_type = artifact.artifact().manifest.ArtifactType();
  SetName(name, std::move(descriptor), BlobsOf(artifact.artifact()), artifact.vouched_by(), artifact.index());
}

void LocalStore::SetName(const std::string& name, Descriptor descriptor, const std::set<Digest>& blobs,
                         const std::string& vouched_by, const std::optional<Digest>& index) const {
  RequireWritable();
  RequireStoredName(name);
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  std::set<std::string> algorithms;
  for (const Digest& digest : blobs) {
    if (!HasBlob(digest)) {
      throw Error(ErrorKind::kNotFound, Quoted(name) + " cannot be stored: its blob " + digest.str() + " is missing",
                  "fetch the image again");
    }
    algorithms.emplace(gantry::Name(digest.algorithm()));
  }
  for (const std::string& algorithm : algorithms) root_->OpenDir(RelPath::Parse("blobs/" + algorithm)).Sync();
  root_->OpenDir(RelPath::Parse("blobs")).Sync();
  descriptor.annotations[std::string(kVouchedByAnnotation)] = vouched_by;
  if (index && HasBlob(*index))
    descriptor.annotations[std::string(kIndexAnnotation)] = index->str();
  const FileLock index_lock(*root_, kIndexLock, LockMode::kExclusive);
  IndexDocument document = ReadIndex();
  document.Set(name, std::move(descriptor));
  WriteIndex(document);
}

bool LocalStore::RemoveName(const std::string& name) {
  RequireWritable();
  const FileLock lock(*root_, kIndexLock, LockMode::kExclusive);
  IndexDocument index = ReadIndex();
  if (!index.Remove(name))
    return false;
  WriteIndex(index);
  return true;
}

std::vector<StoredName> LocalStore::List() const {
  std::vector<StoredName> out;
  const IndexDocument index = ReadIndex();
  for (const IndexEntry& entry : index.entries()) {
    if (!entry.name.empty())
      out.push_back({entry.name, entry.descriptor});
  }
  std::sort(out.begin(), out.end(), [](const StoredName& a, const StoredName& b) { return a.name < b.name; });
  return out;
}

std::optional<StoredName> LocalStore::Resolve(const std::string& name) const {
  const std::vector<StoredName> names = List();
  if (const StoredName* found = FindName(names, name))
    return *found;
  if (const StoredName* found = FindName(names, Normalised(name)))
    return *found;
  if (const size_t at = name.rfind('@'); at != std::string::npos) {
    const std::string base = name.substr(0, at);
    const std::optional<Digest> digest = Digest::TryParse(name.substr(at + 1));
    const StoredName* found = FindName(names, base);
    if (found == nullptr)
      found = FindName(names, Normalised(base));
    if (found != nullptr && digest && found->descriptor.digest == *digest)
      return *found;
    return std::nullopt;
  }
  return ByDigest(names, name);
}

std::optional<Digest> IndexOf(const Descriptor& descriptor) {
  const auto found = descriptor.annotations.find(std::string(kIndexAnnotation));
  return found == descriptor.annotations.end() ? std::nullopt : Digest::TryParse(found->second);
}

// Evidence for an index counts for its images, so a mere annotation must not make one a part of it.
std::optional<Digest> LocalStore::ProvenIndex(const Descriptor& manifest) const {
  const std::optional<Digest> digest = IndexOf(manifest);
  if (!digest || !HasBlob(*digest))
    return std::nullopt;
  const ManifestOrIndex document = ParseManifest(ReadBlob(*digest, kMaxManifestBytes));
  const auto* index = std::get_if<Index>(&document);
  const bool listed =
      index != nullptr && std::any_of(index->manifests.begin(), index->manifests.end(),
                                      [&](const Descriptor& one) { return one.digest == manifest.digest; });
  return listed ? digest : std::nullopt;
}

FetchedImage Store::Load(const StoredName& name) const {
  Fetched loaded = LoadAny(name);
  if (auto* image = std::get_if<FetchedImage>(&loaded))
    return std::move(*image);
  ThrowNotAnImage(Quoted(name.name), std::get<FetchedArtifact>(loaded).artifact.manifest);
}

Fetched LocalStore::LoadAny(const StoredName& name) const {
  Descriptor descriptor = name.descriptor;
  std::optional<Digest> index_digest;
  for (size_t depth = 0;; ++depth) {
    std::string bytes = ReadBlob(descriptor.digest, kMaxManifestBytes);
    if (bytes.size() != descriptor.size) {
      throw Error(ErrorKind::kCorrupt,
                  Quoted(name.name) + ": manifest " + descriptor.digest.str() + " has " + std::to_string(bytes.size()) +
                      " bytes, the index says " + std::to_string(descriptor.size),
                  kSeeCheck);
    }
    ManifestOrIndex document = ParseManifest(bytes, descriptor.media_type);
    if (auto* const manifest = std::get_if<Manifest>(&document)) {
      std::optional<DockerReference> reference = TryParseDocker(name.name);
      if (reference && reference->ToString() != name.name)
        reference.reset();
      if (!index_digest)
        index_digest = ProvenIndex(descriptor);
      if (manifest->IsArtifact()) {
        Artifact artifact = Artifact::FromBytes(std::move(bytes), std::move(*manifest), descriptor.digest);
        return FetchedArtifact{std::move(artifact), std::move(reference), index_digest};
      }
      std::string config = ReadBlob(manifest->config.digest, kMaxConfigBytes);
      Image image = Image::FromBytes(std::move(bytes), std::move(*manifest), std::move(config));
      return FetchedImage(std::move(image), std::move(reference), index_digest);
    }
    const auto is_artifact = [this](const Descriptor& entry) {
      return IsArtifact(ParseManifest(ReadBlob(entry.digest, kMaxManifestBytes), entry.media_type));
    };
    const Descriptor* chosen = std::get<Index>(document).Choose(Platform::Host(), is_artifact).entry;
    if (chosen == nullptr || depth == kMaxIndexDepth) {
      throw Error(ErrorKind::kUnsupported, Quoted(name.name) + " has no image for " + Platform::Host().ToString(),
                  "fetch one of its platforms with gantry fetch --platform");
    }
    if (!index_digest)
      index_digest = descriptor.digest;
    descriptor = Descriptor(*chosen);
  }
}

void LocalStore::AddSignature(const Digest& manifest, std::string_view bytes) {
  if (bytes.empty() || bytes.size() > kMaxSignatureBytes)
    throw Error(ErrorKind::kCorrupt, "a signature has " + std::to_string(bytes.size()) + " bytes");
  Session()->Add({manifest});
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  const FileLock evidence_lock(*root_, kIndexLock, LockMode::kExclusive);
  const std::vector<std::string> old = Signatures(manifest);
  if (std::find(old.begin(), old.end(), bytes) != old.end())
    return;
  if (old.size() == kMaxSignatures) {
    throw Error(ErrorKind::kFailed, manifest.str() + " has " + std::to_string(kMaxSignatures) + " signatures already",
                "remove some in " + root_->name() + "/" + PathOfSignatures(manifest).str());
  }
  root_->MakeDirs(PathOfSignatures(manifest)).WriteFileAtomically(SignatureName(old.size() + 1), bytes);
  root_->OpenDir(RelPath::Parse("signatures")).Sync();
}

std::vector<std::string> LocalStore::Signatures(const Digest& manifest) const {
  std::vector<std::string> out;
  while (out.size() < kMaxSignatures) {
    const RelPath path = PathOfSignatures(manifest) / SignatureName(out.size() + 1);
    const std::optional<UniqueFd> fd = root_->TryOpenBeneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!fd)
      break;
    out.push_back(ReadAll(fd->get(), kMaxSignatureBytes, Quoted(path.str()) + " in " + Quoted(root_->name())));
  }
  return out;
}

void LocalStore::SetReferrers(const Digest& subject, const std::vector<Descriptor>& referrers) {
  if (referrers.size() > kMaxStoredReferrers) {
    throw Error(ErrorKind::kCorrupt,
                subject.str() + " has more than " + std::to_string(kMaxStoredReferrers) + " referrers");
  }
  Session()->Add({subject});
  const FileLock lock(*root_, kCollectLock, LockMode::kShared);
  for (const Descriptor& referrer : referrers) {
    if (!HasBlob(referrer.digest))
      throw Error(ErrorKind::kNotFound, "referrer " + referrer.digest.str() + " is not in the store");
  }
  const Index index{.media_type = std::string(kOciIndexType), .manifests = referrers};
  root_->MakeDirs(RelPath::Parse("referrers")).WriteFileAtomically(RelPath::Parse(FileNameOf(subject)), index.ToJson());
}

std::vector<Descriptor> LocalStore::Referrers(const Digest& subject) const {
  const RelPath path = PathOfReferrers(subject);
  const std::optional<UniqueFd> fd = root_->TryOpenBeneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd)
    return {};
  const std::string what = Quoted(path.str()) + " in " + Quoted(root_->name());
  ManifestOrIndex parsed = ParseManifest(ReadAll(fd->get(), kMaxManifestBytes, what), kOciIndexType);
  auto* const index = std::get_if<Index>(&parsed);
  if (index == nullptr || index->manifests.size() > kMaxStoredReferrers)
    throw Error(ErrorKind::kCorrupt, what + " is no list of referrers", "fetch the image again with --referrers");
  return std::move(index->manifests);
}

}  // namespace gantry::image
