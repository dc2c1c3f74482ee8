#include "runner/net/network_request.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxDomainBytes = 253;

[[noreturn]] void RefusePort(const std::string& text, std::string_view why) {
  throw Error(ErrorKind::kUsage, "--publish " + Quoted(text) + ": " + std::string(why),
              "give [IP:]HOSTPORT:PORT[/udp], like 8080:80");
}

std::pair<uint16_t, uint16_t> ParsePorts(std::string_view text, const std::string& whole) {
  const size_t dash = std::min(text.find('-'), text.size());
  const auto first = ParseDecimal<uint16_t>(text.substr(0, dash));
  const auto last = dash < text.size() ? ParseDecimal<uint16_t>(text.substr(dash + 1)) : first;
  if (!first || !last || *first == 0 || *last < *first)
    RefusePort(whole, Quoted(text) + " is no port");
  return {*first, *last};
}

std::optional<Ipv4> ParseIpv4(const std::string& text) {
  in_addr out{};
  if (text.find('\0') != std::string::npos || inet_pton(AF_INET, text.c_str(), &out) != 1)
    return std::nullopt;
  return ntohl(out.s_addr);
}

bool IsDomain(const std::string& text) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; };
  return !text.empty() && text.size() <= kMaxDomainBytes && text.front() != '-' && std::ranges::all_of(text, allowed);
}

bool IsResolverOption(const std::string& text) {
  return !text.empty() && text.size() <= kMaxDomainBytes && text.front() != '#' && text.front() != ';' &&
         std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c < 0x7F; });
}

template <typename Is>
void CheckEach(const std::vector<std::string>& texts, const char* option, Is is, const char* what) {
  if (texts.size() > kMaxResolverEntries)
    throw Error(ErrorKind::kUsage, std::string("more than 32 of ") + option);
  for (const std::string& text : texts) {
    if (!is(text))
      throw Error(ErrorKind::kUsage, std::string(option) + " " + Quoted(text) + ": expected " + what);
  }
}

}  // namespace

std::string ToString(Ipv4 address) {
  char out[INET_ADDRSTRLEN];
  const in_addr bytes{htonl(address)};
  return inet_ntop(AF_INET, &bytes, out, sizeof out);
}

bool IsAddress(const std::string& text) {
  in6_addr out{};
  return ParseIpv4(text).has_value() ||
         (text.find('\0') == std::string::npos && inet_pton(AF_INET6, text.c_str(), &out) == 1);
}

std::vector<PublishedPort> PublishedPort::Parse(const std::string& text) {
  PublishedPort one;
  std::string rest = text;
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    const std::string protocol = rest.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp")
      RefusePort(text, "the protocol is neither tcp nor udp");
    one.udp = protocol == "udp";
    rest.resize(slash);
  }
  const size_t colon = rest.rfind(':');
  if (colon == std::string::npos)
    RefusePort(text, "no ':' between the host's port and the pod's");
  const auto [first, last] = ParsePorts(std::string_view(rest).substr(colon + 1), text);
  std::string host = rest.substr(0, colon);
  if (const size_t address = host.rfind(':'); address != std::string::npos) {
    const auto parsed = ParseIpv4(host.substr(0, address));
    if (!parsed)
      RefusePort(text, Quoted(host.substr(0, address)) + " is no IPv4 address");
    one.host_address = *parsed;
    host.erase(0, address + 1);
  }
  const auto [host_first, host_last] = ParsePorts(host, text);
  if (host_last - host_first != last - first)
    RefusePort(text, "the two ranges are not of one length");
  if (last - first >= static_cast<int>(kMaxPublishedPorts))
    RefusePort(text, "more than 1024 ports");
  std::vector<PublishedPort> out;
  for (int i = 0; i <= last - first; ++i) {
    one.host_port = static_cast<uint16_t>(host_first + i);
    one.port = static_cast<uint16_t>(first + i);
    out.push_back(one);
  }
  return out;
}

std::string PublishedPort::ToString() const {
  return (host_address != 0 ? runner::ToString(host_address) + ":" : "") + std::to_string(host_port) + ":" +
         std::to_string(port) + (udp ? "/udp" : "");
}

HostEntry HostEntry::Parse(const std::string& text) {
  const size_t end = std::min(text.find_first_of(":="), text.size());
  HostEntry out{text.substr(0, end), end < text.size() ? text.substr(end + 1) : ""};
  if (out.address.starts_with('[') && out.address.ends_with(']'))
    out.address = out.address.substr(1, out.address.size() - 2);
  return out;
}

void NetworkRequest::Check() const {
  CheckEach(resolver.servers, "--dns", IsAddress, "an IPv4 or IPv6 address");
  CheckEach(resolver.searches, "--dns-search", IsDomain, "a domain");
  CheckEach(resolver.options, "--dns-option", IsResolverOption, "an option of resolv.conf(5)");
  if (hosts.size() > kMaxHostEntries)
    throw Error(ErrorKind::kUsage, "more than 1024 of --add-host");
  for (const HostEntry& host : hosts) {
    if (!IsDomain(host.name) || (!IsAddress(host.address) && host.address != kHostGateway))
      throw Error(ErrorKind::kUsage,
                  "--add-host " + Quoted(host.name + ":" + host.address) + ": expected NAME:ADDRESS");
  }
  if (ports.size() > kMaxPublishedPorts)
    throw Error(ErrorKind::kUsage, "more than 1024 published ports");
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto same = [&](const PublishedPort& other) {
      return other.host_port == ports[i].host_port && other.udp == ports[i].udp &&
             (other.host_address == ports[i].host_address || other.host_address == 0 || ports[i].host_address == 0);
    };
    if (std::any_of(ports.begin(), ports.begin() + static_cast<std::ptrdiff_t>(i), same))
      throw Error(ErrorKind::kUsage, "port " + std::to_string(ports[i].host_port) + " of the host is published twice");
  }
}

}  // namespace gantry::runner
