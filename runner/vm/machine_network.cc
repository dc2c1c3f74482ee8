#include "runner/vm/machine_network.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/pass_descriptor.h"
#include "runner/userns.h"

namespace gantry::runner::vm {
namespace {

constexpr char kHolds = 'h';     // from the holder: the network namespace is there
constexpr char kAttached = 'a';  // to it
constexpr char kDevice = 'd';    // from it: one, whose tap follows; name, hardware address, MTU, settings
constexpr char kComplete = 'c';  // from it
constexpr size_t kMaxSettings = 512;
constexpr MessageBounds kBounds{kMaxSettings + 3, 1024 * 1024, "the process that holds the network namespace"};

UniqueFd MakeTap(const std::string& name) {
  constexpr const char* kTun = "/dev/net/tun";
  UniqueFd out(open(kTun, O_RDWR | O_CLOEXEC));
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (!out || ioctl(out.get(), TUNSETIFF, &request) < 0)
    throw Error(ErrorKind::kUnsupported,
                std::string("a network of a virtual machine needs ") + kTun + ": " + strerror(errno),
                "load the kernel module tun and see who may open the file, or run with --net=none");
  return out;
}

// Another, so that the guest can have the one that it was.
MacAddress OtherMac(MacAddress mac, uint8_t change) {
  mac[0] = static_cast<uint8_t>((mac[0] | 0x02) & 0xFE);
  mac[3] = static_cast<uint8_t>(mac[3] ^ 0xFF);
  mac[4] = static_cast<uint8_t>(mac[4] ^ change);
  return mac;
}

// Where there is no IPv6 there is no such file; where it is read-only, the bridge has an address that nobody knows.
void LeaveIpv6() {
  const UniqueFd file(open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC));
  if (file && write(file.get(), "1", 1) != 1)
    errno = 0;
}

// The tap at which the guest is where the device was.
UniqueFd PutTap(Netlink& net, const NetworkDevice& device, size_t index) {
  const std::string number = std::to_string(index);
  const int bridge = net.MakeBridge("vmbridge" + number, OtherMac(device.mac, 1));
  net.RemoveAddresses(device.index);
  net.SetMac(device.index, OtherMac(device.mac, 2));
  net.MakePort(device.index, bridge);
  UniqueFd out = MakeTap("vmtap" + number);
  const int tap = net.FindLink("vmtap" + number).value_or(0);
  net.SetMtu(tap, device.mtu);
  net.MakePort(tap, bridge);
  net.SetUp(tap);
  return out;
}

void HandOn(int socket) {
  Netlink net = Netlink::Open();
  const std::vector<NetworkDevice> devices = net.Devices();
  if (devices.size() > kMaxGuestDevices)
    throw Error(ErrorKind::kUnsupported, "a virtual machine takes at most 8 network devices", "join fewer networks");
  std::vector<std::vector<std::string>> settings;
  for (const NetworkDevice& device : devices) settings.push_back(net.SettingsOf(device.index));
  LeaveIpv6();
  for (size_t i = 0; i < devices.size(); ++i) {
    const NetworkDevice& device = devices[i];
    const UniqueFd tap = PutTap(net, device, i);
    Message message{kDevice,
                    {device.name, std::string(device.mac.begin(), device.mac.end()), std::to_string(device.mtu)}};
    message.fields.insert(message.fields.end(), settings[i].begin(), settings[i].end());
    SendMessage(socket, message);
    if (!PassDescriptor(socket, tap.get()))
      ThrowErrno("hand on a tap device");
  }
  SendMessage(socket, {kComplete, {}});
}

// Whoever waits for the end of our output is not to wait for the holder.
void LetGoOfStreams() {
  const UniqueFd null = OpenFile("/dev/null", O_RDWR);
  for (int fd = 0; fd <= 2; ++fd) dup2(null.get(), fd);
}

// Until the runner lets go of it.
void Hold(int socket) {
  LetGoOfStreams();
  const bool rootless = geteuid() != 0;
  if (unshare(CLONE_NEWNET | (rootless ? CLONE_NEWUSER : 0)) < 0) {
    if (rootless)
      ThrowNoUserNamespace(errno);
    ThrowErrno("make a network namespace");
  }
  // Lost with the new credentials; and others of the user's are to look into it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 1);
  SendMessage(socket, {kHolds, {}});
  if (!ReceiveMessage(socket, kBounds))
    return;
  HandOn(socket);
  ReceiveMessage(socket, kBounds);
}

Message Await(int socket) {
  auto message = ReceiveMessage(socket, kBounds);
  if (!message)
    throw Error(ErrorKind::kFailed, "the process that holds the network namespace ended early",
                "was it killed? see the kernel's log for 'Out of memory'");
  return *std::move(message);
}

GuestDevice ParseDevice(Message message) {
  GuestDevice out;
  auto& fields = message.fields;
  if (message.kind != kDevice || fields.size() < 3 || fields[0].size() >= IFNAMSIZ ||
      fields[1].size() != out.mac.size())
    throw Error(ErrorKind::kFailed, "the process that holds the network namespace said what it should not");
  out.name = fields[0];
  std::memcpy(out.mac.data(), fields[1].data(), out.mac.size());
  out.mtu = static_cast<uint32_t>(std::stoul(fields[2]));
  out.settings.assign(fields.begin() + 3, fields.end());
  return out;
}

}  // namespace

MachineNetwork MachineNetwork::Attach(Pod& pod) {
  auto [socket, holder] = ForkOverSocket([](int channel) { return ReportErrors(channel, [&] { Hold(channel); }); });
  MachineNetwork out(std::move(socket), std::move(holder));
  const int channel = out.socket_.get();
  Await(channel);
  if (geteuid() != 0)
    ApplyIdMap(out.holder_.pid(), MapOfCaller());
  pod.AttachNetwork(out.holder_.pid());
  SendMessage(channel, {kAttached, {}});
  for (Message message = Await(channel); message.kind != kComplete; message = Await(channel)) {
    out.devices_.push_back(ParseDevice(std::move(message)));
    out.taps_.push_back(ReceiveDescriptor(channel, kBounds.who));
  }
  return out;
}

}  // namespace gantry::runner::vm
