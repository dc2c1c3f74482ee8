// Writing an image that was built: wherever gantry-convert writes, by its engine.
#include <linux/capability.h>

#include <cstdio>
#include <set>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/workers.h"
#include "libimage/build/provenance.h"
#include "libimage/convert/convert.h"
#include "libimage/transport/new_file.h"
#include "libimage/transport/plain_file.h"
#include "tools/build_verbs.h"
#include "tools/destination.h"
#include "tools/network_child.h"

namespace gantry::tools {
namespace {

// A path alone is a file or directory of the format that was asked for; without a word what the build was begun for.
image::Reference DestinationOf(const WriteRequest& request, bool is_oci) {
  const std::string& text = request.destination;
  const std::string transport = text.substr(0, text.find(':'));
  static const std::set<std::string> kTransports{"aci",    "oci",   "oci-archive", "docker-archive",
                                                 "docker", "store", "appc"};
  if (kTransports.contains(transport) && text.size() > transport.size())
    return image::Reference::Parse(text);
  if (request.format == "oci")
    return image::Reference::Parse("oci:" + text);
  const char* const otherwise = is_oci ? "oci-archive:" : "aci:";
  return image::Reference::Parse((request.format == "docker" ? "docker-archive:"
                                  : request.format == "aci"  ? "aci:"
                                                             : otherwise) +
                                 text);
}

class SharedBlobs : public image::Blobs {
 public:
  explicit SharedBlobs(std::shared_ptr<const image::Blobs> blobs) : blobs_(std::move(blobs)) {}
  std::unique_ptr<Source> Open(const image::Descriptor& blob, std::string_view what) const override {
    return blobs_->Open(blob, what);
  }

 private:
  std::shared_ptr<const image::Blobs> blobs_;
};

bool IsAci(const image::Reference& destination) {
  const auto* file = destination.file();
  return file != nullptr && file->format == image::FileReference::Format::kAci;
}

void RequireWritable(const image::Draft& draft, const image::Reference& destination, const WriteRequest& request) {
  const bool aci = IsAci(destination);
  if (aci && draft.appc().name == image::kUnnamed)
    throw Error(ErrorKind::kUsage, "the image has no name, which an ACI must have", "gantry build set-name NAME");
  if (!aci && !draft.appc().dependencies.empty())
    throw Error(ErrorKind::kUnsupported, "only an ACI can have dependencies", "write it as an ACI");
  if (aci && (request.format == "oci" || request.format == "docker"))
    throw Error(ErrorKind::kUsage, "an ACI is no image in the format " + request.format);
}

WriteOptions OptionsFor(const BuildSession& session, const image::Draft& draft, const WriteRequest& request) {
  const CommonOptions& common = session.options().common;
  WriteOptions write{
      .copy = {},
      .name = draft.appc().name == image::kUnnamed ? "" : draft.appc().name,
      .store_root = StoreRoot(common),
      .push_arguments = PushArguments(session.options().policy, common),
      .epoch = session.EpochOf(draft),
      .squash = request.squash,
      .overwrite = request.overwrite,
      .complete = [&draft](image::AciManifest generated) { return draft.Complete(std::move(generated)); }};
  if (request.format == "docker")
    write.copy.manifest_type = image::kDockerManifestType;
  write.copy.threads = ProcessorCount();
  write.copy.note = [common](std::string_view text) { Warn(common, text); };
  return write;
}

// What the process that writes keeps: it reads layers that programs of an image made.
image::Confinement Kept(const BuildSession& session, std::vector<std::string> places) {
  image::Confinement keep;
  keep.read = {"/"};
  keep.write = std::move(places);
  keep.write.insert(keep.write.end(),
                    {StoreRoot(session.options().common), "/dev/null", image::LargeTemporaryDirectory()});
  keep.execute = image::SystemPrograms();
  keep.capabilities = {CAP_DAC_OVERRIDE};  // root writes into a user's directory
  return keep;
}

// By gantry-sign, which alone has to do with keys; `more` are options of it.
void Sign(const BuildSession& session, const WriteRequest& request, const image::Reference& destination,
          const std::vector<std::string>& more) {
  std::vector<std::string> argv{Sibling("gantry-sign"), "--root", StoreRoot(session.options().common), "--key",
                                request.sign};
  argv.insert(argv.end(), more.begin(), more.end());
  argv.push_back(destination.ToString());
  const ExitStatus status = gantry::Process::Start(argv, {}).Wait();
  if (status.code != 0)
    throw ChildFailed{status.code};
}

void WriteProvenance(const image::Draft& draft, const std::string& path, const std::string& name, const std::string& id,
                     bool overwrite) {
  image::NewFile file(path, overwrite);
  WriteFull(file.fd(), AsBytes(image::ProvenanceOf(draft, name, id) + "\n"), path);
  file.Commit();
}

}  // namespace

void AddWriteOptions(CLI::App& app, WriteRequest& request) {
  app.add_option("--format", request.format, "of a path, aci, oci or docker; of manifests, oci or docker")
      ->check(CLI::IsMember({"aci", "oci", "docker"}))
      ->type_name("FORMAT");
  app.add_flag("--squash", request.squash, "one layer in place of all");
  app.add_flag("--overwrite", request.overwrite, "replace an existing file, or move a name in a layout or the store");
  app.add_option("--sign", request.sign, "sign what is written with this key, by gantry-sign")->type_name("KEY");
  app.add_option("--as", request.as, "the registry name that is signed")->type_name("NAME");
  app.add_option("--provenance", request.provenance, "write down what the image was made of: an in-toto statement")
      ->type_name("FILE");
}

void WriteImage(BuildSession& session, const image::Draft& draft, const image::BlobDirectory& blobs,
                const WriteRequest& request) {
  const image::Reference reference = DestinationOf(request, draft.writes_oci());
  RequireWritable(draft, reference, request);
  const BuildBase* base = session.BaseOf(draft);
  const image::VerifiedImage image =
      image::Authoring::Finish(draft, base == nullptr ? nullptr : &base->image, session.EpochOf(draft));
  const DestinationFormat& format = FormatOf(reference);
  const WriteOptions options = OptionsFor(session, draft, request);
  const std::vector<std::string> id = session.InPlainChild([&]() -> std::vector<std::string> {
    const std::unique_ptr<Destination> destination = format.open(reference, options);
    Confine(session.options().common, Kept(session, format.places(reference, options)));
    // An ACI is named by the name of its source, when nothing else does.
    const LocalName name{image::Reference(image::StoreReference{draft.appc().name, true})};
    const LocalImage source{image::FetchedImage(image.image(), std::nullopt),
                            {},
                            std::make_unique<SharedBlobs>(session.BlobsOf(draft, blobs)),
                            nullptr};
    const auto progress = MakeProgress(session.options().common);
    return {destination->Write({name, source, image}, *progress).id};
  });
  std::printf("%s  %s\n", id.at(0).c_str(), request.destination.c_str());
  std::fflush(stdout);
  if (!request.provenance.empty())
    WriteProvenance(draft, request.provenance, request.destination, id.at(0), request.overwrite);
  if (!request.sign.empty())
    Sign(session, request, reference,
         request.as.empty() ? std::vector<std::string>() : std::vector<std::string>{"--as", request.as});
  if (!request.sign.empty() && !request.provenance.empty())
    Sign(session, request, reference, {"--statement", request.provenance});
}

}  // namespace gantry::tools
