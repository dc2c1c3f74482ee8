// The verifier that npm has (@sigstore/verify), installed below the build directory, and libsign are asked about the
// same bundles: those of the fake instance, and those with something changed.
#include <gtest/gtest.h>

#include <sstream>

#include "libimage/base/base64.h"
#include "libimage/base/process.h"
#include "tests/support/fake_sigstore.h"
#include "tests/support/source_dir.h"

namespace gantry::sign {
namespace {

using json::Object;
using json::Value;
using testing::At;
using testing::FakeSigning;
using testing::FakeSigstore;

constexpr std::string_view kArtifact = "what is signed";

constexpr const char* kPackages = GANTRY_BUILD_DIR "/npm";

// Why the packages cannot be had here; empty when they are in kPackages.
std::string InstallPackages() {
  const std::string script = testing::SourceDir() + "/tests/support/install_sigstore_js.sh";
  const Captured installed = RunCaptured({"bash", script, kPackages}, {}, 1024 * 1024);
  EXPECT_TRUE(installed.status.code == 0 || installed.status.code == 77) << installed.output;
  return installed.status.code == 0 ? "" : installed.output;
}

std::string Flipped(const std::string& base64) {
  std::string bytes = DecodeBase64(base64).value();
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  return EncodeBase64(bytes);
}

// Good bundles, and each of them with one thing wrong.
std::vector<Value> Cases(const FakeSigstore& instance) {
  std::vector<Value> cases;
  for (const FakeSigning& signing : std::vector<FakeSigning>{
           {},
           {.timestamp = true},
           {.entry = "dsse 0.0.1", .envelope = true},
           {.entry = "intoto 0.0.2", .envelope = true},
           {.entry = "hashedrekord 0.0.2", .timestamp = true},
           {.entry = "dsse 0.0.2", .envelope = true, .timestamp = true},
       }) {
    const Value good = instance.Sign(kArtifact, signing);
    cases.push_back(good);
    const std::string entry = "/verificationMaterial/tlogEntries/0";
    std::vector<std::string> places = {
        entry + "/canonicalizedBody", entry + "/logId/keyId", entry + "/inclusionProof/rootHash",
        entry + "/inclusionProof/hashes/1",
        signing.envelope ? "/dsseEnvelope/signatures/0/sig" : "/messageSignature/signature"};
    if (signing.envelope) {
      places.emplace_back("/dsseEnvelope/payload");
    }
    for (const std::string& place : places) {
      Value bad = good;
      At(bad, place) = Flipped(*At(bad, place).string());
      cases.push_back(bad);
    }
    Value other = instance.Sign("another artifact", signing);
    Value swapped = good;
    At(swapped, "/verificationMaterial/tlogEntries") = At(other, "/verificationMaterial/tlogEntries");
    cases.push_back(swapped);
  }
  cases.push_back(instance.Sign(kArtifact, {.time = testing::kNow + 1000}));
  cases.push_back(instance.Sign(kArtifact, {.entry = "hashedrekord 0.0.2"}));
  cases.push_back(instance.Sign(kArtifact, {.email = "mallory@gantry.example"}));
  cases.push_back(FakeSigstore().Sign(kArtifact));
  return cases;
}

TEST(SigstoreJs, AgreesAboutEveryBundle) {
  if (const std::string problem = InstallPackages(); !problem.empty())
    GTEST_SKIP() << problem;
  const FakeSigstore instance;
  const std::vector<Value> cases = Cases(instance);
  json::Array asked;
  for (const Value& bundle : cases) asked.push_back(Object{{"bundle", bundle}, {"artifact", kArtifact}});
  const std::string input =
      json::Print(Object{{"trustedRoot", json::Parse(instance.trusted_root_json(), "trusted root")},
                         {"issuer", FakeSigstore::kIssuer},
                         {"subject", "signer@gantry.example"},
                         {"cases", asked}});
  const Captured answer =
      RunCaptured({"node", testing::SourceDir() + "/tests/support/sigstore_verify.mjs", kPackages}, input, 1024 * 1024);
  ASSERT_EQ(answer.status.code, 0);
  std::istringstream lines(answer.output);
  size_t accepted = 0;
  for (const Value& bundle : cases) {
    std::string theirs;
    std::getline(lines, theirs);
    const auto ours = FakeSigstore::Verify(bundle, kArtifact, instance.trust(), FakeSigstore::RulesFor());
    // They do not look at the proof where the log made a promise, read the root from the checkpoint alone, and know
    // logs of version 2 by four bytes.
    const bool stricter = ours.code == "bad-inclusion-proof" || ours.code == "unknown-log";
    EXPECT_TRUE(ours.accepted == (theirs == "accepted") || stricter) << ours.code << ", and theirs: " << theirs << "\n"
                                                                     << json::Print(bundle);
    accepted += ours.accepted ? 1 : 0;
  }
  EXPECT_EQ(accepted, 6U);
}

}  // namespace
}  // namespace gantry::sign
