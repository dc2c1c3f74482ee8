// Networks by the Container Network Interface, specification 1.0 and those before it: a configuration says which
// plugins, programs of the system, make the pod's devices, one after the other, and unmake them.
//
// Plugins run as root, so they, their directory, and the configurations are root's alone, or they are refused. What a
// plugin prints is bounded and read strictly.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "runner/net/attached_network.h"
#include "runner/net/network_request.h"

namespace gantry::runner {

constexpr size_t kMaxCniBytes = 1024 * 1024;  // of a configuration, and of what a plugin prints
constexpr size_t kMaxCniPlugins = 32;
constexpr size_t kMaxCniNetworks = 16;  // of one pod
constexpr size_t kMaxCniAddresses = 64;
constexpr const char* kCniConfigurations = "/etc/cni/net.d";

struct CniNetwork {
  std::string name, version;
  std::vector<json::Object> plugins;  // as they are written; each has a `type` that is a plain file name
  unsigned seconds = 60;              // that a call of a plugin may take; one that hangs is killed
  std::string args = {};              // CNI_ARGS
};

// A .conflist, or a .conf of one plugin. kCorrupt for what is neither.
CniNetwork ParseCniNetwork(std::string_view text, const std::string& what);

// Those that `request` names, with their arguments: for each the first of that name among DIRECTORY/*.conflist, *.conf
// and *.json in the order of their names. kUnsupported for who is not root; kNotFound when there is none, or a plugin
// of it is not there.
std::vector<CniNetwork> FindCniNetworks(const NetworkRequest& request);

// What ADD printed, of any version of the specification; addresses, gateway and servers of names are taken of it.
AttachedNetwork ParseCniResult(const json::Value& result);

// An attachment as it is remembered until it is undone.
struct CniAttachment {
  CniNetwork network;  // with what the run adds to the plugins
  std::string interface;
  std::optional<json::Value> result;  // absent: ADD was not over

  json::Object Print() const;
  static CniAttachment Parse(const json::Cursor& at);
};

// The network with `ports` for its plugins that can publish. False in `published` where none can.
CniAttachment PlanCni(CniNetwork network, const std::string& interface, const std::vector<PublishedPort>& ports,
                      bool& published);

// Calls the plugins. `netns` is the name of a file that is the network namespace; for Del empty when there is none any
// more. Del goes on after a plugin that fails and throws at the end.
void CniAdd(CniAttachment& attachment, const std::string& container, const std::string& netns);
void CniDel(const CniAttachment& attachment, const std::string& container, const std::string& netns);

}  // namespace gantry::runner
