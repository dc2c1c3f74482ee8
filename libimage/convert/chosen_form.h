// What a destination and the options of a conversion make of manifests and layers, together.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libimage/convert/convert.h"
#include "libimage/model/image_sink.h"

namespace gantry::image {

// "a Docker manifest": for messages.
std::string_view NameOfManifest(std::string_view manifest_type);

// kOciManifestType or kDockerManifestType: what the sink demands, else the options, else the image's own. kUnsupported
// when the first two contradict each other.
std::string ChosenManifestType(const Image& image, const ImageSink::Form& form, const CopyOptions& options);

// What the sink demands of layers, else the options; nullopt leaves each as it is. kUnsupported as above.
std::optional<Compression> ChosenCompression(const ImageSink::Form& form, const CopyOptions& options);

// kUnsupported: Docker's own clients refuse such manifests.
[[noreturn]] void ThrowZstdInDocker();

}  // namespace gantry::image
