// sigstoreSigned and identitySigned by key: what passes, every attack that is known, and mutations by the hundred.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "libimage/base/base64.h"
#include "libsign/bundle.h"
#include "libsign/sigstore_signing.h"
#include "libsign/simple_signing.h"
#include "libsign/statement.h"
#include "libsign/verify.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using image::Attachment;
using image::DockerReference;
using image::FetchedImage;
using testing::CaughtError;
using ::testing::HasSubstr;

constexpr std::string_view kName = "h.example/foo:v1";
constexpr int64_t kTime = 1'700'000'000;
const Digest kIdentity = Digest::Of("the identity of the image");

const image::Image& TestImage() {
  static const image::Image kMade = testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/hello"}).Build();
  return kMade;
}

const PrivateKey& KeyOf(KeyKind kind, int number = 0) {
  static std::map<std::pair<KeyKind, int>, PrivateKey> keys;
  auto found = keys.find({kind, number});
  if (found == keys.end()) {
    found = keys.emplace(std::pair{kind, number}, PrivateKey::Generate(kind, 2048)).first;
  }
  return found->second;
}
const PrivateKey& Key(int number = 0) { return KeyOf(KeyKind::kEcdsaP256, number); }

FetchedImage Named(std::string_view name = kName, std::optional<Digest> index = std::nullopt) {
  return FetchedImage(TestImage(), DockerReference::Parse(name), index);
}

SignedImage About(std::string_view name = kName) {
  return {DockerReference::Parse(name), TestImage().descriptor.digest, std::nullopt, "test", kTime};
}
SignedImage WithIdentity(const Digest& manifest = TestImage().descriptor.digest) {
  return {DockerReference::Parse(kName), manifest, kIdentity, "test", kTime};
}

const Scheme kScheme = Scheme::DefaultFor(KeyKind::kEcdsaP256);

std::string KeyData(const PrivateKey& key) { return EncodeBase64(key.public_key().ToPem()); }

std::string By(const std::string& type, const PrivateKey& key, const std::string& more = "") {
  return R"({"type":")" + type + R"(","keyData":")" + KeyData(key) + "\"" + more + "}";
}

Policy Asking(const std::string& requirements) {
  return Policy::Parse(
      R"({"default":[{"type":"reject"}],"transports":{"docker":{"h.example":[)" + requirements + "]}}}", "test policy");
}
Policy Trusting() { return Asking(By("sigstoreSigned", Key())); }
Policy TrustingIdentity() { return Asking(By("identitySigned", Key())); }

Evidence Found(const std::vector<Attachment>& attachments) {
  Evidence evidence;
  for (const Attachment& attachment : attachments) {
    evidence.Add(attachment.ToStored());
  }
  return evidence;
}

std::string CodeOf(const Policy& policy, const Evidence& evidence, const FetchedImage& image = Named()) {
  const Decision decision = Verifier::Decide(image, policy, evidence);
  EXPECT_EQ(decision.allowed, decision.code == "signed" || decision.code == "accept-anything") << decision.Explain();
  return decision.code;
}

// A bundle around any statement, signed as it is.
Attachment BundleOf(const std::string& payload, std::string_view type = kInTotoType, const PrivateKey& key = Key()) {
  DsseEnvelope envelope{std::string(type), payload};
  envelope.signatures.push_back({{}, key.Sign(Scheme::DefaultFor(key.public_key().kind()), envelope.SignedBytes())});
  return {std::string(image::kBundleType),
          Bundle{.key_hint = Bundle::HintFor(key.public_key()), .envelope = envelope}.ToJson()};
}

Attachment PayloadOf(const std::string& payload, const PrivateKey& key = Key()) {
  return {std::string(image::kSimpleSigningType),
          payload,
          {{std::string(image::kSignatureAnnotation), EncodeBase64(key.Sign(kScheme, payload))}}};
}

std::string StatementText(const std::string& predicate_type, const std::string& digest_hex,
                          const std::string& more = "") {
  return R"({"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"h.example/foo:v1","digest":{"sha256":")" +
         digest_hex + R"("}}],"predicateType":")" + predicate_type + R"(","predicate":{})" + more + "}";
}

TEST(SigstoreSigned, AllowsPayloadsAndBundlesOfEveryKindOfKey) {
  for (const auto kind :
       {KeyKind::kEcdsaP256, KeyKind::kEcdsaP384, KeyKind::kEcdsaP521, KeyKind::kRsa, KeyKind::kEd25519}) {
    const PrivateKey& key = KeyOf(kind);
    const Scheme scheme = Scheme::DefaultFor(kind);
    const Policy policy = Asking(By("sigstoreSigned", key, R"(,"neverOlder":true)"));
    for (const Attachment& made : {SignPayload(About(), key, scheme), SignStatement(About(), key, scheme)}) {
      const Decision decision = Verifier::Decide(Named(), policy, Found({made}));
      EXPECT_TRUE(decision.allowed) << Name(kind) << decision.Explain();
      EXPECT_EQ(decision.evidence, "sigstoreSigned " + key.public_key().fingerprint());
      ASSERT_TRUE(decision.accepted);
      EXPECT_EQ(decision.accepted->signed_at, kTime);
    }
  }
}

TEST(SigstoreSigned, TheAlgorithmIsThePolicysAndNotTried) {
  const PrivateKey& key = KeyOf(KeyKind::kEd25519);
  const Attachment pure = SignPayload(About(), key, {Scheme::Kind::kEd25519});
  const Attachment prehashed = SignPayload(About(), key, {Scheme::Kind::kEd25519ph});
  const Policy wants_prehashed = Asking(By("sigstoreSigned", key, R"(,"algorithm":"ed25519ph")"));
  EXPECT_EQ(CodeOf(wants_prehashed, Found({prehashed})), "signed");
  EXPECT_EQ(CodeOf(wants_prehashed, Found({pure})), "bad-signature");
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", key)), Found({prehashed})), "bad-signature");
  const PrivateKey& p384 = KeyOf(KeyKind::kEcdsaP384);
  const Attachment sha384 = SignPayload(About(), p384, {Scheme::Kind::kEcdsaDer, KeyHash::kSha384});
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", p384)), Found({sha384})), "bad-signature");
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", p384, R"(,"algorithm":"ecdsa-sha384")")), Found({sha384})), "signed");
}

TEST(SigstoreSigned, NamesAreBoundAsInTheContainersTools) {
  const Evidence v1 = Found({SignPayload(About(), Key(), kScheme)});
  EXPECT_EQ(CodeOf(Trusting(), v1, Named("h.example/foo:v2")), "identity-mismatch");
  EXPECT_EQ(CodeOf(Trusting(), v1, Named("h.example/foobar:v1")), "identity-mismatch");
  // What cosign writes by default: the repository without a tag.
  const Evidence bare = Found({SignPayload(About("h.example/foo"), Key(), kScheme)});
  EXPECT_EQ(CodeOf(Trusting(), bare), "identity-mismatch");
  const Policy repository = Asking(By("sigstoreSigned", Key(), R"(,"signedIdentity":{"type":"matchRepository"})"));
  EXPECT_EQ(CodeOf(repository, bare), "signed");
  EXPECT_EQ(CodeOf(repository, v1, Named("h.example/foobar:v1")), "identity-mismatch");
}

TEST(SigstoreSigned, ABundleWithoutANamePassesOnlyWhereThePolicySaysSo) {
  const std::string hex = TestImage().descriptor.digest.hex();
  const std::string nameless = R"({"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":")" + hex +
                               R"("}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}})";
  EXPECT_EQ(CodeOf(Trusting(), Found({BundleOf(nameless)})), "no-name");
  const Policy digest = Asking(By("sigstoreSigned", Key(), R"(,"signedIdentity":{"type":"matchDigest"})"));
  EXPECT_EQ(CodeOf(digest, Found({BundleOf(nameless)})), "signed");
}

TEST(SigstoreSigned, KeysInAListSufficeAndAnUnreadableOneRefusesAll) {
  const std::string two =
      R"({"type":"sigstoreSigned","keyDatas":[")" + KeyData(Key(1)) + R"(",")" + KeyData(Key()) + R"("]})";
  const Evidence good = Found({SignPayload(About(), Key(), kScheme)});
  EXPECT_EQ(CodeOf(Asking(two), good), "signed");
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", Key(1))), good), "bad-signature");
  EXPECT_EQ(CodeOf(Asking(R"({"type":"sigstoreSigned","keyPaths":["/nowhere/a.pub"]})"), good), "key-unusable");
  EXPECT_EQ(CodeOf(Asking(R"({"type":"sigstoreSigned","keyData":"YWJj"})"), good), "key-unusable");
}

TEST(SigstoreSigned, AKeyAloneDoesNotMeetARequirementWithALog) {
  const Evidence good = Found({SignPayload(About(), Key(), kScheme), SignStatement(About(), Key(), kScheme)});
  const std::string log = R"(,"rekorPublicKeyData":")" + KeyData(Key(1)) + "\"";
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", Key(), log)), good), "no-log-entry");
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", Key(), R"(,"rekorPublicKeyPath":"/r")")), good), "key-unusable");
}

// Attacks of the past, by the names under which they are known.

TEST(SigstoreAttack, AttestationOfAnotherPredicateIsNoSignature_CVE_2022_35929) {
  const std::string hex = TestImage().descriptor.digest.hex();
  const Evidence provenance = Found({BundleOf(StatementText("https://slsa.dev/provenance/v1", hex))});
  EXPECT_EQ(CodeOf(Trusting(), provenance), "no-signature");
  EXPECT_EQ(CodeOf(TrustingIdentity(), provenance), "no-signature");
  EXPECT_EQ(CodeOf(TrustingIdentity(), Found({SignStatement(About(), Key(), kScheme)})), "no-signature");
  EXPECT_EQ(CodeOf(Trusting(), Found({SignStatement(WithIdentity(), Key(), kScheme)})), "no-signature");
}

TEST(SigstoreAttack, PayloadTypeIsPartOfWhatIsSigned) {
  const std::string text = StatementText(std::string(kCosignPredicate), TestImage().descriptor.digest.hex());
  EXPECT_EQ(CodeOf(Trusting(), Found({BundleOf(text, "text/plain")})), "bad-payload");
  Attachment changed = BundleOf(text, "text/plain");
  const size_t at = changed.payload.find("text/plain");
  changed.payload.replace(at, 10, kInTotoType);
  EXPECT_EQ(CodeOf(Trusting(), Found({changed})), "bad-signature");
}

TEST(SigstoreAttack, TagRebindingAndRollback) {
  const Evidence old = Found({SignPayload(About("h.example/foo:v1"), Key(), kScheme)});
  EXPECT_EQ(CodeOf(Trusting(), old, Named("h.example/foo:v9")), "identity-mismatch");
  Evidence later = old;
  later.newest = kTime + 1;
  const Policy monotonic = Asking(By("sigstoreSigned", Key(), R"(,"neverOlder":true)"));
  EXPECT_EQ(CodeOf(monotonic, old), "signed");
  EXPECT_EQ(CodeOf(monotonic, later), "rolled-back");
}

TEST(SigstoreAttack, PlatformConfusionThroughTheIndex) {
  SignedImage index = About();
  index.manifest = Digest::Of("an index");
  const Evidence evidence = Found({SignPayload(index, Key(), kScheme)});
  EXPECT_EQ(CodeOf(Trusting(), evidence, Named(kName, index.manifest)), "signature-of-index");
  EXPECT_EQ(CodeOf(Trusting(), evidence, Named()), "digest-mismatch");
}

TEST(SigstoreAttack, AmbiguousJson) {
  const std::string hex = TestImage().descriptor.digest.hex();
  const std::string digest = R"("docker-manifest-digest":"sha256:)" + hex + "\"";
  const std::string good =
      SimpleClaim{DockerReference::Parse(kName), TestImage().descriptor.digest, "", std::nullopt}.ToJson(
          PayloadKind::kCosign);
  ASSERT_EQ(CodeOf(Trusting(), Found({PayloadOf(good)})), "signed");
  const auto with = [&good](const std::string& what, const std::string& instead) {
    std::string text = good;
    return text.replace(text.find(what), what.size(), instead);
  };
  for (const std::string& text :
       {with(digest, digest + "," + digest), with(digest, R"("Docker-Manifest-Digest":"sha256:)" + hex + "\""),
        with("\"critical\"", "\"Critical\""), good + " {}", with("cosign container image signature", "other"),
        with("cosign container image signature", "atomic container signature")}) {
    EXPECT_EQ(CodeOf(Trusting(), Found({PayloadOf(text)})), "bad-payload") << text;
  }
  const std::string statement = StatementText(std::string(kCosignPredicate), hex);
  for (const std::string& text :
       {StatementText(std::string(kCosignPredicate), hex, R"(,"predicate":{})"),
        StatementText(std::string(kCosignPredicate), hex, R"(,"Predicate":{})"), statement + "x"}) {
    EXPECT_EQ(CodeOf(Trusting(), Found({BundleOf(text)})), "bad-payload") << text;
  }
}

TEST(SigstoreAttack, AlgorithmConfusionAcrossKeys) {
  // A signature by an RSA key never counts for an ECDSA key, whatever is written beside it.
  const PrivateKey& rsa = KeyOf(KeyKind::kRsa);
  const Attachment made = SignPayload(About(), rsa, Scheme::DefaultFor(KeyKind::kRsa));
  EXPECT_EQ(CodeOf(Trusting(), Found({made})), "bad-signature");
  EXPECT_EQ(CodeOf(Asking(By("sigstoreSigned", rsa, R"(,"algorithm":"ecdsa-sha256")")), Found({made})),
            "bad-signature");
}

TEST(SigstoreAttack, KeyHintsAndKeyIdsAreNotBelieved) {
  const std::string text = StatementText(std::string(kCosignPredicate), TestImage().descriptor.digest.hex());
  DsseEnvelope envelope{std::string(kInTotoType), text};
  envelope.signatures.push_back({Key().public_key().fingerprint(), Key(1).Sign(kScheme, envelope.SignedBytes())});
  const Bundle lying{.key_hint = Bundle::HintFor(Key().public_key()), .envelope = envelope};
  EXPECT_EQ(CodeOf(Trusting(), Found({{std::string(image::kBundleType), lying.ToJson()}})), "bad-signature");
}

TEST(SigstoreAttack, UnboundedInput) {
  std::string many = R"({"payload":"","payloadType":"x","signatures":[)";
  for (size_t i = 0; i <= kMaxEnvelopeSignatures; ++i) {
    many += std::string(i == 0 ? "" : ",") + R"({"sig":"AAAA"})";
  }
  EXPECT_EQ(CaughtError([&] { DsseEnvelope::Parse(many + "]}"); }).kind(), ErrorKind::kCorrupt);
  std::string subjects = R"({"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[)";
  for (size_t i = 0; i <= kMaxSubjects; ++i) {
    subjects += std::string(i == 0 ? "" : ",") + R"({"digest":{"sha256":"00"}})";
  }
  EXPECT_EQ(CaughtError([&] { Statement::Parse(subjects + "]}"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Bundle::Parse(std::string(kMaxBundleBytes + 1, ' ')); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([] { Statement::Parse(std::string(100'000, '[')); }).kind(), ErrorKind::kCorrupt);
}

TEST(SigstoreAttack, OneBadSignatureDoesNotHideAGoodOne) {
  Attachment broken = SignStatement(About(), Key(), kScheme);
  broken.payload.resize(broken.payload.size() / 2);
  const Attachment good = SignPayload(About(), Key(), kScheme);
  EXPECT_EQ(CodeOf(Trusting(), Found({broken, {"application/x-new", "x"}, good})), "signed");
  Evidence garbage = Found({good});
  garbage.signatures.insert(garbage.signatures.begin(), std::string("\0sigstore-json\n{", 16));
  EXPECT_EQ(CodeOf(Trusting(), garbage), "signed");
}

TEST(SigstoreAttack, DigestsThatAreNoneLeadNowhere_CVE_2024_3727) {
  for (const char* digest : {"sha256:../../etc/passwd", "sha256:", "md5:00", "../x", "sha256:AB"}) {
    const std::string payload = R"({"critical":{"identity":{"docker-reference":"h.example/foo:v1"},"image":)"
                                R"({"docker-manifest-digest":")" +
                                std::string(digest) +
                                R"("},"type":"cosign container image signature"},"optional":null})";
    EXPECT_EQ(CodeOf(Trusting(), Found({PayloadOf(payload)})), "bad-payload") << digest;
  }
}

// Thresholds and alternatives.

TEST(Threshold, CountsKeysAndNotSignatures) {
  const std::string requirement =
      R"({"type":"threshold","count":2,"requirements":[{"type":"sigstoreSigned","keyDatas":[")" + KeyData(Key()) +
      "\",\"" + KeyData(Key(1)) + R"("]}]})";
  const Attachment one = SignPayload(About(), Key(), kScheme);
  const Attachment again = SignStatement(About(), Key(), kScheme);
  const Attachment two = SignPayload(About(), Key(1), kScheme);
  EXPECT_EQ(CodeOf(Asking(requirement), Found({one})), "threshold-not-met");
  EXPECT_EQ(CodeOf(Asking(requirement), Found({one, again})), "threshold-not-met");
  EXPECT_EQ(CodeOf(Asking(requirement), Found({one, again, two})), "signed");
}

TEST(Threshold, WhatAsksForNothingCountsForNothing) {
  const std::string requirement =
      R"({"type":"threshold","count":1,"requirements":[{"type":"insecureAcceptAnything"}]})";
  EXPECT_EQ(CodeOf(Asking(requirement), Found({})), "threshold-not-met");
}

TEST(AnyOf, OneThatIsMetSufficesAndTheTreeIsShownWhole) {
  const std::string requirement = R"({"type":"anyOf","requirements":[)" + By("sigstoreSigned", Key(1)) + "," +
                                  By("sigstoreSigned", Key()) + R"(,{"type":"reject"}]})";
  const Evidence evidence = Found({SignPayload(About(), Key(), kScheme)});
  EXPECT_EQ(CodeOf(Asking(requirement), evidence), "signed");
  const Decision whole = Verifier::Decide(Named(), Asking(requirement), evidence, Detail::kWhole);
  EXPECT_TRUE(whole.allowed);
  EXPECT_EQ(whole.steps.size(), 6U);  // each part, and what it looked at
  EXPECT_THAT(whole.Explain(), HasSubstr("pass  signed: sigstoreSigned is met"));
  EXPECT_THAT(whole.Explain(), HasSubstr("  fail  rejected"));
  EXPECT_EQ(CodeOf(Asking(requirement), Found({})), "none-met");
}

TEST(NotBefore, RefusesWhatIsOlderAndWhatDoesNotSay) {
  const auto policy = [](const std::string& time) {
    return Asking(By("sigstoreSigned", Key(), R"(,"notBefore":")" + time + "\""));
  };
  const Evidence made = Found({SignPayload(About(), Key(), kScheme)});
  EXPECT_EQ(CodeOf(policy("2023-11-14T22:13:20Z"), made), "signed");
  EXPECT_EQ(CodeOf(policy("2023-11-14T22:13:21Z"), made), "too-old");
  const std::string timeless =
      SimpleClaim{DockerReference::Parse(kName), TestImage().descriptor.digest, "", std::nullopt}.ToJson(
          PayloadKind::kCosign);
  EXPECT_EQ(CodeOf(policy("2023-11-14T22:13:20Z"), Found({PayloadOf(timeless)})), "no-time");
}

// Identity attestations.

TEST(IdentitySigned, HoldsForTheManifestAndForTheSameImageInAnotherForm) {
  EXPECT_EQ(CodeOf(TrustingIdentity(), Found({SignStatement(WithIdentity(), Key(), kScheme)})), "signed");
  Evidence converted = Found({SignStatement(WithIdentity(Digest::Of("the original manifest")), Key(), kScheme)});
  EXPECT_EQ(CodeOf(TrustingIdentity(), converted), "identity-unknown");
  converted.identity = [] { return kIdentity; };
  EXPECT_EQ(CodeOf(TrustingIdentity(), converted), "signed");
  converted.identity = [] { return Digest::Of("changed"); };
  EXPECT_EQ(CodeOf(TrustingIdentity(), converted), "digest-mismatch");
}

TEST(IdentitySigned, IsComputedOnlyForAGoodSignatureAndItsFailureIsAnError) {
  Evidence evidence = Found({SignStatement(WithIdentity(Digest::Of("x")), Key(1), kScheme)});
  evidence.identity = []() -> Digest { throw Error(ErrorKind::kCorrupt, "layer 1 is damaged"); };
  EXPECT_EQ(CodeOf(TrustingIdentity(), evidence), "bad-signature");
  evidence = Found({SignStatement(WithIdentity(Digest::Of("x")), Key(), kScheme)});
  evidence.identity = []() -> Digest { throw Error(ErrorKind::kCorrupt, "layer 1 is damaged"); };
  EXPECT_EQ(CaughtError([&] { Verifier::Decide(Named(), TrustingIdentity(), evidence); }).kind(), ErrorKind::kCorrupt);
}

TEST(IdentitySigned, NamesAreBoundToo) {
  const Evidence evidence = Found({SignStatement(WithIdentity(), Key(), kScheme)});
  EXPECT_EQ(CodeOf(TrustingIdentity(), evidence, Named("h.example/foo:v2")), "identity-mismatch");
}

// Every byte of every form, changed: nothing may pass.

size_t RefusesEveryMutation(const Policy& policy, const Attachment& good, const FetchedImage& image,
                            const std::function<Digest()>& identity) {
  size_t made = 0;
  const auto refuse = [&](const Attachment& changed, const std::string& how) {
    Evidence evidence = Found({changed});
    evidence.identity = identity;
    const Decision decision = Verifier::Decide(image, policy, evidence);
    EXPECT_FALSE(decision.allowed) << how << "\n" << decision.Explain();
    EXPECT_THAT(decision.code, ::testing::AnyOf("bad-signature", "not-understood", "bad-payload", "no-signature"))
        << how << "\n"
        << decision.Explain();
    ++made;
  };
  const size_t step = std::max<size_t>(1, good.payload.size() / 64);
  for (size_t at = 0; at < good.payload.size(); at += step) {
    Attachment changed = good;
    // To a neighbour in the alphabet of base64 and JSON alike, so that most stay well formed.
    changed.payload[at] = changed.payload[at] == 'A' ? 'B' : 'A';
    if (changed.payload != good.payload && good.payload.find("hint") != std::string::npos) {
      const size_t hint = good.payload.find("\"hint\":\"");
      const size_t end = good.payload.find('"', hint + 8);
      if (at >= hint + 8 && at < end) {
        continue;  // a hint that nobody reads
      }
    }
    refuse(changed, "byte " + std::to_string(at));
  }
  for (const auto& [key, value] : good.annotations) {
    for (size_t at = 0; at < value.size(); at += 2) {
      Attachment changed = good;
      char& c = changed.annotations[key][at];
      c = c == 'A' ? 'B' : 'A';
      refuse(changed, key + " byte " + std::to_string(at));
    }
  }
  return made;
}

TEST(SigstoreMutations, NoneIsAccepted) {
  const auto identity = [] { return kIdentity; };
  const SignedImage converted = WithIdentity(Digest::Of("the original manifest"));
  size_t made = 0;
  made += RefusesEveryMutation(Trusting(), SignPayload(About(), Key(), kScheme), Named(), nullptr);
  made += RefusesEveryMutation(Trusting(), SignStatement(About(), Key(), kScheme), Named(), nullptr);
  made += RefusesEveryMutation(TrustingIdentity(), SignStatement(converted, Key(), kScheme), Named(), identity);
  EXPECT_GE(made, 150U);
}

}  // namespace
}  // namespace gantry::sign
