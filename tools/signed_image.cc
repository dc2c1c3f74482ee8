#include "tools/signed_image.h"

#include <ctime>

#include "libimage/base/error.h"
#include "libimage/store/store.h"
#include "libsign/signature_files.h"
#include "tools/publish.h"

namespace gantry::tools {
namespace {

// The directory that signatures of `name` are written to.
std::string WritableLookaside(const sign::RegistriesD& registries, const image::DockerReference& name) {
  const std::string base = registries.StagingFor(name).value();
  const auto directory = sign::LookasideDirectory(base);
  if (!directory) {
    throw Error(ErrorKind::kUsage, "the lookaside of " + Quoted(name.ToString()) + " is " + base + ", which only reads",
                "give --lookaside DIR and publish it there, or set lookaside-staging in registries.d");
  }
  return *directory;
}

}  // namespace

sign::SignedImage SigningSubject::WithName(const std::string& shown, const std::string& creator) const {
  if (!name) {
    throw Error(ErrorKind::kUsage, Quoted(shown) + " has no registry name that a signature could carry",
                "add --as docker://NAME:TAG");
  }
  return {*name, manifest, identity, creator, std::time(nullptr)};
}

std::string SigningPlaces::IntoLookaside(const SigningSubject& subject, const std::string& stored) const {
  if (!subject.name) {
    throw Error(ErrorKind::kUsage, "a lookaside goes by the registry name of the image, and it has none",
                "add --as docker://NAME:TAG");
  }
  const std::string directory = lookaside_.empty() ? WritableLookaside(registries_, *subject.name) : lookaside_;
  return sign::AppendLookaside(directory, *subject.name, subject.manifest, stored);
}

void SigningPlaces::IntoStore(const SigningSubject& subject, const std::string& stored) const {
  if (subject.in_store)
    image::Store::Open(store_root_)->AddSignature(subject.manifest, stored);
}

std::string SigningPlaces::KeepOpenPgp(const SigningSubject& subject, const std::string& message) const {
  std::string place = IntoLookaside(subject, message);
  IntoStore(subject, message);
  return place;
}

std::string SigningPlaces::Keep(const SigningSubject& subject, const image::Attachment& attachment) const {
  const std::string stored = attachment.ToStored();
  std::string place;
  if (!lookaside_.empty()) {
    place = IntoLookaside(subject, stored);
  } else if (pusher_ != nullptr) {
    place = Publish(*pusher_, subject.descriptor.value(), attachment);
  } else if (!subject.layout.empty()) {
    place = sign::AppendToLayout(subject.layout, subject.manifest, stored);
  } else if (!subject.aci.empty() && attachment.media_type == image::kBundleType) {
    place = sign::AppendBundleBeside(subject.aci, attachment.payload);
  } else if (!subject.in_store) {
    throw Error(ErrorKind::kUsage, "there is no place for the signature beside this image", "give --lookaside DIR");
  }
  IntoStore(subject, stored);
  return place.empty() ? store_root_ + "/signatures" : place;
}

}  // namespace gantry::tools
