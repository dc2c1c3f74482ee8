#include "tools/trust_keys.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libsign/crypto.h"
#include "libsign/openpgp.h"
#include "libsign/trusted_keys.h"
#include "tools/policy_options.h"

namespace gantry::tools {
namespace {

void Show(const sign::KeyInfo& key) {
  std::fprintf(stderr, "key %s\n", key.fingerprint.c_str());
  for (const std::string& user_id : key.user_ids) {
    std::fprintf(stderr, "    %s\n", Printable(user_id).c_str());
  }
}

// Fingerprints are written with spaces, in either case, with or without 0x.
std::string Normalised(std::string fingerprint) {
  std::erase_if(fingerprint, [](unsigned char c) { return std::isspace(c) != 0 || c == ':'; });
  fingerprint = LowerAscii(fingerprint);
  return fingerprint.starts_with("0x") ? fingerprint.substr(2) : fingerprint;
}

// On a terminal the user says yes; elsewhere naming the file was saying it.
void Confirm(const TrustOptions& options, const std::string& file, const std::string& fingerprint,
             const std::string& scope) {
  if (!options.fingerprint.empty()) {
    if (Normalised(options.fingerprint) != Normalised(fingerprint)) {
      throw Error(ErrorKind::kRefused, Quoted(file) + " holds key " + fingerprint + " and not " + options.fingerprint,
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

// The one usable OpenPGP key in a file, shown and confirmed.
sign::KeyInfo ConfirmedOpenPgp(const TrustOptions& options, const std::string& file, const std::string& content,
                               const std::string& scope) {
  const auto keys = sign::ReadKeyFile(content, Quoted(file));
  if (keys.size() > 1) {
    throw Error(ErrorKind::kUsage, Quoted(file) + " holds " + std::to_string(keys.size()) + " keys",
                "write the one to trust into a file of its own: gpg --export FINGERPRINT > FILE");
  }
  if (!keys[0].usable) {
    throw Error(ErrorKind::kRefused, "key " + keys[0].fingerprint + " is " + keys[0].problem,
                "ask its owner for a current one");
  }
  if (!options.common.quiet) {
    Show(keys[0]);
  }
  Confirm(options, file, keys[0].fingerprint, scope);
  return keys[0];
}

bool IsBare(const std::string& content) {
  return content.find("BEGIN PUBLIC KEY") != std::string::npos ||
         content.find("BEGIN RSA PUBLIC KEY") != std::string::npos;
}

std::string EditedDirectory(const TrustOptions& options) {
  if (!options.directory.empty()) {
    return options.directory;
  }
  return sign::TrustedKeyDirectories(sign::EditedPolicyPath(Given(options.policy))).front();
}

// Those that count together with the edited one.
std::vector<std::string> AllDirectories(const TrustOptions& options, const std::string& edited) {
  std::vector<std::string> all = sign::TrustedKeyDirectories(options.NamedPolicy());
  return std::find(all.begin(), all.end(), edited) != all.end() ? all : std::vector<std::string>{edited};
}

void Print(const TrustOptions& options, const sign::KeyChange& change, const std::string& prefix,
           const std::string& fingerprint, const std::string& did, json::Array& lines) {
  if (options.json) {
    lines.push_back(json::Object{{"fingerprint", fingerprint},
                                 {"prefix", prefix},
                                 {"file", change.file},
                                 {"changed", change.changed},
                                 {"masks", change.masks}});
    return;
  }
  std::printf("%s: %s\n", change.file.c_str(), change.changed ? did.c_str() : "unchanged");
}

void PrintAll(const TrustOptions& options, json::Array lines) {
  if (options.json) {
    std::fputs(json::PrintPretty(json::Object{{"keys", std::move(lines)}}).c_str(), stdout);
  }
}

}  // namespace

std::optional<std::string> TrustOptions::NamedPolicy() const {
  if (!policy.empty()) {
    return policy;
  }
  const char* variable = std::getenv("GANTRY_POLICY");
  return variable != nullptr && *variable != '\0' ? std::optional<std::string>(variable) : std::nullopt;
}

std::string Printable(const std::string& text) {
  const std::string quoted = Quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

sign::NewKey ConfirmedKey(const TrustOptions& options, const std::string& scope) {
  std::string content = ReadFile(options.key, sign::kMaxKeyBytes);
  if (IsBare(content)) {
    const auto key = sign::PublicKey::Parse(content, Quoted(options.key));
    if (!options.common.quiet) {
      std::fprintf(stderr, "key %s\n    %s\n", key.fingerprint().c_str(), std::string(sign::Name(key.kind())).c_str());
    }
    Confirm(options, options.key, key.fingerprint(), scope);
    return sign::NewKey::Bare(key, options.identity);
  }
  if (options.identity) {
    throw Error(ErrorKind::kUnsupported, "OpenPGP keys attest no identities", "see gantry-sign(1)");
  }
  const sign::KeyInfo info = ConfirmedOpenPgp(options, options.key, content, scope);
  return sign::NewKey::OpenPgp(std::move(content), info);
}

int AddTrustedKeys(const TrustOptions& options) {
  const std::string prefix = sign::ParseKeyPrefix(options.prefix);
  const std::string directory = EditedDirectory(options);
  std::vector<std::string> files = options.operands;
  if (!options.key.empty()) {
    files.push_back(options.key);
  }
  if (files.empty()) {
    throw Error(ErrorKind::kUsage, "no key is named", "gantry trust add --prefix NAME KEYFILE");
  }
  json::Array lines;
  for (const std::string& file : files) {
    const std::string content = ReadFile(file, sign::kMaxKeyBytes);
    if (IsBare(content) || options.identity) {
      throw Error(ErrorKind::kUnsupported, Quoted(file) + " is no OpenPGP key, and others sign no ACI as a file",
                  "gantry trust add --key KEYFILE SCOPE takes bare keys");
    }
    const sign::KeyInfo info =
        ConfirmedOpenPgp(options, file, content, prefix.empty() ? "every name" : prefix + " and below");
    const std::string fingerprint = LowerAscii(info.fingerprint);
    const sign::KeyChange change = sign::AddTrustedKey(directory, prefix, fingerprint, content);
    Print(options, change, prefix, fingerprint, "added", lines);
  }
  PrintAll(options, std::move(lines));
  return 0;
}

int RemoveTrustedKeys(const TrustOptions& options) {
  const std::string prefix = sign::ParseKeyPrefix(options.prefix);
  const std::string directory = EditedDirectory(options);
  if (options.operands.empty()) {
    throw Error(ErrorKind::kUsage, "no key is named", "gantry trust remove --prefix NAME FINGERPRINT");
  }
  json::Array lines;
  for (const std::string& operand : options.operands) {
    const std::string fingerprint = Normalised(operand);
    const sign::KeyChange change =
        sign::RemoveTrustedKey(AllDirectories(options, directory), directory, prefix, fingerprint);
    Print(options, change, prefix, fingerprint, change.masks ? "hides the key" : "removed", lines);
  }
  PrintAll(options, std::move(lines));
  return 0;
}

}  // namespace gantry::tools
