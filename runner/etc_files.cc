#include "runner/etc_files.h"

#include <sys/utsname.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxEtcBytes = 1024 * 1024;

// Empty when the host has none.
std::string HostFile(const std::string& path) {
  try {
    return ReadFile(path, kMaxEtcBytes);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

std::string ChooseHostname(const RunConfig& config, const std::string& uuid) {
  if (!config.hostname.empty())
    return config.hostname;
  utsname host{};
  if (config.network == Network::kHost && uname(&host) == 0)
    return host.nodename;
  std::string out = uuid;
  std::erase(out, '-');
  return out.substr(0, 12);
}

EtcFiles MakeEtcFiles(const std::string& hostname, bool host_network) {
  EtcFiles out;
  out.emplace_back("hostname", hostname + "\n");
  if (!host_network) {
    out.emplace_back("hosts", "127.0.0.1\tlocalhost " + hostname +
                                  "\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\n"
                                  "ff02::2\tip6-allrouters\n");
    return out;
  }
  std::string hosts = HostFile("/etc/hosts");
  if (hosts.empty())
    hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
  out.emplace_back("hosts", hosts);
  if (std::string resolv = HostFile("/etc/resolv.conf"); !resolv.empty())
    out.emplace_back("resolv.conf", std::move(resolv));
  return out;
}

}  // namespace gantry::runner
