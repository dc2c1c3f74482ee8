// gantry-logout: forgets the password of a registry.
#include <cstdio>
#include <string>

#include "libimage/base/error.h"
#include "libimage/transport/auth_file.h"
#include "tools/login_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct LogoutOptions {
  CommonOptions common;
  std::string registry;
  std::string file;
};

int Run(const LogoutOptions& options) {
  const std::string key = KeyOf(ParseRegistry(options.registry));
  const std::string file = AuthFileFor(options.file);
  // A credential helper may be anywhere, and keep its passwords anywhere.
  Confine(options.common, {.read = {"/"}, .write = {"/"}, .execute = {"/"}});
  if (!image::RemoveCredentials(file, key)) {
    throw Error(ErrorKind::kNotFound, "nobody is logged in to " + Quoted(key) + " by " + Quoted(file),
                "other programs may keep passwords in other files; see gantry-login(1)");
  }
  std::printf("%s: logged out\n", Quoted(key).c_str());
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Log out of a registry: forget its password.", "gantry-logout");
  LogoutOptions options;
  AddCommonOptions(app, options.common);
  app.add_option("--authfile", options.file, "the file it is stored in [env: REGISTRY_AUTH_FILE]")->type_name("FILE");
  app.add_option("REGISTRY", options.registry, "HOST[:PORT][/PATH]")->required();
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
