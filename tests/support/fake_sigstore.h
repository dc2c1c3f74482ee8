// A whole sigstore instance for tests: authority, certificate log, Rekor of both versions, timestamp authority. It
// signs as a client of the real one would, and hands out the bundle, which a test may then spoil at any place.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libsign/keyless.h"
#include "tests/support/test_ca.h"

namespace gantry::testing {

// A bundle taken apart: what is signed, and what came with it.
struct OpenedBundle {
  sign::SignedContent content;
  sign::CertificateMaterial material;
};
// `artifact` is what a message signature is about. kCorrupt for what is no bundle.
OpenedBundle OpenBundle(const json::Value& bundle, std::string_view artifact);

// The value at a JSON pointer; it must exist.
json::Value& At(json::Value& document, std::string_view pointer);

struct FakeSigning {
  std::string entry = "hashedrekord 0.0.1";  // kind and version; empty for no entry
  bool envelope = false;                     // a DSSE envelope around the artifact, else a message signature
  bool timestamp = false;
  int64_t time = kNow;  // of the entry and the timestamp
  std::string email = "signer@gantry.example";
  std::string key = "P-256";
  std::vector<ExtensionSpec> extensions;  // in place of those of the same name
};

class FakeSigstore {
 public:
  FakeSigstore();

  static constexpr std::string_view kIssuer = "https://issuer.gantry.example";

  const sign::TrustedRoot& trust() const { return trust_; }
  const std::string& trusted_root_json() const { return trusted_root_json_; }

  // Rules that the bundle of `signing` keeps to.
  static sign::KeylessRules RulesFor(const FakeSigning& signing = {});

  // A bundle of version 0.3.
  json::Value Sign(std::string_view artifact, const FakeSigning& signing = {}) const;
  // With these parts exchanged after the fact, all signatures of the log stay right: what a log would say of this body.
  json::Value MakeEntry(const std::string& body, const FakeSigning& signing) const;

  const Issued& authority() const { return authority_; }
  const Issued& tsa() const { return tsa_; }
  std::string SignByRekor(std::string_view message) const { return rekor_.Sign({}, message); }

  static sign::CertificateVerdict Verify(const json::Value& bundle, std::string_view artifact,
                                         const sign::TrustedRoot& trust, const sign::KeylessRules& rules);

 private:
  Issued IssueLeaf(const FakeSigning& signing) const;
  std::string MakeSctList(const sign::Certificate& precertificate) const;
  std::string MakeTrustedRoot() const;

  Issued root_;
  Issued authority_;
  Issued tsa_root_;
  Issued tsa_;
  sign::PrivateKey ct_log_ = sign::PrivateKey::Generate(sign::KeyKind::kEcdsaP256);
  sign::PrivateKey rekor_ = sign::PrivateKey::Generate(sign::KeyKind::kEcdsaP256);
  sign::PrivateKey rekor2_ = sign::PrivateKey::Generate(sign::KeyKind::kEd25519);
  std::string trusted_root_json_;
  sign::TrustedRoot trust_;
};

}  // namespace gantry::testing
