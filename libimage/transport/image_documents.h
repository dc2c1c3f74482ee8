// The documents that lead from a name to an image of one platform, or to an artifact. No I/O: programs without the
// network judge with it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libimage/model/image.h"
#include "libimage/model/manifest.h"
#include "libimage/model/reference.h"

namespace gantry::image {

// Before anyone looked into them.
struct ImageDocuments {
  std::string content_type;            // of the first manifest, as the registry gave it
  std::vector<std::string> manifests;  // at most kMaxIndexDepth indexes from the outside in, then the manifest
  std::string config;                  // empty for an artifact
  bool schema1 = false;                // one manifest and no configuration: layers lead to the image (model/schema1.h)
};

// What an index chooses for `platform` (Index::Choose). kNotFound lists the platforms that there are; kUsage where it
// could be any of several artifacts.
Descriptor ChosenBy(const Index& index, const DockerReference& name, const Platform& platform,
                    const std::function<bool(const Descriptor&)>& is_artifact);

// kUnsupported for more than kMaxIndexDepth.
void CheckIndexDepth(size_t indexes, const DockerReference& name);

// An image that no index led to says itself what it is for; what it leaves open fits. kNotFound for another platform.
void RequirePlatform(const Platform& has, const Platform& wanted, const DockerReference& name);

// Checks that they are what `name` selects for `platform`: each has the digest and size by which the one before, or the
// name, calls it. No I/O.
Fetched Assemble(ImageDocuments documents, const DockerReference& name, const Platform& platform);

}  // namespace gantry::image
