#include <algorithm>
#include <array>

#include "libimage/base/error.h"
#include "libimage/model/aci_manifest.h"

namespace gantry::image {
namespace {

bool IsAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool IsJoint(char c) { return c == '-' || c == '.' || c == '_' || c == '~'; }

std::string Lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string Stripped(const std::string& text) {
  const auto first = std::find_if(text.begin(), text.end(), IsAlnum);
  const auto last = std::find_if(text.rbegin(), text.rend(), IsAlnum).base();
  return first < last ? std::string(first, last) : std::string();
}

std::string NonEmpty(std::string name, std::string_view from) {
  if (name.empty()) {
    throw Error(ErrorKind::kFailed, "no App Container name can be made of " + Quoted(from),
                "give the image another name, with a letter or a digit from a to z");
  }
  return name;
}

struct Architecture {
  std::string_view appc, go, variant;
};

// The first of a pair is what ToAppcArch finds; FromAppcArch finds by the name of appc.
constexpr std::array kArchitectures = {
    Architecture{"amd64", "amd64", ""},     Architecture{"i386", "386", ""},
    Architecture{"aarch64", "arm64", ""},   Architecture{"aarch64_be", "arm64be", ""},
    Architecture{"armv6l", "arm", "v6"},    Architecture{"armv7l", "arm", "v7"},
    Architecture{"armv7b", "armbe", "v7"},  Architecture{"ppc64", "ppc64", ""},
    Architecture{"ppc64le", "ppc64le", ""}, Architecture{"s390x", "s390x", ""},
    Architecture{"x86_64", "amd64", ""},
};

}  // namespace

bool IsAcIdentifier(std::string_view text) {
  char before = '/';
  for (const char c : text) {
    if (!IsAlnum(c) && !(c == '/' && IsAlnum(before)) && !(IsJoint(c) && before != '/'))
      return false;
    before = c;
  }
  return IsAlnum(before);
}

bool IsAcName(std::string_view text) {
  return !text.empty() && IsAlnum(text.front()) && IsAlnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsAlnum(c) || c == '-'; });
}

std::string ToAcIdentifier(std::string_view text) {
  std::string out;
  std::string lowered = Lowered(text);
  std::replace_if(
      lowered.begin(), lowered.end(), [](char c) { return !IsAlnum(c) && !IsJoint(c) && c != '/'; }, '_');
  for (size_t at = 0; at <= lowered.size();) {
    const size_t slash = std::min(lowered.find('/', at), lowered.size());
    const std::string part = Stripped(lowered.substr(at, slash - at));
    if (!part.empty())
      out += (out.empty() ? "" : "/") + part;
    at = slash + 1;
  }
  return NonEmpty(std::move(out), text);
}

std::string ToAcName(std::string_view text) {
  std::string lowered = Lowered(text);
  std::replace_if(
      lowered.begin(), lowered.end(), [](char c) { return !IsAlnum(c); }, '-');
  return NonEmpty(Stripped(lowered), text);
}

std::optional<std::string> ToAppcArch(std::string_view architecture, std::string_view variant) {
  if (architecture == "arm" && variant.empty())
    variant = "v6";
  if (architecture == "arm" && variant == "v8")
    variant = "v7";
  const bool versioned = architecture == "arm" || architecture == "armbe";
  for (const Architecture& known : kArchitectures) {
    if (known.go == architecture && (!versioned || known.variant == variant))
      return std::string(known.appc);
  }
  return std::nullopt;
}

std::optional<std::pair<std::string, std::string>> FromAppcArch(std::string_view arch) {
  for (const Architecture& known : kArchitectures) {
    if (known.appc == arch)
      return std::pair(std::string(known.go), std::string(known.variant));
  }
  return std::nullopt;
}

}  // namespace gantry::image
