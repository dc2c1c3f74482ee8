// Where gantry-convert writes to. Each format is one row of a table: how it is written on the command line, what it
// needs to write, and how it is opened. All that an ImageSink can write needs no more than that (IntoSink).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/base/progress.h"
#include "libimage/convert/convert.h"
#include "libimage/model/image_sink.h"
#include "libimage/model/image_tree.h"
#include "libimage/model/reference.h"
#include "tools/local_image.h"

namespace gantry::tools {

// The latest time that anything written has, in seconds since 1970 (reproducible-builds.org/specs/source-date-epoch);
// nullopt when the environment does not say.
std::optional<int64_t> SourceDateEpoch();

// What the command line says about the result.
struct WriteOptions {
  image::CopyOptions copy;
  std::string name;  // --name: of an ACI; empty: made of the image's
  std::string store_root;
  std::vector<std::string> push_arguments;  // for a gantry-push that is started
  int64_t epoch = 0;                        // SOURCE_DATE_EPOCH
  bool squash = false;
  bool layers = false;  // an ACI for each layer
  bool overwrite = false;
  bool identity = false;                                           // tell it where it takes no pass of its own
  std::function<image::AciManifest(image::AciManifest)> complete;  // image::AciOptions
};

// What is to be written, and where it came from.
struct Input {
  const LocalName& name;
  const LocalImage& source;
  const image::VerifiedImage& image;
  std::function<void()> accept = {};  // notes that the image is accepted

  // Before anything gets its final name: until this returns, what was read may be wrong, or not all of it be here.
  void Settle() const {
    if (source.arriving != nullptr)
      source.arriving->Finish();
    if (accept)
      accept();
  }
};

// The same for all that a name leads to, once every image in it was allowed.
struct InputSet {
  struct Top {
    std::vector<std::string> names;  // in the source
    image::ImageTree tree;
  };
  const LocalName& name;
  const image::Blobs& blobs;
  std::vector<Top> tops;
  std::function<sign::Evidence(const Digest&)> evidence;  // LocalImages has it
};

// The line on standard output.
struct Written {
  std::string id;  // of what was written: a digest
  json::Object more;
  std::string ref = {};                         // of one of several; empty: as the command line says
  const image::VerifiedImage* image = nullptr;  // where several were written one by one: what it was made of
  std::string file = {};                        // where the destination is a directory that the name was chosen in
  std::optional<image::Descriptor> top = {};    // of one image with a manifest
};

class Destination {
 public:
  virtual ~Destination() = default;

  // Writes it all, settles the input and commits; nothing is left under a final name when it throws, and what was
  // written until then counts for nothing.
  virtual Written Write(const Input& input, Progress& progress) = 0;
  // Whether Write may be called once more after that. Another destination of the same place can be opened in any case
  // but this.
  virtual bool writes_again() const { return false; }
  // The same for several. kUnsupported for formats that hold one image.
  virtual std::vector<Written> WriteAll(const InputSet& input, Progress& progress);
};

struct DestinationFormat {
  std::string_view form;  // "oci:DIR[:REF]", for --help and messages
  bool (*matches)(const image::Reference& reference);
  // Files and directories that are written, for the confinement.
  std::vector<std::string> (*places)(const image::Reference& reference, const WriteOptions& options);
  // Before anything is fetched: throws when the destination cannot be written, or exists without --overwrite.
  std::unique_ptr<Destination> (*open)(const image::Reference& reference, const WriteOptions& options);
};

std::span<const DestinationFormat> DestinationFormats();

// The format of `reference`; kUnsupported when it cannot be written.
const DestinationFormat& FormatOf(const image::Reference& reference);

// What an ACI of the image is called: `name`, unless it is empty, and the rest as the source has it. Of one image of
// several in a layout or archive `called` is its name there.
image::AciNaming NamingFor(const Input& input, const std::string& name);
image::AciNaming NamingOf(const image::VerifiedImage& image, const image::Reference& source, const std::string& called,
                          const std::string& name);

// "-linux-amd64", as docker2aci tells files apart.
std::string PlatformSuffix(const image::Image& image);

// aci:DIR with --layers: an ACI for each layer, and the layers themselves beside them (aci_layers.cc).
std::unique_ptr<Destination> OpenAciLayers(const image::Reference& reference, const WriteOptions& options);

// Copies each image into `sink` and names it `ref`; of several, each keeps its names if `ref` is empty. `manifest_type`
// is written where the options ask for nothing else; empty leaves the image's own.
std::unique_ptr<Destination> IntoSink(std::unique_ptr<image::ImageSink> sink, std::string ref,
                                      const WriteOptions& options, std::string_view manifest_type = {});

}  // namespace gantry::tools
