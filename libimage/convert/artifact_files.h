// The layers of an artifact as the files that they were made of.
//
// Pipelines put files into a registry and call each by the annotation org.opencontainers.image.title of its layer;
// whoever gets them writes them down under those names. The names come from whoever wrote the manifest: each must be a
// relative path in one spelling, without what Quoted would not show, and none may be there twice, or be both a file and
// a directory. They are written below a descriptor of the directory, past no symbolic link.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/progress.h"
#include "libimage/model/blobs.h"
#include "libimage/model/manifest.h"

namespace gantry::image {

constexpr std::string_view kTitleAnnotation = "org.opencontainers.image.title";

struct ArtifactFile {
  Descriptor layer;
  RelPath path;  // its title, else "ALGORITHM-HEX" of its digest
};

// In the order of the layers. kCorrupt for names as above; kNotFound where there is no layer; kUnsupported for a
// directory that was packed (io.deis.oras.content.unpack), which would have to be unpacked.
std::vector<ArtifactFile> FilesOf(const Manifest& artifact);

// Writes them into `dir`. They get their names once all are whole and there is room for each: until then nothing
// appears, and should a name be taken meanwhile, those that were given go again, but for what replaced another file.
// kFailed for a name that is taken, unless `overwrite`, which replaces files and links; and for a directory of that
// name, or something else where one would be. What a process that was killed left hidden in `dir`, the next one
// removes.
void WriteFiles(const std::vector<ArtifactFile>& files, const Blobs& blobs, const Dir& dir, bool overwrite,
                Progress& progress);

}  // namespace gantry::image
