// The files of a lookaside; the other half of libsign/registries_d.h.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/evidence.h"
#include "libsign/registries_d.h"

namespace gantry::sign {
namespace {

// "PATH@sha256=HEX": of a normalised name and a parsed digest, so it can lead nowhere else.
std::string ImageDirectory(const image::DockerReference& name, const Digest& manifest) {
  return name.path + "@" + std::string(Name(manifest.algorithm())) + "=" + manifest.hex();
}

RelPath SignatureName(size_t n) { return RelPath::Parse("signature-" + std::to_string(n)); }

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

std::vector<std::string> ReadSignatures(const Dir& dir) {
  std::vector<std::string> signatures;
  for (size_t n = 1; n <= kMaxEvidence; ++n) {
    const auto fd = dir.TryOpenBeneath(SignatureName(n), O_RDONLY | O_NONBLOCK);
    if (!fd) {
      break;
    }
    const std::string what = dir.name() + "/" + SignatureName(n).str();
    struct stat status {};
    if (fstat(fd->get(), &status) != 0 || !S_ISREG(status.st_mode)) {
      throw Error(ErrorKind::kCorrupt, Quoted(what) + " is not a regular file");
    }
    signatures.push_back(ReadAll(fd->get(), kMaxEvidenceBytes, what));
  }
  return signatures;
}

// A file without a name is linked under a free number: two writers get two numbers, and a crash leaves no part of one.
size_t LinkUnderFreeNumber(const Dir& dir, std::string_view bytes, size_t first) {
  const StagedFile staged(dir);
  WriteFull(staged.fd(), AsBytes(bytes), dir.name());
  if (fsync(staged.fd()) != 0) {
    ThrowErrno("write a signature in " + Quoted(dir.name()));
  }
  const std::string file = "/proc/self/fd/" + std::to_string(staged.fd());
  for (size_t n = first; n <= kMaxEvidence; ++n) {
    if (linkat(AT_FDCWD, file.c_str(), dir.fd(), SignatureName(n).c_str(), AT_SYMLINK_FOLLOW) == 0) {
      dir.Sync();
      return n;
    }
    if (errno != EEXIST) {
      ThrowErrno("write " + Quoted(dir.name() + "/" + SignatureName(n).str()));
    }
  }
  throw Error(ErrorKind::kFailed, Quoted(dir.name()) + " already holds " + std::to_string(kMaxEvidence) + " signatures",
              "remove those that nobody needs");
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
  const Dir dir = Dir::Create(directory + "/" + ImageDirectory(name, manifest));
  const std::vector<std::string> present = ReadSignatures(dir);
  const auto same = std::find(present.begin(), present.end(), signature);
  const size_t n = same != present.end() ? static_cast<size_t>(same - present.begin()) + 1
                                         : LinkUnderFreeNumber(dir, signature, present.size() + 1);
  return dir.name() + "/" + SignatureName(n).str();
}

bool Evidence::Add(std::string bytes) {
  if (bytes.size() > kMaxEvidenceBytes) {
    throw Error(ErrorKind::kCorrupt, "a signature is over " + std::to_string(kMaxEvidenceBytes) + " bytes");
  }
  if (std::find(signatures.begin(), signatures.end(), bytes) != signatures.end()) {
    return true;
  }
  if (signatures.size() == kMaxEvidence) {
    return false;
  }
  signatures.push_back(std::move(bytes));
  return true;
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
