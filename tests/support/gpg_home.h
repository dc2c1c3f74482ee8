// A key ring of gpg that is there for a test, made and driven by gpg itself: what gantry is compared with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temp_dir.h"

namespace gantry::testing {

class GpgHome {
 public:
  GpgHome();
  GpgHome(const GpgHome&) = delete;
  GpgHome& operator=(const GpgHome&) = delete;
  ~GpgHome();  // stops its agent

  const std::string& path() const { return dir_.path(); }

  // gpg with `arguments` in batch mode; stdout. Fails the test when gpg fails.
  std::string Run(const std::vector<std::string>& arguments, std::string_view input = {}) const;

  // A key without passphrase; its fingerprint.
  std::string Generate(const std::string& user_id, const std::string& algorithm = "ed25519",
                       const std::string& usage = "sign", const std::string& expires = "never",
                       const std::vector<std::string>& options = {}) const;
  std::string Fingerprint(const std::string& user_id) const;
  std::string Export(const std::string& key) const;
  // A binary signed message.
  std::string Sign(const std::string& key, std::string_view payload, std::vector<std::string> options = {}) const;

 private:
  TempDir dir_;
};

// One for the whole test binary, with one key ("gantry test <test@gantry.example>").
struct SharedKey {
  GpgHome home;
  std::string fingerprint = home.Generate("gantry test <test@gantry.example>");
  std::string public_key = home.Export(fingerprint);
  static SharedKey& Get();
};

// A program that is run in place of gpg while this lives: a shell script, whose status channel is descriptor 3.
class FakeGpg {
 public:
  explicit FakeGpg(const std::string& script);
  FakeGpg(const FakeGpg&) = delete;
  FakeGpg& operator=(const FakeGpg&) = delete;
  ~FakeGpg();

 private:
  TempDir dir_;
  std::string path_before_;
};

}  // namespace gantry::testing
