#include "libsign/signature_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/attachment.h"

namespace gantry::sign {
namespace {

using NameOfNumber = std::function<RelPath(size_t n)>;

RelPath LayoutPath(const Digest& manifest) {
  return RelPath::Parse("signatures/" + std::string(Name(manifest.algorithm())) + "-" + manifest.hex());
}

std::vector<std::string> ReadNumbered(const Dir& dir, const NameOfNumber& name) {
  std::vector<std::string> signatures;
  for (size_t n = 1; n <= kMaxEvidence; ++n) {
    const auto fd = dir.TryOpenBeneath(name(n), O_RDONLY | O_NONBLOCK);
    if (!fd) {
      break;
    }
    const std::string what = dir.name() + "/" + name(n).str();
    struct stat status {};
    if (fstat(fd->get(), &status) != 0 || !S_ISREG(status.st_mode)) {
      throw Error(ErrorKind::kCorrupt, Quoted(what) + " is not a regular file");
    }
    signatures.push_back(ReadAll(fd->get(), kMaxEvidenceBytes, what));
  }
  return signatures;
}

// A file without a name is linked under a free number: two writers get two numbers, and a crash leaves no part of one.
size_t LinkUnderFreeNumber(const Dir& dir, const NameOfNumber& name, std::string_view bytes, size_t first) {
  const StagedFile staged(dir);
  WriteFull(staged.fd(), AsBytes(bytes), dir.name());
  if (fsync(staged.fd()) != 0) {
    ThrowErrno("write a signature in " + Quoted(dir.name()));
  }
  const std::string file = "/proc/self/fd/" + std::to_string(staged.fd());
  for (size_t n = first; n <= kMaxEvidence; ++n) {
    if (linkat(AT_FDCWD, file.c_str(), dir.fd(), name(n).c_str(), AT_SYMLINK_FOLLOW) == 0) {
      dir.Sync();
      return n;
    }
    if (errno != EEXIST) {
      ThrowErrno("write " + Quoted(dir.name() + "/" + name(n).str()));
    }
  }
  throw Error(ErrorKind::kFailed, Quoted(dir.name()) + " already holds " + std::to_string(kMaxEvidence) + " signatures",
              "remove those that nobody needs");
}

std::string AppendNumbered(const Dir& dir, const NameOfNumber& name, std::string_view bytes) {
  const std::vector<std::string> present = ReadNumbered(dir, name);
  const auto same = std::find(present.begin(), present.end(), bytes);
  const size_t n = same != present.end() ? static_cast<size_t>(same - present.begin()) + 1
                                         : LinkUnderFreeNumber(dir, name, bytes, present.size() + 1);
  return dir.name() + "/" + name(n).str();
}

struct Beside {
  Dir dir;
  NameOfNumber name;
};

Beside BundlesOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  const std::string base = slash == std::string::npos ? file : file.substr(slash + 1);
  return {Dir::Open(slash == std::string::npos ? "." : file.substr(0, slash + 1)), [base](size_t n) {
            return RelPath::Parse(base + (n == 1 ? "" : "." + std::to_string(n)) + ".sigstore.json");
          }};
}

}  // namespace

RelPath SignatureName(size_t n) { return RelPath::Parse("signature-" + std::to_string(n)); }

std::vector<std::string> ReadSignatures(const Dir& dir) { return ReadNumbered(dir, SignatureName); }

std::string AppendSignature(const Dir& dir, std::string_view signature) {
  return AppendNumbered(dir, SignatureName, signature);
}

void GatherFromLayout(const std::string& directory, const Digest& manifest, Evidence& into) {
  const Dir layout = Dir::Open(directory);
  const RelPath path = LayoutPath(manifest);
  into.looked_at.push_back(directory + "/" + path.str());
  const auto fd = layout.TryOpenBeneath(path, O_RDONLY | O_DIRECTORY);
  if (!fd) {
    return;
  }
  for (std::string& signature : ReadSignatures(layout.OpenDir(path))) {
    into.Add(std::move(signature));
  }
}

std::string AppendToLayout(const std::string& directory, const Digest& manifest, std::string_view signature) {
  return AppendSignature(Dir::Open(directory).MakeDirs(LayoutPath(manifest)), signature);
}

std::optional<std::string> ReadDetachedBeside(const std::string& file) {
  try {
    return ReadFile(file + ".asc", kMaxEvidenceBytes);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound) {
      return std::nullopt;
    }
    throw;
  }
}

void GatherBundlesBeside(const std::string& file, Evidence& into) {
  const Beside beside = BundlesOf(file);
  into.looked_at.push_back(file + ".sigstore.json");
  for (std::string& bundle : ReadNumbered(beside.dir, beside.name)) {
    into.Add(image::Attachment{std::string(image::kBundleType), std::move(bundle)}.ToStored());
  }
}

std::string AppendBundleBeside(const std::string& file, std::string_view bundle) {
  const Beside beside = BundlesOf(file);
  return AppendNumbered(beside.dir, beside.name, bundle);
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

}  // namespace gantry::sign
