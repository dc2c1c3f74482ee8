#include "runner/net/private_network.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/net/netlink.h"
#include "runner/net/reserved_port.h"

namespace gantry::runner {
namespace {

constexpr const char* kDevice = "eth0";  // in the pod
constexpr size_t kMaxNftOutput = 64 * 1024;

// A table that is there is removed first, in the same transaction; `add` is for one that is not. What a pod says has to
// come from the pods' network, and loopback addresses are nobody's from outside. Pods are reached from outside by what
// is published, and get answers.
constexpr const char* kTable = R"(add table ip BRIDGE
delete table ip BRIDGE
table ip BRIDGE {
  map anywhere {
    type inet_proto . inet_service : ipv4_addr . inet_service
    ANYWHERE
  }
  map somewhere {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    SOMEWHERE
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname "BRIDGE" ip saddr != SUBNET drop
  }
  chain published {
    dnat ip to ip daddr . meta l4proto . th dport map @somewhere
    dnat ip to meta l4proto . th dport map @anywhere
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr SUBNET oifname != "BRIDGE" masquerade
    ip saddr 127.0.0.0/8 oifname "BRIDGE" masquerade
    ip saddr SUBNET oifname "BRIDGE" ct status dnat masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname != "BRIDGE" oifname "BRIDGE" ct state established,related accept
    iifname != "BRIDGE" oifname "BRIDGE" ct status dnat accept
    iifname != "BRIDGE" oifname "BRIDGE" drop
  }
}
)";

// A program of the system, wherever PATH leads.
std::string FindNft() {
  for (const char* path : {"/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft"}) {
    if (access(path, X_OK) == 0)
      return path;
  }
  throw Error(ErrorKind::kUnsupported, "a private network needs nft, which is not installed",
              "install the Debian package nftables, or choose another network with --net");
}

void RunNft(const std::string& script) {
  const Captured done = RunCaptured({FindNft(), "-f", "-"}, script, kMaxNftOutput);
  if (done.status.code != 0)
    throw Error(ErrorKind::kFailed, "nft could not set the table " + Quoted(kPrivateNetwork),
                "its own words are above; does this kernel have nf_tables and NAT?");
}

// Of the address, so that nobody's table of neighbours is wrong when an address is used again.
MacAddress MacOf(Ipv4 address) {
  return {0x02,
          0x67,
          static_cast<uint8_t>(address >> 24),
          static_cast<uint8_t>(address >> 16),
          static_cast<uint8_t>(address >> 8),
          static_cast<uint8_t>(address)};
}

// The host's end of a pod's pair.
std::string DeviceOf(const std::string& uuid) {
  std::string digits = uuid;
  std::erase(digits, '-');
  return "gv" + digits.substr(0, 12);
}

// `name` is below /proc/sys/net.
void SetSysctl(const std::string& name, const char* value) {
  const std::string path = "/proc/sys/net/" + name;
  if (ReadFile(path, 64).starts_with(value))
    return;
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || write(file.get(), value, 1) != 1)
    throw Error(ErrorKind::kFailed, "cannot set " + Quoted(path) + " to " + value,
                "a private network needs it: is /proc/sys read-only here?");
}

// Whoever made it may have been killed before it was whole.
int OpenBridge(Netlink& host) {
  auto bridge = host.FindLink(kPrivateNetwork);
  if (!bridge) {
    if (const auto route = host.FindRouteInto(kPrivateSubnet.base, kPrivateSubnet.prefix))
      throw Error(ErrorKind::kUnsupported,
                  "the addresses of the private network, " + kPrivateSubnet.ToString() +
                      ", are routed elsewhere here: " + *route,
                  "choose another network with --net");
    bridge = host.MakeBridge(kPrivateNetwork, MacOf(kPrivateSubnet.gateway()));
  }
  host.AddAddress(*bridge, kPrivateSubnet.gateway(), kPrivateSubnet.prefix);
  // Or the host would take an IPv6 router for one that a container says it is.
  if (access("/proc/sys/net/ipv6", F_OK) == 0)
    SetSysctl(std::string("ipv6/conf/") + kPrivateNetwork + "/disable_ipv6", "1");
  SetSysctl("ipv4/ip_forward", "1");
  // So that a port that is published can be reached over 127.0.0.1. What comes from outside for it the table drops.
  SetSysctl(std::string("ipv4/conf/") + kPrivateNetwork + "/route_localnet", "1");
  return *bridge;
}

std::string ElementsOf(const std::vector<Lease>& leases, bool any) {
  std::string out;
  for (const Lease& lease : leases) {
    for (const PublishedPort& port : lease.ports) {
      if ((port.host_address == 0) != any)
        continue;
      out += out.empty() ? "elements = { " : ", ";
      if (!any)
        out += ToString(port.host_address) + " . ";
      out += std::string(port.udp ? "udp" : "tcp") + " . " + std::to_string(port.host_port) + " : " +
             ToString(lease.address) + " . " + std::to_string(port.port);
    }
  }
  return out.empty() ? "" : out + " }";
}

void WriteTable(const std::vector<Lease>& leases) { RunNft(TableOf(kPrivateNetwork, kPrivateSubnet, leases)); }

}  // namespace

std::string TableOf(const std::string& name, const Subnet& subnet, const std::vector<Lease>& leases) {
  std::string out = kTable;
  for (const auto& [word, value] : {std::pair<std::string, std::string>{"BRIDGE", name},
                                    {"SUBNET", subnet.ToString()},
                                    {"ANYWHERE", ElementsOf(leases, true)},
                                    {"SOMEWHERE", ElementsOf(leases, false)}}) {
    for (size_t at = 0; (at = out.find(word, at)) != std::string::npos; at += value.size())
      out.replace(at, word.size(), value);
  }
  return out;
}

AttachedNetwork AttachPrivate(const std::string& pod, const std::string& uuid, int netns, const NetworkRequest& request,
                              std::vector<UniqueFd>& reserved) {
  for (const PublishedPort& port : request.ports) reserved.push_back(ReservePort(port));
  VethPair pair{.name = DeviceOf(uuid), .peer_name = kDevice, .peer_netns = netns};
  Netlink host = Netlink::Open();
  Ipv4 address = 0;
  {
    LeaseBook book = LeaseBook::Open(LeaseBook::DirectoryOf(kPrivateNetwork));
    address = book.Take(kPrivateSubnet, pod, request.ports);
    pair.bridge = OpenBridge(host);
    if (!request.ports.empty() || book.removed_dead() || !HasTable(kPrivateNetwork))
      WriteTable(book.leases());
  }
  pair.peer_mac = MacOf(address);
  host.MakeVeth(pair);
  if (!request.ports.empty())
    host.SetHairpin(pair.name);
  Netlink inside = Netlink::OpenIn(netns);
  const int device = inside.FindLink(kDevice).value_or(0);
  inside.AddAddress(device, address, kPrivateSubnet.prefix);
  inside.SetUp(device);
  inside.AddDefaultRoute(kPrivateSubnet.gateway());
  AttachedNetwork out;
  out.addresses = {ToString(address) + "/" + std::to_string(kPrivateSubnet.prefix)};
  out.gateway = ToString(kPrivateSubnet.gateway());
  return out;
}

void DetachPrivate(const std::string& pod) {
  LeaseBook book = LeaseBook::Open(LeaseBook::DirectoryOf(kPrivateNetwork));
  const std::vector<Lease> before = book.leases();
  const auto own = std::ranges::find(before, pod, &Lease::pod);
  book.Release(pod);
  const bool publishes = own != before.end() && !own->ports.empty();
  if (book.leases().empty()) {
    if (HasTable(kPrivateNetwork))
      RunNft(std::string("delete table ip ") + kPrivateNetwork + "\n");
    Netlink::Open().DeleteLink(kPrivateNetwork);
  } else if ((publishes || book.removed_dead()) && HasTable(kPrivateNetwork)) {
    WriteTable(book.leases());
  }
}

}  // namespace gantry::runner
