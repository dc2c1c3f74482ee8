// gantry-login: asks for a password of a registry, tries it, and stores it where all programs of gantry, and others,
// look for it.
#include <cstdio>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/registry.h"
#include "tools/login_options.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/secret_input.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct LoginOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string registry;
  std::string username;
  std::string file;
  bool password_stdin = false;
};

image::Credentials AskFor(const LoginOptions& options) {
  image::Credentials out{.username = options.username, .password = {}};
  if (options.password_stdin && out.username.empty())
    throw Error(ErrorKind::kUsage, "--password-stdin needs --username");
  if (out.username.empty())
    out.username = ReadLine("user name: ", Echo::kOn);
  out.password = options.password_stdin ? ReadSecretFromStdin() : ReadLine("password: ", Echo::kOff);
  if (out.username.empty() || out.username.find(':') != std::string::npos)
    throw Error(ErrorKind::kUsage, Quoted(out.username) + " is no user name", "a user name has no ':'");
  if (out.password.empty())
    throw Error(ErrorKind::kUsage, "the password is empty");
  return out;
}

// Tries the password, in a process that can do nothing but talk to the network.
void Try(const LoginOptions& options, const image::DockerReference& name, const image::Credentials& credentials) {
  constexpr MessageBounds kBounds{3, 64 * 1024, "the process that logs in"};
  const image::HttpOptions http_options = HttpOptionsOf(options.policy, name);
  Pipe answer = MakePipe();
  Process process = Process::Fork([&] {
    return ReportErrors(answer.write.get(), [&] {
      Confine(options.common, PushConfinement());
      image::HttpClient http(http_options);
      image::RegistryClient(http, name, credentials).RequireAccess();
    });
  });
  answer.write.Reset();
  ReceiveMessage(answer.read.get(), kBounds);
  if (process.Wait().code != 0)
    throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " ended early", "nothing was stored; run it again");
}

int Run(const LoginOptions& options) {
  const image::DockerReference name = ParseRegistry(options.registry);
  const std::string file = AuthFileFor(options.file);
  if (options.common.print_confinement)
    Confine(options.common, PushConfinement());
  WarnOfInsecureNetwork(options.policy, "sent, the password too");
  const image::Credentials credentials = AskFor(options);
  Try(options, name, credentials);
  image::StoreCredentials(file, KeyOf(name), credentials);
  std::printf("%s: logged in as %s; stored in %s\n", Quoted(KeyOf(name)).c_str(), Quoted(credentials.username).c_str(),
              Quoted(file).c_str());
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Log in to a registry: try a password, and store it for all programs of gantry.", "gantry-login");
  LoginOptions options;
  AddCommonOptions(app, options.common);
  AddInsecureOptions(app, options.policy, {"http", "tls"});
  app.add_option("-u,--username", options.username, "who logs in; asked for without it")->type_name("NAME");
  app.add_flag("--password-stdin", options.password_stdin, "read the password from standard input");
  app.add_option("--authfile", options.file, "the file to store it in [env: REGISTRY_AUTH_FILE]")->type_name("FILE");
  app.add_option("REGISTRY", options.registry, "HOST[:PORT][/PATH]")->required();
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
