#include "tools/carry_evidence.h"

#include "libimage/base/error.h"
#include "libimage/model/attachment.h"
#include "libimage/store/store.h"
#include "libsign/bundle.h"
#include "libsign/signature_files.h"
#include "libsign/statement.h"

namespace gantry::tools {
namespace {

using image::Attachment;
using image::FileReference;

bool IsIdentity(const sign::DsseEnvelope& envelope) {
  return envelope.payload_type == sign::kInTotoType &&
         sign::Statement::Parse(envelope.payload).predicate_type == sign::kIdentityPredicate;
}

bool IsIdentity(const Attachment& attachment) {
  if (attachment.media_type == image::kDsseType)
    return IsIdentity(sign::DsseEnvelope::Parse(attachment.payload));
  if (attachment.media_type != image::kBundleType)
    return false;
  const sign::Bundle bundle = sign::Bundle::Parse(attachment.payload);
  return bundle.envelope && IsIdentity(*bundle.envelope);
}

// nullopt for what is damaged, which speaks for nothing elsewhere either, and for OpenPGP.
std::optional<Attachment> ReadWhole(const std::string& stored) {
  try {
    return Attachment::FromStored(stored);
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool Survives(const std::string& stored) {
  try {
    const auto attachment = Attachment::FromStored(stored);
    return attachment && IsIdentity(*attachment);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

sign::Evidence StillHolding(const sign::Evidence& evidence, const Digest& from, const std::optional<Digest>& to) {
  sign::Evidence holding;
  for (const std::string& stored : evidence.signatures) {
    if (to == from || Survives(stored))
      holding.signatures.push_back(stored);
  }
  return holding;
}

void CarryEvidence(const sign::Evidence& evidence, const Digest& from, const image::Reference& destination,
                   const std::string& id, const std::string& aci, const std::string& store_root) {
  const auto manifest = Digest::TryParse(id);
  const auto* const file = destination.file();
  for (const std::string& stored : StillHolding(evidence, from, manifest).signatures) {
    if (destination.store() != nullptr && manifest) {
      image::Store::Open(store_root)->AddSignature(*manifest, stored);
    } else if (file != nullptr && file->format == FileReference::Format::kOci && manifest) {
      sign::AppendToLayout(file->path, *manifest, stored);
    } else if (file != nullptr && file->format == FileReference::Format::kAci) {
      const auto attachment = ReadWhole(stored);
      if (attachment && attachment->media_type == image::kBundleType)
        sign::AppendBundleBeside(aci, attachment->payload);
    }
  }
}

}  // namespace gantry::tools
