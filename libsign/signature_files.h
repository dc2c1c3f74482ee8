// Signatures as files beside an image: numbered in a directory, as in lookasides and in signatures/ of an OCI layout,
// and next to an App Container Image.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"
#include "libsign/evidence.h"

namespace gantry::sign {

// "signature-N".
RelPath SignatureName(size_t n);

// signature-1 and on up to the first gap, at most kMaxEvidence. kCorrupt when one is too large or no regular file.
std::vector<std::string> ReadSignatures(const Dir& dir);

// Writes one more under the next free number, whole or not at all, and never over another one; the same bytes are not
// written twice. Returns the path of the file that holds them.
std::string AppendSignature(const Dir& dir, std::string_view signature);

// Those of `manifest` in signatures/ALGORITHM-HEX/ of the OCI layout at `directory`, as a store keeps them; into
// `into`, with the place.
void GatherFromLayout(const std::string& directory, const Digest& manifest, Evidence& into);
std::string AppendToLayout(const std::string& directory, const Digest& manifest, std::string_view signature);

// The detached OpenPGP signature FILE.asc next to an App Container Image; nullopt when there is none. kCorrupt when it
// is too large or no regular file.
std::optional<std::string> ReadDetachedBeside(const std::string& file);

// Bundles next to `file`: FILE.sigstore.json, FILE.2.sigstore.json and on up to the first gap. As evidence each is an
// attachment.
void GatherBundlesBeside(const std::string& file, Evidence& into);
std::string AppendBundleBeside(const std::string& file, std::string_view bundle);

}  // namespace gantry::sign
