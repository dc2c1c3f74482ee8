#include "runner/net/leases.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "runner/pod_record.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxLeaseBytes = 256 * 1024;
constexpr const char* kNetworks = "/run/gantry/networks/";

std::optional<Ipv4> ParseName(const std::string& name) {
  in_addr out{};
  if (inet_pton(AF_INET, name.c_str(), &out) != 1)
    return std::nullopt;
  return ntohl(out.s_addr);
}

// Whoever attends to a pod has its file locked.
bool Lives(const std::string& pod) {
  const UniqueFd file(open((pod + "/" + kPodFile).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  return file && flock(file.get(), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool Collides(const PublishedPort& a, const PublishedPort& b) {
  return a.udp == b.udp && a.host_port == b.host_port &&
         (a.host_address == b.host_address || a.host_address == 0 || b.host_address == 0);
}

}  // namespace

std::string Subnet::ToString() const { return runner::ToString(base) + "/" + std::to_string(prefix); }

std::string PrintLease(const Lease& lease) {
  std::vector<std::string> ports;
  for (const PublishedPort& port : lease.ports) ports.push_back(port.ToString());
  return json::Print(json::Object{{"pod", lease.pod}, {"ports", ports}}) + "\n";
}

Lease ParseLease(std::string_view text, Ipv4 address) {
  const json::Value value = json::Parse(text, "lease");
  const json::Cursor at(value, "lease");
  Lease out{address, at.At("pod").String(), {}};
  for (const std::string& port : at.At("ports").Strings(kMaxPublishedPorts)) {
    const std::vector<PublishedPort> ports = PublishedPort::Parse(port);
    if (ports.size() != 1)
      at.Fail("expected one port");
    out.ports.push_back(ports.front());
  }
  return out;
}

std::string LeaseBook::DirectoryOf(const std::string& network) {
  struct stat status {};
  if (stat("/proc/self/ns/net", &status) < 0)
    ThrowErrno("look at our network namespace");
  return kNetworks + network + "-" + std::to_string(status.st_ino);
}

LeaseBook::LeaseBook(Dir dir, UniqueFd lock) : dir_(std::move(dir)), lock_(std::move(lock)) {}

LeaseBook LeaseBook::Open(const std::string& directory) {
  Dir dir = Dir::Create(directory, 0755);
  UniqueFd lock = dir.OpenBeneath(RelPath::Parse("lock"), O_RDWR | O_CREAT, 0600);
  while (flock(lock.get(), LOCK_EX) < 0) {
    if (errno != EINTR)
      ThrowErrno("lock " + directory);
  }
  LeaseBook out(std::move(dir), std::move(lock));
  out.Read();
  return out;
}

void LeaseBook::Read() {
  for (const std::string& name : dir_.List()) {
    const auto address = ParseName(name);
    if (!address)
      continue;
    std::optional<Lease> lease;
    try {
      lease = ParseLease(dir_.ReadFile(RelPath::Parse(name), kMaxLeaseBytes), *address);
    } catch (const Error&) {
      // its writer was killed
    }
    if (lease && Lives(lease->pod)) {
      leases_.push_back(*std::move(lease));
    } else {
      dir_.RemoveFile(RelPath::Parse(name));
      removed_dead_ = true;
    }
  }
  std::ranges::sort(leases_, {}, &Lease::address);
}

Ipv4 LeaseBook::Take(const Subnet& subnet, const std::string& pod, const std::vector<PublishedPort>& ports) {
  for (const Lease& lease : leases_) {
    for (const PublishedPort& port : ports) {
      if (std::ranges::any_of(lease.ports, [&](const PublishedPort& other) { return Collides(port, other); }))
        throw Error(ErrorKind::kFailed, "port " + std::to_string(port.host_port) + " of the host is published already",
                    "by the pod " + lease.pod + "; choose another");
    }
  }
  const Ipv4 first = subnet.gateway() + 1;
  const Ipv4 end = subnet.broadcast();
  const RelPath last_file = RelPath::Parse("last");
  const auto last = dir_.Exists(last_file) ? ParseName(dir_.ReadFile(last_file, 64)) : std::nullopt;
  Ipv4 next = last && *last >= first && *last < end ? *last + 1 : first;
  for (Ipv4 tried = first; tried < end; ++tried, ++next) {
    if (next >= end)
      next = first;
    if (std::ranges::find(leases_, next, &Lease::address) != leases_.end())
      continue;
    const Lease lease{next, pod, ports};
    const UniqueFd file = dir_.OpenBeneath(RelPath::Parse(ToString(next)), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    WriteFull(file.get(), AsBytes(PrintLease(lease)), dir_.name());
    const UniqueFd note = dir_.OpenBeneath(last_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    WriteFull(note.get(), AsBytes(ToString(next)), dir_.name());
    leases_.push_back(lease);
    return next;
  }
  throw Error(ErrorKind::kFailed, "the private network has no free address: " + std::to_string(leases_.size()) +
                                      " pods have one of " + subnet.ToString());
}

bool LeaseBook::Release(const std::string& pod) {
  const auto found = std::ranges::find(leases_, pod, &Lease::pod);
  if (found == leases_.end())
    return false;
  dir_.RemoveFile(RelPath::Parse(ToString(found->address)));
  leases_.erase(found);
  return true;
}

}  // namespace gantry::runner
