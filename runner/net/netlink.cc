#include "runner/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxAnswer = 64 * 1024;          // of one datagram
constexpr size_t kMaxAnswers = 16 * 1024 * 1024;  // of one dump

UniqueFd OpenSocket(int protocol) {
  UniqueFd out(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!out)
    ThrowErrno("open a netlink socket");
  return out;
}

template <typename Value>
std::string_view BytesOf(const Value& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// A message in a row of them; `at` goes to the next. Null at the end, or where a length is not one.
const nlmsghdr* NextMessage(std::string_view bytes, size_t& at) {
  nlmsghdr head;
  if (bytes.size() - at < sizeof head)
    return nullptr;
  std::memcpy(&head, bytes.data() + at, sizeof head);
  if (head.nlmsg_len < sizeof head || head.nlmsg_len > bytes.size() - at)
    return nullptr;
  const auto* out = reinterpret_cast<const nlmsghdr*>(bytes.data() + at);
  at += std::min<size_t>(NLMSG_ALIGN(head.nlmsg_len), bytes.size() - at);
  return out;
}

// The value of an attribute after the fixed part of `body`, which is that long; empty when absent.
std::string_view Attribute(std::string_view body, size_t fixed, unsigned short type) {
  for (size_t at = NLMSG_ALIGN(fixed); at < body.size() && body.size() - at >= sizeof(rtattr);) {
    rtattr head;
    std::memcpy(&head, body.data() + at, sizeof head);
    if (head.rta_len < sizeof head || head.rta_len > body.size() - at)
      return {};
    if ((head.rta_type & NLA_TYPE_MASK) == type)
      return body.substr(at + sizeof head, head.rta_len - sizeof head);
    at += RTA_ALIGN(head.rta_len);
  }
  return {};
}

std::optional<uint32_t> Number(std::string_view value) {
  uint32_t out = 0;
  if (value.size() != sizeof out)
    return std::nullopt;
  std::memcpy(&out, value.data(), sizeof out);
  return out;
}

}  // namespace

// A message in the making.
class Netlink::Request {
 public:
  template <typename Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    nlmsghdr head{};
    head.nlmsg_type = type;
    head.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    Add(BytesOf(head));
    Add(BytesOf(body));
  }

  Request& Put(unsigned short type, std::string_view value) {
    const rtattr head{static_cast<unsigned short>(sizeof(rtattr) + value.size()), type};
    Add(BytesOf(head));
    Add(value);
    return *this;
  }
  Request& PutText(unsigned short type, const std::string& text) { return Put(type, {text.c_str(), text.size() + 1}); }
  template <typename Value>
  Request& PutValue(unsigned short type, const Value& value) {
    return Put(type, BytesOf(value));
  }
  // What `fill` adds is the value of an attribute; `body` comes before.
  template <typename Fill>
  Request& Nest(unsigned short type, std::string_view body, Fill fill) {
    const size_t begin = bytes_.size();
    Put(type, body);
    fill();
    const auto size = static_cast<unsigned short>(bytes_.size() - begin);
    std::memcpy(bytes_.data() + begin, &size, sizeof size);
    return *this;
  }

  std::string_view Finish(uint32_t sequence) {
    nlmsghdr head;
    std::memcpy(&head, bytes_.data(), sizeof head);
    head.nlmsg_len = static_cast<uint32_t>(bytes_.size());
    head.nlmsg_seq = sequence;
    std::memcpy(bytes_.data(), &head, sizeof head);
    return bytes_;
  }

 private:
  void Add(std::string_view bytes) {
    bytes_ += bytes;
    bytes_.resize(NLMSG_ALIGN(bytes_.size()), '\0');
  }
  std::string bytes_;
};

Netlink Netlink::Open() { return Netlink(OpenSocket(NETLINK_ROUTE)); }

Netlink Netlink::OpenIn(int netns) {
  const UniqueFd ours = OpenFile("/proc/self/ns/net", O_RDONLY);
  if (setns(netns, CLONE_NEWNET) < 0)
    ThrowErrno("enter the network namespace of the pod");
  const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  const int error = errno;
  if (setns(ours.get(), CLONE_NEWNET) < 0)
    ThrowErrno("come back to our network namespace");
  if (socket < 0)
    ThrowErrno("open a netlink socket", error);
  return Netlink(UniqueFd(socket));
}

// Sends, and reads until the answer is whole: an acknowledgement, or the end of a dump.
int Netlink::Talk(Request& request, std::string* answer) {
  const uint32_t sequence = ++sequence_;
  const std::string_view bytes = request.Finish(sequence);
  if (send(socket_.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    ThrowErrno("send to the kernel's network");
  std::string buffer(kMaxAnswer, '\0');
  for (;;) {
    const ssize_t size = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR)
      continue;
    if (size < 0)
      ThrowErrno("hear from the kernel's network");
    const std::string_view got(buffer.data(), static_cast<size_t>(size));
    size_t at = 0;
    while (const nlmsghdr* head = NextMessage(got, at)) {
      if (head->nlmsg_seq != sequence)
        continue;
      const std::string_view body(reinterpret_cast<const char*>(head) + NLMSG_HDRLEN, head->nlmsg_len - NLMSG_HDRLEN);
      if (head->nlmsg_type == NLMSG_DONE)
        return 0;
      if (head->nlmsg_type == NLMSG_ERROR)
        return body.size() < sizeof(int) ? EPROTO : -static_cast<int>(*Number(body.substr(0, sizeof(int))));
      if (answer != nullptr && answer->size() < kMaxAnswers) {
        answer->append(reinterpret_cast<const char*>(head), head->nlmsg_len);
        answer->resize(NLMSG_ALIGN(answer->size()), '\0');
      }
    }
  }
}

std::optional<int> Netlink::FindLink(const std::string& name) {
  Request request(RTM_GETLINK, NLM_F_ACK, ifinfomsg{});
  request.PutText(IFLA_IFNAME, name);
  std::string answer;
  const int error = Talk(request, &answer);
  if (error == ENODEV)
    return std::nullopt;
  size_t at = 0;
  const nlmsghdr* head = NextMessage(answer, at);
  if (error != 0 || head == nullptr || head->nlmsg_len < NLMSG_HDRLEN + sizeof(ifinfomsg))
    ThrowErrno("find the network device " + Quoted(name), error != 0 ? error : EPROTO);
  ifinfomsg found;
  std::memcpy(&found, answer.data() + NLMSG_HDRLEN, sizeof found);
  return found.ifi_index;
}

int Netlink::MakeBridge(const std::string& name, const MacAddress& mac) {
  ifinfomsg up{};
  up.ifi_flags = IFF_UP;
  up.ifi_change = IFF_UP;
  Request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, up);
  request.PutText(IFLA_IFNAME, name).PutValue(IFLA_ADDRESS, mac);
  request.Nest(IFLA_LINKINFO, {}, [&] { request.Put(IFLA_INFO_KIND, "bridge"); });
  if (const int error = Talk(request); error == EOPNOTSUPP)
    throw Error(ErrorKind::kUnsupported, "this kernel has no bridges", "load its module: modprobe bridge");
  else if (error != 0 && error != EEXIST)
    ThrowErrno("make the bridge " + Quoted(name), error);
  if (const auto index = FindLink(name))
    return *index;
  throw Error(ErrorKind::kFailed, "the bridge " + Quoted(name) + " went away");
}

void Netlink::MakeVeth(const VethPair& pair) {
  ifinfomsg up{};
  up.ifi_flags = IFF_UP;
  up.ifi_change = IFF_UP;
  Request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, up);
  request.PutText(IFLA_IFNAME, pair.name).PutValue(IFLA_MASTER, pair.bridge);
  request.Nest(IFLA_LINKINFO, {}, [&] {
    request.Put(IFLA_INFO_KIND, "veth");
    request.Nest(IFLA_INFO_DATA, {}, [&] {
      request.Nest(VETH_INFO_PEER, BytesOf(ifinfomsg{}), [&] {
        request.PutText(IFLA_IFNAME, pair.peer_name).PutValue(IFLA_ADDRESS, pair.peer_mac);
        request.PutValue(IFLA_NET_NS_FD, pair.peer_netns);
      });
    });
  });
  if (const int error = Talk(request); error == EOPNOTSUPP)
    throw Error(ErrorKind::kUnsupported, "this kernel has no pairs of ethernet devices",
                "load its module: modprobe veth");
  else if (error != 0)
    ThrowErrno("make the network device " + Quoted(pair.name), error);
}

void Netlink::SetHairpin(const std::string& port) {
  Request request(RTM_NEWLINK, NLM_F_ACK, ifinfomsg{});
  request.PutText(IFLA_IFNAME, port);
  request.Nest(IFLA_LINKINFO, {}, [&] {
    request.Put(IFLA_INFO_SLAVE_KIND, "bridge");
    request.Nest(IFLA_INFO_SLAVE_DATA, {}, [&] { request.PutValue(IFLA_BRPORT_MODE, uint8_t{1}); });
  });
  if (const int error = Talk(request); error != 0)
    ThrowErrno("set the hairpin mode of the network device " + Quoted(port), error);
}

void Netlink::SetUp(int link) {
  ifinfomsg up{};
  up.ifi_index = link;
  up.ifi_flags = IFF_UP;
  up.ifi_change = IFF_UP;
  Request request(RTM_NEWLINK, NLM_F_ACK, up);
  if (const int error = Talk(request); error != 0)
    ThrowErrno("start a network device", error);
}

void Netlink::DeleteLink(const std::string& name) {
  Request request(RTM_DELLINK, NLM_F_ACK, ifinfomsg{});
  request.PutText(IFLA_IFNAME, name);
  if (const int error = Talk(request); error != 0 && error != ENODEV)
    ThrowErrno("remove the network device " + Quoted(name), error);
}

void Netlink::AddAddress(int link, Ipv4 address, unsigned prefix) {
  ifaddrmsg body{};
  body.ifa_family = AF_INET;
  body.ifa_prefixlen = static_cast<uint8_t>(prefix);
  body.ifa_index = static_cast<uint32_t>(link);
  Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body);
  const Ipv4 bytes = htonl(address);
  const Ipv4 broadcast = htonl(address | (prefix >= 32 ? 0 : UINT32_MAX >> prefix));
  request.PutValue(IFA_LOCAL, bytes).PutValue(IFA_ADDRESS, bytes).PutValue(IFA_BROADCAST, broadcast);
  if (const int error = Talk(request); error != 0 && error != EEXIST)
    ThrowErrno("give a network device the address " + ToString(address), error);
}

void Netlink::AddDefaultRoute(Ipv4 gateway) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = RT_SCOPE_UNIVERSE;
  body.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body);
  request.PutValue(RTA_GATEWAY, htonl(gateway));
  if (const int error = Talk(request); error != 0 && error != EEXIST)
    ThrowErrno("set the route over " + ToString(gateway), error);
}

std::optional<std::string> Netlink::FindRouteInto(Ipv4 network, unsigned prefix) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  Request request(RTM_GETROUTE, NLM_F_DUMP, body);
  std::string answer;
  if (const int error = Talk(request, &answer); error != 0)
    ThrowErrno("list the routes", error);
  size_t at = 0;
  for (size_t begin = 0; const nlmsghdr* head = NextMessage(answer, at); begin = at) {
    if (head->nlmsg_type != RTM_NEWROUTE || head->nlmsg_len < NLMSG_HDRLEN + sizeof(rtmsg))
      continue;
    const std::string_view route(answer.data() + begin + NLMSG_HDRLEN, head->nlmsg_len - NLMSG_HDRLEN);
    rtmsg of;
    std::memcpy(&of, route.data(), sizeof of);
    const auto to = Number(Attribute(route, sizeof of, RTA_DST));
    if (!to || of.rtm_dst_len == 0 || of.rtm_dst_len > 32)
      continue;
    const unsigned shorter = std::min<unsigned>(of.rtm_dst_len, prefix);
    const Ipv4 mask = shorter == 0 ? 0 : UINT32_MAX << (32 - shorter);
    if ((ntohl(*to) & mask) == (network & mask))
      return ToString(ntohl(*to)) + "/" + std::to_string(of.rtm_dst_len);
  }
  return std::nullopt;
}

template <typename Body>
std::string Netlink::Dump(uint16_t type, const char* what) {
  Request request(type, NLM_F_DUMP, Body{});
  std::string out;
  if (const int error = Talk(request, &out); error != 0)
    ThrowErrno(std::string("list the ") + what, error);
  return out;
}

namespace {

// Calls `each` with the fixed part of each message of that type, and with all of it.
template <typename Body, typename Each>
void ForEach(std::string_view dump, uint16_t type, Each each) {
  size_t at = 0;
  for (size_t begin = 0; const nlmsghdr* head = NextMessage(dump, at); begin = at) {
    if (head->nlmsg_type != type || head->nlmsg_len < NLMSG_HDRLEN + sizeof(Body))
      continue;
    const std::string_view bytes = dump.substr(begin + NLMSG_HDRLEN, head->nlmsg_len - NLMSG_HDRLEN);
    Body body;
    std::memcpy(&body, bytes.data(), sizeof body);
    each(body, bytes);
  }
}

bool IsLinkLocal(const ifaddrmsg& address) {
  return address.ifa_family == AF_INET6 && address.ifa_scope == RT_SCOPE_LINK;
}

// Set by somebody: what the kernel makes of an address it makes of the same address elsewhere, too.
bool IsRouteOf(int link, const rtmsg& route, std::string_view bytes) {
  const auto to = Number(Attribute(bytes, sizeof route, RTA_OIF));
  return route.rtm_type == RTN_UNICAST && route.rtm_table == RT_TABLE_MAIN && route.rtm_protocol != RTPROT_KERNEL &&
         route.rtm_protocol != RTPROT_RA && (route.rtm_flags & RTM_F_CLONED) == 0 && to == static_cast<uint32_t>(link);
}

}  // namespace

std::vector<NetworkDevice> Netlink::Devices() {
  std::vector<NetworkDevice> out;
  ForEach<ifinfomsg>(
      Dump<ifinfomsg>(RTM_GETLINK, "network devices"), RTM_NEWLINK, [&](const ifinfomsg& link, std::string_view bytes) {
        const std::string_view name = Attribute(bytes, sizeof link, IFLA_IFNAME);
        const std::string_view mac = Attribute(bytes, sizeof link, IFLA_ADDRESS);
        NetworkDevice device{.index = link.ifi_index, .name = std::string(name.substr(0, name.find('\0')))};
        if (link.ifi_type != ARPHRD_ETHER || (link.ifi_flags & IFF_UP) == 0 || mac.size() != device.mac.size())
          return;
        std::memcpy(device.mac.data(), mac.data(), mac.size());
        device.mtu = Number(Attribute(bytes, sizeof link, IFLA_MTU)).value_or(0);
        out.push_back(std::move(device));
      });
  std::ranges::sort(out, {}, &NetworkDevice::index);
  return out;
}

std::vector<std::string> Netlink::SettingsOf(int link) {
  std::vector<std::string> out;
  const auto add = [&](Request& request, std::string_view from, size_t fixed,
                       std::initializer_list<unsigned short> kept) {
    for (const unsigned short type : kept) {
      if (const std::string_view value = Attribute(from, fixed, type); !value.empty())
        request.Put(type, value);
    }
    out.emplace_back(request.Finish(0));
  };
  constexpr uint16_t kNew = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  ForEach<ifaddrmsg>(Dump<ifaddrmsg>(RTM_GETADDR, "addresses"), RTM_NEWADDR,
                     [&](ifaddrmsg address, std::string_view bytes) {
                       if (address.ifa_index != static_cast<uint32_t>(link) || IsLinkLocal(address))
                         return;
                       address.ifa_index = 0;
                       address.ifa_flags = IFA_F_NODAD;  // nobody else has had it meanwhile
                       Request request(RTM_NEWADDR, kNew, address);
                       add(request, bytes, sizeof address, {IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST});
                     });
  const std::string routes = Dump<rtmsg>(RTM_GETROUTE, "routes");
  // A gateway has to be reached before it can be one.
  for (const bool by_gateway : {false, true}) {
    ForEach<rtmsg>(routes, RTM_NEWROUTE, [&](rtmsg route, std::string_view bytes) {
      const bool has_gateway = !Attribute(bytes, sizeof route, RTA_GATEWAY).empty();
      if (has_gateway != by_gateway || !IsRouteOf(link, route, bytes))
        return;
      route.rtm_flags &= RTNH_F_ONLINK;
      Request request(RTM_NEWROUTE, kNew, route);
      request.PutValue(RTA_OIF, 0);
      add(request, bytes, sizeof route, {RTA_DST, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC});
    });
  }
  return out;
}

void Netlink::RemoveAddresses(int link) {
  ForEach<ifaddrmsg>(Dump<ifaddrmsg>(RTM_GETADDR, "addresses"), RTM_NEWADDR,
                     [&](const ifaddrmsg& address, std::string_view bytes) {
                       if (address.ifa_index != static_cast<uint32_t>(link))
                         return;
                       Request request(RTM_DELADDR, NLM_F_ACK, address);
                       for (const unsigned short type : {IFA_LOCAL, IFA_ADDRESS}) {
                         if (const auto value = Attribute(bytes, sizeof address, type); !value.empty())
                           request.Put(type, value);
                       }
                       if (const int error = Talk(request); error != 0 && error != EADDRNOTAVAIL)
                         ThrowErrno("take an address from a network device", error);
                     });
}

template <typename Value>
void Netlink::Change(int link, unsigned short attribute, const Value& value, const char* what) {
  ifinfomsg body{};
  body.ifi_index = link;
  Request request(RTM_NEWLINK, NLM_F_ACK, body);
  request.PutValue(attribute, value);
  if (const int error = Talk(request); error != 0)
    ThrowErrno(what, error);
}

void Netlink::SetMac(int link, const MacAddress& mac) {
  Change(link, IFLA_ADDRESS, mac, "set the hardware address of a network device");
}

void Netlink::SetMtu(int link, uint32_t mtu) { Change(link, IFLA_MTU, mtu, "set the MTU of a network device"); }

void Netlink::MakePort(int link, int bridge) {
  Change(link, IFLA_MASTER, bridge, "put a network device into a bridge");
}

bool HasTable(const std::string& name) {
  const UniqueFd socket = OpenSocket(NETLINK_NETFILTER);
  std::string message(NLMSG_HDRLEN + sizeof(nfgenmsg), '\0');
  const nlattr attribute{static_cast<uint16_t>(sizeof(nlattr) + name.size() + 1), NFTA_TABLE_NAME};
  message += BytesOf(attribute);
  message += name;
  message.resize(NLMSG_ALIGN(message.size() + 1), '\0');
  nlmsghdr head{};
  head.nlmsg_len = static_cast<uint32_t>(message.size());
  head.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
  head.nlmsg_flags = NLM_F_REQUEST;
  nfgenmsg family{};
  family.nfgen_family = AF_INET;
  std::memcpy(message.data(), &head, sizeof head);
  std::memcpy(message.data() + NLMSG_HDRLEN, &family, sizeof family);
  std::array<char, 4096> answer{};
  if (send(socket.get(), message.data(), message.size(), 0) < 0)
    ThrowErrno("ask for the tables of nftables");
  const ssize_t size = recv(socket.get(), answer.data(), answer.size(), 0);
  size_t at = 0;
  const nlmsghdr* first = NextMessage({answer.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))}, at);
  return first != nullptr && first->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE);
}

}  // namespace gantry::runner
