#include "runner/net/cni.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"

namespace gantry::runner {
namespace {

constexpr const char* kPluginDirectories[] = {"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"};
constexpr const char* kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr const char* kDefaultVersion = "0.2.0";  // of a configuration that says none
constexpr size_t kMaxNameBytes = 128;
constexpr size_t kMaxArgsBytes = 4096;
constexpr size_t kMaxShown = 1000;  // of what a plugin says

// As the specification has names of networks; and a plugin's type is a file of its directory.
bool IsName(const std::string& text) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-'; };
  return !text.empty() && text.size() <= kMaxNameBytes && std::isalnum(static_cast<unsigned char>(text.front())) != 0 &&
         std::ranges::all_of(text, allowed);
}

json::Object PluginOf(const json::Cursor& at) {
  if (!IsName(at.At("type").String()))
    at.At("type").Fail("expected the file name of a plugin");
  return *at.value().object();
}

// Root's alone: whoever could write there would be root.
void RequireRoots(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) < 0)
    ThrowErrno("look at " + Quoted(path));
  if (status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    throw Error(ErrorKind::kFailed,
                Quoted(path) + " is not root's alone, so a network of root does not come from there",
                "chown root, and chmod go-w");
}

std::string FindPlugin(const std::string& type) {
  for (const char* directory : kPluginDirectories) {
    std::string path = std::string(directory) + "/" + type;
    if (access(path.c_str(), X_OK) < 0)
      continue;
    RequireRoots(directory);
    RequireRoots(path);
    return path;
  }
  throw Error(ErrorKind::kNotFound, "there is no CNI plugin " + Quoted(type) + " in /opt/cni/bin or /usr/lib/cni",
              "install it; the usual ones are the Debian package containernetworking-plugins");
}

struct Call {
  const char* command;
  std::string container, netns, interface;
  const CniNetwork& network;
};

// For the plugins that plugins call.
std::string SearchPath() {
  std::string out;
  for (const char* directory : kPluginDirectories) {
    if (access(directory, X_OK) < 0)
      continue;
    RequireRoots(directory);
    out += (out.empty() ? "" : ":") + std::string(directory);
  }
  return out;
}

// What the plugin said went wrong; the specification has it as JSON on standard output.
std::string Complaint(const std::string& output) {
  try {
    const json::Value value = json::Parse(output, "answer");
    const json::Cursor at(value, "answer");
    std::string out = at.At("msg").String();
    if (const auto details = at.Find("details"); details && !details->String().empty())
      out += ": " + details->String();
    return Quoted(out.substr(0, kMaxShown));
  } catch (const Error&) {
    return "it does not say why";
  }
}

// The plugins of a network are all asked with the same, and most refuse what they do not know unless they are told.
std::string Arguments(const CniNetwork& network) {
  return "CNI_ARGS=" + (network.args.empty() ? "" : "IgnoreUnknown=1;" + network.args);
}

std::string RunPlugin(const std::string& type, const Call& call, const json::Object& request) {
  const std::vector<std::string> environment = {std::string("CNI_COMMAND=") + call.command,
                                                "CNI_CONTAINERID=" + call.container,
                                                "CNI_NETNS=" + call.netns,
                                                "CNI_IFNAME=" + call.interface,
                                                Arguments(call.network),
                                                "CNI_PATH=" + SearchPath(),
                                                std::string("PATH=") + kPath};
  Captured done = RunCaptured({FindPlugin(type)}, json::Print(request), kMaxCniBytes, environment,
                              std::chrono::seconds(call.network.seconds));
  if (done.status.code != 0)
    throw Error(ErrorKind::kFailed,
                "CNI plugin " + Quoted(type) + " failed at " + call.command + ": " + Complaint(done.output));
  return std::move(done.output);
}

json::Object RequestOf(const CniAttachment& attachment, const json::Object& plugin,
                       const std::optional<json::Value>& before) {
  json::Object out = plugin;
  out.Set("name", attachment.network.name);
  out.Set("cniVersion", attachment.network.version);
  if (before)
    out.Set("prevResult", *before);
  return out;
}

json::Value PortMappings(const std::vector<PublishedPort>& ports) {
  json::Array out;
  for (const PublishedPort& port : ports) {
    json::Object one{{"hostPort", uint64_t{port.host_port}},
                     {"containerPort", uint64_t{port.port}},
                     {"protocol", port.udp ? "udp" : "tcp"}};
    if (port.host_address != 0)
      one.Append("hostIP", ToString(port.host_address));
    out.emplace_back(std::move(one));
  }
  return out;
}

// "10.1.0.2/16" or an IPv6 one.
void TakeAddress(const json::Cursor& at, AttachedNetwork& out) {
  const std::string& text = at.String(kMaxNameBytes);
  const std::string address = text.substr(0, text.find('/'));
  if (!IsAddress(address))
    at.Fail("expected an address");
  out.ipv6 = out.ipv6 || address.find(':') != std::string::npos;
  out.addresses.push_back(text);
}

void TakeGateway(const std::optional<json::Cursor>& at, AttachedNetwork& out) {
  if (!at || at->String(kMaxNameBytes).empty())
    return;
  if (!IsAddress(at->String()))
    at->Fail("expected an address");
  if (out.gateway.empty())
    out.gateway = at->String();
}

Resolver ParseDns(const json::Cursor& at) {
  NetworkRequest checked;
  const auto take = [&](const char* name, std::vector<std::string>& into) {
    if (const auto found = at.Find(name))
      into = found->Strings(kMaxResolverEntries);
  };
  take("nameservers", checked.resolver.servers);
  take("search", checked.resolver.searches);
  take("options", checked.resolver.options);
  if (const auto domain = at.Find("domain");
      domain && checked.resolver.searches.empty() && !domain->String(kMaxNameBytes).empty())
    checked.resolver.searches = {domain->String()};
  try {
    checked.Check();
  } catch (const Error& error) {
    at.Fail(error.message());
  }
  return checked.resolver;
}

// Of a directory that is not there: none.
std::vector<CniNetwork> ReadNetworks(const std::string& directory) {
  std::vector<CniNetwork> out;
  if (access(directory.c_str(), F_OK) < 0)
    return out;
  RequireRoots(directory);
  const Dir dir = Dir::Open(directory);
  for (const std::string& file : dir.List()) {
    const bool ours = file.ends_with(".conflist") || file.ends_with(".conf") || file.ends_with(".json");
    if (!ours || file.starts_with('.'))
      continue;
    const std::string path = directory + "/" + file;
    RequireRoots(path);
    out.push_back(ParseCniNetwork(gantry::ReadFile(path, kMaxCniBytes), path));
  }
  return out;
}

// "KEY=VALUE;KEY=VALUE", as CNI_ARGS has it.
std::string CheckedArgs(const std::string& text) {
  const auto refuse = [&] {
    throw Error(ErrorKind::kUsage,
                "arguments " + Quoted(text) + " of a CNI network: expected KEY=VALUE[;KEY=VALUE...]");
  };
  if (text.size() > kMaxArgsBytes || !std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c < 0x7F; }))
    refuse();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    if (const size_t equals = text.find('=', begin); equals == begin || equals >= end)
      refuse();
    begin = end + 1;
  }
  return text;
}

std::string Names(const std::vector<CniNetwork>& networks) {
  std::string out;
  for (const CniNetwork& network : networks) out += (out.empty() ? "" : ", ") + network.name;
  return out.empty() ? "there are none" : out;
}

}  // namespace

CniNetwork ParseCniNetwork(std::string_view text, const std::string& what) {
  const json::Value value = json::Parse(text, what);
  const json::Cursor at(value, what);
  CniNetwork out{.name = at.At("name").String(), .version = kDefaultVersion};
  if (!IsName(out.name))
    at.At("name").Fail("expected a name of letters, digits, '_', '.' and '-'");
  if (const auto version = at.Find("cniVersion"))
    out.version = version->String(kMaxNameBytes);
  if (const auto plugins = at.Find("plugins")) {
    for (const json::Cursor& plugin : plugins->Elements(kMaxCniPlugins)) out.plugins.push_back(PluginOf(plugin));
    if (out.plugins.empty())
      plugins->Fail("expected a plugin");
  } else {
    out.plugins.push_back(PluginOf(at));
  }
  return out;
}

std::vector<CniNetwork> FindCniNetworks(const NetworkRequest& request) {
  if (geteuid() != 0)
    throw Error(ErrorKind::kUnsupported, "CNI networks need root", "without root there is --net=private");
  if (request.names.size() > kMaxCniNetworks)
    throw Error(ErrorKind::kUsage, "more than 16 networks of one pod");
  const std::vector<CniNetwork> all = ReadNetworks(request.configurations);
  std::vector<CniNetwork> out;
  for (const std::string& text : request.names) {
    const size_t colon = std::min(text.find(':'), text.size());
    const std::string name = text.substr(0, colon);
    if (name == "none" || name == "private" || name == "host")
      throw Error(ErrorKind::kUsage, "--net " + Quoted(name) + " stands alone: CNI networks cannot be added to it");
    const auto found = std::ranges::find(all, name, &CniNetwork::name);
    if (found == all.end())
      throw Error(
          ErrorKind::kNotFound, "there is no network " + Quoted(name),
          "--net is none, private, host, or CNI networks of " + Quoted(request.configurations) + ": " + Names(all));
    for (const json::Object& plugin : found->plugins) FindPlugin(*plugin.Find("type")->string());
    out.push_back(*found);
    out.back().seconds = request.plugin_seconds;
    if (colon < text.size())
      out.back().args = CheckedArgs(text.substr(colon + 1));
  }
  return out;
}

AttachedNetwork ParseCniResult(const json::Value& result) {
  const json::Cursor at(result, "result of a CNI plugin");
  AttachedNetwork out;
  if (const auto ips = at.Find("ips")) {
    for (const json::Cursor& ip : ips->Elements(kMaxCniAddresses)) {
      TakeAddress(ip.At("address"), out);
      TakeGateway(ip.Find("gateway"), out);
    }
  }
  // Before 0.3.0.
  for (const char* family : {"ip4", "ip6"}) {
    if (const auto ip = at.Find(family)) {
      TakeAddress(ip->At("ip"), out);
      TakeGateway(ip->Find("gateway"), out);
    }
  }
  if (const auto dns = at.Find("dns"))
    out.resolver = ParseDns(*dns);
  return out;
}

json::Object CniAttachment::Print() const {
  json::Array plugins;
  for (const json::Object& plugin : network.plugins) plugins.emplace_back(plugin);
  json::Object out{{"name", network.name},
                   {"cniVersion", network.version},
                   {"interface", interface},
                   {"seconds", uint64_t{network.seconds}},
                   {"plugins", std::move(plugins)}};
  if (!network.args.empty())
    out.Append("args", network.args);
  if (result)
    out.Append("result", *result);
  return out;
}

CniAttachment CniAttachment::Parse(const json::Cursor& at) {
  CniAttachment out;
  out.network.name = at.At("name").String();
  out.network.version = at.At("cniVersion").String();
  out.interface = at.At("interface").String();
  if (const auto seconds = at.Find("seconds"))
    out.network.seconds = static_cast<unsigned>(seconds->Unsigned(kMaxPluginSeconds));
  if (const auto args = at.Find("args"))
    out.network.args = args->String(kMaxArgsBytes);
  for (const json::Cursor& plugin : at.At("plugins").Elements(kMaxCniPlugins))
    out.network.plugins.push_back(PluginOf(plugin));
  if (const auto result = at.Find("result"))
    out.result = result->value();
  return out;
}

CniAttachment PlanCni(CniNetwork network, const std::string& interface, const std::vector<PublishedPort>& ports,
                      bool& published) {
  published = ports.empty();
  for (json::Object& plugin : network.plugins) {
    const json::Value whole(plugin);
    const auto capabilities = json::Cursor(whole, "configuration of " + network.name).Find("capabilities");
    const auto maps = capabilities ? capabilities->Find("portMappings") : std::nullopt;
    if (!maps || !maps->Bool() || ports.empty())
      continue;
    plugin.Set("runtimeConfig", json::Object{{"portMappings", PortMappings(ports)}});
    published = true;
  }
  return {std::move(network), interface, std::nullopt};
}

void CniAdd(CniAttachment& attachment, const std::string& container, const std::string& netns) {
  const Call call{"ADD", container, netns, attachment.interface, attachment.network};
  std::optional<json::Value> result;
  for (const json::Object& plugin : attachment.network.plugins) {
    const std::string& type = *plugin.Find("type")->string();
    const std::string output = RunPlugin(type, call, RequestOf(attachment, plugin, result));
    result = json::Parse(output, "what CNI plugin " + Quoted(type) + " printed");
    ParseCniResult(*result);
  }
  attachment.result = std::move(result);
}

void CniDel(const CniAttachment& attachment, const std::string& container, const std::string& netns) {
  const Call call{"DEL", container, netns, attachment.interface, attachment.network};
  std::optional<Error> failed;
  for (auto plugin = attachment.network.plugins.rbegin(); plugin != attachment.network.plugins.rend(); ++plugin) {
    try {
      RunPlugin(*plugin->Find("type")->string(), call, RequestOf(attachment, *plugin, attachment.result));
    } catch (const Error& error) {
      failed = error;
    }
  }
  if (failed)
    throw *std::move(failed);
}

}  // namespace gantry::runner
