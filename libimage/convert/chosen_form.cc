#include "libimage/convert/chosen_form.h"

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

std::string_view NameOf(Compression compression) {
  return compression == Compression::kNone ? "uncompressed" : compression == Compression::kGzip ? "gzip" : "zstd";
}

}  // namespace

std::string_view NameOfManifest(std::string_view manifest_type) {
  return manifest_type == kDockerManifestType ? "a Docker manifest" : "an OCI manifest";
}

std::string ChosenManifestType(const Image& image, const ImageSink::Form& form, const CopyOptions& options) {
  if (form.manifest_type && options.manifest_type && *options.manifest_type != *form.manifest_type) {
    throw Error(ErrorKind::kUnsupported,
                "the destination cannot hold " + std::string(NameOfManifest(*options.manifest_type)),
                "leave the format to it, or choose another destination");
  }
  if (form.manifest_type)
    return *form.manifest_type;
  return options.manifest_type.value_or(image.manifest.media_type);
}

std::optional<Compression> ChosenCompression(const ImageSink::Form& form, const CopyOptions& options) {
  if (form.layers && options.compression && *options.compression != *form.layers) {
    throw Error(ErrorKind::kUnsupported,
                "the layers at the destination are " + std::string(NameOf(*form.layers)) + " and cannot be " +
                    std::string(NameOf(*options.compression)),
                "leave the compression to it, or choose another destination");
  }
  return form.layers ? form.layers : options.compression;
}

void ThrowZstdInDocker() {
  throw Error(ErrorKind::kUnsupported, "a Docker manifest holds no layers that are compressed by zstd",
              "compress them by gzip, or write an OCI manifest");
}

}  // namespace gantry::image
