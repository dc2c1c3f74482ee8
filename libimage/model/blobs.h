// Where the blobs of an image are: a store, an OCI layout, an archive.
#pragma once

#include <memory>
#include <string_view>

#include "libimage/base/stream.h"
#include "libimage/model/descriptor.h"

namespace gantry::image {

class Blobs {
 public:
  virtual ~Blobs() = default;

  // The bytes of the blob, still compressed. Size and digest are checked as they pass, unless the place is a store that
  // holds only checked blobs. kNotFound when it is not there. `what` names it in errors ("layer 2 of 'x'").
  // Thread-safe. The source may outlive the Blobs.
  virtual std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const = 0;
  // The same for who moves the blob as it is: where it still comes, this waits until it is whole and in a file.
  virtual std::unique_ptr<Source> OpenWhole(const Descriptor& blob, std::string_view what) const {
    return Open(blob, what);
  }
};

}  // namespace gantry::image
