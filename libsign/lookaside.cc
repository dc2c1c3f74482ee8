// The files of a lookaside; the other half of libsign/registries_d.h.
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libsign/evidence.h"
#include "libsign/registries_d.h"
#include "libsign/signature_files.h"

namespace gantry::sign {
namespace {

// "PATH@sha256=HEX": of a normalised name and a parsed digest, so it can lead nowhere else.
std::string ImageDirectory(const image::DockerReference& name, const Digest& manifest) {
  return name.path + "@" + std::string(Name(manifest.algorithm())) + "=" + manifest.hex();
}

std::optional<Dir> OpenIfThere(const std::string& path) {
  try {
    return Dir::Open(path);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound) {
      return std::nullopt;
    }
    throw;
  }
}

}  // namespace

std::string SignatureUrl(std::string_view base, const image::DockerReference& name, const Digest& manifest, size_t n) {
  while (base.ends_with('/')) {
    base.remove_suffix(1);
  }
  return std::string(base) + "/" + ImageDirectory(name, manifest) + "/" + SignatureName(n).str();
}

std::optional<std::string> LookasideDirectory(std::string_view base) {
  constexpr std::string_view kScheme = "file:";
  if (!base.starts_with(kScheme)) {
    return std::nullopt;
  }
  base.remove_prefix(kScheme.size());
  if (base.starts_with("//")) {
    base.remove_prefix(2);
  }
  if (!base.starts_with('/') || base.find('\0') != std::string_view::npos) {
    throw Error(ErrorKind::kCorrupt, "lookaside 'file:" + std::string(base) + "' is not an absolute path",
                "write file:///DIRECTORY");
  }
  return std::string(base);
}

std::vector<std::string> ReadLookaside(const std::string& directory, const image::DockerReference& name,
                                       const Digest& manifest) {
  const auto dir = OpenIfThere(directory + "/" + ImageDirectory(name, manifest));
  return dir ? ReadSignatures(*dir) : std::vector<std::string>{};
}

std::string AppendLookaside(const std::string& directory, const image::DockerReference& name, const Digest& manifest,
                            std::string_view signature) {
  return AppendSignature(Dir::Create(directory + "/" + ImageDirectory(name, manifest)), signature);
}

void GatherLookaside(const RegistriesD& registries, const image::DockerReference& name, const Digest& manifest,
                     Evidence& into) {
  for (const std::string& base : registries.LookasideFor(name)) {
    const auto directory = LookasideDirectory(base);
    if (!directory) {
      continue;
    }
    into.looked_at.push_back(*directory + "/" + ImageDirectory(name, manifest));
    for (std::string& signature : ReadLookaside(*directory, name, manifest)) {
      into.Add(std::move(signature));
    }
  }
}

}  // namespace gantry::sign
