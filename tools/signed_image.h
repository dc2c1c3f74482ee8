// What gantry-sign signs, and where signatures of it go: into its registry, beside it, into the store or a lookaside.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/model/attachment.h"
#include "libimage/model/descriptor.h"
#include "libimage/transport/fetcher.h"
#include "libimage/transport/pusher.h"
#include "libsign/registries_d.h"
#include "libsign/sigstore_signing.h"

namespace gantry::tools {

// An image that is here or in a registry, or a digest that the caller vouches for.
struct SigningSubject {
  std::optional<image::DockerReference> name;
  Digest manifest;
  std::optional<image::Descriptor> descriptor = {};  // of the manifest; nullopt when that is not known
  std::optional<Digest> identity = {};
  bool in_store = false;
  std::string layout = {};  // the directory of oci:DIR
  std::string aci = {};     // the file of aci:FILE

  // As it is signed now. kUsage when it has no name.
  sign::SignedImage WithName(const std::string& shown, const std::string& creator) const;
};

// All that the name of `fetcher` leads to, called `name`: indexes and images, each once, an index before what it lists.
// Artifacts are among them, but attestations that lie beside images (image::GoesUnasked) are left to their makers. With
// `identity` the layers of all are fetched; kUnsupported where no image is that would have one.
std::vector<SigningSubject> ReceiveSubjects(image::Fetcher& fetcher, const image::DockerReference& name,
                                            const std::string& store_root, bool identity);

class SigningPlaces {
 public:
  // `lookaside` is the directory of --lookaside or empty; `pusher` leads into the registry of the image, or is null.
  SigningPlaces(std::string lookaside, const sign::RegistriesD& registries, std::string store_root,
                image::Pusher* pusher)
      : lookaside_(std::move(lookaside)),
        registries_(registries),
        store_root_(std::move(store_root)),
        pusher_(pusher) {}

  // Each returns where the signature now lies, for people. OpenPGP signatures go where the containers tools look for
  // them, in a lookaside; others into the registry, or beside the image. kUsage when there is no place.
  std::string KeepOpenPgp(const SigningSubject& subject, const std::string& message) const;
  std::string Keep(const SigningSubject& subject, const image::Attachment& attachment) const;

 private:
  std::string IntoLookaside(const SigningSubject& subject, const std::string& stored) const;
  void IntoStore(const SigningSubject& subject, const std::string& stored) const;

  std::string lookaside_;
  const sign::RegistriesD& registries_;
  std::string store_root_;
  image::Pusher* pusher_;
};

}  // namespace gantry::tools
