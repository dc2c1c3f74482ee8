#include "libimage/transport/oci_layout.h"

#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/listed_names.h"
#include "libimage/transport/tar_file.h"

namespace gantry::image {
namespace {

std::string RefOf(const Descriptor& descriptor) {
  const auto ref = descriptor.annotations.find(std::string(kRefNameAnnotation));
  return ref == descriptor.annotations.end() ? std::string() : ref->second;
}

std::string Platforms(const Index& index) {
  std::vector<std::string> names;
  for (const Descriptor& manifest : index.manifests) {
    if (manifest.platform)
      names.push_back(manifest.platform->ToString());
  }
  return names.empty() ? "none of its manifests tells its platform" : "it has " + ListedNames(names);
}

bool IsIndex(const Descriptor& descriptor) { return KindOf(descriptor.media_type) == TypeKind::kIndex; }

}  // namespace

std::unique_ptr<OciLayout> OciLayout::OpenAt(const std::string& directory) {
  return OpenIn(LayoutIn(Dir::Open(directory)), "give the directory that holds 'oci-layout' and 'index.json'");
}

std::unique_ptr<OciLayout> OciLayout::OpenArchive(const std::string& file) {
  TarFile tar = TarFile::Open(file);
  const bool docker = tar.Size("manifest.json").has_value();
  return OpenIn(LayoutIn(std::move(tar)), docker ? "what docker save writes is named docker-archive:" + file
                                                 : "'oci-layout' and 'index.json' lie at the top of such an archive");
}

std::unique_ptr<OciLayout> OciLayout::OpenIn(std::unique_ptr<LayoutRoot> root, const std::string& hint) {
  const std::string name = root->name();
  if (!root->CheckVersion()) {
    throw Error(ErrorKind::kNotFound, Quoted(name) + " is not an OCI image layout: it has no 'oci-layout' file", hint);
  }
  const std::optional<std::string> bytes = root->Read("index.json", kMaxLayoutIndexBytes);
  if (!bytes)
    throw Error(ErrorKind::kCorrupt, "the layout " + Quoted(name) + " has no 'index.json'");
  try {
    ManifestOrIndex parsed = ParseManifest(*bytes, kOciIndexType);
    if (Index* index = std::get_if<Index>(&parsed))
      return std::unique_ptr<OciLayout>(new OciLayout(std::move(root), std::move(*index)));
  } catch (const Error& error) {
    throw error.WithContext("'index.json' in " + Quoted(name));
  }
  throw Error(ErrorKind::kCorrupt, "'index.json' in " + Quoted(name) + " is not an index");
}

std::vector<std::string> OciLayout::Refs() const {
  std::set<std::string> refs;
  for (const Descriptor& manifest : index_.manifests) refs.insert(RefOf(manifest));
  refs.erase("");
  return {refs.begin(), refs.end()};
}

std::vector<Descriptor> OciLayout::Listed(const std::string& ref) const {
  std::vector<Descriptor> found;
  for (const Descriptor& manifest : index_.manifests) {
    if (ref.empty() || RefOf(manifest) == ref)
      found.push_back(manifest);
  }
  if (found.empty() && !ref.empty()) {
    for (const Descriptor& manifest : index_.manifests) {
      if (manifest.digest.str() == ref && found.empty())
        found.push_back(manifest);
    }
  }
  if (found.empty()) {
    const std::vector<std::string> refs = Refs();
    throw Error(ErrorKind::kNotFound,
                ref.empty() ? "the layout " + Quoted(root_->name()) + " has no image"
                            : "the layout " + Quoted(root_->name()) + " has no image named " + Quoted(ref),
                refs.empty() ? "none of its images has a name" : "it has " + ListedNames(refs));
  }
  return found;
}

std::map<Digest, std::vector<Descriptor>> OciLayout::Referrers() const {
  std::map<Digest, std::vector<Descriptor>> found;
  const auto read = [&](const Descriptor& listed) {
    return ReadSmall(listed, kMaxManifestBytes, "manifest " + listed.digest.str() + " in " + Quoted(root_->name()));
  };
  for (const Descriptor& listed : index_.manifests) {
    const TypeKind kind = KindOf(listed.media_type);
    if (kind != TypeKind::kManifest && kind != TypeKind::kIndex)
      continue;
    const std::string bytes = read(listed);
    const std::string ref = RefOf(listed);
    const std::optional<Digest> about = SubjectOfTag(ref);
    if (about && ref == ReferrersTag(*about)) {
      const ManifestOrIndex list = ParseManifest(bytes, listed.media_type);
      if (const auto* index = std::get_if<Index>(&list))
        found[*about].insert(found[*about].end(), index->manifests.begin(), index->manifests.end());
    } else if (about) {
      found[*about].push_back(listed);
    } else if (auto referrer = ReferrerOf(bytes, listed)) {
      found[referrer->subject].push_back(std::move(referrer->entry));
    }
  }
  return found;
}

FetchedImage OciLayout::Load(const std::string& ref, const Platform& platform) const {
  Fetched loaded = LoadAny(ref, platform);
  if (const auto* artifact = std::get_if<FetchedArtifact>(&loaded)) {
    ThrowNotAnImage("manifest " + artifact->artifact.descriptor.digest.str() + " in " + Quoted(root_->name()),
                    artifact->artifact.manifest);
  }
  return std::get<FetchedImage>(std::move(loaded));
}

Fetched OciLayout::LoadAny(const std::string& ref, const Platform& platform) const {
  Index from;
  from.manifests = Listed(ref);
  if (const std::vector<std::string> refs = Refs(); ref.empty() && refs.size() > 1) {
    throw Error(ErrorKind::kUsage, "the layout " + Quoted(root_->name()) + " has several images",
                "name one as " + root_->FullName() + ":REF; it has " + ListedNames(refs));
  }
  std::optional<Digest> through;
  for (size_t depth = 0; depth <= kMaxIndexDepth; ++depth) {
    Document next = from.manifests.size() == 1 && depth == 0 ? Read(from.manifests[0]) : Choose(from, platform);
    if (!IsIndex(next.listed))
      return LoadManifest(std::move(next), through);
    Index* inner = std::get_if<Index>(&next.parsed);
    if (inner == nullptr)
      throw Error(ErrorKind::kCorrupt, WhatIs(next.listed) + " is listed as an index, but is none");
    through = through.value_or(next.listed.digest);
    from = std::move(*inner);
  }
  throw Error(ErrorKind::kCorrupt, "indexes in " + Quoted(root_->name()) + " are nested more than " +
                                       std::to_string(kMaxIndexDepth) + " deep");
}

OciLayout::Document OciLayout::Choose(const Index& from, const Platform& platform) const {
  std::optional<Document> asked;  // the last
  const Index::Choice choice = from.Choose(platform, [&](const Descriptor& entry) {
    asked = Read(entry);
    return IsArtifact(asked->parsed);
  });
  if (choice.entry != nullptr)
    return asked && asked->listed == *choice.entry ? *std::move(asked) : Read(*choice.entry);
  if (choice.artifacts.empty()) {
    throw Error(ErrorKind::kNotFound, "no image for " + platform.ToString() + " in " + Quoted(root_->name()),
                Platforms(from));
  }
  throw Error(ErrorKind::kUsage,
              Quoted(root_->name()) + " has " + std::to_string(choice.artifacts.size()) +
                  " artifacts and no image for " + platform.ToString(),
              "name one as " + root_->FullName() + ":" + choice.artifacts.front()->digest.str());
}

OciLayout::Document OciLayout::Read(const Descriptor& listed) const {
  std::string bytes = ReadSmall(listed, kMaxManifestBytes, WhatIs(listed));
  ManifestOrIndex parsed = ParseManifest(bytes, listed.media_type);
  return {listed, std::move(bytes), std::move(parsed)};
}

std::string OciLayout::WhatIs(const Descriptor& listed) const {
  return "manifest " + listed.digest.str() + " in " + Quoted(root_->name());
}

Fetched OciLayout::LoadManifest(Document document, std::optional<Digest> through) const {
  Manifest* const manifest = std::get_if<Manifest>(&document.parsed);
  if (manifest == nullptr) {
    throw Error(ErrorKind::kCorrupt,
                WhatIs(document.listed) + " is listed as " + Quoted(document.listed.media_type) + ", but is an index");
  }
  if (manifest->IsArtifact()) {
    Artifact artifact = Artifact::FromBytes(std::move(document.bytes), std::move(*manifest), document.listed.digest);
    return FetchedArtifact{std::move(artifact), std::nullopt, through};
  }
  std::string config = ReadSmall(manifest->config, kMaxConfigBytes, "configuration in " + Quoted(root_->name()));
  Image image = Image::FromBytes(std::move(document.bytes), std::move(*manifest), std::move(config));
  return FetchedImage(std::move(image), std::nullopt, through);
}

std::string OciLayout::ReadSmall(const Descriptor& blob, size_t max_bytes, std::string_view what) const {
  if (blob.size > max_bytes) {
    throw Error(ErrorKind::kCorrupt, std::string(what) + " is " + std::to_string(blob.size) +
                                         " bytes long, more than " + std::to_string(max_bytes));
  }
  return Drain(*Open(blob, what), max_bytes, what);
}

std::unique_ptr<Source> OciLayout::Open(const Descriptor& blob, std::string_view what) const {
  const std::string name = std::string(what) + " (" + blob.digest.str() + ")";
  std::unique_ptr<Source> bytes = root_->Open(BlobPath(blob.digest), name);
  if (!bytes)
    throw Error(ErrorKind::kNotFound, name + " is not in the layout " + Quoted(root_->name()));
  return VerifyingSource(std::move(bytes), blob.digest, blob.size, name);
}

}  // namespace gantry::image
