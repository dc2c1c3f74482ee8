// What local_image.cc, local_images.cc and bring_image.cc have in common. Private to them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libimage/store/store.h"
#include "libimage/transport/oci_layout.h"
#include "tools/local_image.h"

namespace gantry::tools::local {

// Whether it is one for the platform that the command line wants; any is where it wants none.
bool IsPlatform(const image::Platform& is, const std::string& wanted_text);

// Whether gantry-fetch could bring it.
bool IsFetchable(const image::Reference& reference);

// How the store calls what is named so; nullopt for what is not in a store.
std::optional<std::string> StoreName(const image::Reference& reference);

// The store at `root`, null when there is none; with a lease, in `lease`, where we may write and blobs are to be read.
std::unique_ptr<image::Store> OpenStore(const std::string& root, Purpose purpose, std::unique_ptr<image::Lease>& lease);

[[noreturn]] void ThrowNotInStore(const LocalName& name, const std::string& text, const std::string& root);
Error CannotRead(const image::Reference& reference);

bool IsArchive(const image::FileReference& file);

// Where a policy looks a file up; empty for a pipe, which has no place that a policy could name.
std::string PlaceOf(const std::string& path);

// Those of a store, leased as they are named.
image::ReferrersOf ReferrersIn(const image::Store& store, image::Lease* lease);
image::ReferrersOf ReferrersIn(const image::OciLayout& layout);

// `top` of a store, by that name; what speaks for all that it leads to.
LocalImages AllInStore(std::unique_ptr<image::Store> store, std::unique_ptr<image::Lease> lease,
                       const image::Descriptor& top, const std::optional<image::DockerReference>& name,
                       const sign::RegistriesD& registries);
// The same of a layout, without tops.
LocalImages AllInLayout(std::unique_ptr<image::OciLayout> layout, const image::FileReference& file);

}  // namespace gantry::tools::local
