#include "tools/run_net.h"

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "runner/net/cni.h"

namespace gantry::tools {
namespace {

CLI::Option* List(CLI::App& app, const char* name, std::vector<std::string>& into, const char* help, const char* type) {
  return app.add_option(name, into, help)->type_name(type)->allow_extra_args(false);
}

void TakeKind(const NetOptions& options, runner::RunOptions& run) {
  std::string rest = !options.network.empty() ? options.network : options.publish.empty() ? "none" : "private";
  if (rest == "host")
    run.network = runner::Network::kHost;
  else if (rest == "private")
    run.network = runner::Network::kPrivate;
  else if (rest != "none")
    run.network = runner::Network::kNamed;
  if (run.network != runner::Network::kNamed) {
    if (!options.configurations.empty() || options.plugin_seconds)
      throw Error(ErrorKind::kUsage, "--net-config and --net-timeout are for CNI networks", "name one with --net");
    return;
  }
  for (size_t end = 0; end != std::string::npos; rest.erase(0, end == std::string::npos ? end : end + 1)) {
    end = rest.find(',');
    run.net.names.push_back(rest.substr(0, end));
  }
  run.net.configurations =
      options.configurations.empty() ? runner::kCniConfigurations : RealPath(options.configurations);
  run.net.plugin_seconds = options.plugin_seconds.value_or(run.net.plugin_seconds);
  runner::FindCniNetworks(run.net);  // better known before anything is fetched
}

}  // namespace

void AddNetOptions(CLI::App& app, NetOptions& options) {
  app.add_option("--net,--network", options.network,
                 "none: only loopback (the default); private: one of its own; host: the host's; else CNI networks")
      ->type_name("none|private|host|NAME[,NAME...]");
  app.add_option("--net-config", options.configurations, "where CNI networks are; default: /etc/cni/net.d")
      ->type_name("DIR");
  app.add_option("--net-timeout", options.plugin_seconds, "how long a plugin of a CNI network may take; default: 60")
      ->check(CLI::Range(1U, runner::kMaxPluginSeconds))
      ->type_name("SECONDS")
      ->option_text("SECONDS");
  List(app, "-p,--publish", options.publish, "a port of the host becomes one of the pod; implies --net=private",
       "[IP:]HOSTPORT:PORT[/udp]");
  app.add_option("--hostname", options.hostname, "its host name; default: from the pod's UUID");
  List(app, "--dns", options.dns, "a server of names, instead of the host's", "ADDRESS");
  List(app, "--dns-search", options.searches, "a domain to look for names in, instead of the host's", "DOMAIN");
  List(app, "--dns-option,--dns-opt", options.resolver_options, "an option of resolv.conf(5)", "OPTION");
  List(app, "--add-host", options.hosts, "a line more of /etc/hosts; host-gateway is the host", "NAME:ADDRESS");
}

void TakeNet(const NetOptions& options, runner::RunOptions& run) {
  TakeKind(options, run);
  for (const std::string& one : options.publish) {
    const auto ports = runner::PublishedPort::Parse(one);
    run.net.ports.insert(run.net.ports.end(), ports.begin(), ports.end());
  }
  run.hostname = options.hostname;
  run.net.resolver = {options.dns, options.searches, options.resolver_options};
  for (const std::string& one : options.hosts) run.net.hosts.push_back(runner::HostEntry::Parse(one));
}

}  // namespace gantry::tools
