#include "libsign/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/base64.h"
#include "libsign/crypto.h"
#include "libsign/simple_signing.h"
#include "tests/support/gpg_home.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using image::FetchedImage;
using ::testing::AllOf;
using testing::CaughtError;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::SharedKey;
using ::testing::StartsWith;
using testing::TempDir;

const image::Image& TestImage() {
  static const image::Image kMade = testing::ImageBuilder().Config("Cmd", std::vector<std::string>{"/hello"}).Build();
  return kMade;
}

FetchedImage Named(const std::string& name, std::optional<Digest> index = std::nullopt) {
  return FetchedImage(TestImage(), DockerReference::Parse(name), index);
}

class Verify : public ::testing::Test {
 protected:
  Verify() { dir_.dir().WriteFileAtomically(RelPath::Parse("key.gpg"), SharedKey::Get().public_key); }

  std::string SignedBy(const std::string& more = "") const {
    return R"({"type":"signedBy","keyType":"GPGKeys","keyPath":")" + dir_.path() + "/key.gpg\"" + more + "}";
  }
  Policy PolicyFor(const std::string& scope, const std::string& requirements) const {
    return Policy::Parse(
        R"({"default":[{"type":"reject"}],"transports":{"docker":{")" + scope + "\":[" + requirements + "]}}}",
        "test policy");
  }
  Policy Trusting() const { return PolicyFor("h.example/foo", SignedBy()); }

  static std::string Sign(std::string_view payload) {
    return SharedKey::Get().home.Sign(SharedKey::Get().fingerprint, payload);
  }
  static std::string SignAs(const std::string& name, const Digest& digest = TestImage().descriptor.digest) {
    return Sign(SimpleClaim{DockerReference::Parse(name), digest, "test", 1'700'000'000}.ToJson());
  }
  static Evidence Found(std::vector<std::string> signatures) {
    Evidence evidence;
    evidence.signatures = std::move(signatures);
    evidence.looked_at = {"/var/lookaside/foo"};
    return evidence;
  }

  TempDir dir_;
};

TEST_F(Verify, AllowsWhatAKeyOfThePolicySigned) {
  const Decision decision =
      Verifier::Decide(Named("h.example/foo:v1"), Trusting(), Found({SignAs("h.example/foo:v1")}));
  EXPECT_TRUE(decision.allowed) << decision.Explain();
  EXPECT_EQ(decision.code, "signed");
  EXPECT_EQ(decision.scope, "docker: h.example/foo");
  EXPECT_EQ(decision.evidence, "signedBy " + SharedKey::Get().fingerprint);
  const image::VerifiedImage verified =
      Verifier::Verify(Named("h.example/foo:v1"), Trusting(), Found({SignAs("h.example/foo:v1")}));
  EXPECT_EQ(verified.vouched_by(), decision.evidence);
  EXPECT_EQ(verified.image().descriptor, TestImage().descriptor);
}

TEST_F(Verify, RefusesWithoutPolicyWithoutSignatureAndByDefault) {
  const Evidence good = Found({SignAs("h.example/foo:v1")});
  EXPECT_EQ(Verifier::Decide(Named("h.example/foo:v1"), PolicyFor("x.example", SignedBy()), good).code, "rejected");
  const Decision none = Verifier::Decide(Named("h.example/foo:v1"), Trusting(), Found({}));
  EXPECT_FALSE(none.allowed);
  EXPECT_EQ(none.code, "no-signature");
}

TEST_F(Verify, RefusalNamesImagePlacesAndTheCommandThatWouldTrust) {
  const Error error = CaughtError(
      [&] { Verifier::Verify(Named("h.example/bar:v1"), PolicyFor("h.example/foo", SignedBy()), Found({})); });
  EXPECT_EQ(error.kind(), ErrorKind::kRefused);
  EXPECT_THAT(error.message(),
              AllOf(HasSubstr("'h.example/bar:v1'"), HasSubstr("/var/lookaside/foo"), HasSubstr("test policy")));
  EXPECT_THAT(error.hint(), AllOf(HasSubstr("gantry trust add --key KEYFILE docker://h.example/bar"),
                                  HasSubstr("--insecure-options=image")));
}

TEST_F(Verify, RefusesARetaggedImageUnlessThePolicyTakesAnyTag) {
  const Evidence evidence = Found({SignAs("h.example/foo:v1")});
  EXPECT_EQ(Verifier::Decide(Named("h.example/foo:v2"), Trusting(), evidence).code, "identity-mismatch");
  const Policy any_tag = PolicyFor("h.example/foo", SignedBy(R"(,"signedIdentity":{"type":"matchRepository"})"));
  EXPECT_TRUE(Verifier::Decide(Named("h.example/foo:v2"), any_tag, evidence).allowed);
}

TEST_F(Verify, AKeyForFooIsNoKeyForFoobar) {
  const Evidence evidence = Found({SignAs("h.example/foobar:v1")});
  EXPECT_EQ(Verifier::Decide(Named("h.example/foobar:v1"), Trusting(), evidence).code, "rejected");
}

TEST_F(Verify, AskedByDigestAnyTagOfTheRepositoryWillDo) {
  const std::string by_digest = "h.example/foo@" + TestImage().descriptor.digest.str();
  EXPECT_TRUE(Verifier::Decide(Named(by_digest), Trusting(), Found({SignAs("h.example/foo:v1")})).allowed);
  EXPECT_EQ(Verifier::Decide(Named(by_digest), Trusting(), Found({SignAs("h.example/bar:v1")})).code,
            "identity-mismatch");
}

TEST_F(Verify, RefusesSignaturesOfOtherDigests) {
  const Digest other = Digest::Of("another manifest");
  const Evidence evidence = Found({SignAs("h.example/foo:v1", other)});
  EXPECT_EQ(Verifier::Decide(Named("h.example/foo:v1"), Trusting(), evidence).code, "digest-mismatch");
  EXPECT_EQ(Verifier::Decide(Named("h.example/foo:v1", other), Trusting(), evidence).code, "signature-of-index");
}

TEST_F(Verify, OneGoodSignatureAmongBadOnesSuffices) {
  const Decision decision =
      Verifier::Decide(Named("h.example/foo:v1"), Trusting(),
                       Found({"garbage", std::string("\0sigstore-json\n{}", 17), Sign("not a claim"),
                              SignAs("h.example/foo:v2"), SignAs("h.example/foo:v1")}));
  EXPECT_TRUE(decision.allowed);
  std::vector<std::string> codes;
  for (const Step& step : decision.steps) {
    codes.push_back(step.code);
  }
  EXPECT_THAT(codes,
              ::testing::ElementsAre("not-understood", "other-kind", "bad-payload", "identity-mismatch", "signed"));
  EXPECT_THAT(decision.Explain(), AllOf(HasSubstr("fail  bad-payload"), HasSubstr("allowed: signedBy")));
}

TEST_F(Verify, AllRequirementsMustBeMet) {
  const Evidence evidence = Found({SignAs("h.example/foo:v1")});
  const Policy both = PolicyFor("h.example/foo", SignedBy() + R"(,{"type":"reject"})");
  EXPECT_EQ(Verifier::Decide(Named("h.example/foo:v1"), both, evidence).code, "rejected");
  const Policy unsupported = PolicyFor(
      "h.example/foo", SignedBy() + R"(,{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}})");
  const Decision decision = Verifier::Decide(Named("h.example/foo:v1"), unsupported, evidence);
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.code, "unsupported-requirement");
}

TEST_F(Verify, AMissingKeyFileRefuses) {
  const Policy policy = PolicyFor("h.example/foo", R"({"type":"signedBy","keyType":"GPGKeys","keyPath":"/no/key"})");
  const Decision decision = Verifier::Decide(Named("h.example/foo:v1"), policy, Found({SignAs("h.example/foo:v1")}));
  EXPECT_EQ(decision.code, "key-unusable");
  EXPECT_THAT(decision.reason, HasSubstr("/no/key"));
}

TEST_F(Verify, InsecurePolicySaysWhoVouched) {
  const image::VerifiedImage verified =
      Verifier::Verify(Named("h.example/foo:v1"), Policy::AcceptAnything("--insecure-options=image"), Evidence{});
  EXPECT_EQ(verified.vouched_by(), "--insecure-options=image");
}

TEST_F(Verify, ArtifactsAreDecidedByTheSameRules) {
  const std::string bytes =
      R"({"schemaVersion":2,"artifactType":"application/x","config":{"mediaType":"application/x","digest":"sha256:)" +
      std::string(64, 'a') + R"(","size":2},"layers":[]})";
  const image::FetchedArtifact artifact{image::Artifact::FromBytes(bytes, {}),
                                        image::DockerReference::Parse("h.example/foo:v1")};
  const Decision decision = Verifier::Decide(artifact, Trusting(), Found({SignAs("h.example/foo:v1")}));
  EXPECT_EQ(decision.code, "digest-mismatch");
  EXPECT_EQ(decision.digest, Digest::Of(bytes).str());
  EXPECT_EQ(CaughtError([&] { Verifier::Verify(artifact, Trusting(), Found({})); }).kind(), ErrorKind::kRefused);
  EXPECT_EQ(Verifier::ReferenceOf(artifact, {}), "h.example/foo:v1 artifact");
  EXPECT_EQ(Verifier::Verify(artifact, Policy::AcceptAnything("a test"), {}).artifact().descriptor.digest,
            Digest::Of(bytes));
  const std::string key = EncodeBase64(PrivateKey::Generate(KeyKind::kEcdsaP256).public_key().ToPem());
  const Policy identity = Policy::Parse(R"({"default":[{"type":"identitySigned","keyData":")" + key + R"("}]})", "p");
  EXPECT_THAT(Verifier::Decide(artifact, identity, {}).hint, HasSubstr("another requirement"));
  EXPECT_THAT(Verifier::Decide(Named("h.example/foo:v1"), identity, {}).hint, HasSubstr("sign --identity --key"));
}

TEST_F(Verify, FilesAreDecidedByTheirPlace) {
  const Policy policy = Policy::Parse(
      R"({"default":[{"type":"reject"}],"transports":{"oci":{"/srv":[{"type":"insecureAcceptAnything"}]}}})", "p");
  Evidence evidence;
  EXPECT_FALSE(Verifier::Decide(FetchedImage(TestImage(), std::nullopt), policy, evidence).allowed);
  evidence.transport = "oci";
  evidence.path = "/srv/layout";
  EXPECT_TRUE(Verifier::Decide(FetchedImage(TestImage(), std::nullopt), policy, evidence).allowed);
}

TEST_F(Verify, DecisionIsAlsoJson) {
  const Decision decision = Verifier::Decide(Named("h.example/foo:v1"), Trusting(), Found({}));
  const std::string text = json::Print(decision.ToJson());
  EXPECT_THAT(text, StartsWith(R"({"allowed":false,"image":"h.example/foo:v1","digest":"sha256:)"));
  EXPECT_THAT(text, HasSubstr(R"("code":"no-signature")"));
}

}  // namespace
}  // namespace gantry::sign
