#include "runner/net/pasta.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/net/reserved_port.h"

namespace gantry::runner {
namespace {

constexpr int kReadyFd = 9;  // in pasta
constexpr size_t kMaxPidLine = 32;
constexpr size_t kMaxWords = 64 * 1024;  // of pasta, when it fails
constexpr size_t kMaxProcBytes = 16 * 1024 * 1024;

std::string FindPasta() {
  for (const char* path : {"/usr/bin/pasta", "/usr/local/bin/pasta", "/bin/pasta"}) {
    if (access(path, X_OK) == 0)
      return path;
  }
  throw Error(ErrorKind::kUnsupported, "a private network without root needs pasta, which is not installed",
              "install the Debian package passt, or choose --net=none or --net=host");
}

void AddPorts(std::vector<std::string>& out, const char* option, const std::vector<PublishedPort>& ports, bool udp) {
  bool any = false;
  for (const PublishedPort& port : ports) {
    if (port.udp != udp)
      continue;
    any = true;
    out.emplace_back(option);
    out.push_back((port.host_address != 0 ? ToString(port.host_address) + "/" : "") + std::to_string(port.host_port) +
                  ":" + std::to_string(port.port));
  }
  if (!any) {
    out.emplace_back(option);
    out.emplace_back("none");
  }
}

std::vector<std::string_view> LinesOf(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// Its last word that is about the matter.
std::string WhyNot(int words) {
  std::string why = "it does not say why";
  if (lseek(words, 0, SEEK_SET) == 0) {
    const std::string text = ReadAll(words, kMaxWords, "the words of pasta");
    for (const std::string_view line : LinesOf(text)) {
      if (!Trimmed(line).empty() && line.find("to syslog") == std::string_view::npos)
        why = Quoted(Trimmed(line));
    }
  }
  return why;
}

std::string ProcFile(pid_t container, const char* name) {
  const std::string path = "/proc/" + std::to_string(container) + "/net/" + name;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file ? ReadAll(file.get(), kMaxProcBytes, path) : std::string();
}

}  // namespace

std::vector<std::string> PastaArguments(const std::string& program, pid_t container, const NetworkRequest& request,
                                        const std::string& ready) {
  // What the host's loopback serves is not for the pod, neither by an address nor by a port.
  std::vector<std::string> out = {program, "--foreground", "--quiet", "--config-net", "--no-map-gw"};
  AddPorts(out, "-t", request.ports, false);
  AddPorts(out, "-u", request.ports, true);
  for (const char* word : {"-T", "none", "-U", "none", "--pid"}) out.emplace_back(word);
  out.push_back(ready);
  out.push_back(std::to_string(container));
  return out;
}

gantry::Process StartPasta(pid_t container, const NetworkRequest& request) {
  const std::string program = FindPasta();
  for (const PublishedPort& port : request.ports) ReservePort(port);  // for its words: they are clear
  Pipe ready = MakePipe();
  const UniqueFd null = OpenFile("/dev/null", O_RDWR);
  // Nothing of ours stays open in it: who waits for the end of our output would wait for it.
  const UniqueFd words = MemoryFile("pasta");
  gantry::Process out =
      gantry::Process::Start(PastaArguments(program, container, request, "/proc/self/fd/" + std::to_string(kReadyFd)),
                             {{null.get(), 0}, {null.get(), 1}, {words.get(), 2}, {ready.write.get(), kReadyFd}});
  ready.write.Reset();
  std::array<char, kMaxPidLine> line{};
  ssize_t got = 0;
  while ((got = read(ready.read.get(), line.data(), line.size())) < 0 && errno == EINTR) {
  }
  if (got <= 0)
    throw Error(ErrorKind::kFailed, "pasta did not start: " + WhyNot(words.get()),
                "it needs /dev/net/tun, and a route of the host to somewhere");
  return out;
}

std::vector<std::string> AddressesOfTrie(std::string_view text) {
  std::set<std::string> found;
  std::string last;
  for (std::string_view line : LinesOf(text)) {
    line = Trimmed(line);
    if (line.starts_with("|-- "))
      last = line.substr(4);
    else if (line == "/32 host LOCAL" && IsAddress(last) && !last.starts_with("127."))
      found.insert(last);
  }
  return {found.begin(), found.end()};
}

std::vector<std::string> AddressesOfInet6(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view line : LinesOf(text)) {
    // ADDRESS INDEX PREFIX SCOPE FLAGS NAME, in hexadecimal; scope 00 is global.
    if (line.size() < 41 || line.substr(38, 3) != " 00" || line[32] != ' ')
      continue;
    in6_addr address{};
    bool good = true;
    for (size_t i = 0; i < 16; ++i) {
      const char* const at = line.data() + 2 * i;
      good = std::from_chars(at, at + 2, address.s6_addr[i], 16).ptr == at + 2 && good;
    }
    char printed[INET6_ADDRSTRLEN];
    if (good && !IN6_IS_ADDR_LOOPBACK(&address) && inet_ntop(AF_INET6, &address, printed, sizeof printed) != nullptr)
      out.emplace_back(printed);
  }
  return out;
}

AttachedNetwork LookAtNetwork(pid_t container) {
  AttachedNetwork out;
  out.addresses = AddressesOfTrie(ProcFile(container, "fib_trie"));
  const std::vector<std::string> more = AddressesOfInet6(ProcFile(container, "if_inet6"));
  out.ipv6 = !more.empty();
  out.addresses.insert(out.addresses.end(), more.begin(), more.end());
  return out;
}

}  // namespace gantry::runner
