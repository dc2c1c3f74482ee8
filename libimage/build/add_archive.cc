#include "libimage/build/add_archive.h"

#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/compression.h"

namespace gantry::image {

namespace {

// Tells a stream that is damaged from one that holds something else.
class Watched : public Source {
 public:
  Watched(std::unique_ptr<Source> from, bool& failed) : from_(std::move(from)), failed_(failed) {}
  Block Next() override {
    failed_ = true;
    Block block = from_->Next();
    failed_ = false;
    return block;
  }

 private:
  std::unique_ptr<Source> from_;
  bool& failed_;
};

}  // namespace

bool IsArchive(std::unique_ptr<Source> file, std::string_view what) {
  bool damaged = false;
  try {
    ArchiveReader reader(std::make_unique<Watched>(DecompressAny(std::move(file), what), damaged), std::string(what));
    Entry first;
    return reader.Next(first);
  } catch (const Error& error) {
    if (damaged || (error.kind() != ErrorKind::kCorrupt && error.kind() != ErrorKind::kUnsupported))
      throw;
    return false;
  }
}

std::set<std::string> UnpackArchive(std::unique_ptr<Source> file, const Dir& into, const UnpackOptions& options,
                                    std::string_view what) {
  const UnpackResult result = UnpackLayer(DecompressAny(std::move(file), what), into, options, what);
  if (result.whiteouts != 0)
    throw Error(ErrorKind::kUnsupported,
                std::string(what) + " has names that begin with '.wh.', which mean something else in a layer",
                "unpack it in a RUN, and rename them");
  if (!result.pending.links.empty()) {
    const Pending::Link& link = result.pending.links.front();
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + Quoted(link.path) + " is a hard link to " +
                                         Quoted(link.target) + ", which is not in it");
  }
  return {result.pending.implied.begin(), result.pending.implied.end()};
}

}  // namespace gantry::image
