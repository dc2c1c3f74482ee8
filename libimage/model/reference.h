// Names of images, as people write them (gantry(1), NAMES OF IMAGES).
//
//   docker://[HOST[:PORT]/]PATH[:TAG][@DIGEST]   a registry
//   oci:DIR[:REF]  oci-archive:FILE[:REF]        an OCI image layout, a directory or one tar
//   docker-archive:FILE[:REF]                    what docker save writes; REF is NAME[:TAG] or @INDEX
//   aci:FILE                                     one App Container Image file
//   files:DIR                                    the files of an artifact; only written
//   appc:NAME[:VERSION][,LABEL=VALUE...]         appc discovery
//   store:NAME, or NAME alone                    the local store; NAME as after docker://, or (the start of) a digest
//
// Parsing does no I/O. A syntax error is kUsage, quotes the text and points at the character in its hint
// ("at character 14: ...").
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "libimage/base/digest.h"

namespace gantry::image {

// A repository in a registry and what selects an image in it, normalised by Docker's rules: the first component is a
// host only if it holds '.' or ':' or is "localhost" or in brackets; otherwise the host is docker.io, and a path of one
// component gets "library/". "index.docker.io" becomes "docker.io". Hosts are in lower case, whatever was written, so
// that one registry has one name in a policy. Grammar: distribution/reference (the project's reference.go), bounds as
// there: host and path 255 bytes, tag 128.
struct DockerReference {
  std::string host;              // "docker.io", "localhost:5000", "[::1]:5000"
  std::string path;              // "library/alpine"
  std::string tag;               // empty when none was written
  std::optional<Digest> digest;  // when both are given, the digest selects and the tag is only a name

  // `text` is what follows "docker://", or a bare name.
  static DockerReference Parse(std::string_view text);

  // "docker.io/library/alpine".
  std::string Repository() const;
  // Repository, ":tag" and "@digest" as far as they are there. Parse(ToString()) is the same value.
  std::string ToString() const;
  // The same with tag "latest" when there is neither tag nor digest.
  DockerReference WithDefaultTag() const;

  friend bool operator==(const DockerReference&, const DockerReference&) = default;
};

// oci:, oci-archive:, docker-archive:, aci: and files:.
struct FileReference {
  enum class Format { kOci, kOciArchive, kDockerArchive, kAci, kFiles };
  Format format;
  std::string path;  // as written; never empty
  std::string ref;   // after the first ':' of the rest, empty when absent
  friend bool operator==(const FileReference&, const FileReference&) = default;
};

// appc: an AC Identifier and labels (appc spec, discovery.md); the version is the label "version".
struct AppcReference {
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;  // in the order written, keys unique
  friend bool operator==(const AppcReference&, const AppcReference&) = default;
};

// A name in the local store, or a digest of a manifest in it ("sha256:..." or at least 12 digits of its hex).
struct StoreReference {
  std::string name;
  bool explicitly_store = false;  // written as "store:NAME": no fall-back to docker://
  friend bool operator==(const StoreReference&, const StoreReference&) = default;
};

class Reference {
 public:
  static Reference Parse(std::string_view text);

  using Data = std::variant<DockerReference, FileReference, AppcReference, StoreReference>;
  explicit Reference(Data data) : data_(std::move(data)) {}

  const Data& data() const { return data_; }
  const DockerReference* docker() const { return std::get_if<DockerReference>(&data_); }
  const FileReference* file() const { return std::get_if<FileReference>(&data_); }
  const AppcReference* appc() const { return std::get_if<AppcReference>(&data_); }
  const StoreReference* store() const { return std::get_if<StoreReference>(&data_); }

  // With its transport; Parse(ToString()) is the same value.
  std::string ToString() const;
  friend bool operator==(const Reference&, const Reference&) = default;

 private:
  Data data_;
};

}  // namespace gantry::image
