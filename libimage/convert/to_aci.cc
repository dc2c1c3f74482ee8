#include <string>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/convert/aci_output.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/identified.h"
#include "libimage/convert/layers_ahead.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/transport/aci_file.h"

namespace gantry::image {

AciResult ConvertToAci(const VerifiedImage& verified, const Blobs& blobs, const OpenOutput& open,
                       const AciOptions& options) {
  const Image& image = verified.image();
  const AciManifest generated = ToAciManifest(image, options.naming);
  const std::string manifest = (options.complete ? options.complete(generated) : generated).ToJson();
  AciManifest::Parse(manifest);  // what we write we would read
  const Time mtime{options.epoch, 0};
  const ProgressBlobs watched(blobs, image, options.progress, "convert");
  LayersAhead layers(watched, image, options.threads > 1);
  Flattener flattener(image.manifest.layers.size(), [&](size_t layer) { return layers.Open(layer); },
                      {.defaults = AppcLinks(mtime), .undated = mtime, .what = Quoted(options.naming.name)});
  AciResult result{Digest::Of(""), 0, 0, {}};
  for (bool done = false; !done;) {
    AciOutput output(open(), options);
    AciWriter writer(output.tar(), mtime);
    writer.AddManifest(manifest);
    done = RunIdentified(flattener, writer, image.config, options.rootfs, options.identified);
    if (!done)
      continue;
    writer.Finish();
    output.Finish(result);
  }
  result.flattened = flattener.result();
  watched.End();
  return result;
}

}  // namespace gantry::image
