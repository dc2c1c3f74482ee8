// What the network of a pod is asked to be, beside its kind: plain values, checked where they are parsed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::runner {

constexpr size_t kMaxPublishedPorts = 1024;  // of one pod
constexpr unsigned kMaxPluginSeconds = 24 * 3600;
constexpr size_t kMaxHostEntries = 1024;
constexpr size_t kMaxResolverEntries = 32;  // of each kind

// IPv4, in host byte order.
using Ipv4 = uint32_t;
std::string ToString(Ipv4 address);

// A port of the host whose connections go to one of the pod.
struct PublishedPort {
  Ipv4 host_address = 0;  // of the host; 0: any
  uint16_t host_port = 0, port = 0;
  bool udp = false;

  // "[IP:]HOSTPORT:PORT[/tcp|/udp]", ports with ranges of one length ("8000-8002:80-82"); kUsage for anything else.
  static std::vector<PublishedPort> Parse(const std::string& text);
  std::string ToString() const;  // for people, as it is parsed
  friend bool operator==(const PublishedPort&, const PublishedPort&) = default;
};

// A line more of /etc/hosts.
struct HostEntry {
  std::string name;
  std::string address;  // IPv4 or IPv6, or kHostGateway

  // "NAME:ADDRESS" or "NAME=ADDRESS".
  static HostEntry Parse(const std::string& text);
  friend bool operator==(const HostEntry&, const HostEntry&) = default;
};
constexpr const char* kHostGateway = "host-gateway";  // the host, as the pod reaches it

// What resolv.conf(5) says.
struct Resolver {
  std::vector<std::string> servers, searches, options;
  bool empty() const { return servers.empty() && searches.empty() && options.empty(); }
  friend bool operator==(const Resolver&, const Resolver&) = default;
};

struct NetworkRequest {
  std::vector<PublishedPort> ports;
  std::vector<HostEntry> hosts;
  Resolver resolver;               // what is empty is the host's
  std::vector<std::string> names;  // of CNI networks, for Network::kNamed: "NAME[:KEY=VALUE;...]"
  std::string configurations;      // the directory that has them
  unsigned plugin_seconds = 60;    // that a call of a plugin may take

  // kUsage for what cannot be an address, a domain or an option.
  void Check() const;
  friend bool operator==(const NetworkRequest&, const NetworkRequest&) = default;
};

bool IsAddress(const std::string& text);  // IPv4 or IPv6

}  // namespace gantry::runner
