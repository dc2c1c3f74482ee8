// The network of a machine: the pod's, handed on.
//
// A process of ours holds a network namespace, and the pod's network is attached to that as it is to a container's. In
// it each device becomes a port of a bridge with a tap device, and loses its hardware address, addresses and routes:
// they are for the guest. Of all that the machine's process gets the descriptors of the tap devices alone; the network
// namespace that it is in is empty.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/net/netlink.h"
#include "runner/pod.h"

namespace gantry::runner::vm {

constexpr size_t kMaxGuestDevices = 8;

struct GuestDevice {
  std::string name;
  MacAddress mac{};
  uint32_t mtu = 0;
  std::vector<std::string> settings;  // as Netlink::SettingsOf has them
};

class MachineNetwork {
 public:
  // Attaches the network of the pod (Pod::AttachNetwork), which must outlive this. For single-threaded callers.
  static MachineNetwork Attach(Pod& pod);

  const std::vector<GuestDevice>& devices() const { return devices_; }
  const std::vector<UniqueFd>& taps() const { return taps_; }  // one for each device
  void CloseDescriptors() { taps_.clear(); }                   // the machine has them

 private:
  MachineNetwork(UniqueFd socket, gantry::Process holder) : socket_(std::move(socket)), holder_(std::move(holder)) {}
  UniqueFd socket_;  // its end is the holder's
  gantry::Process holder_;
  std::vector<GuestDevice> devices_;
  std::vector<UniqueFd> taps_;
};

}  // namespace gantry::runner::vm
