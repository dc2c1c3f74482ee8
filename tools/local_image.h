// One image that is on this machine, with what speaks for it and where its blobs are: for every binary that takes an
// image apart, judges it or executes it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "libimage/confine/confine.h"
#include "libimage/convert/copy_referrers.h"
#include "libimage/convert/docker_to_appc.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"
#include "libsign/evidence.h"
#include "libsign/judged.h"
#include "libsign/registries_d.h"
#include "tools/arriving_blobs.h"
#include "tools/bring_image.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

// "linux/amd64,linux/arm64"; none for an empty text.
std::vector<image::Platform> ParsePlatforms(const std::string& text);

struct LocalImage {
  image::FetchedImage image;
  sign::Evidence evidence;
  std::unique_ptr<image::Blobs> blobs;
  std::unique_ptr<image::Lease> lease;  // keeps what is in a store from being collected; null elsewhere
  const image::Store* store = nullptr;  // where the blobs are, if in a store; lives in `blobs`, or is the caller's
  image::ReferrersOf referrers = {};    // what refers to a manifest; empty where nothing can
  std::string called = {};              // in a layout or archive; nobody vouches for this name; empty when it has none
  // Of an aci:.
  std::optional<image::AciNaming> naming = std::nullopt;
  std::optional<image::AciManifest> aci = std::nullopt;
  std::function<Digest()> image_id = {};    // that appc gives it; reads all of the file
  bool unpacked = false;                    // its layers are plain because they were made just now
  std::vector<std::string> notes = {};      // what the image has not, but the ACI has, for a warning
  const ArrivingBlobs* arriving = nullptr;  // `blobs`, where some of them still come
};

// All that a name leads to: images and indexes, before anyone looked into them.
struct LocalImages {
  struct Top {
    image::Descriptor descriptor;
    std::vector<std::string> names = {};  // in a layout or archive
  };
  std::vector<Top> tops;
  std::optional<image::DockerReference> name;  // that all of it has
  std::unique_ptr<image::Blobs> blobs;
  image::ReferrersOf referrers = {};
  std::function<sign::Evidence(const Digest&)> evidence;  // what speaks for the image with this manifest; uses blobs
  std::unique_ptr<image::Lease> lease;
};

// An artifact is opened as all that there is: one top, which is no index.
using Local = std::variant<LocalImage, LocalImages>;

// The artifact of such.
image::FetchedArtifact LoadArtifact(const LocalImages& local);

// From now on all of it is judged by that registry name, and not by its place.
void JudgeAs(LocalImages& all, const image::DockerReference& as, const sign::RegistriesD& registries);

// Adds to the evidence what the store at `root` noted as accepted before.
void AddAccepted(const sign::Judged& image, const std::string& root, sign::Evidence& evidence);

// Notes in the store at `root` what was accepted as what, where its policy asks for that (neverOlder). kRefused when
// something newer was accepted meanwhile; kFailed when it cannot be noted.
void NoteAccepted(const std::optional<image::Accepted>& accepted, const std::string& root);

// What the image is opened for.
enum class Purpose {
  kJudge,  // its manifest and signatures; nothing is written, no lease is taken
  kRead,   // its blobs too, which are leased where we may write to the store
};

// Adds to `keep` what an image is read from, its file or directory; the store at `root`; and the place of the
// temporary file that an archive goes to if it is compressed or comes through a pipe. Beside an ACI its dependencies
// are looked for.
void KeepForImage(const image::Reference& reference, const std::string& root, image::Confinement& keep);

// Opens what is a file: oci:, oci-archive:, docker-archive:, aci: (an ACI, or a directory with one that no
// other there depends on). `platform` as below. The evidence tells transport and place; a pipe and a docker-archive:
// have none.
// OpenFileImage: kUnsupported for an artifact.
Local OpenLocalFile(const image::FileReference& file, const std::string& platform,
                    const std::vector<std::string>& dependencies = {});
LocalImage OpenFileImage(const image::FileReference& file, const std::string& platform,
                         const std::vector<std::string>& dependencies = {});

// Opens a name in the store at `root` (bare, store: or docker://) or a file. `platform` as given on the command line;
// empty is this machine's where there is a choice, and any where there is none. `as` is the registry name to judge it
// under, nullopt for the one it has. The evidence is what the store keeps and what file: lookasides hold for that name,
// and what the store at `root` noted as accepted before.
// kNotFound, with the command that would fetch it, when it is not here; kUnsupported for formats that cannot be read.
// OpenLocalImage: kUnsupported for an artifact.
Local OpenLocal(const LocalName& name, Purpose purpose, const std::string& root, const std::string& platform = {},
                const std::optional<image::DockerReference>& as = std::nullopt,
                const sign::RegistriesD& registries = sign::RegistriesD::Load());
LocalImage OpenLocalImage(const LocalName& name, Purpose purpose, const std::string& root,
                          const std::string& platform = {},
                          const std::optional<image::DockerReference>& as = std::nullopt,
                          const sign::RegistriesD& registries = sign::RegistriesD::Load());

// As OpenLocalImage for kRead, but all that there is: each image of a layout or archive unless the name has a REF, and
// indexes as they are. A name in the store is the index that led to its image where the store has that.
LocalImages OpenLocalImages(const LocalName& name, const std::string& root,
                            const sign::RegistriesD& registries = sign::RegistriesD::Load());

// The same for kJudge and a store that is open, but nullopt where Fetch would help: for a docker:// or a bare name that
// the store lacks or has for another platform. Blobs of an image in the store are the store's.
std::optional<LocalImage> OpenUnlessMissing(const LocalName& name, const image::Store& store,
                                            const std::string& platform, const sign::RegistriesD& registries);

}  // namespace gantry::tools
