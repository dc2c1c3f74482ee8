// gantry-trust: whose signatures count.
#include <cstdio>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libsign/lint.h"
#include "libsign/policy.h"
#include "libsign/trust_file.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"
#include "tools/trust_keys.h"
#include "tools/trust_list.h"
#include "tools/trust_options.h"

namespace gantry::tools {
namespace {

// The one operand of add and remove where neither --prefix nor --root is given.
std::string OnlyScope(const TrustOptions& options) {
  if (options.operands.size() != 1) {
    throw Error(ErrorKind::kUsage, options.operands.empty() ? "no scope is named" : "more than one scope is named",
                "write docker://HOST/REPOSITORY[:TAG], a HOST, a namespace HOST/PATH/, or *.DOMAIN");
  }
  return sign::ParseScope(options.operands.front());
}

int Add(const TrustOptions& options) {
  if (options.of_appc()) {
    return AddTrustedKeys(options);
  }
  const std::string scope = OnlyScope(options);
  if (options.key.empty()) {
    throw Error(ErrorKind::kUsage, "no key is named", "gantry trust add --key KEYFILE SCOPE");
  }
  const sign::NewKey key = ConfirmedKey(options, scope);
  const auto added = sign::AddKey(sign::EditedPolicyPath(Given(options.policy)), scope, key);
  if (!added.started_from.empty()) {
    Warn(options.common, added.policy + " is new and begins as a copy of " + added.started_from);
  }
  Note(options.common, "key kept in " + added.key_file);
  if (options.json) {
    std::fputs(
        json::PrintPretty(
            json::Object{
                {"policy", added.policy}, {"scope", scope}, {"file", added.key_file}, {"changed", !added.was_there}})
            .c_str(),
        stdout);
  } else {
    std::printf("%s: %s %s\n", added.policy.c_str(), scope.c_str(), added.was_there ? "unchanged" : "added");
  }
  return 0;
}

int Remove(const TrustOptions& options) {
  if (options.of_appc()) {
    return RemoveTrustedKeys(options);
  }
  const std::string scope = OnlyScope(options);
  const std::string policy = sign::EditedPolicyPath(Given(options.policy));
  if (!sign::RemoveScope(policy, scope)) {
    throw Error(ErrorKind::kNotFound, policy + " says nothing about " + Quoted(scope),
                "'gantry trust list' shows the scopes");
  }
  if (options.json) {
    std::fputs(json::PrintPretty(json::Object{{"policy", policy}, {"scope", scope}, {"changed", true}}).c_str(),
               stdout);
  } else {
    std::printf("%s: %s removed\n", policy.c_str(), scope.c_str());
  }
  return 0;
}

int Lint(const TrustOptions& options) {
  const sign::Policy policy = sign::Policy::Load(Given(options.policy));
  const std::vector<sign::Finding> findings = sign::Lint(policy);
  json::Array lines;
  for (const sign::Finding& finding : findings) {
    lines.push_back(json::Object{{"code", finding.code}, {"scope", finding.scope}, {"text", finding.text}});
    if (!options.json) {
      std::printf("%s: %s: %s\n", Printable(finding.scope).c_str(), finding.code.c_str(), finding.text.c_str());
    }
  }
  if (options.json) {
    std::fputs(json::PrintPretty(json::Object{{"policy", policy.source()}, {"findings", lines}}).c_str(), stdout);
  }
  return findings.empty() ? 0 : static_cast<int>(ErrorKind::kFailed);
}

// Edits may be anywhere, as --policy says; looking writes nothing.
image::Confinement Kept(bool edits) {
  image::Confinement keep{.read = {"/"}};
  KeepForGpg(keep);
  if (edits) {
    keep.write.emplace_back("/");
  }
  return keep;
}

// --prefix, --root and --directory, of add and remove.
void AddAppcOptions(CLI::App& command, TrustOptions& options) {
  CLI::Option* prefix =
      command.add_option("--prefix", options.prefix, "ACIs of this name, and of those below it")->type_name("NAME");
  command.add_flag("--root", options.every_name, "ACIs of every name")->excludes(prefix);
  command.add_option("--directory", options.directory, "the trusted keys to change, as /etc/rkt/trustedkeys")
      ->type_name("DIR");
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Say whose signatures count: keys for registries, repositories, tags and names of ACIs.",
               "gantry-trust");
  TrustOptions options;
  AddCommonOptions(app, options.common);
  app.require_subcommand(1);
  app.fallthrough();
  const auto shared_options = [&options](CLI::App& command) {
    command.add_flag("--json", options.json, "as JSON");
    command.add_option("--policy", options.policy, "the policy file [env: GANTRY_POLICY]")->type_name("FILE");
  };

  CLI::App& add = *app.add_subcommand("add", "trust what a key signs in a scope, or as ACIs of a name");
  add.add_option("--key", options.key, "the public key: of OpenPGP, binary or armored, or PEM")->type_name("FILE");
  add.add_option("--fingerprint", options.fingerprint, "what the key's fingerprint must be")->type_name("FPR");
  add.add_flag("--identity", options.identity, "trust what it attests with gantry sign --identity");
  add.add_flag("-y,--yes", options.yes, "do not ask on a terminal");
  AddAppcOptions(add, options);
  shared_options(add);
  add.add_option(
      "SCOPE", options.operands,
      "docker://HOST/REPOSITORY[:TAG], HOST, HOST/PATH/ or *.DOMAIN; with --prefix or --root, files of keys");

  CLI::App& list = *app.add_subcommand("list", "show the policy that decides, and who can vouch");
  shared_options(list);

  CLI::App& lint = *app.add_subcommand("lint", "find what is probably not meant in the policy");
  shared_options(lint);

  CLI::App& remove = *app.add_subcommand("remove", "drop all that is said about a scope, or a key for a name");
  AddAppcOptions(remove, options);
  shared_options(remove);
  remove.add_option("SCOPE", options.operands, "as for add; with --prefix or --root, fingerprints");

  return ToolMain(app, argc, argv, [&] {
    Confine(options.common, Kept(!list.parsed() && !lint.parsed()));
    return add.parsed()      ? Add(options)
           : remove.parsed() ? Remove(options)
           : lint.parsed()   ? Lint(options)
                             : ListTrust(options);
  });
}
