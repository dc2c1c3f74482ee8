#include "runner/guest/network.h"

#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/guest/channel.h"

namespace gantry::runner::guest {
namespace {

constexpr int kMaxIndex = 64;
constexpr size_t kMaxRequest = 4096;

void Control(int socket, unsigned long request, ifreq& about, const char* what) {
  if (ioctl(socket, request, &about) < 0)
    GiveUp(what, errno);
}

// The driver has found all devices before it was loaded.
int FindDevice(int socket, const uint8_t (&mac)[6]) {
  for (int index = 1; index <= kMaxIndex; ++index) {
    ifreq about = {};
    about.ifr_ifindex = index;
    if (ioctl(socket, SIOCGIFNAME, &about) == 0 && ioctl(socket, SIOCGIFHWADDR, &about) == 0 &&
        memcmp(about.ifr_hwaddr.sa_data, mac, sizeof mac) == 0)
      return index;
  }
  GiveUp("find a network device", ENODEV);
}

// They may have each other's names.
void Rename(int socket, int index, const char* name) {
  ifreq about = {};
  about.ifr_ifindex = index;
  Control(socket, SIOCGIFNAME, about, "name a network device");
  snprintf(about.ifr_newname, sizeof about.ifr_newname, "%s", name);
  Control(socket, SIOCSIFNAME, about, "name a network device");
}

void Start(int socket, const char* name, uint32_t mtu) {
  ifreq about = {};
  snprintf(about.ifr_name, sizeof about.ifr_name, "%s", name);
  about.ifr_mtu = static_cast<int>(mtu);
  Control(socket, SIOCSIFMTU, about, "set the MTU of a network device");
  Control(socket, SIOCGIFFLAGS, about, "start a network device");
  about.ifr_flags = static_cast<short>(about.ifr_flags | IFF_UP);
  Control(socket, SIOCSIFFLAGS, about, "start a network device");
}

// The kernel's answer to one request: 0, or an errno.
int Ask(int netlink, const char* request, size_t size, int index) {
  char bytes[kMaxRequest];
  if (size > sizeof bytes)
    return EMSGSIZE;
  memcpy(bytes, request, size);
  nlmsghdr head;
  memcpy(&head, bytes, sizeof head);
  memcpy(bytes + (head.nlmsg_type == RTM_NEWADDR ? vm::kAddressDevice : vm::kRouteDevice), &index, sizeof index);
  if (send(netlink, bytes, size, 0) != static_cast<ssize_t>(size))
    return errno;
  const ssize_t count = recv(netlink, bytes, sizeof bytes, 0);
  nlmsgerr answer;
  if (count < static_cast<ssize_t>(NLMSG_HDRLEN + sizeof answer))
    return EPROTO;
  memcpy(&answer, bytes + NLMSG_HDRLEN, sizeof answer);
  return -answer.error;
}

}  // namespace

void SetUpDevices(const vm::Job& job) {
  if (job.head.device_count == 0)
    return;
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int netlink = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (socket < 0 || netlink < 0)
    GiveUp("make a socket", errno);
  int indices[vm::kMaxJobDevices];
  for (uint64_t i = 0; i < job.head.device_count; ++i) {
    char name[IFNAMSIZ];
    snprintf(name, sizeof name, "gantry%u", static_cast<unsigned>(i));
    indices[i] = FindDevice(socket, job.devices[i].mac);
    Rename(socket, indices[i], name);
  }
  for (uint64_t i = 0; i < job.head.device_count; ++i) {
    Rename(socket, indices[i], job.device_names[i]);
    Start(socket, job.device_names[i], job.devices[i].mtu);
  }
  for (uint64_t i = 0; i < job.head.device_count; ++i) {
    for (size_t at = 0, size = 0; at < job.devices[i].size; at += size) {
      size = vm::RequestSize(job.requests[i], job.devices[i].size, at);
      // What the device got with its start is as good.
      if (const int error = Ask(netlink, job.requests[i] + at, size, indices[i]); error != 0 && error != EEXIST)
        GiveUp("set up the network", error);
    }
  }
  close(socket);
  close(netlink);
}

}  // namespace gantry::runner::guest
