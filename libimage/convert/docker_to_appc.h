// The image manifest of an ACI for a Docker or OCI image.
//
// Names, labels, annotations and the app are those that docker2aci 0.17 makes of the same image, so that what selects
// images by them goes on working. Where docker2aci is at odds with itself or with the specification we differ:
//   labels                sorted by name (docker2aci: random); os and arch are left out where appc has no name for
//                         them (docker2aci: those of the machine that converts)
//   authors               always under that name (docker2aci: "author" for newer images)
//   docker-comment        from every image (docker2aci: from old ones only)
//   imageid               the digest of the configuration, as Docker shows it (docker2aci: of the top layer)
//   originalname          with host and tag in full (docker2aci: as it was typed)
//   userLabels            the image's labels, from every image (docker2aci: from old ones only)
//   mountPoints           colliding names get -1, -2 in order of paths and are unique (docker2aci: at random)
// What ACIs have no place for is kept in annotations: appc.io/docker/{entrypoint,cmd,user,stopsignal}.
#pragma once

#include <string>

#include "libimage/model/aci_manifest.h"
#include "libimage/model/image.h"

namespace gantry::image {

// What an ACI is called.
struct AciNaming {
  std::string name;           // an AC Identifier
  std::string version;        // the label; empty: none
  std::string original_name;  // annotations; empty: none
  std::string registry, repository;

  // "registry-1.docker.io/library/alpine" for Docker Hub, else "HOST/PATH"; what an identifier cannot hold becomes '_'.
  static AciNaming For(const DockerReference& name);
  // For images without a registry name: an oci: layout called `directory`, and the name in it, by which it is called
  // when that is a registry name with a host.
  static AciNaming ForLayout(const std::string& directory, const std::string& ref);
};

// kUnsupported for what an ACI cannot hold: another system than Linux, FreeBSD and Darwin, an environment variable
// with a name that appc does not allow, a relative working directory, a group without a user, a range of ports.
AciManifest ToAciManifest(const Image& image, const AciNaming& naming);

}  // namespace gantry::image
