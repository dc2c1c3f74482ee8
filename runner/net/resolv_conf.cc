#include "runner/net/resolv_conf.h"

#include <arpa/inet.h>

#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxResolvBytes = 1024 * 1024;
constexpr const char* kResolvConf = "/etc/resolv.conf";
constexpr const char* kBehindStub = "/run/systemd/resolve/resolv.conf";
constexpr const char* kStub = "127.0.0.53";

// Empty when the host has none.
Resolver ReadResolver(const char* path) {
  try {
    return ParseResolvConf(ReadFile(path, kMaxResolvBytes));
  } catch (const Error&) {
    return {};
  }
}

std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> out;
  while (!(line = Trimmed(line)).empty()) {
    const size_t end = std::min(line.find_first_of(" \t"), line.size());
    out.emplace_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return out;
}

// Of the words of a line those that a line of ours can hold.
void Take(const std::vector<std::string>& words, std::vector<std::string>& into) {
  for (size_t i = 1; i < words.size() && into.size() < kMaxResolverEntries; ++i) {
    if (std::ranges::all_of(words[i], [](unsigned char c) { return c > ' ' && c < 0x7F; }))
      into.push_back(words[i]);
  }
}

bool IsLoopback(const std::string& server) {
  in6_addr address{};
  return server.starts_with("127.") ||
         (inet_pton(AF_INET6, server.c_str(), &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address));
}

}  // namespace

Resolver ParseResolvConf(std::string_view text) {
  Resolver out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::vector<std::string> words = Words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.size() < 2)
      continue;
    if (words[0] == "nameserver" && IsAddress(words[1]) && out.servers.size() < kMaxResolverEntries) {
      out.servers.push_back(words[1]);
    } else if (words[0] == "search" || words[0] == "domain") {
      out.searches.clear();
      Take(words, out.searches);
    } else if (words[0] == "options") {
      Take(words, out.options);
    }
  }
  return out;
}

std::string PrintResolvConf(const Resolver& resolver) {
  std::string out;
  const auto line = [&out](const char* keyword, const std::vector<std::string>& words) {
    if (words.empty())
      return;
    out += keyword;
    for (const std::string& word : words) out += " " + word;
    out += "\n";
  };
  for (const std::string& server : resolver.servers) line("nameserver", {server});
  line("search", resolver.searches);
  line("options", resolver.options);
  return out;
}

Resolver HostResolver(bool ipv6) {
  Resolver out = ReadResolver(kResolvConf);
  if (out.servers == std::vector<std::string>{kStub})
    out = ReadResolver(kBehindStub);
  std::erase_if(out.servers, [&](const std::string& server) {
    return IsLoopback(server) || (!ipv6 && server.find(':') != std::string::npos);
  });
  if (out.servers.empty())
    out.servers = {"8.8.8.8", "8.8.4.4"};
  return out;
}

}  // namespace gantry::runner
