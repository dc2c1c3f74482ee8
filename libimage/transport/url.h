// URLs of registries, and where on the network a host is.
//
// A Url is absolute, http or https, without user information and fragment, at most kMaxUrlBytes, its host in lower
// case and numeric IPv4 addresses in dotted form however they were spelt. Part of the `http` module, which owns
// libcurl.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::image {

constexpr size_t kMaxUrlBytes = 16 * 1024;

// How far inside a network an address is. A server may name addresses (in redirects and token realms) only as far as
// MayLead allows, so that a registry on the Internet cannot make us talk to what only this machine can reach.
enum class NetworkZone { kPublic, kPrivate, kLinkLocal, kLoopback };

// The zone of a numeric address or of "localhost" and "*.localhost"; nullopt for other names, which only resolving
// tells. Unspecified and IPv4-mapped addresses count as what they reach.
std::optional<NetworkZone> ZoneOfHost(std::string_view host);

// To public addresses always, within one zone, and from loopback to private ones.
bool MayLead(NetworkZone from, NetworkZone to);

class Url {
 public:
  // nullopt for what is not such a URL.
  static std::optional<Url> Parse(std::string_view text);
  // `reference` (RFC 3986: absolute or relative) as seen from this URL.
  std::optional<Url> Resolve(std::string_view reference) const;

  const std::string& str() const { return text_; }
  bool https() const { return https_; }
  const std::string& host() const { return host_; }  // IPv6 without brackets
  uint16_t port() const { return port_; }
  // "https://host:port"; two URLs of one origin share credentials.
  std::string Origin() const;
  // For messages: without the query, which may hold a signature or a token.
  std::string Shown() const;

  friend bool operator==(const Url&, const Url&) = default;

 private:
  Url() = default;
  std::string text_;
  std::string host_;
  uint16_t port_ = 0;
  bool https_ = false;
};

}  // namespace gantry::image
