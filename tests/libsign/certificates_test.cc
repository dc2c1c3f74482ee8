// sigstoreSigned with fulcio, pki and logs: whole decisions over each form in which signatures are stored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <map>
#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/model/attachment.h"
#include "libsign/bundle.h"
#include "libsign/keyless.h"
#include "libsign/simple_signing.h"
#include "libsign/statement.h"
#include "libsign/verify.h"
#include "tests/support/fake_sigstore.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using image::Attachment;
using image::DockerReference;
using image::FetchedImage;
using json::Object;
using json::Value;
using testing::At;
using testing::CaughtError;
using testing::CertificateSpec;
using testing::FakeSigning;
using testing::FakeSigstore;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using testing::Issued;
using testing::kDay;
using testing::kNow;

constexpr std::string_view kName = "h.example/foo:v1";
constexpr std::string_view kEntry = "/verificationMaterial/tlogEntries/0";
constexpr std::string_view kAnyName = R"(,"signedIdentity":{"type":"matchDigest"})";

const FakeSigstore& Instance() {
  static const FakeSigstore kInstance;
  return kInstance;
}

const image::Image& TestImage() {
  static const image::Image kMade = testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/hello"}).Build();
  return kMade;
}

FetchedImage Named(std::string_view name = kName) {
  return FetchedImage(TestImage(), DockerReference::Parse(name), std::nullopt);
}

std::string Payload(std::string_view name = kName) {
  return SimpleClaim{DockerReference::Parse(name), TestImage().descriptor.digest, "", std::nullopt}.ToJson(
      PayloadKind::kCosign);
}

std::string StatementText(std::string_view predicate = kCosignPredicate) {
  return R"({"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"h.example/foo:v1","digest":{"sha256":")" +
         TestImage().descriptor.digest.hex() + R"("}}],"predicateType":")" + std::string(predicate) +
         R"(","predicate":{}})";
}

const FakeSigning kStatement = {.entry = "dsse 0.0.1", .envelope = true};

Attachment Bundled(const Value& bundle) { return {std::string(image::kBundleType), json::Print(bundle)}; }

// An entry of a bundle as the annotation of a layer has it.
std::string EntryAnnotation(const Value& entry) {
  const RekorEntry read = RekorEntry::Parse(json::Cursor(entry, "entry"));
  return json::Print(Object{{"SignedEntryTimestamp", EncodeBase64(read.signed_entry_timestamp)},
                            {"Payload", Object{{"body", EncodeBase64(read.body)},
                                               {"integratedTime", read.integrated_time.value()},
                                               {"logIndex", read.log_index},
                                               {"logID", HexOf(read.log_id)}}}});
}

// A message signature of the payload, kept as cosign 2 keeps it.
Attachment Annotated(Value bundle, const std::string& payload) {
  const auto leaf = Certificate::Parse(
      DecodeBase64(*At(bundle, "/verificationMaterial/certificate/rawBytes").string()).value(), "leaf");
  return {std::string(image::kSimpleSigningType),
          payload,
          {{std::string(image::kSignatureAnnotation), *At(bundle, "/messageSignature/signature").string()},
           {"dev.sigstore.cosign/certificate", leaf.ToPem()},
           {"dev.sigstore.cosign/bundle", EntryAnnotation(At(bundle, kEntry))}}};
}

Attachment GoodPayload(const FakeSigning& signing = {}) {
  return Annotated(Instance().Sign(Payload(), signing), Payload());
}
Attachment GoodBundle(const FakeSigning& signing = kStatement) {
  return Bundled(Instance().Sign(StatementText(), signing));
}

std::string LogKey(const FakeSigstore& instance = Instance()) {
  return R"("rekorPublicKeyData":")" + EncodeBase64(instance.trust().tlogs[0].key.ToPem()) + "\"";
}

std::string Pem(const FakeSigstore& instance) {
  const std::vector<Certificate>& chain = instance.trust().certificate_authorities[0].chain;
  return chain[0].ToPem() + chain[1].ToPem();
}

std::string Fulcio(const std::string& email = "signer@gantry.example", const FakeSigstore& authority = Instance(),
                   const FakeSigstore& log = Instance(),
                   const std::string& issuer = std::string(FakeSigstore::kIssuer)) {
  return R"({"type":"sigstoreSigned","fulcio":{"caData":")" + EncodeBase64(Pem(authority)) + R"(","oidcIssuer":")" +
         issuer + R"(","subjectEmail":")" + email + "\"}," + LogKey(log) + "}";
}

std::string With(std::string requirement, std::string_view more) {
  requirement.insert(requirement.size() - 1, more);
  return requirement;
}

Policy Asking(const std::string& requirements) {
  return Policy::Parse(
      R"({"default":[{"type":"reject"}],"transports":{"docker":{"h.example":[)" + requirements + "]}}}", "test policy");
}

Decision Decide(const std::string& requirement, const std::vector<Attachment>& found,
                const FetchedImage& image = Named()) {
  Evidence evidence;
  for (const Attachment& attachment : found) evidence.Add(attachment.ToStored());
  Decision decision = Verifier::Decide(image, Asking(requirement), evidence, Detail::kWhole);
  EXPECT_EQ(decision.allowed, decision.code == "signed") << decision.Explain();
  return decision;
}

std::string CodeOf(const std::string& requirement, const Attachment& found, const FetchedImage& image = Named()) {
  return Decide(requirement, {found}, image).code;
}

TEST(FulcioSigned, AllowsPayloadsAndBundles) {
  for (const Attachment& made :
       {GoodPayload(), GoodBundle(), GoodBundle({.entry = "hashedrekord 0.0.1", .envelope = true}),
        GoodBundle({.entry = "intoto 0.0.2", .envelope = true})}) {
    const Decision decision = Decide(Fulcio(), {made});
    EXPECT_TRUE(decision.allowed) << decision.Explain();
    EXPECT_EQ(decision.evidence, "sigstoreSigned 'signer@gantry.example' by 'https://issuer.gantry.example'");
    EXPECT_THAT(decision.Explain(), HasSubstr("entry-timestamp"));
  }
}

TEST(FulcioSigned, NeedsTheSignerAndIssuerOfThePolicy) {
  for (const Attachment& made : {GoodPayload(), GoodBundle()}) {
    EXPECT_EQ(CodeOf(Fulcio("other@gantry.example"), made), "subject-mismatch");
    EXPECT_EQ(CodeOf(Fulcio("signer@gantry.example", Instance(), Instance(), "https://other.example"), made),
              "issuer-mismatch");
  }
}

TEST(FulcioSigned, NeedsTheAuthorityAndTheLogOfThePolicy) {
  const FakeSigstore other;
  EXPECT_EQ(CodeOf(Fulcio("signer@gantry.example", other), GoodBundle()), "untrusted-chain");
  EXPECT_EQ(CodeOf(Fulcio("signer@gantry.example", Instance(), other), GoodBundle()), "unknown-log");
  EXPECT_EQ(CodeOf(Fulcio(), GoodBundle({.entry = "dsse 0.0.1", .envelope = true, .time = kNow + 301})),
            "certificate-expired");
  EXPECT_EQ(CodeOf(Fulcio(), GoodBundle({.entry = "", .envelope = true, .timestamp = true})), "no-log-entry");
}

TEST(FulcioSigned, NamesAndDigestsAreBound) {
  EXPECT_EQ(CodeOf(Fulcio(), GoodPayload(), Named("h.example/foo:v2")), "identity-mismatch");
  EXPECT_EQ(CodeOf(Fulcio(), GoodBundle(), Named("h.example/foo:v2")), "identity-mismatch");
  const image::Image other = testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/other"}).Build();
  const FetchedImage served(other, DockerReference::Parse(kName), std::nullopt);
  EXPECT_EQ(CodeOf(Fulcio(), GoodPayload(), served), "digest-mismatch");
  EXPECT_EQ(CodeOf(Fulcio(), GoodBundle(), served), "digest-mismatch");
}

TEST(FulcioSigned, AnotherPredicateIsNoSignature) {
  const Value provenance = Instance().Sign(StatementText("https://slsa.dev/provenance/v1"), kStatement);
  EXPECT_EQ(CodeOf(Fulcio(), Bundled(provenance)), "no-signature");
}

TEST(FulcioSigned, ABareKeyDoesNotCount) {
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEcdsaP256);
  const std::string signature = key.Sign(Scheme::DefaultFor(KeyKind::kEcdsaP256), Payload());
  const Attachment bare{std::string(image::kSimpleSigningType),
                        Payload(),
                        {{std::string(image::kSignatureAnnotation), EncodeBase64(signature)}}};
  EXPECT_EQ(CodeOf(Fulcio(), bare), "no-signature");
  EXPECT_TRUE(Decide(Fulcio(), {bare, GoodPayload()}).allowed);
}

TEST(FulcioSigned, ThresholdsCountSignersAndNotSignatures) {
  const std::string two =
      R"({"type":"threshold","count":2,"requirements":[)" + Fulcio() + "," + Fulcio("second@gantry.example") + "]}";
  EXPECT_EQ(Decide(two, {GoodPayload(), GoodBundle()}).code, "threshold-not-met");
  FakeSigning second = kStatement;
  second.email = "second@gantry.example";
  EXPECT_EQ(Decide(two, {GoodPayload(), GoodBundle(second)}).code, "signed");
}

// A requirement that names the instance as a whole, as its trusted_root.json does.
std::string ByTrustedRoot(const std::string& subject = R"("subjectEmail":"signer@gantry.example")",
                          const std::string& root = Instance().trusted_root_json()) {
  return R"({"type":"sigstoreSigned","trustedRootData":")" + EncodeBase64(root) + R"(","fulcio":{"oidcIssuer":")" +
         std::string(FakeSigstore::kIssuer) + "\"," + subject + "}}";
}
constexpr const char* kSubject = R"("subject":"signer@gantry.example")";

TEST(TrustedRootSigned, AllowsWhatEveryPartyOfTheInstanceVouchesFor) {
  for (const Attachment& made :
       {GoodPayload(), GoodBundle(), GoodBundle({.entry = "dsse 0.0.1", .envelope = true, .timestamp = true}),
        GoodBundle({.entry = "dsse 0.0.2", .envelope = true, .timestamp = true})}) {
    EXPECT_TRUE(Decide(ByTrustedRoot(), {made}).allowed) << Decide(ByTrustedRoot(), {made}).Explain();
    EXPECT_TRUE(Decide(ByTrustedRoot(kSubject), {made}).allowed);
  }
  const FakeSigstore other;
  EXPECT_EQ(CodeOf(ByTrustedRoot(R"("subject":"other@gantry.example")"), GoodBundle()), "subject-mismatch");
  EXPECT_EQ(CodeOf(ByTrustedRoot(kSubject, other.trusted_root_json()), GoodBundle()), "unknown-log");
}

TEST(TrustedRootSigned, AsksForTheLogsThatItLists) {
  EXPECT_EQ(CodeOf(ByTrustedRoot(), GoodBundle({.entry = "", .envelope = true, .timestamp = true})), "no-log-entry");
  EXPECT_EQ(CodeOf(ByTrustedRoot(), GoodBundle({.entry = "dsse 0.0.2", .envelope = true})), "no-trusted-time");
  Value root = json::Parse(Instance().trusted_root_json(), "test");
  Value elsewhere = json::Parse(FakeSigstore().trusted_root_json(), "test");
  root.object()->Set("ctlogs", At(elsewhere, "/ctlogs"));
  EXPECT_EQ(CodeOf(ByTrustedRoot(kSubject, json::Print(root)), GoodBundle()), "sct-missing");
  // An instance without logs, as companies have: the timestamp alone says when.
  root.object()->Remove("tlogs");
  root.object()->Remove("ctlogs");
  const std::string alone = ByTrustedRoot(kSubject, json::Print(root));
  EXPECT_EQ(CodeOf(alone, GoodBundle({.entry = "", .envelope = true, .timestamp = true})), "signed");
  EXPECT_EQ(CodeOf(alone, GoodBundle({.entry = "", .envelope = true})), "no-trusted-time");
}

// The log of version 2 does not say when it took an entry.
TEST(FulcioSigned, TakesTheTimeOfATimestampAuthorityThatThePolicyNames) {
  const FakeSigning signing{.entry = "dsse 0.0.2", .envelope = true, .timestamp = true};
  std::string by_log = Fulcio();
  by_log.replace(by_log.find(LogKey()), LogKey().size(),
                 R"("rekorPublicKeyData":")" + EncodeBase64(Instance().trust().tlogs[1].key.ToPem()) + "\"");
  const auto naming = [&](const std::vector<Certificate>& chain) {
    std::string pem;
    for (const Certificate& certificate : chain) pem += certificate.ToPem();
    return With(by_log, R"(,"timestampAuthorityData":")" + EncodeBase64(pem) + "\"");
  };
  const std::vector<Certificate>& authority = Instance().trust().timestamp_authorities[0].chain;
  EXPECT_EQ(CodeOf(by_log, GoodBundle(signing)), "no-trusted-time");
  EXPECT_EQ(CodeOf(naming(authority), GoodBundle(signing)), "signed");
  EXPECT_EQ(CodeOf(naming({authority.back()}), GoodBundle(signing)), "signed");
  const FakeSigstore other;
  EXPECT_EQ(CodeOf(naming(other.trust().timestamp_authorities[0].chain), GoodBundle(signing)), "untrusted-chain");
}

TEST(CertificatePolicy, AnInstanceIsNamedInOneWay) {
  const std::string root = R"("trustedRootData":"e30=")";
  const std::string who = R"("oidcIssuer":"i","subjectEmail":"s")";
  for (const std::string& members : std::vector<std::string>{
           R"("fulcio":{)" + who + "}", root + R"(,"fulcio":{"caData":"e30=",)" + who + "}",
           root + "," + LogKey() + R"(,"fulcio":{)" + who + "}", root + R"(,"fulcio":{)" + who + R"(,"subject":"s"})",
           root + R"(,"pki":{"caRootsData":"e30=","subjectEmail":"s"})",
           R"("keyData":"e30=","timestampAuthorityData":"e30=")",
           LogKey() + R"(,"fulcio":{"caData":"e30=","oidcIssuer":"i","subject":"s"})"}) {
    EXPECT_EQ(CaughtError([&] { Asking(R"({"type":"sigstoreSigned",)" + members + "}"); }).kind(), ErrorKind::kCorrupt)
        << members;
  }
}

TEST(MessageBundle, IsOverTheManifestAndItsDigestMustBeRight) {
  const std::string any_name = With(Fulcio(), kAnyName);
  Value bundle = Instance().Sign(TestImage().manifest_bytes);
  EXPECT_EQ(CodeOf(any_name, Bundled(bundle)), "signed");
  EXPECT_EQ(CodeOf(Fulcio(), Bundled(bundle)), "no-name");
  At(bundle, "/messageSignature/messageDigest/digest") = EncodeBase64(Hash(KeyHash::kSha256, "another"));
  EXPECT_EQ(CodeOf(any_name, Bundled(bundle)), "digest-mismatch");
  EXPECT_EQ(CodeOf(any_name, Bundled(Instance().Sign("another artifact"))), "digest-mismatch");
  At(bundle, "/messageSignature").object()->Remove("messageDigest");
  EXPECT_EQ(CodeOf(any_name, Bundled(bundle)), "signed");
}

TEST(MessageBundle, IsTakenByABareKeyToo) {
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEcdsaP256);
  const std::string requirement = R"({"type":"sigstoreSigned","keyData":")" + EncodeBase64(key.public_key().ToPem()) +
                                  "\"" + std::string(kAnyName) + "}";
  const auto made = [&](std::string_view message, std::string_view said) {
    const std::string signature = key.Sign(Scheme::DefaultFor(KeyKind::kEcdsaP256), message);
    const Bundle bundle{.key_hint = "x", .message = MessageSignature{Hash(KeyHash::kSha256, said), signature}};
    return Attachment{std::string(image::kBundleType), bundle.ToJson()};
  };
  const std::string& manifest = TestImage().manifest_bytes;
  EXPECT_EQ(CodeOf(requirement, made(manifest, manifest)), "signed");
  EXPECT_EQ(CodeOf(requirement, made("another", manifest)), "bad-signature");
  EXPECT_EQ(CodeOf(requirement, made(manifest, "another")), "digest-mismatch");
}

// A bare key whose signatures must be in a log.

class LoggedKey : public ::testing::Test {
 protected:
  std::string Requirement(const FakeSigstore& log = Instance()) const {
    return R"({"type":"sigstoreSigned","keyData":")" + EncodeBase64(key_.public_key().ToPem()) + "\"," + LogKey(log) +
           "}";
  }
  std::string Sign(std::string_view message) const {
    return key_.Sign(Scheme::DefaultFor(KeyKind::kEcdsaP256), message);
  }
  // What the log says of a signature by `key`.
  static Value Entry(std::string_view message, const std::string& signature, const PrivateKey& key) {
    const std::string hash = HexOf(Hash(KeyHash::kSha256, message));
    const std::string body = json::PrintCanonical(Object{
        {"apiVersion", "0.0.1"},
        {"kind", "hashedrekord"},
        {"spec",
         Object{{"data", Object{{"hash", Object{{"algorithm", "sha256"}, {"value", hash}}}}},
                {"signature", Object{{"content", EncodeBase64(signature)},
                                     {"publicKey", Object{{"content", EncodeBase64(key.public_key().ToPem())}}}}}}}});
    return Instance().MakeEntry(body, {});
  }
  Attachment Payloads(const std::string& signature, const Value& entry) const {
    return {std::string(image::kSimpleSigningType),
            Payload(),
            {{std::string(image::kSignatureAnnotation), EncodeBase64(signature)},
             {"dev.sigstore.cosign/bundle", EntryAnnotation(entry)}}};
  }
  PrivateKey key_ = PrivateKey::Generate(KeyKind::kEcdsaP256);
};

TEST_F(LoggedKey, AllowsPayloadsAndBundlesThatAreInTheLog) {
  const std::string signature = Sign(Payload());
  const Decision decision = Decide(Requirement(), {Payloads(signature, Entry(Payload(), signature, key_))});
  EXPECT_TRUE(decision.allowed) << decision.Explain();
  EXPECT_EQ(decision.evidence, "sigstoreSigned " + key_.public_key().fingerprint());
  DsseEnvelope envelope{std::string(kInTotoType), StatementText()};
  envelope.signatures.push_back({{}, Sign(envelope.SignedBytes())});
  Bundle bundle{.key_hint = "x", .envelope = envelope};
  EXPECT_EQ(CodeOf(Requirement(), {std::string(image::kBundleType), bundle.ToJson()}), "no-log-entry");
  bundle.log_entries = json::Array{Entry(envelope.SignedBytes(), envelope.signatures[0].bytes, key_)};
  EXPECT_EQ(CodeOf(Requirement(), {std::string(image::kBundleType), bundle.ToJson()}), "signed");
}

TEST_F(LoggedKey, TheLogMayBeOneOfATrustedRoot) {
  const std::string signature = Sign(Payload());
  std::string requirement = Requirement();
  requirement.replace(requirement.find(LogKey()), LogKey().size(),
                      R"("trustedRootData":")" + EncodeBase64(Instance().trusted_root_json()) + "\"");
  EXPECT_EQ(CodeOf(requirement, Payloads(signature, Entry(Payload(), signature, key_))), "signed");
}

TEST_F(LoggedKey, RefusesWhatIsNotInTheLogOrNotOfThisSignature) {
  const std::string signature = Sign(Payload());
  const Attachment good = Payloads(signature, Entry(Payload(), signature, key_));
  Attachment without = good;
  without.annotations.erase("dev.sigstore.cosign/bundle");
  EXPECT_EQ(CodeOf(Requirement(), without), "no-log-entry");
  const FakeSigstore other;
  EXPECT_EQ(CodeOf(Requirement(other), good), "unknown-log");
  const PrivateKey mallory = PrivateKey::Generate(KeyKind::kEcdsaP256);
  EXPECT_EQ(CodeOf(Requirement(), Payloads(signature, Entry(Payload(), signature, mallory))), "entry-mismatch");
  EXPECT_EQ(CodeOf(Requirement(), Payloads(signature, Entry("another", signature, key_))), "entry-mismatch");
  EXPECT_EQ(CodeOf(Requirement(), Payloads(Sign("another"), Entry(Payload(), signature, key_))), "bad-signature");
  Attachment broken = good;
  broken.annotations["dev.sigstore.cosign/bundle"] = "{";
  EXPECT_EQ(CodeOf(Requirement(), broken), "not-understood");
}

// An authority of one's own.

struct OwnPki {
  explicit OwnPki(const std::string& names = "email:signer@gantry.example,DNS:build.gantry.example") {
    const int64_t now = std::time(nullptr);
    const auto current = [now](CertificateSpec spec) {
      spec.not_before = now - kDay;
      spec.not_after = now + kDay;
      return spec;
    };
    root = SelfSigned(current(CertificateSpec::Authority("CN=own root")));
    between = IssueBy(root, current(CertificateSpec::Authority("CN=own authority", ",pathlen:0")));
    leaf = IssueBy(between, current(CertificateSpec::CodeSigner("CN=signer")).With("subjectAltName", names));
  }
  Attachment Sign(const std::string& payload, bool chain) const {
    const PrivateKey key = leaf.key();
    const std::string signature = key.Sign(SchemeUnderCertificate(key.public_key().kind(), false), payload);
    Attachment made{std::string(image::kSimpleSigningType),
                    payload,
                    {{std::string(image::kSignatureAnnotation), EncodeBase64(signature)},
                     {"dev.sigstore.cosign/certificate", leaf.certificate.ToPem()}}};
    if (chain) {
      made.annotations["dev.sigstore.cosign/chain"] = between.certificate.ToPem() + root.certificate.ToPem();
    }
    return made;
  }
  std::string Requirement(const std::string& names, bool intermediates = false) const {
    return R"({"type":"sigstoreSigned","pki":{"caRootsData":")" + EncodeBase64(root.certificate.ToPem()) + "\"," +
           (intermediates ? R"("caIntermediatesData":")" + EncodeBase64(between.certificate.ToPem()) + "\"," : "") +
           names + "}}";
  }
  Issued root = SelfSigned(CertificateSpec::Authority("CN=x"));
  Issued between = root;
  Issued leaf = root;
};

TEST(PkiSigned, AllowsWhatAnAuthorityOfThePolicyCertified) {
  const OwnPki pki;
  const std::string email = R"("subjectEmail":"signer@gantry.example")";
  EXPECT_EQ(CodeOf(pki.Requirement(email), pki.Sign(Payload(), true)), "signed");
  EXPECT_EQ(CodeOf(pki.Requirement(email, true), pki.Sign(Payload(), false)), "signed");
  EXPECT_EQ(CodeOf(pki.Requirement(email), pki.Sign(Payload(), false)), "untrusted-chain");
  EXPECT_EQ(CodeOf(pki.Requirement(R"("subjectHostname":"build.gantry.example")"), pki.Sign(Payload(), true)),
            "signed");
}

TEST(PkiSigned, RefusesOtherSubjectsRootsAndImages) {
  const OwnPki pki;
  const std::string email = R"("subjectEmail":"signer@gantry.example")";
  EXPECT_EQ(CodeOf(pki.Requirement(R"("subjectEmail":"other@gantry.example")"), pki.Sign(Payload(), true)),
            "subject-mismatch");
  EXPECT_EQ(CodeOf(pki.Requirement(email + R"(,"subjectHostname":"x.example")"), pki.Sign(Payload(), true)),
            "subject-mismatch");
  EXPECT_EQ(CodeOf(OwnPki().Requirement(email), pki.Sign(Payload(), true)), "bad-certificate-signature");
  EXPECT_EQ(CodeOf(pki.Requirement(email), pki.Sign(Payload(), true), Named("h.example/foo:v2")), "identity-mismatch");
  Attachment changed = pki.Sign(Payload(), true);
  changed.payload += " ";
  EXPECT_EQ(CodeOf(pki.Requirement(email), changed), "bad-signature");
  EXPECT_EQ(CodeOf(pki.Requirement(email), GoodPayload()), "untrusted-chain");
}

// What the policy names.

TEST(CertificatePolicy, WhatCannotBeReadIsUnusable) {
  const std::string names = R"(,"oidcIssuer":"https://i","subjectEmail":"a@b"},)";
  const std::string fulcio = R"({"type":"sigstoreSigned","fulcio":{)";
  EXPECT_EQ(CodeOf(fulcio + R"("caPath":"/nowhere/ca.pem")" + names + LogKey() + "}", GoodPayload()), "key-unusable");
  EXPECT_EQ(CodeOf(fulcio + R"("caData":"YWJj")" + names + LogKey() + "}", GoodPayload()), "key-unusable");
  EXPECT_EQ(CodeOf(fulcio + R"("caData":"*")" + names + LogKey() + "}", GoodPayload()), "key-unusable");
  EXPECT_EQ(CodeOf(fulcio + R"("caData":")" + EncodeBase64(Pem(Instance())) + "\"" + names +
                       R"("rekorPublicKeyPath":"/nowhere/rekor.pub"})",
                   GoodPayload()),
            "key-unusable");
}

TEST(CertificatePolicy, FilesAreReadAndListedForTheConfinement) {
  const testing::TempDir dir;
  dir.dir().WriteFileAtomically(RelPath::Parse("ca.pem"), Pem(Instance()));
  dir.dir().WriteFileAtomically(RelPath::Parse("rekor.pub"), Instance().trust().tlogs[0].key.ToPem());
  const std::string ca = dir.path() + "/ca.pem";
  const std::string rekor = dir.path() + "/rekor.pub";
  const std::string requirement = R"({"type":"sigstoreSigned","fulcio":{"caPath":")" + ca + R"(","oidcIssuer":")" +
                                  std::string(FakeSigstore::kIssuer) +
                                  R"(","subjectEmail":"signer@gantry.example"},"rekorPublicKeyPaths":[")" + rekor +
                                  R"("]})";
  EXPECT_EQ(CodeOf(requirement, GoodPayload()), "signed");
  EXPECT_EQ(Asking(requirement).KeyPaths(), (std::set<std::string>{ca, rekor}));
}

TEST(CertificatePolicy, AnAlgorithmGoesWithBareKeysOnly) {
  EXPECT_EQ(CaughtError([] { Asking(With(Fulcio(), R"(,"algorithm":"ecdsa-sha256")")); }).kind(), ErrorKind::kCorrupt);
}

// Every part of every form, changed: nothing may pass, and each time the reason is one that this part can have.
TEST(CertificateMutation, NoneIsAccepted) {
  size_t made = 0;
  std::map<std::string, std::set<std::string>> codes;  // by part
  const auto refuse = [&](const Attachment& changed, const std::string& part, size_t at) {
    const Decision decision = Decide(Fulcio(), {changed});
    EXPECT_FALSE(decision.allowed || decision.reason.empty()) << part << " " << at << decision.Explain();
    codes[part].insert(decision.code);
    ++made;
  };
  const auto change = [](char& c) { c = c == 'A' ? 'B' : 'A'; };
  for (const Attachment& good : {GoodPayload(), GoodBundle()}) {
    const std::string part = good.annotations.empty() ? "bundle" : "payload";
    const size_t step = std::max<size_t>(1, good.payload.size() / 150);
    for (size_t at = 0; at < good.payload.size(); at += step) {
      // What is in a bundle beside the log's promise is proof that the policy does not ask for, but it must be right.
      Attachment changed = good;
      change(changed.payload[at]);
      refuse(changed, part, at);
    }
    for (const auto& [key, value] : good.annotations) {
      for (size_t at = value.size() / 8; at < value.size() - 40; at += std::max<size_t>(1, value.size() / 30)) {
        Attachment changed = good;
        change(changed.annotations[key][at]);
        if (changed.annotations[key] != value)
          refuse(changed, key, at);
      }
    }
  }
  EXPECT_GE(made, 300U);
  EXPECT_EQ(codes.at("payload"), std::set<std::string>{"entry-mismatch"});
  EXPECT_EQ(codes.at("dev.cosignproject.cosign/signature"), std::set<std::string>{"entry-mismatch"});
  EXPECT_THAT(codes.at("dev.sigstore.cosign/certificate"), IsSubsetOf({"entry-mismatch", "not-understood"}));
  EXPECT_THAT(codes.at("dev.sigstore.cosign/bundle"),
              IsSubsetOf({"bad-entry", "bad-entry-timestamp", "entry-mismatch", "not-understood", "unknown-log"}));
  EXPECT_THAT(codes.at("bundle"),
              IsSubsetOf({"bad-checkpoint", "bad-entry", "bad-entry-timestamp", "bad-envelope", "bad-inclusion-proof",
                          "bad-payload", "bad-signature", "entry-mismatch", "not-understood", "unknown-log"}));
}

}  // namespace
}  // namespace gantry::sign
