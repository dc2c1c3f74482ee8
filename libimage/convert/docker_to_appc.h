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
// What ACIs have no place for is kept in annotations: appc.io/docker/{entrypoint,cmd,user,stopsignal}, and the whole
// configuration as it was in dev.gantry/config, from which appc_to_docker.h makes it again.
//
// An image that was made of an ACI carries the manifest of that, from which comes back what only ACIs have: isolators,
// event handlers, groups, names of ports and mount points, annotations and labels. It must agree with what the image
// executes, as the annotations of ACIs must.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/aci_manifest.h"
#include "libimage/model/image.h"

namespace gantry::image {

// The configuration of the image, its bytes as text. Left out when they are more than json::kMaxStringBytes.
constexpr std::string_view kConfigAnnotation = "dev.gantry/config";
// The manifest of the image whose layers became the ACI and its dependencies, one by one.
constexpr std::string_view kManifestAnnotation = "dev.gantry/manifest";
// Of the manifest of an image that was made of an ACI: the manifest of that, without dependencies and whitelist. Left
// out like kConfigAnnotation, and where that says what the image was before it was an ACI.
constexpr std::string_view kAciAnnotation = "dev.gantry.aci.manifest";
// What appc_to_docker.h holds against the app.
constexpr std::string_view kEntrypointAnnotation = "appc.io/docker/entrypoint";
constexpr std::string_view kCmdAnnotation = "appc.io/docker/cmd";
constexpr std::string_view kUserAnnotation = "appc.io/docker/user";
constexpr std::string_view kStopSignalAnnotation = "appc.io/docker/stopsignal";

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
  // What that ACI is called.
  static AciNaming Of(const AciManifest& manifest);

  // "org-app-v1", for files: the repository, else the name, with '-' for '/', and the version.
  std::string FileStem() const;
};

// kCorrupt for an image whose kAciAnnotation is about another. kUnsupported for what an ACI cannot hold: another system
// than Linux, FreeBSD and Darwin, an environment variable with a name that appc does not allow, a relative working
// directory, a group without a user, a range of ports.
AciManifest ToAciManifest(const Image& image, const AciNaming& naming);

// Parts of it: what is executed, and the labels os and arch, sorted.
AciApp ToAciApp(const ImageConfig& config);
std::vector<AppcPair> ToAciPlatform(const Platform& platform);

}  // namespace gantry::image
