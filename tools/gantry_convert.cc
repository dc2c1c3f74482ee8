// gantry-convert: an image in one format into another, under the same trust.
#include <linux/capability.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/workers.h"
#include "libimage/convert/convert.h"
#include "libimage/layer/compression.h"
#include "libsign/verify.h"
#include "tools/arriving_blobs.h"
#include "tools/carry_evidence.h"
#include "tools/destination.h"
#include "tools/local_image.h"
#include "tools/network_child.h"
#include "tools/policy_options.h"
#include "tools/progress.h"
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
  std::string compress;
  std::string format;
  std::vector<std::string> dependencies;
  size_t threads = ProcessorCount();
  bool all = false;
  bool squash = false;
  bool layers = false;
  bool preserve_digests = false;
  bool overwrite = false;
  bool json = false;
};

// Keys and lookasides may be anywhere, and gpg runs as a child; what is written is the output and the store's leases.
image::Confinement Kept(const ConvertOptions& options, std::vector<std::string> places) {
  image::Confinement keep;
  keep.read = {"/"};
  keep.write = std::move(places);
  keep.write.insert(keep.write.end(), {StoreRoot(options.common), "/dev/null", "/tmp"});
  if (const char* temporary = std::getenv("TMPDIR"); temporary != nullptr)
    keep.write.emplace_back(temporary);
  keep.execute = image::SystemPrograms();
  keep.capabilities = {CAP_DAC_OVERRIDE};  // root converts into a user's directory
  KeepForImage(image::Reference::Parse(options.source), StoreRoot(options.common), keep);
  return keep;
}

// "gzip", "zstd:19".
void ParseCompression(const std::string& text, image::CopyOptions& into) {
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  if (kind == "none")
    into.compression = image::Compression::kNone;
  else if (kind == "gzip")
    into.compression = image::Compression::kGzip;
  else if (kind == "zstd")
    into.compression = image::Compression::kZstd;
  else
    throw Error(ErrorKind::kUsage, Quoted(kind) + " is no kind of compression", "choose gzip, zstd or none");
  if (colon == std::string::npos)
    return;
  const auto level = ParseDecimal<int>(text.substr(colon + 1));
  if (!level || *level < 1 || kind == "none")
    throw Error(ErrorKind::kUsage, Quoted(text) + " has no good level", "write gzip:1 to gzip:3, or zstd:1 to zstd:19");
  image::RequireLevel(*into.compression, *level);
  into.level = *level;
}

// `held` outlives them.
WriteOptions WriteOptionsOf(const ConvertOptions& options, Held& held) {
  WriteOptions write{.copy = {},
                     .name = options.name,
                     .store_root = StoreRoot(options.common),
                     .push_arguments = PushArguments(options.policy, options.common),
                     .epoch = SourceDateEpoch().value_or(0),
                     .squash = options.squash,
                     .layers = options.layers,
                     .overwrite = options.overwrite,
                     .identity = options.json};
  if (!options.compress.empty())
    ParseCompression(options.compress, write.copy);
  if (!options.format.empty())
    write.copy.manifest_type = options.format == "docker" ? image::kDockerManifestType : image::kOciManifestType;
  write.copy.preserve_digests = options.preserve_digests;
  write.copy.threads = options.threads;
  write.copy.note = [&held, common = options.common](std::string_view text) {
    held.Say([common, note = std::string(text)] { Warn(common, note); });
  };
  return write;
}

// `source` is a member of the JSON object for what it was made of.
void Print(const ConvertOptions& options, const Written& written, const std::string& where, json::Object source) {
  if (!options.json) {
    std::printf("%s  %s\n", written.id.c_str(), where.c_str());
    return;
  }
  json::Object line{{"output", where}, {"id", written.id}};
  for (const json::Object& part : {std::move(source), written.more}) {
    for (const auto& [key, value] : part.members()) line.Append(key, value);
  }
  std::printf("%s\n", json::Print(line).c_str());
}

json::Object SourceOf(const image::VerifiedImage& image) {
  return {{"source", image.image().descriptor.digest.str()}, {"vouchedBy", image.vouched_by()}};
}

json::Object SourceOf(const image::VerifiedArtifact& artifact) {
  return {{"source", artifact.artifact().descriptor.digest.str()},
          {"artifactType", artifact.artifact().manifest.ArtifactType()},
          {"vouchedBy", artifact.vouched_by()}};
}

json::Object SourceOf(const image::ImageTree& tree) {
  if (tree.image() != nullptr)
    return SourceOf(*tree.image());
  if (const image::VerifiedArtifact* artifact = tree.verified_artifact())
    return SourceOf(*artifact);
  json::Array images;
  for (const image::VerifiedImage* image : ImagesOf(tree)) {
    json::Object one = SourceOf(*image);
    one.Set("platform", image->image().config.platform.ToString());
    images.emplace_back(std::move(one));
  }
  json::Object source{{"source", tree.descriptor.digest.str()}};
  if (!images.empty())
    source.Append("images", std::move(images));
  json::Array artifacts;
  for (const image::VerifiedArtifact* artifact : ArtifactsOf(tree)) artifacts.emplace_back(SourceOf(*artifact));
  if (!artifacts.empty())
    source.Append("artifacts", std::move(artifacts));
  return source;
}

bool IsAci(const image::Reference& destination) {
  const auto* file = destination.file();
  return file != nullptr && file->format == image::FileReference::Format::kAci;
}

// How the result line calls it: a file by its path, all else by its whole name.
std::string NameOf(const image::Reference& destination) {
  return IsAci(destination) ? destination.file()->path : destination.ToString();
}

// Every image of the source, or those for some platforms; each is asked about.
InputSet VerifyAll(const LocalName& name, const LocalImages& source, const ConvertOptions& options) {
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  const auto verify = [&](auto fetched) {
    const sign::Judged judged(fetched);
    const std::string& platform = judged.platform();
    sign::Evidence evidence = source.evidence(judged.descriptor().digest);
    AddAccepted(judged, StoreRoot(options.common), evidence);
    auto verified = sign::Verifier::Verify(std::move(fetched), policy, evidence);
    NoteAccepted(verified.accepted(), StoreRoot(options.common));
    Note(options.common, platform + ": trusted by " + verified.vouched_by());
    return verified;
  };
  InputSet input{name, *source.blobs, {}, source.evidence};
  for (const LocalImages::Top& top : source.tops) {
    input.tops.push_back({top.names, LoadTree(*source.blobs, top.descriptor, ParsePlatforms(options.platform),
                                              source.name, verify, verify)});
  }
  return input;
}

// What is in `source`, tree by tree.
int ConvertTrees(const ConvertOptions& options, const image::Reference& reference, const LocalName& name,
                 const LocalImages& source, Destination& destination) {
  const InputSet input = VerifyAll(name, source, options);
  const auto progress = MakeProgress(options.common);
  const std::vector<Written> written = destination.WriteAll(input, *progress);
  for (size_t i = 0; i < written.size(); ++i) {
    const std::string& ref = written[i].ref;
    const std::string where =
        !written[i].file.empty() ? written[i].file : NameOf(reference) + (ref.empty() ? "" : ":" + ref);
    Print(options, written[i], where,
          written[i].image != nullptr ? SourceOf(*written[i].image) : SourceOf(input.tops[i].tree));
    if (const auto* artifact = written[i].image == nullptr ? input.tops[i].tree.verified_artifact() : nullptr) {
      const Digest& manifest = artifact->artifact().descriptor.digest;
      CarryEvidence(source.evidence(manifest), manifest, reference, written[i].id, where, StoreRoot(options.common));
    }
  }
  return 0;
}

int ConvertAll(const ConvertOptions& options, const image::Reference& reference, const image::Confinement& keep,
               Destination& destination) {
  const LocalName name = BringAllHere(options.source, options.platform, options.policy, options.common);
  Confine(options.common, keep);
  return ConvertTrees(options, reference, name, OpenLocalImages(name, StoreRoot(options.common)), destination);
}

// One image, into one destination.
class OneConversion {
 public:
  OneConversion(const ConvertOptions& options, const image::Reference& reference, WriteOptions write,
                std::unique_ptr<Destination> destination, Held& held)
      : options_(options),
        reference_(reference),
        write_(std::move(write)),
        destination_(std::move(destination)),
        held_(held) {}

  int Run(LocalName name, LocalImage source) {
    const sign::Policy policy = LoadPolicy(options_.policy, options_.common);
    for (const std::string& note : source.notes) Warn(options_.common, note);
    if (source.arriving != nullptr)
      held_.Hold();
    const image::VerifiedImage verified = sign::Verifier::Verify(source.image, policy, source.evidence);
    SayWhoVouches(verified);
    std::optional<Written> written = Try(name, source, verified);
    if (!written) {
      BeginAnew(name, source);
      SayWhoVouches(verified);
      written = Try(name, source, verified);
    }
    held_.Release();
    const std::string where = written->file.empty() ? NameOf(reference_) : written->file;
    CarryEvidence(source.evidence, verified.image().descriptor.digest, reference_, written->id, where,
                  StoreRoot(options_.common));
    Print(options_, *written, where, SourceOf(verified));
    return 0;
  }

 private:
  void SayWhoVouches(const image::VerifiedImage& image) {
    held_.Say([&common = options_.common, by = image.vouched_by()] { Note(common, "the image is trusted by " + by); });
  }

  // nullopt: bytes were read while they came, and wrong; the right ones have come since.
  std::optional<Written> Try(const LocalName& name, const LocalImage& source, const image::VerifiedImage& verified) {
    const Input input{name, source, verified, [&] { NoteAccepted(verified.accepted(), StoreRoot(options_.common)); }};
    std::optional<Written> written;
    const auto write = [&](Progress& progress) { written = destination_->Write(input, progress); };
    if (source.arriving == nullptr)
      write(*MakeProgress(options_.common));
    else if (!MakeOf(*source.arriving, options_.common, write))
      written.reset();
    return written;
  }

  // With all of it in the store, and nothing of what was made before.
  void BeginAnew(LocalName& name, LocalImage& source) {
    held_.Drop();
    name.fetching = nullptr;
    source = OpenLocalImage(name, Purpose::kRead, StoreRoot(options_.common), options_.platform);
    if (destination_->writes_again())
      return;
    destination_.reset();
    destination_ = FormatOf(reference_).open(reference_, write_);
  }

  const ConvertOptions& options_;
  const image::Reference& reference_;
  WriteOptions write_;
  std::unique_ptr<Destination> destination_;
  Held& held_;
};

int Convert(const ConvertOptions& options) {
  const image::Reference reference = image::Reference::Parse(options.destination);
  const DestinationFormat& format = FormatOf(reference);
  if (options.layers && !IsAci(reference))
    throw Error(ErrorKind::kUsage, "--layers is for aci:", "layers stay as they are in other formats");
  Held held;
  const WriteOptions write = WriteOptionsOf(options, held);
  const image::Confinement keep = Kept(options, format.places(reference, write));
  if (options.common.print_confinement)
    Confine(options.common, keep);
  std::unique_ptr<Destination> destination = format.open(reference, write);
  if (options.all || options.platform.find(',') != std::string::npos)
    return ConvertAll(options, reference, keep, *destination);
  LocalName name = BringBeginning(options.source, options.platform, options.policy, options.common);
  name.dependencies = options.dependencies;
  Confine(options.common, keep);
  Local opened = OpenLocal(name, Purpose::kRead, StoreRoot(options.common), options.platform);
  if (const auto* artifact = std::get_if<LocalImages>(&opened))
    return ConvertTrees(options, reference, name, *artifact, *destination);
  return OneConversion(options, reference, write, std::move(destination), held)
      .Run(std::move(name), std::get<LocalImage>(std::move(opened)));
}

std::string Forms() {
  std::string forms;
  for (const DestinationFormat& format : DestinationFormats())
    forms += (forms.empty() ? "" : ", ") + std::string(format.form);
  return forms;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Convert an image to another format, in one pass and under the trust policy; carry an artifact.",
               "gantry-convert");
  ConvertOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  CLI::Option* platform =
      app.add_option("--platform", options.platform,
                     "os/architecture[/variant] to choose; this machine's by default; several, and an index is written")
          ->type_name("PLATFORM[,...]");
  app.add_flag("--all", options.all, "all images: of each platform, and of each name")->excludes(platform);
  app.add_option("--name", options.name, "the ACI's name, instead of one made of the image's")->type_name("NAME");
  app.add_option("--compress", options.compress, "recompress layers that are not gzip, zstd or none, whichever it is")
      ->type_name("KIND[:LEVEL]");
  app.add_option("--format", options.format, "what manifests are written: oci or docker")
      ->check(CLI::IsMember({"oci", "docker"}))
      ->type_name("FORMAT");
  CLI::Option* squash = app.add_flag("--squash", options.squash, "one layer in place of all");
  app.add_flag("--layers", options.layers, "an ACI for each layer, in the directory aci:DIR")->excludes(squash);
  app.add_flag("--preserve-digests", options.preserve_digests, "fail rather than change the manifest");
  app.add_option("--dependency", options.dependencies, "an ACI that the source depends on, or one of its dependencies")
      ->type_name("FILE")
      ->allow_extra_args(false);
  app.add_option("--threads", options.threads, "threads to use; the output does not depend on it")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  app.add_flag("--overwrite", options.overwrite, "replace an existing file, or move a name in a layout or the store");
  app.add_flag("--json", options.json, "print the result as JSON");
  app.add_option("SRC", options.source,
                 "docker://NAME, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], aci:FILE, "
                 "appc:NAME, store:NAME or a bare name")
      ->required();
  app.add_option("DST", options.destination, Forms())->required();
  return ToolMain(app, argc, argv, [&] { return Convert(options); });
}
