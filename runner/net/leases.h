// Who has which address of the private network, as files that every runner of this host reads and writes under a lock.
//
//   /run/gantry/networks/NAME-INODE/   one directory for a network in one network namespace, whose number INODE is
//     lock                             locked by flock while anything is looked at or changed
//     last                             the address that was given last
//     172.16.28.2                      a lease: the directory of its pod, and what it publishes
//
// A lease counts while somebody holds the lock of its pod (pod.h). So one of a pod that was killed is free without
// anybody having done anything, and what cannot be read was left by somebody who was killed while writing it. After the
// machine's end /run is empty, as the network is.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "runner/net/network_request.h"

namespace gantry::runner {

struct Lease {
  Ipv4 address = 0;
  std::string pod;  // absolute directory
  std::vector<PublishedPort> ports;
  friend bool operator==(const Lease&, const Lease&) = default;
};

// An IPv4 network; its first address is the host's.
struct Subnet {
  Ipv4 base = 0;
  unsigned prefix = 0;
  Ipv4 gateway() const { return base + 1; }
  Ipv4 broadcast() const { return base | UINT32_MAX >> prefix; }
  std::string ToString() const;
};

class LeaseBook {
 public:
  // Waits for the lock, and holds it as long as it lives. `directory` is made when it is missing.
  static LeaseBook Open(const std::string& directory);
  static std::string DirectoryOf(const std::string& network);  // in our network namespace

  // Those of pods that live; others are removed. Sorted by address.
  const std::vector<Lease>& leases() const { return leases_; }
  bool removed_dead() const { return removed_dead_; }

  // The next free address after the last that was given, so that one that became free is used again as late as can be.
  // kFailed when all are taken, or a port of the host is.
  Ipv4 Take(const Subnet& subnet, const std::string& pod, const std::vector<PublishedPort>& ports);

  // False when the pod has none.
  bool Release(const std::string& pod);

 private:
  LeaseBook(Dir dir, UniqueFd lock);
  void Read();
  Dir dir_;
  UniqueFd lock_;
  std::vector<Lease> leases_;
  bool removed_dead_ = false;
};

// The text of a lease, and what it says; kCorrupt for one that is none.
std::string PrintLease(const Lease& lease);
Lease ParseLease(std::string_view text, Ipv4 address);

}  // namespace gantry::runner
