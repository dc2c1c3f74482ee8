// notationSigned: whole decisions by a trust policy and trust stores on disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "libimage/base/error.h"
#include "libimage/model/attachment.h"
#include "libsign/notary.h"
#include "libsign/verify.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace gantry::sign {
namespace {

using image::Attachment;
using image::DockerReference;
using image::FetchedImage;
using testing::CaughtError;
using testing::CertificateSpec;
using ::testing::HasSubstr;
using testing::Issued;
using testing::kDay;

CertificateSpec Current(CertificateSpec spec) {
  spec.not_before = std::time(nullptr) - kDay;
  spec.not_after = std::time(nullptr) + kDay;
  return spec;
}

struct Company {
  Issued root = SelfSigned(Current(CertificateSpec::Authority("C=US,O=gantry test,CN=notary root")));
  Issued leaf = IssueBy(root, Current(CertificateSpec::CodeSigner("C=US,ST=WA,O=gantry test,CN=signer")));
};

image::Image Made(const std::string& command) {
  return testing::ImageBuilder().Config("Cmd", std::vector<std::string>{command}).Build();
}

Attachment Signed(const Company& company, const image::Image& image) {
  const std::string envelope =
      SignNotaryJws(NotaryPayload(image.descriptor), company.leaf.key(),
                    {company.leaf.certificate, company.root.certificate}, {.time = std::time(nullptr)});
  return {std::string(kJoseType), envelope};
}

// A directory of notation's, and decisions by it.
class NotationSigned : public ::testing::Test {
 protected:
  void Configure(const std::string& statements, const std::string& file = "trustpolicy.json") {
    dir_.dir().WriteFileAtomically(RelPath::Parse(file), R"({"version":"1.0","trustPolicies":[)" + statements + "]}");
  }
  void Trust(const Issued& issued) {
    const Dir store = dir_.dir().MakeDirs(RelPath::Parse("trust-store/x509/ca/company"));
    store.WriteFileAtomically(RelPath::Parse("ca.pem"), issued.certificate.ToPem());
  }
  static std::string Statement(const std::string& scope = "*", const std::string& level = "strict",
                               const std::string& identity = "x509.subject: C=US,ST=WA,O=gantry test") {
    return R"({"name":")" + level + R"(","registryScopes":[")" + scope + R"("],"signatureVerification":{"level":")" +
           level + R"("},"trustStores":["ca:company"],"trustedIdentities":[")" + identity + R"("]})";
  }
  static std::string Skipping(const std::string& scope) {
    return R"({"name":"none","registryScopes":[")" + scope + R"("],"signatureVerification":{"level":"skip"}})";
  }
  std::string Requirement() const { return R"({"type":"notationSigned","directory":")" + dir_.path() + R"("})"; }

  Decision Decide(const std::vector<Attachment>& found, const std::string& requirement,
                  const image::Image& image) const {
    const Policy policy = Policy::Parse(R"({"default":[)" + requirement + "]}", "test policy");
    Evidence evidence;
    for (const Attachment& attachment : found) evidence.Add(attachment.ToStored());
    const FetchedImage named(image, DockerReference::Parse("h.example/foo:v1"), std::nullopt);
    Decision decision = Verifier::Decide(named, policy, evidence, Detail::kWhole);
    EXPECT_EQ(decision.allowed, decision.code == "signed" || decision.code == "accept-anything") << decision.Explain();
    return decision;
  }
  std::string CodeOf(const std::vector<Attachment>& found) const { return Decide(found, Requirement(), image_).code; }

  testing::TempDir dir_;
  Company company_;
  image::Image image_ = Made("/hello");
};

TEST_F(NotationSigned, AllowsWhatAStoreOfTheStatementVouchesFor) {
  Configure(Statement());
  Trust(company_.root);
  const Decision decision = Decide({Signed(company_, image_)}, Requirement(), image_);
  EXPECT_TRUE(decision.allowed) << decision.Explain();
  EXPECT_THAT(decision.evidence, HasSubstr("CN=signer"));
  EXPECT_THAT(decision.Explain(), HasSubstr("integrity"));
  EXPECT_THAT(decision.Explain(), HasSubstr("authentic"));
  EXPECT_EQ(CodeOf({}), "no-signature");
}

TEST_F(NotationSigned, RefusesOtherSignersImagesAndEnvelopes) {
  Configure(Statement());
  Trust(company_.root);
  EXPECT_EQ(CodeOf({Signed(Company(), image_)}), "untrusted-signer");
  EXPECT_EQ(CodeOf({Signed(company_, Made("/other"))}), "not-about-this-image");
  EXPECT_EQ(CodeOf({{std::string(kJoseType), "{}"}}), "bad-envelope");
  EXPECT_EQ(CodeOf({{std::string(image::kBundleType), "{}"}}), "no-signature");
  Configure(Statement("*", "strict", "x509.subject: C=US,ST=WA,O=others"));
  EXPECT_EQ(CodeOf({Signed(company_, image_)}), "identity-mismatch");
}

TEST_F(NotationSigned, SignaturesThatCannotBeReadAreNoDenialOfAGoodOne_CVE_2023_33958) {
  Configure(Statement());
  Trust(company_.root);
  std::vector<Attachment> found(kMaxEvidence - 1, {std::string(kJoseType), "{}"});
  for (size_t i = 0; i < found.size(); ++i) found[i].payload += std::string(i, ' ');
  found.push_back(Signed(company_, image_));
  EXPECT_EQ(CodeOf(found), "signed");
}

TEST_F(NotationSigned, TheStatementOfTheRepositoryDecides) {
  Trust(company_.root);
  Configure(Statement("h.example/other"));
  EXPECT_EQ(CodeOf({Signed(company_, image_)}), "no-statement");
  Configure(Statement("h.example/foo") + "," + Skipping("*"));
  EXPECT_EQ(CodeOf({}), "no-signature");
  Configure(Statement("*") + "," + Skipping("h.example/foo"));
  EXPECT_EQ(CodeOf({}), "accept-anything");
}

TEST_F(NotationSigned, TheNewerFileOfThePolicyComesFirst) {
  Trust(company_.root);
  Configure(Skipping("*"));
  Configure(Statement(), "trustpolicy.oci.json");
  EXPECT_EQ(CodeOf({}), "no-signature");
}

TEST_F(NotationSigned, WhatCannotBeReadIsUnusable) {
  const std::vector<Attachment> good = {Signed(company_, image_)};
  EXPECT_EQ(CodeOf(good), "key-unusable");  // no policy
  Configure(Statement());
  EXPECT_EQ(CodeOf(good), "key-unusable");  // no store
  Trust(company_.leaf);
  EXPECT_EQ(CodeOf(good), "key-unusable");  // anchors nothing
  Trust(company_.root);
  EXPECT_EQ(CodeOf(good), "signed");
  Configure(Statement() + "," + Statement());
  EXPECT_EQ(CodeOf(good), "key-unusable");
}

TEST_F(NotationSigned, AThresholdCountsOnlySignersWhoAreAuthenticated) {
  Trust(company_.root);
  const std::string one = R"({"type":"threshold","count":1,"requirements":[)" + Requirement() + "]}";
  Configure(Statement());
  EXPECT_EQ(Decide({Signed(company_, image_)}, one, image_).code, "signed");
  Configure(Statement("*", "audit"));
  EXPECT_EQ(CodeOf({Signed(Company(), image_)}), "signed");
  EXPECT_EQ(Decide({Signed(Company(), image_)}, one, image_).code, "threshold-not-met");
}

TEST_F(NotationSigned, ItsDirectoryIsAbsoluteAndAmongWhatIsKeptReadable) {
  const Policy policy = Policy::Parse(R"({"default":[)" + Requirement() + "]}", "test policy");
  EXPECT_EQ(policy.KeyPaths(), std::set<std::string>{dir_.path()});
  for (const char* bad : {R"("directory":"notation")", R"("directory":"/x","keyPath":"/y")"}) {
    const std::string text = R"({"default":[{"type":"notationSigned",)" + std::string(bad) + "}]}";
    EXPECT_EQ(CaughtError([&] { Policy::Parse(text, "test policy"); }).kind(), ErrorKind::kCorrupt) << bad;
  }
}

}  // namespace
}  // namespace gantry::sign
