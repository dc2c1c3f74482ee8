#include "tools/destination.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/transport/oci_layout.h"

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

// A file that is seen when it is whole. "a/b/web.aci" is "web.aci" in the directory "a/b".
class OutputFile {
 public:
  OutputFile(const std::string& path, bool overwrite)
      : path_(path),
        dir_(Dir::Open(DirectoryOf(path))),
        name_(RelPath::Parse(path.substr(path.rfind('/') + 1))),
        overwrite_(overwrite) {
    RefuseExisting();
  }

  const std::string& path() const { return path_; }
  const Dir& dir() const { return dir_; }
  void Commit(StagedFile& file) const {
    RefuseExisting();
    file.Commit(name_);
  }

 private:
  void RefuseExisting() const {
    const auto status = dir_.Stat(name_);
    if (status && S_ISDIR(status->st_mode))
      throw Error(ErrorKind::kFailed, Quoted(name_.str()) + " in " + Quoted(dir_.name()) + " is a directory");
    if (status && !overwrite_) {
      throw Error(ErrorKind::kFailed, Quoted(name_.str()) + " in " + Quoted(dir_.name()) + " exists already",
                  "give --overwrite to replace it");
    }
  }

  std::string path_;
  Dir dir_;
  RelPath name_;
  bool overwrite_;
};

image::AciNaming NamingFor(const Input& input, const std::string& name) {
  image::AciNaming naming;
  if (input.source.image.name()) {
    naming = image::AciNaming::For(*input.source.image.name());
  } else if (const auto* file = input.name.reference.file()) {
    naming = image::AciNaming::ForLayout(file->path, input.source.called);
  } else {
    naming.name = image::ToAcIdentifier(input.name.reference.store()->name);
  }
  if (!name.empty())
    naming.name = name;
  return naming;
}

class AciDestination : public Destination {
 public:
  AciDestination(const std::string& path, WriteOptions options)
      : options_(std::move(options)), file_(path, options_.overwrite) {
    if (!options_.name.empty() && !image::IsAcIdentifier(options_.name))
      throw Error(ErrorKind::kUsage, Quoted(options_.name) + " is not a name for an ACI",
                  "lower-case letters and digits, between them any of -._~/");
  }

  Written Write(const Input& input, Progress& progress) override {
    StagedFile file(file_.dir());
    const auto open = [&] {
      if (ftruncate(file.fd(), 0) < 0 || lseek(file.fd(), 0, SEEK_SET) < 0)
        ThrowErrno("empty " + Quoted(file_.path()));
      return FdSink(file.fd(), Quoted(file_.path()));
    };
    const image::AciNaming naming = NamingFor(input, options_.name);
    const image::AciResult result =
        image::ConvertToAci(input.image, *input.source.blobs, open,
                            {.naming = naming,
                             .compression = options_.copy.compression.value_or(image::Compression::kGzip),
                             .level = options_.copy.level,
                             .threads = options_.copy.threads,
                             .epoch = options_.epoch,
                             .progress = &progress});
    file_.Commit(file);
    return {"sha512-" + result.image_id.hex(),
            {{"name", naming.name},
             {"bytes", result.bytes},
             {"entries", result.flattened.entries},
             {"contentBytes", result.flattened.bytes}}};
  }

 private:
  WriteOptions options_;
  OutputFile file_;
};

std::unique_ptr<Destination> OpenAci(const Reference& reference, const WriteOptions& options) {
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
    options_.copy.progress = &progress;
    const image::Blobs& blobs = *input.source.blobs;
    const image::VerifiedImage copied =
        options_.squash ? image::Conversion::Squash(input.image, blobs, *sink_, options_.copy, options_.epoch)
                        : image::Conversion::Copy(input.image, blobs, *sink_, options_.copy);
    image::Descriptor top = copied.image().descriptor;
    top.platform = copied.image().config.platform;
    sink_->Name(top, ref_);
    sink_->Commit();
    return {top.digest.str(), {{"mediaType", top.media_type}}};
  }

 private:
  std::unique_ptr<image::ImageSink> sink_;
  std::string ref_;
  WriteOptions options_;
};

constexpr DestinationFormat kFormats[] = {
    {"aci:FILE", IsFile<FileReference::Format::kAci>, FileAndItsDirectory, OpenAci},
    {"oci:DIR[:REF]", IsFile<FileReference::Format::kOci>, FileAndItsDirectory, OpenLayout},
};

}  // namespace

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
