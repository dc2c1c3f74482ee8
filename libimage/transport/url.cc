#include "libimage/transport/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <span>

#include "libimage/base/ascii.h"

namespace gantry::image {
namespace {

struct CurlUrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using CurlUrl = std::unique_ptr<CURLU, CurlUrlDeleter>;

// Empty when the part is absent.
std::string Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
    return {};
  std::string out = text;
  curl_free(text);
  return out;
}

NetworkZone ZoneOfIpv4(uint32_t address) {
  const auto in = [address](uint32_t network, int bits) { return (address ^ network) >> (32 - bits) == 0; };
  if (in(0x7f000000, 8) || in(0, 8))
    return NetworkZone::kLoopback;
  if (in(0xa9fe0000, 16))
    return NetworkZone::kLinkLocal;
  if (in(0x0a000000, 8) || in(0xac100000, 12) || in(0xc0a80000, 16) || in(0x64400000, 10))
    return NetworkZone::kPrivate;
  return NetworkZone::kPublic;
}

uint32_t BigEndian32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]};
}

NetworkZone ZoneOfIpv6(const in6_addr& address) {
  const std::span<const uint8_t, 16> bytes(address.s6_addr);
  constexpr std::array<uint8_t, 12> kNat64 = {0x00, 0x64, 0xff, 0x9b};
  if (IN6_IS_ADDR_V4MAPPED(&address) || std::equal(kNat64.begin(), kNat64.end(), bytes.begin()))
    return ZoneOfIpv4(BigEndian32(&bytes[12]));
  if (IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_UNSPECIFIED(&address))
    return NetworkZone::kLoopback;
  if (IN6_IS_ADDR_LINKLOCAL(&address))
    return NetworkZone::kLinkLocal;
  if ((bytes[0] & 0xfe) == 0xfc || IN6_IS_ADDR_SITELOCAL(&address))
    return NetworkZone::kPrivate;
  return NetworkZone::kPublic;
}

}  // namespace

std::optional<NetworkZone> ZoneOfHost(std::string_view host) {
  std::string name(host.substr(0, host.find('%')));  // an IPv6 scope does not count
  while (name.ends_with('.')) name.pop_back();
  in_addr ipv4{};
  if (inet_pton(AF_INET, name.c_str(), &ipv4) == 1)
    return ZoneOfIpv4(ntohl(ipv4.s_addr));
  in6_addr ipv6{};
  if (inet_pton(AF_INET6, name.c_str(), &ipv6) == 1)
    return ZoneOfIpv6(ipv6);
  name = LowerAscii(name);
  if (name == "localhost" || name.ends_with(".localhost"))
    return NetworkZone::kLoopback;
  return std::nullopt;
}

bool MayLead(NetworkZone from, NetworkZone to) {
  return to == NetworkZone::kPublic || to == from || (from == NetworkZone::kLoopback && to == NetworkZone::kPrivate);
}

std::optional<Url> Url::Parse(std::string_view text) {
  const size_t authority = text.find("://");
  // libcurl forgives a third slash; a host that stands where a path should is no mistake to forgive.
  if (text.size() > kMaxUrlBytes || authority == std::string_view::npos || text.substr(authority + 3).starts_with('/'))
    return std::nullopt;
  const bool printable = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c != 0x7f; });
  const CurlUrl parsed(curl_url());
  if (!printable || !parsed || curl_url_set(parsed.get(), CURLUPART_URL, std::string(text).c_str(), 0) != CURLUE_OK)
    return std::nullopt;
  const std::string scheme = Part(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https")
    return std::nullopt;
  char* user = nullptr;
  if (curl_url_get(parsed.get(), CURLUPART_USER, &user, 0) != CURLUE_NO_USER) {
    curl_free(user);
    return std::nullopt;
  }
  curl_url_set(parsed.get(), CURLUPART_FRAGMENT, nullptr, 0);
  Url url;
  url.https_ = scheme == "https";
  url.host_ = LowerAscii(Part(parsed.get(), CURLUPART_HOST));
  curl_url_set(parsed.get(), CURLUPART_HOST, url.host_.c_str(), 0);
  if (url.host_.starts_with('['))
    url.host_ = url.host_.substr(1, url.host_.size() - 2);
  const std::string port = Part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::from_chars(port.data(), port.data() + port.size(), url.port_);
  url.text_ = Part(parsed.get(), CURLUPART_URL);
  if (url.host_.empty() || url.port_ == 0 || url.text_.empty())
    return std::nullopt;
  return url;
}

std::optional<Url> Url::Resolve(std::string_view reference) const {
  if (reference.empty() || reference.size() > kMaxUrlBytes)
    return std::nullopt;
  const CurlUrl base(curl_url());
  if (!base || curl_url_set(base.get(), CURLUPART_URL, text_.c_str(), 0) != CURLUE_OK ||
      curl_url_set(base.get(), CURLUPART_URL, std::string(reference).c_str(), 0) != CURLUE_OK) {
    return std::nullopt;
  }
  return Parse(Part(base.get(), CURLUPART_URL));
}

std::string Url::Origin() const {
  const bool ipv6 = host_.find(':') != std::string::npos;
  return std::string(https_ ? "https://" : "http://") + (ipv6 ? "[" + host_ + "]" : host_) + ":" +
         std::to_string(port_);
}

std::string Url::Shown() const { return text_.substr(0, text_.find('?')); }

}  // namespace gantry::image
