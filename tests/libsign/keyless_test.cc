#include "libsign/keyless.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libsign/proto_json.h"
#include "libsign/time_text.h"
#include "libsign/timestamp.h"
#include "tests/support/fake_sigstore.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using json::Value;
using testing::At;
using testing::CaughtError;
using testing::FakeSigning;
using testing::FakeSigstore;
using testing::kDay;
using testing::kNow;

constexpr std::string_view kArtifact = R"({"critical":"what is signed"})";
constexpr std::string_view kEntry = "/verificationMaterial/tlogEntries/0";

const FakeSigstore& Instance() {
  static const FakeSigstore kInstance;
  return kInstance;
}

CertificateVerdict Verify(const Value& bundle, const FakeSigning& signing = {}) {
  return FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), FakeSigstore::RulesFor(signing));
}

CertificateVerdict Verify(const FakeSigning& signing) { return Verify(Instance().Sign(kArtifact, signing), signing); }

// Each way that clients of sigstore keep a signature.
std::vector<FakeSigning> AllWays() {
  return {
      {.entry = "hashedrekord 0.0.1"},
      {.entry = "hashedrekord 0.0.1", .timestamp = true},
      {.entry = "dsse 0.0.1", .envelope = true},
      {.entry = "intoto 0.0.2", .envelope = true},
      {.entry = "hashedrekord 0.0.2", .timestamp = true},
      {.entry = "hashedrekord 0.0.2", .envelope = true, .timestamp = true},
      {.entry = "dsse 0.0.2", .envelope = true, .timestamp = true},
  };
}

TEST(Keyless, AcceptsEachWayThatClientsSign) {
  for (const FakeSigning& signing : AllWays()) {
    const CertificateVerdict verdict = Verify(signing);
    EXPECT_TRUE(verdict.accepted) << signing.entry << ": " << verdict.code << ": " << verdict.reason;
    EXPECT_EQ(verdict.signer, "'signer@gantry.example' by 'https://issuer.gantry.example'");
    for (const Step& step : verdict.steps) EXPECT_TRUE(step.passed && !step.text.empty()) << step.code;
  }
  EXPECT_TRUE(Verify({.key = "P-384"}).accepted);
  EXPECT_TRUE(Verify({.key = "RSA:2048"}).accepted);
}

TEST(Keyless, SaysWhatWasCheckedInOrder) {
  const CertificateVerdict verdict = Verify({.timestamp = true});
  std::vector<std::string> codes;
  for (const Step& step : verdict.steps) codes.push_back(step.code);
  EXPECT_EQ(codes, (std::vector<std::string>{"entry-bound", "entry-timestamp", "included", "timestamp", "chain",
                                             "chain", "sct", "signature", "signed"}));
}

TEST(Keyless, NeedsTheSignerThatIsAskedFor) {
  const Value bundle = Instance().Sign(kArtifact);
  KeylessRules rules = FakeSigstore::RulesFor();
  rules.subject = "other@gantry.example";
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), rules).code, "subject-mismatch");
  rules.subject = "signer@gantry.exampl";  // no prefix, no pattern
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), rules).code, "subject-mismatch");
  rules = FakeSigstore::RulesFor();
  rules.issuer = "https://issuer.gantry";
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), rules).code, "issuer-mismatch");
}

TEST(Keyless, TakesAnAddressOfAnotherKindOnlyWhereThePolicyMeansAnyKind) {
  const FakeSigning signing = {.extensions = {{"subjectAltName", "critical,URI:https://ci.example/x"}}};
  const Value bundle = Instance().Sign(kArtifact, signing);
  KeylessRules rules = FakeSigstore::RulesFor();
  rules.subject = "https://ci.example/x";
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), rules).code, "signed");
  rules.email_only = true;
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), rules).code, "subject-mismatch");
}

TEST(Keyless, ReadsTheIssuerInBothFormsWhichMustAgree) {
  const std::string current = "1.3.6.1.4.1.57264.1.8";
  const std::string old = "1.3.6.1.4.1.57264.1.1";
  EXPECT_EQ(Verify({.extensions = {{current, ""}}}).code, "signed");
  EXPECT_EQ(Verify({.extensions = {{old, ""}}}).code, "signed");
  EXPECT_EQ(Verify({.extensions = {{old, ""}, {current, ""}}}).code, "no-identity");
  EXPECT_EQ(Verify({.extensions = {{old, "DER:6874747073"}}}).code, "no-identity");
  EXPECT_EQ(Verify({.extensions = {{current, "DER:0500"}}}).code, "no-identity");
  EXPECT_EQ(Verify({.extensions = {{"subjectAltName", ""}}}).code, "no-identity");
  EXPECT_EQ(Verify({.extensions = {{"subjectAltName", "otherName:1.2.3;UTF8:signer@gantry.example"}}}).code,
            "no-identity");
}

TEST(Keyless, NeedsACertificateThatIsForSigningCode) {
  EXPECT_EQ(Verify({.extensions = {{"extendedKeyUsage", "serverAuth"}}}).code, "wrong-usage");
  EXPECT_EQ(Verify({.extensions = {{"extendedKeyUsage", ""}}}).code, "wrong-usage");
  EXPECT_EQ(Verify({.extensions = {{"keyUsage", "critical,keyEncipherment"}}}).code, "wrong-usage");
  EXPECT_EQ(Verify({.extensions = {{"basicConstraints", "critical,CA:TRUE"}}}).code, "wrong-usage");
}

TEST(Keyless, JudgesTheCertificateAtEachTimeThatIsKnown) {
  EXPECT_EQ(Verify({.time = kNow - 299}).code, "signed");
  EXPECT_EQ(Verify({.time = kNow - 301}).code, "certificate-not-yet-valid");
  EXPECT_EQ(Verify({.time = kNow + 301}).code, "certificate-expired");
  EXPECT_EQ(Verify({.entry = "hashedrekord 0.0.2", .timestamp = true, .time = kNow + 301}).code, "certificate-expired");
  // Two times, one of them outside.
  Value bundle = Instance().Sign(kArtifact, {.timestamp = true});
  const auto signature = DecodeBase64(*At(bundle, "/messageSignature/signature").string()).value();
  const std::string late =
      testing::TimestampResponse(testing::MakeTimestampToken(Instance().tsa(), signature, {.time = kNow + 1000}));
  At(bundle, "/verificationMaterial/timestampVerificationData/rfc3161Timestamps").array();
  At(bundle, "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp") =
      EncodeBase64(late);
  EXPECT_EQ(Verify(bundle).code, "certificate-expired");
}

TEST(Keyless, NeedsATimeThatSomebodyVouchesFor) {
  EXPECT_EQ(Verify({.entry = "hashedrekord 0.0.2"}).code, "no-trusted-time");
  // The time of an entry without the log's signature over it is nobody's word.
  Value bundle = Instance().Sign(kArtifact);
  At(bundle, kEntry).object()->Remove("inclusionPromise");
  At(bundle, kEntry).object()->Set("logIndex", "4");
  EXPECT_EQ(Verify(bundle).code, "no-trusted-time");
}

TEST(Keyless, NeedsTheLogEntryAndItsProofWhereTheRulesSaySo) {
  EXPECT_EQ(Verify({.entry = "", .timestamp = true}).code, "no-log-entry");
  KeylessRules rules = FakeSigstore::RulesFor();
  rules.require_entry = false;
  const Value without = Instance().Sign(kArtifact, {.entry = "", .timestamp = true});
  EXPECT_EQ(FakeSigstore::Verify(without, kArtifact, Instance().trust(), rules).code, "signed");
  Value bundle = Instance().Sign(kArtifact);
  At(bundle, kEntry).object()->Remove("inclusionProof");
  EXPECT_EQ(Verify(bundle).code, "no-inclusion-proof");
  rules.require_proof = false;
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, Instance().trust(), rules).code, "signed");
}

TEST(Keyless, TrustsLogsAndAuthoritiesInTheirTimeOnly) {
  const Value bundle = Instance().Sign(kArtifact, {.timestamp = true});
  const auto code = [&](auto change) {
    TrustedRoot trust = Instance().trust();
    change(trust);
    return FakeSigstore::Verify(bundle, kArtifact, trust, FakeSigstore::RulesFor()).code;
  };
  EXPECT_EQ(code([](TrustedRoot&) {}), "signed");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.tlogs[0].valid_for.until = kNow; }), "signed");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.tlogs[0].valid_for.until = kNow - 1; }), "unknown-log");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.tlogs.erase(trust.tlogs.begin()); }), "unknown-log");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.ctlogs[0].valid_for.until = kNow - 1; }), "sct-invalid");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.ctlogs.clear(); }), "sct-missing");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.certificate_authorities[0].valid_for.from = kNow + 1; }),
            "untrusted-chain");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.certificate_authorities.clear(); }), "untrusted-chain");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.timestamp_authorities[0].valid_for.until = kNow - 1; }),
            "untrusted-chain");
  EXPECT_EQ(code([](TrustedRoot& trust) { trust.timestamp_authorities.clear(); }), "untrusted-chain");
  const Value second = Instance().Sign(kArtifact, {.entry = "hashedrekord 0.0.2", .timestamp = true});
  TrustedRoot trust = Instance().trust();
  trust.tlogs[1].valid_for.until = kNow - 1;
  EXPECT_EQ(FakeSigstore::Verify(second, kArtifact, trust, FakeSigstore::RulesFor()).code, "unknown-log");
}

// Attacks that verifiers fell for; each has the name it is known by.

TEST(KeylessAttack, EntryOfAnotherArtifactCve202236056) {
  Value bundle = Instance().Sign(kArtifact);
  const Value other = Instance().Sign("another artifact");
  At(bundle, "/verificationMaterial/tlogEntries") = At(const_cast<Value&>(other), "/verificationMaterial/tlogEntries");
  EXPECT_EQ(Verify(bundle).code, "entry-mismatch");
}

TEST(KeylessAttack, EntryOfTheSameArtifactBySomebodyElseCve202622703) {
  Value bundle = Instance().Sign(kArtifact);
  Value other = Instance().Sign(kArtifact, {.email = "mallory@gantry.example"});
  At(bundle, "/verificationMaterial/tlogEntries") = At(other, "/verificationMaterial/tlogEntries");
  EXPECT_EQ(Verify(bundle).code, "entry-mismatch");
}

TEST(KeylessAttack, CertificateAndKeyOfAnotherSignatureCve202223649) {
  Value bundle = Instance().Sign(kArtifact);
  Value other = Instance().Sign(kArtifact, {.email = "mallory@gantry.example"});
  At(other, "/verificationMaterial/certificate") = At(bundle, "/verificationMaterial/certificate");
  EXPECT_EQ(Verify(other).code, "entry-mismatch");
}

TEST(KeylessAttack, ASubjectThatHoldsTheWantedOne) {
  for (const char* email :
       {"signer@gantry.example.evil.example", "notsigner@gantry.example", "signer@gantryxexample"}) {
    const Value bundle = Instance().Sign(kArtifact, {.email = email});
    EXPECT_EQ(Verify(bundle).code, "subject-mismatch") << email;
  }
  KeylessRules rules = FakeSigstore::RulesFor();
  rules.subject = ".*@gantry.example";
  EXPECT_EQ(FakeSigstore::Verify(Instance().Sign(kArtifact), kArtifact, Instance().trust(), rules).code,
            "subject-mismatch");
}

TEST(KeylessAttack, OldTimestampOfAnotherSignature) {
  Value bundle = Instance().Sign(kArtifact, {.entry = "hashedrekord 0.0.2", .timestamp = true});
  Value other = Instance().Sign("another", {.entry = "hashedrekord 0.0.2", .timestamp = true});
  constexpr std::string_view kTimestamps = "/verificationMaterial/timestampVerificationData";
  At(bundle, kTimestamps) = At(other, kTimestamps);
  EXPECT_EQ(Verify(bundle).code, "timestamp-mismatch");
}

TEST(KeylessAttack, OneEntryCountedTwice) {
  Value bundle = Instance().Sign(kArtifact);
  const Value entry = At(bundle, kEntry);
  At(bundle, "/verificationMaterial/tlogEntries") = json::Array{entry, entry};
  EXPECT_EQ(Verify(bundle).code, "duplicate-log-entry");
}

TEST(KeylessAttack, UnboundedMaterial) {
  Value bundle = Instance().Sign(kArtifact);
  const Value entry = At(bundle, kEntry);
  At(bundle, "/verificationMaterial/tlogEntries") = json::Array(kMaxLogEntries + 1, entry);
  EXPECT_EQ(Verify(bundle).code, "corrupt");
  bundle = Instance().Sign(kArtifact);
  At(bundle, std::string(kEntry) + "/inclusionProof/hashes") =
      json::Array(65, Value(EncodeBase64(std::string(32, 'x'))));
  EXPECT_EQ(Verify(bundle).code, "corrupt");
}

TEST(KeylessAttack, AuthorityThatBringsItsOwnRoot) {
  const FakeSigstore impostor;
  Value bundle = impostor.Sign(kArtifact);
  const Value leaf = At(bundle, "/verificationMaterial/certificate");
  json::Object& material = *At(bundle, "/verificationMaterial").object();
  material.Remove("certificate");
  const Value authority =
      json::Object{{"rawBytes", EncodeBase64(impostor.trust().certificate_authorities[0].chain[0].der())}};
  const Value root =
      json::Object{{"rawBytes", EncodeBase64(impostor.trust().certificate_authorities[0].chain[1].der())}};
  material.Set("x509CertificateChain", json::Object{{"certificates", json::Array{leaf, authority, root}}});
  EXPECT_EQ(Verify(bundle).code, "corrupt");
  material.Set("x509CertificateChain", json::Object{{"certificates", json::Array{leaf, authority}}});
  EXPECT_EQ(Verify(bundle).code, "unknown-log");
  TrustedRoot trust = impostor.trust();
  trust.certificate_authorities = Instance().trust().certificate_authorities;
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, trust, FakeSigstore::RulesFor()).code, "bad-certificate-signature");
}

TEST(KeylessAttack, CheckpointOfAnotherLogWithTheSameKey) {
  Value bundle = Instance().Sign(kArtifact);
  TrustedRoot trust = Instance().trust();
  trust.tlogs[0].host = "rekor.elsewhere.example";
  EXPECT_EQ(FakeSigstore::Verify(bundle, kArtifact, trust, FakeSigstore::RulesFor()).code, "bad-checkpoint");
}

TEST(KeylessAttack, EntriesWithTwoMembersOfOneName) {
  const Value bundle = Instance().Sign(kArtifact);
  Value changed = bundle;
  std::string body = DecodeBase64(*At(changed, std::string(kEntry) + "/canonicalizedBody").string()).value();
  body.insert(1, R"("kind":"dsse",)");
  At(changed, "/verificationMaterial/tlogEntries") = json::Array{Instance().MakeEntry(body, {})};
  EXPECT_EQ(Verify(changed).code, "bad-entry");
}

// One byte, or one number, changed at a place of a bundle, and the codes that may come of it.
struct Place {
  std::string pointer;
  std::vector<std::string> codes;
};

std::vector<Place> PlacesOf(const FakeSigning& signing) {
  const std::string entry(kEntry);
  const std::vector<std::string> broken = {"entry-mismatch", "corrupt"};
  std::vector<Place> places = {
      {"/verificationMaterial/certificate/rawBytes", broken},
      {entry + "/canonicalizedBody", {"entry-mismatch", "bad-entry", "bad-entry-timestamp", "bad-inclusion-proof"}},
      {entry + "/logId/keyId", {"unknown-log"}},
      {entry + "/inclusionProof/rootHash", {"bad-inclusion-proof"}},
      {entry + "/inclusionProof/hashes/0", {"bad-inclusion-proof"}},
      {entry + "/inclusionProof/hashes/2", {"bad-inclusion-proof"}},
  };
  if (signing.envelope) {
    places.push_back({"/dsseEnvelope/payload", {"entry-mismatch"}});
    places.push_back({"/dsseEnvelope/signatures/0/sig", {"entry-mismatch"}});
  } else {
    places.push_back({"/messageSignature/signature", {"entry-mismatch"}});
  }
  if (signing.entry == "hashedrekord 0.0.1" || signing.entry == "dsse 0.0.1") {
    places.push_back({entry + "/inclusionPromise/signedEntryTimestamp", {"bad-entry-timestamp"}});
  }
  return places;
}

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  return bytes;
}

// Every place of every way, at first, last and some bytes between.
TEST(KeylessMutation, NoChangedByteIsAccepted) {
  size_t count = 0;
  for (const FakeSigning& signing : AllWays()) {
    const Value good = Instance().Sign(kArtifact, signing);
    for (const Place& place : PlacesOf(signing)) {
      const std::string bytes = DecodeBase64(*At(const_cast<Value&>(good), place.pointer).string()).value();
      for (size_t step = 0; step < 8; ++step, ++count) {
        Value bad = good;
        const size_t at = step * (bytes.size() - 1) / 7;
        At(bad, place.pointer) = EncodeBase64(Flipped(bytes, at));
        const std::string code = Verify(bad, signing).code;
        EXPECT_THAT(place.codes, ::testing::Contains(code)) << signing.entry << " " << place.pointer << " byte " << at;
      }
    }
  }
  EXPECT_GE(count, 150U);
}

TEST(KeylessMutation, NoChangedCheckpointOrTimestampIsAccepted) {
  const FakeSigning signing = {.entry = "hashedrekord 0.0.2", .timestamp = true};
  const Value good = Instance().Sign(kArtifact, signing);
  const std::string checkpoint = std::string(kEntry) + "/inclusionProof/checkpoint/envelope";
  const std::string note = *At(const_cast<Value&>(good), checkpoint).string();
  for (size_t at = 0; at < note.size(); ++at) {
    if (static_cast<unsigned char>(note[at]) >= 0x80)
      continue;  // half a dash is no text, and no JSON
    Value bad = good;
    At(bad, checkpoint) = Flipped(note, at);
    EXPECT_THAT((std::vector<std::string>{"bad-checkpoint", "bad-inclusion-proof"}),
                ::testing::Contains(Verify(bad, signing).code))
        << at;
  }
  // What the authority signed: the content (imprint and time), the signed attributes, the signature. The frame around
  // them is nobody's word.
  const std::string stamp = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
  const std::string bytes = DecodeBase64(*At(const_cast<Value&>(good), stamp).string()).value();
  const size_t imprint = bytes.find(Hash(
      KeyHash::kSha256, DecodeBase64(*At(const_cast<Value&>(good), "/messageSignature/signature").string()).value()));
  ASSERT_NE(imprint, std::string::npos);
  for (size_t at = imprint; at < imprint + 32 + 3 + 17; ++at) {  // to the end of the time
    Value bad = good;
    At(bad, stamp) = EncodeBase64(Flipped(bytes, at));
    EXPECT_THAT((std::vector<std::string>{"timestamp-mismatch", "bad-timestamp", "untrusted-chain",
                                          "certificate-expired", "certificate-not-yet-valid"}),
                ::testing::Contains(Verify(bad, signing).code))
        << at;
  }
  for (size_t at = bytes.size() - 60; at < bytes.size(); ++at) {  // within the signature
    Value bad = good;
    At(bad, stamp) = EncodeBase64(Flipped(bytes, at));
    EXPECT_EQ(Verify(bad, signing).code, "bad-timestamp") << at;
  }
}

TEST(KeylessMutation, NoChangedNumberIsAccepted) {
  for (const FakeSigning& signing : AllWays()) {
    const Value good = Instance().Sign(kArtifact, signing);
    for (const auto& [member, value] :
         {std::pair("/logIndex", "5"), std::pair("/inclusionProof/logIndex", "5"),
          std::pair("/inclusionProof/treeSize", "8"), std::pair("/kindVersion/version", "0.0.3"),
          std::pair("/kindVersion/kind", "rekord"), std::pair("/logIndex", "-1"),
          std::pair("/inclusionProof/treeSize", "18446744073709551616")}) {
      Value bad = good;
      At(bad, std::string(kEntry) + member) = value;
      EXPECT_THAT((std::vector<std::string>{"bad-entry-timestamp", "bad-inclusion-proof", "entry-mismatch", "corrupt"}),
                  ::testing::Contains(Verify(bad, signing).code))
          << signing.entry << member;
    }
  }
}

// Timestamps of every kind that is not to count.
TEST(Timestamp, CountsOnlyWhenEverythingAboutItIsRight) {
  using testing::CertificateSpec;
  using testing::Issued;
  using testing::TimestampSpec;
  const Issued root = SelfSigned(CertificateSpec::Authority("CN=tsa root"));
  const CertificateSpec right = CertificateSpec::Timestamper("CN=tsa");
  const auto code = [&](const Issued& tsa, const TimestampSpec& spec, std::string_view message = "message") {
    const Timestamp stamp =
        VerifyTimestampToken(MakeTimestampToken(tsa, "message", spec), message, {tsa.certificate}, {root.certificate});
    EXPECT_EQ(stamp.chain.empty(), stamp.problem.has_value());
    return stamp.problem ? stamp.problem->code : "";
  };
  const Issued tsa = IssueBy(root, right);
  EXPECT_EQ(code(tsa, {}), "");
  EXPECT_EQ(code(tsa, {.with_certificates = false}), "");
  EXPECT_EQ(code(tsa, {.digest = "SHA512"}), "");
  EXPECT_EQ(code(tsa, {}, "other"), "timestamp-mismatch");
  EXPECT_EQ(code(tsa, {.digest = "SHA1"}), "bad-timestamp");
  EXPECT_EQ(code(tsa, {.signing_certificate = false}), "bad-timestamp");
  EXPECT_EQ(code(tsa, {.cms_data_type = true}), "bad-timestamp");
  EXPECT_EQ(code(tsa, {.time = kNow + 200 * kDay}), "certificate-expired");
  EXPECT_EQ(code(SelfSigned(right), {}), "untrusted-chain");
  EXPECT_EQ(code(IssueBy(root, right.With("extendedKeyUsage", "timeStamping")), {}), "wrong-usage");
  EXPECT_EQ(code(IssueBy(root, right.With("extendedKeyUsage", "critical,timeStamping,codeSigning")), {}),
            "wrong-usage");
  EXPECT_EQ(code(IssueBy(root, right.With("extendedKeyUsage", "critical,codeSigning")), {}), "wrong-usage");
  EXPECT_EQ(code(IssueBy(root, right.With("keyUsage", "critical,digitalSignature,keyCertSign")), {}), "wrong-usage");
  const Timestamp vague = VerifyTimestampToken(MakeTimestampToken(tsa, "message", {.accuracy_seconds = 5}), "message",
                                               {}, {root.certificate});
  EXPECT_EQ(vague.earliest, kNow - 5);
  EXPECT_EQ(vague.latest, kNow + 5);
}

TEST(Timestamp, IsTakenOutOfAResponseThatGrantsIt) {
  const testing::TestPki pki;
  const std::string token = MakeTimestampToken(pki.leaf, "message");
  EXPECT_EQ(TokenOfResponse(testing::TimestampResponse(token)), token);
  EXPECT_EQ(TokenOfResponse(testing::TimestampResponse(token, 1)), token);
  EXPECT_EQ(TokenOfResponse(testing::TimestampResponse(token, 2)), std::nullopt);
  EXPECT_EQ(TokenOfResponse(testing::TimestampResponse(token) + "x"), std::nullopt);
  EXPECT_EQ(TokenOfResponse(""), std::nullopt);
  EXPECT_EQ(TokenOfResponse(token), std::nullopt);
  const Timestamp cut = VerifyTimestampToken(token.substr(1), "message", {}, {});
  EXPECT_EQ(cut.problem->code, "bad-timestamp");
}

TEST(CertificateMaterial, IsReadFromTheAnnotationsOfALayer) {
  Value bundle = Instance().Sign(kArtifact);
  const json::Value& entry = At(bundle, kEntry);
  const auto leaf = Certificate::Parse(
      DecodeBase64(*At(bundle, "/verificationMaterial/certificate/rawBytes").string()).value(), "leaf");
  const RekorEntry read = RekorEntry::Parse(json::Cursor(entry, "entry"));
  std::string id;
  for (const char c : read.log_id) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    id += digits;
  }
  const std::string annotation = json::Print(json::Object{
      {"SignedEntryTimestamp", EncodeBase64(read.signed_entry_timestamp)},
      {"Payload",
       json::Object{
           {"body", EncodeBase64(read.body)}, {"integratedTime", kNow}, {"logIndex", read.log_index}, {"logID", id}}}});
  const auto& chain = Instance().trust().certificate_authorities[0].chain;
  const CertificateMaterial material =
      CertificateMaterial::FromAnnotations(leaf.ToPem(), chain[0].ToPem() + chain[1].ToPem(), annotation, "");
  EXPECT_EQ(material.chain.size(), 2U);  // without the root
  KeylessRules rules = FakeSigstore::RulesFor();
  rules.require_proof = false;
  rules.require_sct = false;
  const auto opened = testing::OpenBundle(bundle, kArtifact);
  EXPECT_EQ(VerifyKeyless(opened.content, material, Instance().trust(), rules).code, "signed");
  for (const char* bad : {"{}", R"({"SignedEntryTimestamp":"","Payload":{},"x":1})", "[]"}) {
    EXPECT_EQ(CaughtError([&] { CertificateMaterial::FromAnnotations(leaf.ToPem(), "", bad, ""); }).kind(),
              ErrorKind::kCorrupt);
  }
}

TEST(Pki, NeedsAChainNowAndTheNamesThatAreAsked) {
  const testing::TestPki pki;
  const auto leaf =
      IssueBy(pki.authority, testing::CertificateSpec::CodeSigner("CN=leaf").With(
                                 "subjectAltName", "email:a@b.example,DNS:Build.b.example,DNS:*.c.example"));
  CertificateMaterial material;
  material.chain = {leaf.certificate};
  const SignedContent content{"payload", leaf.key().Sign(Scheme::DefaultFor(KeyKind::kEcdsaP256), "payload"), {}, {}};
  const auto code = [&](const PkiRules& rules) {
    return VerifyPki(content, material, {pki.root.certificate}, {pki.authority.certificate}, rules).code;
  };
  EXPECT_EQ(code({.email = "a@b.example", .now = kNow}), "signed");
  EXPECT_EQ(code({.hostname = "build.B.example", .now = kNow}), "signed");
  EXPECT_EQ(code({.hostname = "x.c.example", .now = kNow}), "signed");
  EXPECT_EQ(code({.email = "a@b.example", .hostname = "build.b.example", .now = kNow}), "signed");
  EXPECT_EQ(code({.hostname = "c.example", .now = kNow}), "subject-mismatch");
  EXPECT_EQ(code({.hostname = "x.y.c.example", .now = kNow}), "subject-mismatch");
  EXPECT_EQ(code({.email = "A@b.example", .now = kNow}), "subject-mismatch");
  EXPECT_EQ(code({.email = "a@b.example", .hostname = "other.example", .now = kNow}), "subject-mismatch");
  EXPECT_EQ(code({.now = kNow}), "subject-mismatch");
  EXPECT_EQ(code({.email = "a@b.example", .now = kNow + 200 * kDay}), "certificate-expired");
  EXPECT_EQ(VerifyPki({"other", content.signature, {}, {}}, material, {pki.root.certificate},
                      {pki.authority.certificate}, {.email = "a@b.example", .now = kNow})
                .code,
            "bad-signature");
  EXPECT_EQ(VerifyPki(content, material, {pki.root.certificate}, {}, {.email = "a@b.example", .now = kNow}).code,
            "untrusted-chain");
}

TEST(TrustedRoot, IsReadStrictlyWhereTrustHangsOnIt) {
  const std::string& good = Instance().trusted_root_json();
  const TrustedRoot trust = TrustedRoot::Parse(good, "x");
  EXPECT_EQ(trust.tlogs.size(), 2U);
  EXPECT_EQ(trust.tlogs[0].host, "rekor.gantry.example");
  const auto kind = [&](std::string_view pointer, const Value& value) {
    Value changed = json::Parse(good, "x");
    At(changed, pointer) = value;
    return CaughtError([&] { TrustedRoot::Parse(json::Print(changed), "x"); }).kind();
  };
  EXPECT_EQ(kind("/mediaType", "application/json"), ErrorKind::kUnsupported);
  EXPECT_EQ(kind("/tlogs/0/publicKey/validFor", json::Object{}), ErrorKind::kCorrupt);
  EXPECT_EQ(kind("/tlogs/0/publicKey/validFor/start", "yesterday"), ErrorKind::kCorrupt);
  EXPECT_EQ(kind("/tlogs/0/publicKey/rawBytes", "AAAA"), ErrorKind::kCorrupt);
  EXPECT_EQ(kind("/tlogs/0/publicKey/keyDetails", "PKIX_ED25519"), ErrorKind::kCorrupt);
  EXPECT_EQ(kind("/certificateAuthorities/0/certChain/certificates", json::Array{}), ErrorKind::kCorrupt);
  EXPECT_EQ(kind("/certificateAuthorities/0/certChain/certificates/0/rawBytes", "AAAA"), ErrorKind::kCorrupt);
  EXPECT_EQ(kind("/ctlogs", json::Array(kMaxTrustedParties + 1, Value(json::Object{}))), ErrorKind::kCorrupt);
  // A log whose key is of a kind that nobody here knows vouches for nothing, and the rest stays good.
  Value newer = json::Parse(good, "x");
  At(newer, "/tlogs/0/publicKey/keyDetails") = "ML_DSA_65";
  EXPECT_EQ(TrustedRoot::Parse(json::Print(newer), "x").tlogs.size(), 1U);
  EXPECT_EQ(TrustedRoot::Parse(json::Print(newer), "x").left_out, std::vector<std::string>{"/tlogs/0"});
}

TEST(Rfc3339, IsReadAndWritten) {
  EXPECT_EQ(TimeText(kNow), "2025-06-15T15:06:40Z");
  EXPECT_EQ(ParseRfc3339("2025-06-15T15:06:40Z"), kNow);
  EXPECT_EQ(ParseRfc3339("2025-06-15T17:06:40.123456789+02:00"), kNow);
  EXPECT_EQ(ParseRfc3339("2016-12-31T23:59:60Z"), ParseRfc3339("2016-12-31T23:59:59Z"));
  for (const char* bad :
       {"", "2025", "2025-06-15", "2025-06-15T15:06:40", "2025-06-15 15:06:40Z", "2025-02-30T00:00:00Z",
        "2025-13-01T00:00:00Z", "2025-06-15T24:06:40Z", "2025-06-15T15:06:40.Z", "2025-6-15T15:06:40Z",
        "2025-06-15T15:06:40+2:00", "2025-06-15T15:06:40Zx", "-025-06-15T15:06:40Z"}) {
    EXPECT_EQ(ParseRfc3339(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace gantry::sign
