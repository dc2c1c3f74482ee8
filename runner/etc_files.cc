#include "runner/etc_files.h"

#include <sys/mman.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/net/resolv_conf.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxEtcBytes = 1024 * 1024;
constexpr size_t kSharedBytes = 2 * kMaxEtcBytes;

// Empty when the host has none.
std::string HostFile(const std::string& path) {
  try {
    return ReadFile(path, kMaxEtcBytes);
  } catch (const Error&) {
    return {};
  }
}

// The name of the host comes first, so that whoever asks for the whole of it gets it.
std::string HostLine(const std::string& address, const std::string& hostname) {
  const size_t dot = hostname.find('.');
  return address + "\t" + hostname + (dot == std::string::npos ? "" : " " + hostname.substr(0, dot)) + "\n";
}

std::string HostsOfPod(const std::string& hostname, const AttachedNetwork* network) {
  std::string out =
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\t"
      "ip6-allrouters\n";
  if (network == nullptr || network->addresses.empty())
    return out + HostLine("127.0.0.1", hostname);
  for (const std::string& address : network->addresses) out += HostLine(address.substr(0, address.find('/')), hostname);
  return out;
}

std::string HostsOf(const RunConfig& config, const std::string& hostname, const AttachedNetwork* network) {
  const bool of_host = config.network == Network::kHost;
  std::string out = of_host ? HostFile("/etc/hosts") : HostsOfPod(hostname, network);
  if (out.empty())
    out = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
  if (!out.ends_with('\n'))
    out += '\n';
  // The files of the host do not know it.
  if (of_host && !config.hostname.empty())
    out += HostLine("127.0.1.1", hostname);
  for (const HostEntry& entry : config.net.hosts) {
    std::string address = entry.address;
    if (address == kHostGateway)
      address = of_host ? "127.0.0.1" : network != nullptr ? network->gateway : "";
    if (address.empty())
      throw Error(ErrorKind::kUnsupported, "this network has no address of the host for " + Quoted(entry.name),
                  "give an address instead of host-gateway, or another network with --net");
    out += address + "\t" + entry.name + "\n";
  }
  return out;
}

// What is asked for counts more than what the network says, and that more than the host's.
std::string ResolvConfOf(const RunConfig& config, const AttachedNetwork* network) {
  const Resolver& asked = config.net.resolver;
  const bool of_host = config.network == Network::kHost;
  if (of_host && asked.empty())
    return HostFile("/etc/resolv.conf");
  if (!of_host && network == nullptr)
    return PrintResolvConf(asked);
  Resolver out = of_host ? ParseResolvConf(HostFile("/etc/resolv.conf")) : HostResolver(network->ipv6);
  const auto over = [&out](const Resolver& other) {
    if (!other.servers.empty())
      out.servers = other.servers;
    if (!other.searches.empty())
      out.searches = other.searches;
    if (!other.options.empty())
      out.options = other.options;
  };
  if (network != nullptr)
    over(network->resolver);
  over(asked);
  return PrintResolvConf(out);
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

EtcFiles MakeEtcFiles(const RunConfig& config, const std::string& hostname, const AttachedNetwork* network) {
  EtcFiles out;
  out.emplace_back("hostname", hostname + "\n");
  out.emplace_back("hosts", HostsOf(config, hostname, network));
  if (std::string resolv = ResolvConfOf(config, network); !resolv.empty())
    out.emplace_back("resolv.conf", std::move(resolv));
  return out;
}

SharedEtcFiles::SharedEtcFiles()
    : memory_(mmap(nullptr, kSharedBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
  if (memory_ == MAP_FAILED)
    ThrowErrno("share memory with the container");
}

SharedEtcFiles::~SharedEtcFiles() { munmap(memory_, kSharedBytes); }

const EtcFile* SharedEtcFiles::files() const { return static_cast<const EtcFile*>(memory_); }

void SharedEtcFiles::Fill(const EtcFiles& files) {
  auto* const out = static_cast<EtcFile*>(memory_);
  char* text = static_cast<char*>(memory_) + kCount * sizeof(EtcFile);
  const char* const end = static_cast<char*>(memory_) + kSharedBytes;
  const auto put = [&](const std::string& of) {
    if (of.size() + 1 > static_cast<size_t>(end - text))
      throw Error(ErrorKind::kUsage, "the files for the container's /etc are longer than 2 MiB");
    std::memcpy(text, of.c_str(), of.size() + 1);
    return std::exchange(text, text + of.size() + 1);
  };
  for (size_t i = 0; i < files.size() && i < kCount; ++i) {
    const char* const name = put(files[i].first);
    out[i] = {name, put(files[i].second), files[i].second.size()};
  }
}

}  // namespace gantry::runner
