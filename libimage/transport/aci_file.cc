#include "libimage/transport/aci_file.h"

#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

std::string BelowRootfs(const std::string& path) { return path.empty() ? "rootfs" : "rootfs/" + path; }

}  // namespace

AciWriter::AciWriter(Sink& into, std::string_view manifest, Time mtime) : archive_(into) {
  Entry entry;
  entry.name = "manifest";
  entry.mode = 0644;
  entry.size = manifest.size();
  entry.mtime = mtime;
  archive_.Add(entry);
  archive_.Write(AsBytes(manifest));
}

void AciWriter::Add(const Entry& entry) {
  named_ = entry;
  named_.name = BelowRootfs(entry.name);
  if (entry.type == EntryType::kHardLink)
    named_.link = BelowRootfs(entry.link);
  archive_.Add(named_);
}

}  // namespace gantry::image
