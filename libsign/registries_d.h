// Where the signatures of a registry's images are kept: containers-registries.d(5).
//
// Scopes map to a lookaside, a place beside the registry that is read (file:, http:, https:) and a staging place that
// is written (file:). As the containers tools do, not as their manual says, a scope that names no place falls through
// to the next less specific one, key by key; then to default-docker; then to the sigstore directory of root or of the
// user.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/model/reference.h"

namespace gantry::sign {

constexpr size_t kMaxRegistriesFileBytes = 1024 * 1024;
constexpr size_t kMaxRegistriesFiles = 1000;

class RegistriesD {
 public:
  // The *.yaml files of `directory` if given, else of $XDG_CONFIG_HOME/containers/registries.d if that exists, else of
  // /etc/containers/registries.d. A missing directory says nothing. kCorrupt for a file that is not understood and for
  // a scope that two files, or one file twice, configure.
  static RegistriesD Load(const std::optional<std::string>& directory = std::nullopt);

  // One file; `what` names it in errors.
  static RegistriesD Parse(std::string_view yaml, std::string_view what);

  // Base URLs to read from, without the path of the image; never empty.
  std::vector<std::string> LookasideFor(const image::DockerReference& name) const;
  // The base URL to write to: the staging place, else the lookaside.
  std::optional<std::string> StagingFor(const image::DockerReference& name) const;

  // All directories on this machine that LookasideFor can lead to, for any name.
  std::vector<std::string> ReadDirectories() const;

 private:
  struct Places {
    std::string lookaside;
    std::string staging;
    std::string origin;  // the file
  };
  void Add(std::string_view yaml, std::string_view what);
  std::optional<std::string> Find(const image::DockerReference& name, bool staging) const;

  std::map<std::string, Places> scopes_;
  std::optional<Places> default_;
};

// "BASE/PATH@sha256=HEX/signature-N", N from 1.
std::string SignatureUrl(std::string_view base, const image::DockerReference& name, const Digest& manifest, size_t n);

// The directory of a file: base URL, nullopt for other schemes. kCorrupt for a file URL with a host or a relative path.
std::optional<std::string> LookasideDirectory(std::string_view base);

// Signatures of `manifest` under a lookaside's directory: signature-1 and on up to the first gap, at most kMaxEvidence.
// None when there are none. kCorrupt when one is too large.
std::vector<std::string> ReadLookaside(const std::string& directory, const image::DockerReference& name,
                                       const Digest& manifest);

// Writes one more signature under the next free number, whole or not at all, and never over another one; the same bytes
// are not written twice. Returns the path of the file that holds them.
std::string AppendLookaside(const std::string& directory, const image::DockerReference& name, const Digest& manifest,
                            std::string_view signature);

}  // namespace gantry::sign
