// gantry-convert: an image in one format into another, under the same trust.
#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/workers.h"
#include "libimage/convert/convert.h"
#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct ConvertOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string source;
  std::string destination;
  std::string platform;
  std::string name;
  std::string compress = "gzip";
  size_t threads = ProcessorCount();
  bool overwrite = false;
  bool json = false;
};

image::FileReference ParseDestination(const std::string& text) {
  const image::Reference reference = image::Reference::Parse(text);
  const auto* file = reference.file();
  if (file == nullptr ||
      (file->format != image::FileReference::Format::kAci && file->format != image::FileReference::Format::kOci)) {
    throw Error(ErrorKind::kUnsupported, "cannot write an image to " + Quoted(text),
                "aci:FILE and oci:DIR[:REF] can be written");
  }
  return *file;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Keys and lookasides may be anywhere, and gpg runs as a child; what is written is the output and the store's leases.
image::Confinement Kept(const ConvertOptions& options, const image::FileReference& destination) {
  image::Confinement keep;
  keep.read = {"/"};
  keep.write = {DirectoryOf(destination.path), destination.path, StoreRoot(options.common), "/dev/null", "/tmp"};
  if (const char* temporary = std::getenv("TMPDIR"); temporary != nullptr)
    keep.write.emplace_back(temporary);
  keep.execute = image::SystemPrograms();
  keep.capabilities = {CAP_DAC_OVERRIDE};  // root converts into a user's directory
  KeepForImage(image::Reference::Parse(options.source), StoreRoot(options.common), keep);
  return keep;
}

// reproducible-builds.org/specs/source-date-epoch.
int64_t SourceDateEpoch() {
  const char* const text = std::getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr)
    return 0;
  const auto seconds = ParseDecimal<int64_t>(text);
  if (!seconds)
    throw Error(ErrorKind::kUsage, "SOURCE_DATE_EPOCH is " + Quoted(text), "expected seconds since 1970");
  return *seconds;
}

image::AciNaming NamingFor(const ConvertOptions& options, const LocalName& source, const image::FetchedImage& image) {
  image::AciNaming naming;
  if (image.name()) {
    naming = image::AciNaming::For(*image.name());
  } else if (const auto* file = source.reference.file()) {
    naming = image::AciNaming::ForLayout(file->path, file->ref);
  } else {
    naming.name = image::ToAcIdentifier(source.reference.store()->name);
  }
  if (!options.name.empty()) {
    if (!image::IsAcIdentifier(options.name))
      throw Error(ErrorKind::kUsage, Quoted(options.name) + " is not a name for an ACI",
                  "lower-case letters and digits, between them any of -._~/");
    naming.name = options.name;
  }
  return naming;
}

void Print(const ConvertOptions& options, const std::string& id, const std::string& where,
           const image::VerifiedImage& image, const json::Object& more) {
  if (!options.json) {
    std::printf("%s  %s\n", id.c_str(), where.c_str());
    return;
  }
  json::Object line{{"output", where},
                    {"id", id},
                    {"source", image.image().descriptor.digest.str()},
                    {"vouchedBy", image.vouched_by()}};
  for (const auto& [key, value] : more.members()) line.Append(key, value);
  std::printf("%s\n", json::Print(line).c_str());
}

// "a/b/web.aci" is "web.aci" in the directory "a/b".
void RefuseExisting(const Dir& dir, const RelPath& name, bool overwrite) {
  const auto status = dir.Stat(name);
  if (status && S_ISDIR(status->st_mode))
    throw Error(ErrorKind::kFailed, Quoted(name.str()) + " in " + Quoted(dir.name()) + " is a directory");
  if (status && !overwrite) {
    throw Error(ErrorKind::kFailed, Quoted(name.str()) + " in " + Quoted(dir.name()) + " exists already",
                "give --overwrite to replace it");
  }
}

void WriteAci(const ConvertOptions& options, const std::string& path, const image::AciNaming& naming,
              const image::VerifiedImage& image, const image::Blobs& blobs, Progress& progress) {
  const Dir dir = Dir::Open(DirectoryOf(path));
  const RelPath name = RelPath::Parse(path.substr(path.rfind('/') + 1));
  RefuseExisting(dir, name, options.overwrite);
  StagedFile file(dir);
  const auto open = [&] {
    if (ftruncate(file.fd(), 0) < 0 || lseek(file.fd(), 0, SEEK_SET) < 0)
      ThrowErrno("empty " + Quoted(path));
    return FdSink(file.fd(), Quoted(path));
  };
  const image::AciResult result = image::ConvertToAci(
      image, blobs, open,
      {.naming = naming,
       .compression = options.compress == "none" ? image::Compression::kNone : image::Compression::kGzip,
       .threads = options.threads,
       .epoch = SourceDateEpoch(),
       .progress = &progress});
  RefuseExisting(dir, name, options.overwrite);
  file.Commit(name);
  Print(options, "sha512-" + result.image_id.hex(), path, image,
        {{"name", naming.name},
         {"bytes", result.bytes},
         {"entries", result.flattened.entries},
         {"contentBytes", result.flattened.bytes}});
}

void WriteLayout(const ConvertOptions& options, const image::FileReference& destination,
                 const image::VerifiedImage& image, const image::Blobs& blobs, Progress& progress) {
  const image::Descriptor manifest = image::ConvertToOciLayout(
      image, blobs, destination.path,
      {.ref = destination.ref, .overwrite = options.overwrite, .threads = options.threads, .progress = &progress});
  Print(options, manifest.digest.str(), image::Reference(destination).ToString(), image, {});
}

int Convert(const ConvertOptions& options) {
  const image::FileReference destination = ParseDestination(options.destination);
  if (options.common.print_confinement)
    Confine(options.common, Kept(options, destination));
  const LocalName name = BringHere(options.source, options.platform, options.policy, options.common);
  Confine(options.common, Kept(options, destination));
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  const LocalImage source = OpenLocalImage(name, Purpose::kRead, StoreRoot(options.common), options.platform);
  const image::VerifiedImage verified = sign::Verifier::Verify(source.image, policy, source.evidence);
  Note(options.common, "the image is trusted by " + verified.vouched_by());
  const auto progress = MakeProgress(options.common);
  if (destination.format == image::FileReference::Format::kAci)
    WriteAci(options, destination.path, NamingFor(options, name, source.image), verified, *source.blobs, *progress);
  else
    WriteLayout(options, destination, verified, *source.blobs, *progress);
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Convert an image to another format, in one pass and under the trust policy.", "gantry-convert");
  ConvertOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("--platform", options.platform, "os/architecture[/variant] to choose; this machine's by default")
      ->type_name("PLATFORM");
  app.add_option("--name", options.name, "the ACI's name, instead of one made of the image's")->type_name("NAME");
  app.add_option("--compress", options.compress, "how the ACI is compressed: gzip or none")
      ->check(CLI::IsMember({"gzip", "none"}))
      ->type_name("KIND");
  app.add_option("--threads", options.threads, "threads to use; the output does not depend on it")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  app.add_flag("--overwrite", options.overwrite, "replace an existing file, or move an existing name in a layout");
  app.add_flag("--json", options.json, "print the result as JSON");
  app.add_option("SRC", options.source,
                 "docker://NAME, oci:DIR[:REF], oci-archive:FILE[:REF], store:NAME or a bare name")
      ->required();
  app.add_option("DST", options.destination, "aci:FILE or oci:DIR[:REF]")->required();
  return ToolMain(app, argc, argv, [&] { return Convert(options); });
}
