// gantry-serve: images of other registries in the format that a client knows, made when they are asked for.
//
// Two processes last: one talks to clients and can start nothing, the other starts what converts and talks to nobody
// but the first. Each conversion is a process of its own, with a gantry-fetch that alone has the network.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/path_text.h"
#include "libimage/base/process.h"
#include "libimage/base/workers.h"
#include "serve/front.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/serve_kitchen.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxPublicKeys = 1024 * 1024;

struct ServeOptions {
  MakeOptions make;
  KitchenLimits limits;
  serve::FrontOptions front;
  std::vector<std::string> upstreams;
  std::string listen = "127.0.0.1:8080";
  uint64_t time_limit = 3600, fresh_for = 60, drain = 30;
  bool plain = false;
};

std::string DefaultCache() {
  if (const char* cache = std::getenv("CACHE_DIRECTORY"); cache != nullptr && *cache == '/')
    return cache;  // systemd.exec(5)
  if (geteuid() == 0)
    return "/var/cache/gantry-serve";
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/gantry-serve";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::string(home) + "/.cache/gantry-serve";
  throw Error(ErrorKind::kFailed, "no place for the cache: neither XDG_CACHE_HOME nor HOME is set", "give --cache DIR");
}

bool IsLoopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address == "localhost";
}

// "ADDRESS:PORT", "[::]:8443", ":8443".
void ParseListen(ServeOptions& options) {
  const std::string& text = options.listen;
  const size_t colon = text.rfind(':');
  const auto port = colon == std::string::npos ? std::nullopt : ParseDecimal<uint16_t>(text.substr(colon + 1));
  if (!port)
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no place to listen at", "write ADDRESS:PORT");
  std::string address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']'))
    address = address.substr(1, address.size() - 2);
  options.front.http.address = address.empty() ? "::" : address;
  options.front.http.port = *port;
}

void RequireSense(const ServeOptions& options) {
  const serve::HttpServerOptions& http = options.front.http;
  if (options.make.upstreams.empty())
    throw Error(ErrorKind::kUsage, "no upstream", "name the registry with --upstream docker://HOST");
  if (http.certificate.empty() != http.key.empty())
    throw Error(ErrorKind::kUsage, "--tls-cert and --tls-key go together");
  if (http.certificate.empty() && !options.plain && !IsLoopback(http.address)) {
    throw Error(ErrorKind::kUsage, "without TLS anyone on the way can read and change what is served",
                "give --tls-cert and --tls-key, or --plain where something before this server has them");
  }
  const std::string& url = options.front.service.url;
  if (!url.empty() && (!(url.starts_with("https://") || url.starts_with("http://")) || url.ends_with('/') ||
                       url.find_first_of(" \"<>&?#'", 0) != std::string::npos ||
                       url.find('/', url.find("://") + 3) != std::string::npos)) {
    throw Error(ErrorKind::kUsage, Quoted(url) + " is no address of a server", "write https://HOST[:PORT]");
  }
}

// Nobody may come by an address that is all of them, and an IPv6 address begins no name of appc.
void WarnOfNoName(const ServeOptions& options) {
  const std::string& address = options.front.http.address;
  if (options.front.service.url.empty() && (address == "0.0.0.0" || address.find(':') != std::string::npos))
    Warn(options.make.common, "App Container Images have no name by which anyone finds them here: give --url");
}

// The key that verifies what --sign-key signs.
std::string PublicKeys(const MakeOptions& make) {
  std::vector<std::string> gpg{"gpg", "--batch", "--armor", "--export-options", "export-minimal"};
  if (!make.sign_home.empty())
    gpg.insert(gpg.end(), {"--homedir", make.sign_home});
  gpg.insert(gpg.end(), {"--export", "--", make.sign_key});
  const Captured keys = RunCaptured(gpg, {}, kMaxPublicKeys);
  if (keys.status.code != 0 || keys.output.empty())
    throw Error(ErrorKind::kNotFound, "there is no OpenPGP key " + Quoted(make.sign_key), "gpg --list-secret-keys");
  return keys.output;
}

// It listens before, and opens no socket after: clients come to it.
image::Confinement FrontConfinement(const serve::FrontOptions& front) {
  image::Confinement keep{.read = image::SystemFiles(), .network = false, .unix_sockets = false};
  for (const std::string& file : {front.http.certificate, front.http.key, front.passwords, front.tokens}) {
    // With its directory: a new file may take its place.
    if (!file.empty())
      keep.read.push_back(DirectoryOf(file));
  }
  keep.write.push_back(front.cache);
  if (!front.access_log.empty())
    keep.write.push_back(DirectoryOf(front.access_log));
  return keep;
}

int Serve(ServeOptions options) {
  MakeOptions& make = options.make;
  serve::FrontOptions& front = options.front;
  for (const std::string& upstream : options.upstreams) make.upstreams.Add(upstream);
  ParseListen(options);
  RequireSense(options);
  WarnOfNoName(options);
  ParsePlatforms(make.platforms);
  if (front.cache.empty())
    front.cache = DefaultCache();
  if (make.common.print_confinement) {
    std::printf("the process that talks to clients:\n");
    Confine(make.common, FrontConfinement(front));
  }
  make.directory = Dir::Create(front.cache, 0700).name();
  front.cache = make.directory = RealPath(make.directory);
  LoadPolicy(make.policy, make.common);
  WarnOfInsecureNetwork(make.policy, "fetched");
  if (!make.sign_key.empty())
    front.service.public_keys = PublicKeys(make);
  front.service.upstreams = make.upstreams;
  make.host = serve::HostOf(front.service.url.empty() ? "http://" + front.http.address : front.service.url);
  front.fresh_for = std::chrono::seconds(options.fresh_for);
  front.drain = std::chrono::seconds(options.drain);
  options.limits.time = std::chrono::seconds(options.time_limit);
  options.limits.children = front.service.limits.running + 8;
  const sigset_t signals = ServeSignals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const image::Confinement keep = FrontConfinement(front);
  auto [channel, process] = ForkOverSocket([&](int theirs) {
    try {
      const auto ready = [](const std::string& place) {
        std::printf("listening at %s\n", place.c_str());
        std::fflush(stdout);
      };
      return serve::RunFront(std::move(front), UniqueFd(theirs), ready, [&] { Confine(make.common, keep); });
    } catch (const Error& error) {
      PrintError(error);
      return static_cast<int>(error.kind());
    }
  });
  return RunKitchen(make, options.limits, channel.get(), process);
}

void AddOptions(CLI::App& app, ServeOptions& options) {
  MakeOptions& make = options.make;
  serve::FrontOptions& front = options.front;
  AddCommonOptions(app, make.common);
  front.cache_bytes = uint64_t{10} << 30;
  front.service.limits = {.running = ProcessorCount(), .waiting = 256};
  app.add_option("--upstream", options.upstreams, "a registry behind this server, and what names go there")
      ->allow_extra_args(false)
      ->type_name("[PREFIX=]docker://HOST[/PATH]");
  app.add_option("--listen", options.listen, "where clients come in")->type_name("ADDRESS:PORT");
  app.add_option("--tls-cert", front.http.certificate, "certificate and those above it (PEM)")->type_name("FILE");
  app.add_option("--tls-key", front.http.key, "the private key of the certificate (PEM)")->type_name("FILE");
  app.add_flag("--plain", options.plain, "no TLS, though others than this machine may come");
  app.add_option("--url", front.service.url, "by which clients reach this server; its host begins the names of ACIs")
      ->type_name("URL");
  app.add_option("--cache", front.cache, "where what was made is kept")->type_name("DIR");
  app.add_option("--cache-size", front.cache_bytes, "how much of it is kept")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  app.add_option("--fresh", options.fresh_for, "seconds after which a name is looked up again")->type_name("SECONDS");
  app.add_option("--platform", make.platforms, "what is served of an index; by default all of it")
      ->type_name("OS/ARCH[/VARIANT][,...]");
  app.add_option("--sign-key", make.sign_key, "the OpenPGP key that signs App Container Images")->type_name("KEY");
  app.add_option("--homedir", make.sign_home, "gpg's directory [env: GNUPGHOME]")->type_name("DIR");
  app.add_option("--passphrase-file", make.passphrase_file, "its first line unlocks the key")->type_name("FILE");
  app.add_option("--basic", front.passwords, "who may ask, with passwords, as htpasswd writes it")->type_name("FILE");
  app.add_option("--bearer", front.tokens, "who may ask, with tokens, one a line")->type_name("FILE");
  app.add_option("--access-log", front.access_log, "a line for each request goes here; else to standard error")
      ->type_name("FILE");
  app.add_option("--connections", front.http.connections, "clients at once")
      ->check(CLI::Range(1, 20'000))
      ->type_name("N");
  app.add_option("--conversions", front.service.limits.running, "conversions at once; one a processor by default")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  app.add_option("--waiting", front.service.limits.waiting, "conversions that wait; beyond them the answer is 503")
      ->check(CLI::Range(0, 100'000))
      ->type_name("N");
  app.add_option("--threads", make.threads, "threads of a conversion")->check(CLI::Range(1, 256))->type_name("N");
  app.add_option("--time-limit", options.time_limit, "seconds for one conversion, its fetch among them")
      ->check(CLI::Range(1, 1'000'000))
      ->type_name("SECONDS");
  app.add_option("--stall", front.http.stall_seconds, "seconds for a client that neither sends nor takes")
      ->check(CLI::Range(1, 3600))
      ->type_name("SECONDS");
  app.add_option("--drain", options.drain, "seconds for answers that are on their way at SIGTERM")
      ->type_name("SECONDS");
  AddRegistriesOption(app, make.registries);
  AddPolicyOptions(app, make.policy);
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Serve images of other registries as ACI, OCI or Docker images, converted as they are asked for.",
               "gantry-serve");
  ServeOptions options;
  AddOptions(app, options);
  return ToolMain(app, argc, argv, [&] { return Serve(options); });
}
