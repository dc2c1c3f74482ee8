#include <arpa/inet.h>

#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/model/reference.h"
#include "libimage/model/reference_text.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxTagBytes = 128;
constexpr std::string_view kHub = "docker.io";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsPathCharacter(char c) { return IsLower(c) || IsDigit(c); }
bool IsHostCharacter(char c) { return IsLower(c) || IsUpper(c) || IsDigit(c); }
bool IsTagCharacter(char c) { return IsHostCharacter(c) || c == '_' || c == '.' || c == '-'; }
bool IsHexDigit(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); }

// How long the separator at the start of `rest` is: '.', '_', '__' or any number of '-'.
size_t SeparatorLength(std::string_view rest) {
  if (rest.starts_with('-'))
    return std::min(rest.find_first_not_of('-'), rest.size());
  if (rest.starts_with("__"))
    return 2;
  return rest.starts_with('_') || rest.starts_with('.') ? 1 : 0;
}

[[noreturn]] void FailPath(const ReferenceText& text, size_t at) {
  if (at < text.size() && IsUpper(text[at]))
    text.Fail(at, "a repository path is in lower case");
  if (at < text.size() && text[at] == '/')
    text.Fail(at, "a part of the path is empty or ends with a separator");
  if (at < text.size() && SeparatorLength(text.view().substr(at)) > 0)
    text.Fail(at, "a separator must stand between letters or digits ('.', '_', '__' or dashes)");
  text.FailCharacter(at, "a repository path");
}

void CheckPath(const ReferenceText& text) {
  size_t at = 0;
  bool inside = false;  // a component has its first letter or digit
  while (at < text.size()) {
    if (IsPathCharacter(text[at])) {
      inside = true;
      ++at;
      continue;
    }
    const size_t skip = text[at] == '/' ? 1 : SeparatorLength(text.view().substr(at));
    if (!inside || skip == 0)
      FailPath(text, at);
    at += skip;
    inside = false;
  }
  if (!inside)
    FailPath(text, at);
}

void CheckPort(const ReferenceText& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsDigit(text[i]))
      text.FailCharacter(i, "a port");
  }
  if (text.empty())
    text.Fail(0, "the port is missing");
  if (text[0] == '0' || text.size() > 5 || std::stoi(std::string(text.view())) > 65535)
    text.Fail(0, "a port is a number from 1 to 65535");
}

// "[...]" at the start of a host; returns its length.
size_t CheckIpv6(const ReferenceText& text) {
  const size_t end = text.view().find(']');
  if (end == std::string_view::npos)
    text.Fail(text.size(), "the ']' of an IPv6 address is missing");
  const std::string address(text.view().substr(1, end - 1));
  in6_addr parsed{};
  if (address.find('\0') != std::string::npos || inet_pton(AF_INET6, address.c_str(), &parsed) != 1)
    text.Fail(1, "not an IPv6 address (a zone cannot be written here)");
  return end + 1;
}

// Labels of a domain, up to a ':' or the end; returns their length.
size_t CheckDomain(const ReferenceText& text) {
  size_t at = 0;
  char before = '.';
  for (; at < text.size() && text[at] != ':'; ++at) {
    const char c = text[at];
    const bool edge = before == '.' || before == '-';
    if (!IsHostCharacter(c) && (c != '-' || before == '.') && (c != '.' || edge))
      text.FailCharacter(at, "a host name");
    before = c;
  }
  if (before == '.' || before == '-')
    text.FailCharacter(at, "a host name");
  return at;
}

std::string ParseHost(const ReferenceText& text) {
  const size_t length = text[0] == '[' ? CheckIpv6(text) : CheckDomain(text);
  if (length < text.size()) {
    if (text[length] != ':')
      text.FailCharacter(length, "a host");
    CheckPort(text.Skip(length + 1));
  }
  return LowerAscii(text.view());
}

std::string ParseTag(const ReferenceText& text) {
  if (text.empty())
    text.Fail(0, "the tag is missing");
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsTagCharacter(text[i]) || (i == 0 && (text[i] == '.' || text[i] == '-')))
      text.FailCharacter(i, i == 0 ? "the first place of a tag" : "a tag");
  }
  if (text.size() > kMaxTagBytes)
    text.Fail(kMaxTagBytes, "a tag has at most 128 characters");
  return std::string(text.view());
}

Digest ParseDigestText(const ReferenceText& text) {
  if (auto digest = Digest::TryParse(text.view()))
    return *digest;
  const size_t colon = text.view().find(':');
  const std::string_view algorithm = text.view().substr(0, colon);
  if (colon == std::string_view::npos || (algorithm != "sha256" && algorithm != "sha512"))
    text.Fail(0, "a digest is sha256: or sha512: and hexadecimal digits");
  const ReferenceText hex = text.Skip(colon + 1);
  for (size_t i = 0; i < hex.size(); ++i) {
    if (!IsHexDigit(hex[i]))
      hex.FailCharacter(i, "a digest (digits and the letters a to f)");
  }
  const size_t wanted = algorithm == "sha256" ? 64 : 128;
  hex.Fail(std::min(hex.size(), wanted), std::string(algorithm) + " has " + std::to_string(wanted) +
                                             " digits, here are " + std::to_string(hex.size()));
}

bool LooksLikeHost(std::string_view component) {
  return component == "localhost" || component.starts_with('[') || component.find_first_of(".:") != std::string::npos;
}

bool IsImageId(std::string_view text) { return text.size() == 64 && std::all_of(text.begin(), text.end(), IsHexDigit); }

// What precedes tag and digest.
void ParseName(const ReferenceText& name, DockerReference& out) {
  size_t host_length = 0;
  const size_t slash = name.view().find('/');
  if (slash != std::string_view::npos && LooksLikeHost(name.view().substr(0, slash))) {
    out.host = ParseHost(name.First(slash));
    host_length = slash + 1;
  } else if (name.view().starts_with('[')) {
    name.Fail(name.size(), "a host must be followed by '/' and a repository path");
  }
  const ReferenceText path = name.Skip(host_length);
  CheckPath(path);
  out.path = path.view();
  if (out.host.empty() || out.host == "index.docker.io")
    out.host = kHub;
  if (out.host == kHub && out.path.find('/') == std::string::npos)
    out.path = "library/" + out.path;
  if (out.host.size() + 1 + out.path.size() > kMaxNameBytes)
    name.Fail(name.size(), "host and path together have at most 255 characters, here are " +
                               std::to_string(out.host.size() + 1 + out.path.size()));
}

}  // namespace

DockerReference ParseDocker(const ReferenceText& text) {
  if (IsImageId(text.view()))
    text.Fail(0, "64 hexadecimal digits are an image ID, which no registry knows; write NAME@sha256:DIGITS");
  DockerReference out;
  ReferenceText rest = text;
  if (const size_t at = rest.view().find('@'); at != std::string_view::npos) {
    out.digest = ParseDigestText(rest.Skip(at + 1));
    rest = rest.First(at);
  }
  const size_t slash = rest.view().rfind('/');
  const size_t last = slash == std::string_view::npos ? 0 : slash + 1;
  // Not the colons of an IPv6 address that has no path behind it.
  const size_t colon = last == 0 && rest.view().starts_with('[') ? std::string_view::npos : rest.view().find(':', last);
  if (colon != std::string_view::npos) {
    out.tag = ParseTag(rest.Skip(colon + 1));
    rest = rest.First(colon);
  }
  if (rest.empty())
    text.Fail(0, "the name is missing");
  ParseName(rest, out);
  return out;
}

DockerReference DockerReference::Parse(std::string_view text) { return ParseDocker(ReferenceText(text)); }

std::string DockerReference::Repository() const { return host + "/" + path; }

std::string DockerReference::ToString() const {
  return Repository() + (tag.empty() ? "" : ":" + tag) + (digest ? "@" + digest->str() : "");
}

DockerReference DockerReference::WithDefaultTag() const {
  DockerReference out = *this;
  if (out.tag.empty() && !out.digest)
    out.tag = "latest";
  return out;
}

}  // namespace gantry::image
