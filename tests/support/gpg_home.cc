#include "tests/support/gpg_home.h"

#include <cstdlib>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"

namespace gantry::testing {

GpgHome::GpgHome() {
  dir_.dir().WriteFileAtomically(RelPath::Parse("gpg.conf"), "trust-model always\nno-auto-check-trustdb\n");
  dir_.dir().WriteFileAtomically(RelPath::Parse("gpg-agent.conf"), "allow-loopback-pinentry\ns2k-count 65536\n");
}

GpgHome::~GpgHome() { RunCaptured({"gpgconf", "--homedir", path(), "--kill", "all"}, {}, 4096); }

std::string GpgHome::Run(const std::vector<std::string>& arguments, std::string_view input) const {
  std::vector<std::string> argv = {
      "gpg", "--homedir", path(), "--batch", "--yes", "--quiet", "--no-permission-warning"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const Captured captured = RunCaptured(argv, input, 16 * 1024 * 1024);
  EXPECT_EQ(captured.status.code, 0) << "gpg " << ::testing::PrintToString(arguments);
  return captured.output;
}

std::string GpgHome::Generate(const std::string& user_id, const std::string& algorithm, const std::string& usage,
                              const std::string& expires, const std::vector<std::string>& options) const {
  std::vector<std::string> arguments = options;
  for (const char* argument : {"--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key"}) {
    arguments.emplace_back(argument);
  }
  for (const std::string& argument : {user_id, algorithm, usage, expires}) {
    arguments.push_back(argument);
  }
  Run(arguments);
  return Fingerprint(user_id);
}

std::string GpgHome::Fingerprint(const std::string& user_id) const {
  const std::string listing = Run({"--with-colons", "--list-keys", "=" + user_id});
  const size_t line = listing.find("\nfpr:::::::::");
  EXPECT_NE(line, std::string::npos) << listing;
  return line == std::string::npos ? "" : listing.substr(line + 13, 40);
}

std::string GpgHome::Export(const std::string& key) const { return Run({"--export", key}); }

std::string GpgHome::Sign(const std::string& key, std::string_view payload, std::vector<std::string> options) const {
  for (const std::string& argument : {std::string("--local-user"), key, std::string("--sign")}) {
    options.push_back(argument);
  }
  return Run(options, payload);
}

SharedKey& SharedKey::Get() {
  static SharedKey key;
  return key;
}

FakeGpg::FakeGpg(const std::string& script) : path_before_(std::getenv("PATH")) {
  dir_.dir().WriteFileAtomically(RelPath::Parse("gpg"), "#!/bin/sh\n" + script, 0755);
  setenv("PATH", (dir_.path() + ":" + path_before_).c_str(), 1);
}

FakeGpg::~FakeGpg() { setenv("PATH", path_before_.c_str(), 1); }

}  // namespace gantry::testing
