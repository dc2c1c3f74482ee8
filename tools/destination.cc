#include "tools/destination.h"

#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/write_back.h"
#include "libimage/convert/artifact_files.h"
#include "libimage/convert/copy_tree.h"
#include "libimage/store/store_sink.h"
#include "libimage/transport/docker_archive.h"
#include "libimage/transport/new_file.h"
#include "libimage/transport/oci_layout.h"
#include "libimage/transport/pusher.h"
#include "tools/carry_evidence.h"
#include "tools/network_child.h"
#include "tools/publish.h"

namespace gantry::tools {
namespace {

using image::FileReference;
using image::Reference;

template <FileReference::Format format>
bool IsFile(const Reference& reference) {
  return reference.file() != nullptr && reference.file()->format == format;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A file that appears in its directory, or a directory that may have to be made.
std::vector<std::string> FileAndItsDirectory(const Reference& reference, const WriteOptions&) {
  return {DirectoryOf(reference.file()->path), reference.file()->path};
}

// What is not there of the path: itself and the directories above, that first.
std::vector<std::string> Missing(std::string path) {
  std::vector<std::string> missing;
  for (; access(path.c_str(), F_OK) != 0 && path != DirectoryOf(path); path = DirectoryOf(path))
    missing.push_back(path);
  return missing;
}

// A directory, and where it or the first that is missing above it is to be made.
std::vector<std::string> DirectoryAndWhereItIsMade(const Reference& reference, const WriteOptions&) {
  const std::string& path = reference.file()->path;
  const std::vector<std::string> missing = Missing(path);
  return {missing.empty() ? path : DirectoryOf(missing.back()), path};
}

bool IsDirectory(const std::string& path) {
  struct stat status {};
  return path.ends_with('/') || (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode));
}

// What the store that the image comes from keeps of its identity.
std::optional<Digest> KnownRootfs(const Input& input) {
  return input.source.store == nullptr ? std::nullopt
                                       : input.source.store->RootfsOf(input.image.image().descriptor.digest);
}

// Puts the identity into `more`, where somebody will see it, and into the store that the image comes from.
image::OnIdentity IntoResult(const WriteOptions& options, const Input& input, json::Object& more) {
  if (!options.identity)
    return {};
  return [&input, &more](const image::Identity& identity) {
    more.Set("identity", identity.digest.str());
    if (input.source.store != nullptr)
      input.source.store->KeepRootfs(input.image.image().descriptor.digest, identity.rootfs);
  };
}

// kUnsupported for artifacts alone, which cannot become `form`.
void RequireImages(const InputSet& input, const std::string& form) {
  for (const InputSet::Top& top : input.tops) {
    if (!ImagesOf(top.tree).empty())
      continue;
    for (const image::VerifiedArtifact* artifact : ArtifactsOf(top.tree)) {
      image::ThrowNotAnImage("what was to become " + form + ", " + artifact->artifact().descriptor.digest.str() + ",",
                             artifact->artifact().manifest);
    }
  }
}

// An ACI in the file that was named; in a directory one for each image, under the name that docker2aci gives it.
class AciDestination : public Destination {
 public:
  AciDestination(const std::string& path, WriteOptions options) : options_(std::move(options)) {
    if (IsDirectory(path))
      directory_ = Dir::Open(path).name();
    else
      files_.push_back(std::make_unique<image::NewFile>(path, options_.overwrite));
  }

  Written Write(const Input& input, Progress& progress) override {
    const image::AciNaming naming = NamingFor(input, options_.name);
    if (files_.empty())
      Begin(naming.FileStem());
    json::Object identity;
    image::AciOptions how = HowTo(naming, progress);
    how.rootfs = KnownRootfs(input);
    how.identified = IntoResult(options_, input, identity);
    Written written = Convert(input.image, *input.source.blobs, how);
    input.Settle();
    for (const auto& [key, value] : identity.members()) written.more.Append(key, value);
    Commit();
    return written;
  }

  // An ACI is for one platform, so those of an index are told apart by theirs, as docker2aci does with layers.
  std::vector<Written> WriteAll(const InputSet& input, Progress& progress) override {
    RequireImages(input, "an ACI");
    if (directory_.empty()) {
      throw Error(ErrorKind::kUnsupported, "one ACI holds one image of one platform",
                  "choose one with --platform, or name a directory, and each gets a file there");
    }
    std::vector<Written> written;
    for (const InputSet::Top& top : input.tops) {
      for (const image::VerifiedImage* image : image::ImagesOf(top.tree)) {
        const std::string called = top.names.empty() ? std::string() : top.names.front();
        const image::AciNaming naming = NamingOf(*image, input.name.reference, called, options_.name);
        Begin(naming.FileStem() + (top.tree.index() != nullptr ? PlatformSuffix(image->image()) : ""));
        written.push_back(Convert(*image, input.blobs, HowTo(naming, progress)));
        written.back().image = image;
      }
    }
    Commit();
    return written;
  }

 private:
  image::AciOptions HowTo(const image::AciNaming& naming, Progress& progress) const {
    return {.naming = naming,
            .compression = options_.copy.compression.value_or(image::Compression::kGzip),
            .level = options_.copy.level,
            .threads = options_.copy.threads,
            .epoch = options_.epoch,
            .progress = &progress,
            .complete = options_.complete};
  }

  // A file in the directory.
  void Begin(const std::string& stem) {
    const std::string path = directory_ + (directory_.ends_with('/') ? "" : "/") + stem + ".aci";
    for (const auto& file : files_) {
      if (file->path() == path) {
        throw Error(ErrorKind::kUnsupported, "two of the images would be called " + Quoted(path),
                    "convert one after the other, with --platform or by name, each to a file of its own");
      }
    }
    files_.push_back(std::make_unique<image::NewFile>(path, options_.overwrite));
  }

  // Into the file that was begun last.
  Written Convert(const image::VerifiedImage& image, const image::Blobs& blobs, const image::AciOptions& how) {
    image::NewFile& file = *files_.back();
    const auto open = [&] {
      if (ftruncate(file.fd(), 0) < 0 || lseek(file.fd(), 0, SEEK_SET) < 0)
        ThrowErrno("empty " + Quoted(file.path()));
      return FileSink(file.fd(), Quoted(file.path()));
    };
    const image::AciResult result = image::ConvertToAci(image, blobs, open, how);
    return {.id = "sha512-" + result.image_id.hex(),
            .more = {{"name", how.naming.name},
                     {"bytes", result.bytes},
                     {"entries", result.flattened.entries},
                     {"contentBytes", result.flattened.bytes}},
            .file = file.path()};
  }

  void Commit() {
    for (const auto& file : files_) file->Commit();
  }

  WriteOptions options_;
  std::string directory_;  // empty: a file was named
  std::vector<std::unique_ptr<image::NewFile>> files_;
};

std::unique_ptr<Destination> OpenAci(const Reference& reference, const WriteOptions& options) {
  if (!options.name.empty() && !image::IsAcIdentifier(options.name))
    throw Error(ErrorKind::kUsage, Quoted(options.name) + " is not a name for an ACI",
                "lower-case letters and digits, between them any of -._~/");
  if (options.layers)
    return OpenAciLayers(reference, options);
  if (options.copy.preserve_digests) {
    throw Error(ErrorKind::kUnsupported, "an ACI has no manifest of images whose digest could be preserved",
                "leave out --preserve-digests, or add --layers: then the image comes back with its digest");
  }
  return std::make_unique<AciDestination>(reference.file()->path, options);
}

// An OCI layout may hold Docker manifests; without a word OCI ones are written, for not all tools read others there.
std::unique_ptr<Destination> OpenLayout(const Reference& reference, const WriteOptions& options) {
  auto writer = image::OciLayoutWriter::Begin(reference.file()->path, options.overwrite);
  writer->RequireFree(reference.file()->ref);
  return IntoSink(std::move(writer), reference.file()->ref, options, image::kOciManifestType);
}

class SinkDestination : public Destination {
 public:
  SinkDestination(std::unique_ptr<image::ImageSink> sink, std::string ref, WriteOptions options)
      : sink_(std::move(sink)), ref_(std::move(ref)), options_(std::move(options)) {}

  Written Write(const Input& input, Progress& progress) override {
    json::Object more;
    options_.copy.progress = &progress;
    if (input.source.unpacked && !options_.copy.compression && !options_.copy.preserve_digests && !sink_->form().layers)
      options_.copy.compression = image::Compression::kGzip;
    options_.copy.rootfs = KnownRootfs(input);
    options_.copy.identified = IntoResult(options_, input, more);
    const image::VerifiedImage copied = CopyOne(input.image, *input.source.blobs);
    input.Settle();
    image::Descriptor top = copied.image().descriptor;
    top.platform = copied.image().config.platform;
    sink_->Name(top, ref_);
    sink_->Commit();
    more.Set("mediaType", top.media_type);
    return {.id = top.digest.str(), .more = std::move(more), .top = top};
  }

  std::vector<Written> WriteAll(const InputSet& input, Progress& progress) override {
    if (!ref_.empty() && input.tops.size() > 1) {
      throw Error(ErrorKind::kUsage, "several images cannot all be named " + Quoted(ref_),
                  "leave out the name, and each keeps its own; or choose one of them");
    }
    options_.copy.progress = &progress;
    std::vector<Written> written;
    if (options_.squash)
      RequireImages(input, "one layer");
    for (const InputSet::Top& top : input.tops) written.push_back(WriteOne(input.blobs, top));
    sink_->Commit();
    return written;
  }

 private:
  image::VerifiedImage CopyOne(const image::VerifiedImage& image, const image::Blobs& blobs) {
    return options_.squash ? image::Conversion::Squash(image, blobs, *sink_, options_.copy, options_.epoch)
                           : image::Conversion::Copy(image, blobs, *sink_, options_.copy);
  }

  Written WriteOne(const image::Blobs& blobs, const InputSet::Top& top) {
    image::Descriptor made = image::CopyTree(top.tree, blobs, *sink_, options_.copy,
                                             [&](const image::VerifiedImage& image) { return CopyOne(image, blobs); });
    made.annotations.clear();  // the source's word on its place there
    const std::vector<std::string> names = NamesFor(top);
    for (const std::string& name : names) sink_->Name(made, name);
    return {made.digest.str(), {{"mediaType", made.media_type}}, ref_.empty() ? names.front() : std::string()};
  }

  // At least one, which may be empty. "v1" in a layout is a tag of something, and no name in a registry.
  std::vector<std::string> NamesFor(const InputSet::Top& top) const {
    if (!ref_.empty())
      return {ref_};
    std::vector<std::string> names;
    for (const std::string& name : top.names) {
      if (!sink_->form().registry_names || name.find('/') != std::string::npos)
        names.push_back(name);
      else
        options_.copy.note(Quoted(name) + " is no name in a registry: the image gets none");
    }
    return names.empty() ? std::vector<std::string>{""} : names;
  }

  std::unique_ptr<image::ImageSink> sink_;
  std::string ref_;
  WriteOptions options_;
};

std::unique_ptr<Destination> OpenOciArchive(const Reference& reference, const WriteOptions& options) {
  const FileReference& file = *reference.file();
  return IntoSink(image::WriteOciArchive(file.path, options.overwrite), file.ref, options, image::kOciManifestType);
}

std::unique_ptr<Destination> OpenDockerArchive(const Reference& reference, const WriteOptions& options) {
  const FileReference& file = *reference.file();
  if (file.ref.starts_with('@')) {
    throw Error(ErrorKind::kUsage, Quoted(file.ref) + " is no name for an image",
                "write docker-archive:FILE:NAME[:TAG], or leave the name out");
  }
  return IntoSink(image::WriteDockerArchive(file.path, options.overwrite), file.ref, options);
}

// The files of an artifact, in a directory.
class FilesDestination : public Destination {
 public:
  // Makes the directory, for what is not there when this program confines itself cannot be written.
  FilesDestination(const std::string& directory, bool overwrite)
      : made_(Missing(directory)), dir_(Dir::Create(directory)), overwrite_(overwrite) {}
  FilesDestination(const FilesDestination&) = delete;
  FilesDestination& operator=(const FilesDestination&) = delete;
  ~FilesDestination() override {
    for (const std::string& directory : made_) rmdir(directory.c_str());  // where it is still empty
  }

  Written Write(const Input&, Progress&) override {
    throw Error(ErrorKind::kUnsupported, "an image has layers, and no files with names of their own",
                "files: is for artifacts; gantry run export writes the tree of an image");
  }

  std::vector<Written> WriteAll(const InputSet& input, Progress& progress) override {
    const image::VerifiedArtifact* const artifact =
        input.tops.size() == 1 ? input.tops.front().tree.verified_artifact() : nullptr;
    if (artifact == nullptr) {
      throw Error(ErrorKind::kUnsupported, "files: is for one artifact, and this is an index or several",
                  "name one by its digest");
    }
    const std::vector<image::ArtifactFile> files = image::FilesOf(artifact->artifact().manifest);
    image::WriteFiles(files, input.blobs, dir_, overwrite_, progress);
    json::Array names;
    for (const image::ArtifactFile& file : files) names.emplace_back(file.path.str());
    return {{.id = artifact->artifact().descriptor.digest.str(),
             .more = {{"files", std::move(names)}},
             .file = dir_.name()}};
  }

 private:
  const std::vector<std::string> made_;
  const Dir dir_;
  const bool overwrite_;
};

std::unique_ptr<Destination> OpenFiles(const Reference& reference, const WriteOptions& options) {
  if (options.squash || options.copy.compression || options.copy.manifest_type) {
    throw Error(ErrorKind::kUnsupported, "the files of an artifact are written as they are",
                "leave out --squash, --compress and --format");
  }
  return std::make_unique<FilesDestination>(reference.file()->path, options.overwrite);
}

bool IsStore(const Reference& reference) { return reference.store() != nullptr && reference.store()->explicitly_store; }

std::vector<std::string> StorePlaces(const Reference&, const WriteOptions& options) { return {options.store_root}; }

std::unique_ptr<Destination> OpenStore(const Reference& reference, const WriteOptions& options) {
  const std::string& name = reference.store()->name;
  std::optional<image::DockerReference> stored_as;
  try {
    stored_as = image::DockerReference::Parse(name).WithDefaultTag();
  } catch (const Error&) {
    // A digest is a name, but none that can be given.
  }
  if (!stored_as || stored_as->digest) {
    throw Error(ErrorKind::kUsage, "an image cannot be stored as " + Quoted(name), "write store:NAME[:TAG]");
  }
  auto sink = image::IntoStore(image::Store::Open(options.store_root), options.overwrite);
  return IntoSink(std::move(sink), stored_as->ToString(), options);
}

bool IsRegistry(const Reference& reference) { return reference.docker() != nullptr; }

std::vector<std::string> NoPlaces(const Reference&, const WriteOptions&) { return {}; }

// A registry, by way of a gantry-push that has the network.
class RegistryDestination : public Destination {
 public:
  RegistryDestination(const image::DockerReference& name, WriteOptions options)
      : name_(name), options_(std::move(options)), pusher_(StartPush(name, options_.push_arguments)) {}

  Written Write(const Input& input, Progress& progress) override {
    const image::Image& image = input.image.image();
    if (AsItIs() && pusher_.Has(image.descriptor.digest)) {
      input.Settle();
      PublishAll(pusher_, image.descriptor, input.source.evidence);
      return {image.descriptor.digest.str(), {{"mediaType", image.descriptor.media_type}, {"pushed", false}}};
    }
    if (const auto& from = input.source.image.name(); from && from->host == name_.host)
      pusher_.MountFrom(from->path);
    Written written =
        IntoSink(image::MakeRegistrySink(pusher_), name_.WithDefaultTag().tag, options_)->Write(input, progress);
    const image::Descriptor& top = written.top.value();
    PublishAll(pusher_, top, StillHolding(input.source.evidence, image.descriptor.digest, top.digest));
    written.more.Append("pushed", true);
    return written;
  }

  // The process with the network cannot be started once more, and need not be: it has no blob that is not checked.
  bool writes_again() const override { return true; }

  std::vector<Written> WriteAll(const InputSet& input, Progress& progress) override {
    const InputSet::Top& top = input.tops.front();
    if (input.tops.size() == 1 && AsItIs() && top.tree.whole && pusher_.Has(top.tree.descriptor.digest)) {
      const image::Descriptor& there = top.tree.descriptor;
      PublishEvidence(input);
      return {Written{there.digest.str(), {{"mediaType", there.media_type}, {"pushed", false}}}};
    }
    const std::vector<const image::VerifiedImage*> images = ImagesOf(top.tree);
    const image::VerifiedArtifact* const artifact = top.tree.verified_artifact();
    const std::optional<image::DockerReference> from = !images.empty()       ? images.front()->name()
                                                       : artifact != nullptr ? artifact->name()
                                                                             : std::nullopt;
    if (from && from->host == name_.host)
      pusher_.MountFrom(from->path);
    std::vector<Written> written =
        IntoSink(image::MakeRegistrySink(pusher_), name_.WithDefaultTag().tag, options_)->WriteAll(input, progress);
    PublishEvidence(input);
    for (Written& one : written) one.more.Append("pushed", true);
    return written;
  }

 private:
  // What speaks for an artifact, which keeps its digest.
  void PublishEvidence(const InputSet& input) {
    if (const auto* artifact = input.tops.front().tree.verified_artifact()) {
      const image::Descriptor& manifest = artifact->artifact().descriptor;
      PublishAll(pusher_, manifest, input.evidence(manifest.digest));
    }
  }

  bool AsItIs() const { return !options_.squash && !options_.copy.compression && !options_.copy.manifest_type; }

  image::DockerReference name_;
  WriteOptions options_;
  image::Pusher pusher_;
};

std::unique_ptr<Destination> OpenRegistry(const Reference& reference, const WriteOptions& options) {
  return std::make_unique<RegistryDestination>(*reference.docker(), options);
}

constexpr DestinationFormat kFormats[] = {
    {"aci:FILE", IsFile<FileReference::Format::kAci>, FileAndItsDirectory, OpenAci},
    {"docker://NAME", IsRegistry, NoPlaces, OpenRegistry},
    {"oci:DIR[:REF]", IsFile<FileReference::Format::kOci>, FileAndItsDirectory, OpenLayout},
    {"oci-archive:FILE[:REF]", IsFile<FileReference::Format::kOciArchive>, FileAndItsDirectory, OpenOciArchive},
    {"docker-archive:FILE[:NAME[:TAG]]", IsFile<FileReference::Format::kDockerArchive>, FileAndItsDirectory,
     OpenDockerArchive},
    {"files:DIR", IsFile<FileReference::Format::kFiles>, DirectoryAndWhereItIsMade, OpenFiles},
    {"store:NAME", IsStore, StorePlaces, OpenStore},
};

}  // namespace

std::optional<int64_t> SourceDateEpoch() {
  const char* const text = std::getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr)
    return std::nullopt;
  const auto seconds = ParseDecimal<int64_t>(text);
  if (!seconds)
    throw Error(ErrorKind::kUsage, "SOURCE_DATE_EPOCH is " + Quoted(text), "expected seconds since 1970");
  return seconds;
}

image::AciNaming NamingOf(const image::VerifiedImage& image, const Reference& source, const std::string& called,
                          const std::string& name) {
  image::AciNaming naming;
  if (image.name())
    naming = image::AciNaming::For(*image.name());
  else if (const auto* file = source.file())
    naming = image::AciNaming::ForLayout(file->path, called);
  else
    naming.name = image::ToAcIdentifier(source.store()->name);
  if (!name.empty())
    naming.name = name;
  return naming;
}

image::AciNaming NamingFor(const Input& input, const std::string& name) {
  if (!input.source.naming)
    return NamingOf(input.image, input.name.reference, input.source.called, name);
  image::AciNaming naming = *input.source.naming;
  if (!name.empty())
    naming.name = name;
  return naming;
}

std::string PlatformSuffix(const image::Image& image) {
  std::string suffix;
  const auto platform = image::ToAciPlatform(image.config.platform);
  for (const char* label : {"os", "arch"}) {
    if (const std::string* value = image::FindPair(platform, label))
      suffix += "-" + *value;
  }
  return suffix;
}

std::vector<Written> Destination::WriteAll(const InputSet& input, Progress&) {
  RequireImages(input, "an image of one platform");
  throw Error(ErrorKind::kUnsupported, "the destination holds one image of one platform",
              "choose one with --platform, or a layout or an archive as the destination");
}

std::span<const DestinationFormat> DestinationFormats() { return kFormats; }

const DestinationFormat& FormatOf(const Reference& reference) {
  std::string forms;
  for (const DestinationFormat& format : kFormats) {
    if (format.matches(reference))
      return format;
    forms += (forms.empty() ? "" : ", ") + std::string(format.form);
  }
  throw Error(ErrorKind::kUnsupported, "cannot write an image to " + Quoted(reference.ToString()),
              "what can be written: " + forms);
}

std::unique_ptr<Destination> IntoSink(std::unique_ptr<image::ImageSink> sink, std::string ref,
                                      const WriteOptions& options, std::string_view manifest_type) {
  WriteOptions write = options;
  if (!write.copy.manifest_type && !write.copy.preserve_digests && !manifest_type.empty())
    write.copy.manifest_type = manifest_type;
  return std::make_unique<SinkDestination>(std::move(sink), std::move(ref), std::move(write));
}

}  // namespace gantry::tools
