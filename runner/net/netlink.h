// What a private network needs of links, addresses and routes, said to the kernel by rtnetlink(7).
//
// Everything asked for is new or the same as before: an answer that it exists already is no error, where that can be
// meant. IPv4.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "runner/net/network_request.h"

namespace gantry::runner {

using MacAddress = std::array<uint8_t, 6>;

struct VethPair {
  std::string name;  // of our end
  int bridge = 0;    // that it is a port of
  std::string peer_name;
  int peer_netns = -1;  // where the peer goes
  MacAddress peer_mac{};
};

// An ethernet device that is up.
struct NetworkDevice {
  int index = 0;
  std::string name;
  MacAddress mac{};
  uint32_t mtu = 0;
};

class Netlink {
 public:
  // Speaks about our network namespace, or about the one that `netns` is: that is entered for a moment, so the caller
  // is single-threaded.
  static Netlink Open();
  static Netlink OpenIn(int netns);

  std::optional<int> FindLink(const std::string& name);            // its index
  int MakeBridge(const std::string& name, const MacAddress& mac);  // up; that of the name, if there is one
  void SetUp(int link);
  void MakeVeth(const VethPair& pair);  // our end up: the kernel takes no other
  // A port of a bridge gives frames back to where they came from, too: where br_netfilter is loaded, a pod cannot reach
  // what it publishes itself without it.
  void SetHairpin(const std::string& port);
  void DeleteLink(const std::string& name);  // no error when absent
  void AddAddress(int link, Ipv4 address, unsigned prefix);
  void AddDefaultRoute(Ipv4 gateway);
  std::vector<NetworkDevice> Devices();
  // The addresses and routes of a device, of IPv4 and IPv6, as requests that set the same in another kernel, in this
  // order. They are about the device 0: in ifa_index of an address, and in RTA_OIF, the first attribute of a route.
  std::vector<std::string> SettingsOf(int link);
  void RemoveAddresses(int link);  // of both, and with them their routes
  void SetMac(int link, const MacAddress& mac);
  void SetMtu(int link, uint32_t mtu);
  void MakePort(int link, int bridge);  // of the bridge
  // A route, other than the default, to something in the network.
  std::optional<std::string> FindRouteInto(Ipv4 network, unsigned prefix);

 private:
  explicit Netlink(UniqueFd socket) : socket_(std::move(socket)) {}
  class Request;
  int Talk(Request& request, std::string* answer = nullptr);  // 0 or an errno
  template <typename Body>
  std::string Dump(uint16_t type, const char* what);
  template <typename Value>
  void Change(int link, unsigned short attribute, const Value& value, const char* what);
  UniqueFd socket_;
  uint32_t sequence_ = 0;
};

// Whether nftables has a table of that name in the family ip. Asked of the kernel itself: this is for every start.
bool HasTable(const std::string& name);

}  // namespace gantry::runner
