// gantry-trust: whose signatures count.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libsign/crypto.h"
#include "libsign/lint.h"
#include "libsign/openpgp.h"
#include "libsign/policy.h"
#include "libsign/trust_file.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string policy;
  std::string key;
  std::string fingerprint;
  std::string scope;
  bool yes = false;
  bool json = false;
  bool identity = false;

  std::optional<std::string> policy_path() const { return policy.empty() ? std::nullopt : std::optional(policy); }
};

std::string Printable(const std::string& text) {
  const std::string quoted = Quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

void Show(const sign::KeyInfo& key) {
  std::fprintf(stderr, "key %s\n", key.fingerprint.c_str());
  for (const std::string& user_id : key.user_ids) {
    std::fprintf(stderr, "    %s\n", Printable(user_id).c_str());
  }
}

// Fingerprints are written with spaces, in either case, with or without 0x.
std::string Normalised(std::string fingerprint) {
  std::erase_if(fingerprint, [](unsigned char c) { return std::isspace(c) != 0 || c == ':'; });
  std::transform(fingerprint.begin(), fingerprint.end(), fingerprint.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return fingerprint.starts_with("0X") ? fingerprint.substr(2) : fingerprint;
}

// On a terminal the user says yes; elsewhere naming the file was saying it.
void Confirm(const Options& options, const std::string& fingerprint, const std::string& scope) {
  if (!options.fingerprint.empty()) {
    if (Normalised(options.fingerprint) != Normalised(fingerprint)) {
      throw Error(ErrorKind::kRefused,
                  Quoted(options.key) + " holds key " + fingerprint + " and not " + options.fingerprint,
                  "get the right key, or its right fingerprint, from its owner");
    }
    return;
  }
  if (options.yes || isatty(STDIN_FILENO) == 0) {
    return;
  }
  std::fprintf(stderr, "trust it for images of %s? [y/N] ", scope.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "y" && answer != "Y" && answer != "yes") {
    throw Error(ErrorKind::kRefused, "the key was not confirmed, nothing was changed");
  }
}

// The one usable OpenPGP key in a file.
sign::KeyInfo OnlyKey(const Options& options, const std::string& content) {
  const auto keys = sign::ReadKeyFile(content, Quoted(options.key));
  if (keys.size() > 1) {
    throw Error(ErrorKind::kUsage, Quoted(options.key) + " holds " + std::to_string(keys.size()) + " keys",
                "write the one to trust into a file of its own: gpg --export FINGERPRINT > FILE");
  }
  if (!keys[0].usable) {
    throw Error(ErrorKind::kRefused, "key " + keys[0].fingerprint + " is " + keys[0].problem,
                "ask its owner for a current one");
  }
  return keys[0];
}

// The key, shown and confirmed.
sign::NewKey ConfirmedKey(const Options& options, const std::string& scope) {
  std::string content = ReadFile(options.key, sign::kMaxKeyBytes);
  const bool bare = content.find("BEGIN PUBLIC KEY") != std::string::npos ||
                    content.find("BEGIN RSA PUBLIC KEY") != std::string::npos;
  if (bare) {
    const auto key = sign::PublicKey::Parse(content, Quoted(options.key));
    if (!options.common.quiet) {
      std::fprintf(stderr, "key %s\n    %s\n", key.fingerprint().c_str(), std::string(sign::Name(key.kind())).c_str());
    }
    Confirm(options, key.fingerprint(), scope);
    return sign::NewKey::Bare(key, options.identity);
  }
  if (options.identity) {
    throw Error(ErrorKind::kUnsupported, "OpenPGP keys attest no identities", "see gantry-sign(1)");
  }
  const sign::KeyInfo info = OnlyKey(options, content);
  if (!options.common.quiet) {
    Show(info);
  }
  Confirm(options, info.fingerprint, scope);
  return sign::NewKey::OpenPgp(std::move(content), info);
}

int Add(const Options& options) {
  const std::string scope = sign::ParseScope(options.scope);
  const sign::NewKey key = ConfirmedKey(options, scope);
  const auto added = sign::AddKey(sign::EditedPolicyPath(options.policy_path()), scope, key);
  if (!added.started_from.empty()) {
    Warn(options.common, added.policy + " is new and begins as a copy of " + added.started_from);
  }
  Note(options.common, "key kept in " + added.key_file);
  std::printf("%s: %s %s\n", added.policy.c_str(), scope.c_str(), added.was_there ? "unchanged" : "added");
  return 0;
}

int Remove(const Options& options) {
  const std::string scope = sign::ParseScope(options.scope);
  const std::string policy = sign::EditedPolicyPath(options.policy_path());
  if (!sign::RemoveScope(policy, scope)) {
    throw Error(ErrorKind::kNotFound, policy + " says nothing about " + Quoted(scope),
                "'gantry trust list' shows the scopes");
  }
  std::printf("%s: %s removed\n", policy.c_str(), scope.c_str());
  return 0;
}

// Keys of one requirement for people: fingerprint and first user ID, or why a file does not serve.
std::vector<std::string> DescribeKeys(const sign::Requirement& requirement) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& content, const std::string& what) {
    if (requirement.type != sign::Requirement::Type::kSignedBy) {
      const auto key = sign::PublicKey::Parse(content, what);
      lines.push_back("sha256:" + key.fingerprint() + " " + std::string(sign::Name(key.kind())));
      return;
    }
    for (const sign::KeyInfo& key : sign::ReadKeyFile(content, what)) {
      lines.push_back(key.fingerprint + (key.usable ? "" : " (" + key.problem + ")") +
                      (key.user_ids.empty() ? "" : " " + Printable(key.user_ids[0])));
    }
  };
  for (const std::string& path : requirement.key_paths) {
    try {
      add(ReadFile(path, sign::kMaxKeyBytes), Quoted(path));
    } catch (const Error& error) {
      lines.push_back("unusable: " + error.message());
    }
  }
  for (const std::string& data : requirement.key_datas) {
    try {
      add(data, "keyData");
    } catch (const Error& error) {
      lines.push_back("unusable: " + error.message());
    }
  }
  return lines;
}

json::Value RuleToJson(const sign::PolicyRule& rule) {
  json::Array requirements;
  for (const sign::Requirement& requirement : rule.requirements) {
    requirements.push_back(json::Object{{"type", requirement.Name()}, {"keys", DescribeKeys(requirement)}});
  }
  return json::Object{{"scope", rule.scope}, {"requirements", requirements}};
}

void PrintRule(const sign::PolicyRule& rule) {
  std::printf("%s\n", Printable(rule.scope).c_str());
  for (const sign::Requirement& requirement : rule.requirements) {
    std::printf("    %s\n", std::string(requirement.Name()).c_str());
    for (const std::string& key : DescribeKeys(requirement)) {
      std::printf("        %s\n", key.c_str());
    }
  }
}

int List(const Options& options) {
  const sign::Policy policy = sign::Policy::Load(options.policy_path());
  if (!policy.passed_over().empty()) {
    Warn(options.common, policy.passed_over());
  }
  if (options.json) {
    json::Array rules;
    for (const sign::PolicyRule& rule : policy.Rules()) {
      rules.push_back(RuleToJson(rule));
    }
    std::fputs(json::PrintPretty(json::Object{{"policy", policy.source()}, {"rules", rules}}).c_str(), stdout);
    return 0;
  }
  std::printf("policy: %s\n", policy.source().c_str());
  for (const sign::PolicyRule& rule : policy.Rules()) {
    PrintRule(rule);
  }
  return 0;
}

int Lint(const Options& options) {
  const sign::Policy policy = sign::Policy::Load(options.policy_path());
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

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Say whose signatures count: keys for registries, repositories and tags.", "gantry-trust");
  Options options;
  AddCommonOptions(app, options.common);
  app.require_subcommand(1);
  app.fallthrough();
  const auto policy_option = [&options](CLI::App& command) {
    command.add_option("--policy", options.policy, "the policy file [env: GANTRY_POLICY]")->type_name("FILE");
  };

  CLI::App& add = *app.add_subcommand("add", "trust what a key signs in a scope");
  add.add_option("--key", options.key, "the public key: of OpenPGP, binary or armored, or PEM")
      ->required()
      ->type_name("FILE");
  add.add_option("--fingerprint", options.fingerprint, "what the key's fingerprint must be")->type_name("FPR");
  add.add_flag("--identity", options.identity, "trust what it attests with gantry sign --identity");
  add.add_flag("-y,--yes", options.yes, "do not ask on a terminal");
  policy_option(add);
  add.add_option("SCOPE", options.scope, "docker://HOST/REPOSITORY[:TAG], HOST, HOST/PATH/ or *.DOMAIN")->required();

  CLI::App& list = *app.add_subcommand("list", "show the policy that decides, and its keys");
  list.add_flag("--json", options.json, "as JSON");
  policy_option(list);

  CLI::App& lint = *app.add_subcommand("lint", "find what is probably not meant in the policy");
  lint.add_flag("--json", options.json, "as JSON");
  policy_option(lint);

  CLI::App& remove = *app.add_subcommand("remove", "drop all that is said about a scope");
  policy_option(remove);
  remove.add_option("SCOPE", options.scope, "as for add")->required();

  return ToolMain(app, argc, argv, [&] {
    Confine(options.common, Kept(!list.parsed() && !lint.parsed()));
    return add.parsed()      ? Add(options)
           : remove.parsed() ? Remove(options)
           : lint.parsed()   ? Lint(options)
                             : List(options);
  });
}
