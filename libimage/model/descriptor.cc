#include "libimage/model/descriptor.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <bit>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxMediaTypeBytes = 255;  // RFC 6838: 127, a slash, 127
constexpr size_t kMaxUrls = 64;
constexpr size_t kMaxUrlBytes = 8192;
constexpr size_t kMaxPlatformBytes = 128;

struct Spelling {
  std::string_view written, architecture, variant;
};

// Other names of Go's architectures: of kernels, distributions and compilers.
constexpr std::array kSpellings = {
    Spelling{"x86_64", "amd64", ""},   Spelling{"x86-64", "amd64", ""},
    Spelling{"aarch64", "arm64", ""},  Spelling{"i386", "386", ""},
    Spelling{"i486", "386", ""},       Spelling{"i586", "386", ""},
    Spelling{"i686", "386", ""},       Spelling{"x86", "386", ""},
    Spelling{"armhf", "arm", "v7"},    Spelling{"armel", "arm", "v6"},
    Spelling{"armv5tel", "arm", "v5"}, Spelling{"armv5tejl", "arm", "v5"},
    Spelling{"armv6l", "arm", "v6"},   Spelling{"armv7l", "arm", "v7"},
    Spelling{"armv8l", "arm", "v8"},   Spelling{"loongarch64", "loong64", ""},
};

void Normalise(Platform& platform) {
  if (platform.os == "macos")
    platform.os = "darwin";
  const auto* found = std::find_if(kSpellings.begin(), kSpellings.end(),
                                   [&](const Spelling& s) { return s.written == platform.architecture; });
  if (found == kSpellings.end())
    return;
  platform.architecture = found->architecture;
  if (platform.variant.empty())
    platform.variant = found->variant;
}

[[noreturn]] void FailPlatform(std::string_view text, size_t at, std::string_view problem) {
  throw Error(ErrorKind::kUsage, "platform " + Quoted(text) + " cannot be read",
              "at character " + std::to_string(at + 1) + ": " + std::string(problem) +
                  "; write OS/ARCHITECTURE[/VARIANT], for example linux/arm64 or linux/arm/v7");
}

std::vector<std::string> SplitPlatform(std::string_view text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool upper = c >= 'A' && c <= 'Z';
    if (c == '/') {
      if (parts.back().empty())
        FailPlatform(text, i, "a name is missing");
      if (parts.size() == 3)
        FailPlatform(text, i, "more than three parts");
      parts.emplace_back();
    } else if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.') {
      parts.back() += upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else {
      FailPlatform(text, i, "this cannot be in a platform");
    }
  }
  if (parts.back().empty())
    FailPlatform(text, text.size(), "a name is missing");
  return parts;
}

Platform ParsePlatform(const json::Cursor& from) {
  const auto text = [&](std::string_view key) {
    const std::optional<json::Cursor> member = from.Find(key);
    return member ? member->String(kMaxPlatformBytes) : std::string();
  };
  return {text("os"), text("architecture"), text("variant"), text("os.version")};
}

bool IsPrintable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::string ParseMediaType(const json::Cursor& from) {
  const std::string& type = from.String(kMaxMediaTypeBytes);
  const size_t slash = type.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == type.size() || !IsPrintable(type))
    from.Fail("expected a media type, found " + Quoted(type));
  return type;
}

// A file of an artifact may; documents and file systems have bytes, and so has whatever has another digest.
bool MayBeEmpty(const Descriptor& blob) {
  switch (KindOf(blob.media_type)) {
    case TypeKind::kManifest:
    case TypeKind::kIndex:
    case TypeKind::kSchema1:
    case TypeKind::kConfig:
    case TypeKind::kLayer:
      return false;
    default:
      return blob.digest == Digest::Of("", blob.digest.algorithm());
  }
}

}  // namespace

Platform Platform::Parse(std::string_view text) {
  if (text.size() > kMaxPlatformBytes)
    FailPlatform(text, kMaxPlatformBytes, "too long");
  std::vector<std::string> parts = SplitPlatform(text);
  if (parts.size() == 1) {
    constexpr std::array<std::string_view, 5> kSystems = {"linux", "windows", "darwin", "macos", "freebsd"};
    if (std::find(kSystems.begin(), kSystems.end(), parts[0]) != kSystems.end())
      FailPlatform(text, text.size(), "the architecture is missing");
    parts.insert(parts.begin(), "linux");
  }
  Platform out{parts[0], parts[1], parts.size() == 3 ? parts[2] : "", ""};
  Normalise(out);
  return out;
}

Platform Platform::Host() {
  utsname names{};
  if (uname(&names) != 0)
    ThrowErrno("uname");
  Platform out{"linux", names.machine, "", ""};
  // The kernel calls both byte orders of MIPS by one name.
  if (std::endian::native == std::endian::little && (out.architecture == "mips" || out.architecture == "mips64"))
    out.architecture += "le";
  Normalise(out);
  return out;
}

Platform Platform::Canonical() const {
  Platform out{LowerAscii(os), LowerAscii(architecture), LowerAscii(variant), os_version};
  Normalise(out);
  const bool arm = out.architecture == "arm" || out.architecture == "arm64";
  if (arm && out.variant.size() == 1 && out.variant[0] >= '5' && out.variant[0] <= '9')
    out.variant.insert(0, "v");
  if (out.architecture == "arm" && out.variant.empty())
    out.variant = "v7";
  if ((out.architecture == "arm64" && out.variant == "v8") || (out.architecture == "amd64" && out.variant == "v1"))
    out.variant.clear();
  return out;
}

std::string Platform::ToString() const { return os + "/" + architecture + (variant.empty() ? "" : "/" + variant); }

Digest ParseDigest(const json::Cursor& from) {
  const std::string& text = from.String(256);
  try {
    return Digest::Parse(text);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCorrupt)
      from.Fail(error.message());
    throw error.WithContext(Quoted(from.pointer()));
  }
}

std::string ParseArtifactType(const json::Cursor& from) {
  const std::string& type = from.String(kMaxMediaTypeBytes);
  if (!IsPrintable(type))
    from.Fail("expected the type of an artifact, found " + Quoted(type));
  return type;
}

Descriptor Descriptor::Parse(const json::Cursor& from) {
  Descriptor out{.media_type = ParseMediaType(from.At("mediaType")), .digest = ParseDigest(from.At("digest"))};
  out.size = from.At("size").Unsigned(kMaxBlobBytes);
  if (out.size == 0 && !MayBeEmpty(out))
    from.At("size").Fail("a blob of no bytes");
  if (const auto urls = from.Find("urls")) {
    for (const json::Cursor& url : urls->Elements(kMaxUrls)) out.urls.push_back(url.String(kMaxUrlBytes));
  }
  if (const auto annotations = from.Find("annotations"))
    out.annotations = annotations->StringMap(kMaxAnnotations);
  if (const auto platform = from.Find("platform")) {
    out.platform = ParsePlatform(*platform);
    // Go prints a platform that was never set as one of empty names.
    if (*out.platform == Platform{})
      out.platform.reset();
  }
  if (const auto type = from.Find("artifactType"))
    out.artifact_type = ParseArtifactType(*type);
  return out;
}

json::Value Descriptor::ToJson() const {
  json::Object out{{"mediaType", media_type}, {"digest", digest.str()}, {"size", size}};
  if (!urls.empty())
    out.Append("urls", urls);
  if (!annotations.empty())
    out.Append("annotations", annotations);
  if (platform) {
    json::Object members{{"architecture", platform->architecture}, {"os", platform->os}};
    if (!platform->os_version.empty())
      members.Append("os.version", platform->os_version);
    if (!platform->variant.empty())
      members.Append("variant", platform->variant);
    out.Append("platform", std::move(members));
  }
  if (!artifact_type.empty())
    out.Append("artifactType", artifact_type);
  return out;
}

}  // namespace gantry::image
