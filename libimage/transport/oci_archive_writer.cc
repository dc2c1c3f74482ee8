#include <set>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/archive_sink.h"
#include "libimage/transport/oci_layout.h"
#include "libimage/transport/oci_layout_files.h"

namespace gantry::image {
namespace {

class OciArchiveSink : public ArchiveSink {
 public:
  OciArchiveSink(const std::string& file, bool overwrite) : ArchiveSink(file, overwrite) {
    tar().AddFile("oci-layout", kLayoutBytes);
    tar().AddDirectory("blobs");
    tar().AddDirectory("blobs/sha256");
  }

  Form form() const override { return {.layers = {}, .manifest_type = {}, .parallel = false}; }

  void Name(const Descriptor& top, const std::string& ref) override {
    if (!ref.empty() && !refs_.insert(ref).second)
      throw Error(ErrorKind::kFailed, Quoted(ref) + " would be the name of two images in one archive");
    Descriptor listed = top;
    if (!ref.empty())
      listed.annotations[std::string(kRefNameAnnotation)] = ref;
    tops_.push_back(std::move(listed));
  }

  void Commit() override {
    const Index index{.media_type = std::string(kOciIndexType), .manifests = std::move(tops_)};
    tar().AddFile("index.json", index.ToJson());
    Close();
  }

 protected:
  std::string MemberFor(const Digest& digest, std::string_view) const override { return BlobPath(digest).str(); }

 private:
  std::vector<Descriptor> tops_;
  std::set<std::string> refs_;
};

}  // namespace

std::unique_ptr<ImageSink> WriteOciArchive(const std::string& file, bool overwrite) {
  return std::make_unique<OciArchiveSink>(file, overwrite);
}

}  // namespace gantry::image
