// One image to read, with its blobs and what speaks for it: for the binaries that take an image apart.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"
#include "libsign/evidence.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

struct ImageSource {
  image::FetchedImage image;
  sign::Evidence evidence;
  std::unique_ptr<image::Blobs> blobs;
  std::unique_ptr<image::Lease> lease;  // keeps the blobs in a store from being collected; null elsewhere
};

// A name that OpenSource can open without the network.
struct LocalName {
  image::Reference reference;
  std::optional<Digest> pinned;  // what was fetched; the name is not looked up again
};

// What `reference` is on this machine. A registry name, and a bare one that the store lacks, is fetched by gantry-fetch
// first, a child with the same store, platform and policy flags; when that fails, the answer is its exit code, and it
// has said why. Call before Confine. kUnsupported for formats that cannot be read yet.
std::variant<LocalName, int> BringHere(const image::Reference& reference, const std::string& platform,
                                       const PolicyOptions& policy, const CommonOptions& common);

// `platform` as given on the command line; empty is this machine's where there is a choice, and any where there is
// none.
ImageSource OpenSource(const LocalName& name, const std::string& platform, const std::string& store_root);

}  // namespace gantry::tools
