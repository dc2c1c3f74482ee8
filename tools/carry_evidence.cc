#include "tools/carry_evidence.h"

#include <optional>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/model/attachment.h"
#include "libimage/store/store.h"
#include "libsign/signature_files.h"

namespace gantry::tools {
namespace {

using image::Attachment;
using image::FileReference;

// Those that may speak of more than the one manifest that they were made for.
std::vector<Attachment> Attestations(const sign::Evidence& evidence) {
  std::vector<Attachment> found;
  for (const std::string& stored : evidence.signatures) {
    try {
      auto attachment = Attachment::FromStored(stored);
      if (attachment && (attachment->media_type == image::kBundleType || attachment->media_type == image::kDsseType)) {
        found.push_back(*std::move(attachment));
      }
    } catch (const Error&) {
      // Damaged evidence speaks for nothing here either.
    }
  }
  return found;
}

}  // namespace

void CarryEvidence(const sign::Evidence& evidence, const image::Reference& destination, const std::string& id,
                   const std::string& aci, const std::string& store_root) {
  const std::vector<Attachment> attestations = Attestations(evidence);
  const auto manifest = Digest::TryParse(id);
  const auto* const file = destination.file();
  for (const Attachment& attestation : attestations) {
    if (destination.store() != nullptr && manifest) {
      image::Store::Open(store_root)->AddSignature(*manifest, attestation.ToStored());
    } else if (file != nullptr && file->format == FileReference::Format::kOci && manifest) {
      sign::AppendToLayout(file->path, *manifest, attestation.ToStored());
    } else if (file != nullptr && file->format == FileReference::Format::kAci &&
               attestation.media_type == image::kBundleType) {
      sign::AppendBundleBeside(aci, attestation.payload);
    }
  }
}

}  // namespace gantry::tools
