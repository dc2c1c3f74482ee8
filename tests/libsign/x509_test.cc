#include "libsign/x509.h"

#include <gtest/gtest.h>

#include "libsign/x509_chain.h"
#include "libsign/x509_crl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace gantry::sign {
namespace {

using testing::CaughtError;
using testing::CertificateSpec;
using testing::IssueBy;
using testing::Issued;
using testing::kDay;
using testing::kNow;
using testing::SelfSigned;
using testing::TestPki;

const CertificateSpec kLeaf = CertificateSpec::CodeSigner("O=gantry test,CN=leaf");
const CertificateSpec kRoot = CertificateSpec::Authority("O=gantry test,CN=root");

const TestPki& Pki() {
  static const TestPki kPki;
  return kPki;
}

std::string CodeFor(const Certificate& leaf, const std::vector<Certificate>& candidates, const Certificate& anchor,
                    int64_t time = kNow, std::string_view usage = kCodeSigningUsage) {
  const Chain chain = BuildChain(leaf, candidates, {anchor}, time, usage);
  EXPECT_EQ(chain.certificates.empty(), chain.problem.has_value());
  return chain.problem ? chain.problem->code : "";
}

// The code for a leaf like that under a root like that, one of them with a fault.
std::string CodeFor(const CertificateSpec& root, const CertificateSpec& leaf) {
  const Issued anchor = SelfSigned(root);
  return CodeFor(IssueBy(anchor, leaf).certificate, {}, anchor.certificate);
}

TEST(Certificate, IsReadWithAllThatSignaturesNeed) {
  const Issued leaf =
      IssueBy(Pki().authority, CertificateSpec::CodeSigner("C=US,ST=WA+L=here,O=x")
                                   .With("subjectAltName",
                                         "critical,email:a@b.example,URI:https://c.example/x,DNS:d.example,"
                                         "otherName:1.3.6.1.4.1.57264.1.7;UTF8:who")
                                   .With("crlDistributionPoints", "URI:http://crl.example/x"));
  const Certificate& read = leaf.certificate;
  EXPECT_EQ(read.issuer(), "CN=authority,O=gantry test");
  ASSERT_EQ(read.subject_attributes().size(), 4U);
  EXPECT_EQ(read.subject_attributes()[0].type, "C");
  EXPECT_FALSE(read.subject_attributes()[0].shares_rdn);
  EXPECT_TRUE(read.subject_attributes()[1].shares_rdn && read.subject_attributes()[2].shares_rdn);
  EXPECT_EQ(read.key()->kind(), KeyKind::kEcdsaP256);
  EXPECT_EQ(read.not_before(), kNow - 100 * kDay);
  EXPECT_EQ(read.key_usage(), kDigitalSignature);
  EXPECT_EQ(read.extended_key_usage(), std::vector<std::string>{std::string(kCodeSigningUsage)});
  EXPECT_FALSE(read.is_ca() || read.self_signed());
  EXPECT_TRUE(read.names_revocation());
  using Kind = AlternativeName::Kind;
  EXPECT_EQ(read.alternative_names(), (std::vector<AlternativeName>{{Kind::kEmail, "a@b.example", {}},
                                                                    {Kind::kUri, "https://c.example/x", {}},
                                                                    {Kind::kDns, "d.example", {}},
                                                                    {Kind::kOther, "who", "1.3.6.1.4.1.57264.1.7"}}));
  EXPECT_TRUE(read.IsCritical(kAlternativeNameOid));
  EXPECT_TRUE(Pki().root.certificate.is_ca() && Pki().root.certificate.self_signed());
  EXPECT_EQ(Pki().authority.certificate.path_length(), 0U);
}

TEST(Certificate, PemAndDerAreTheSame) {
  const Certificate& root = Pki().root.certificate;
  const std::string two = "root\n" + root.ToPem() + "\n# leaf\n" + Pki().leaf.certificate.ToPem();
  EXPECT_EQ(Certificate::ParsePem(two, "x"), (std::vector<Certificate>{root, Pki().leaf.certificate}));
  EXPECT_EQ(Certificate::ParseFile(root.der(), "x"), std::vector<Certificate>{root});
}

TEST(Certificate, RefusesWhatIsNotExactlyOne) {
  const std::string& der = Pki().leaf.certificate.der();
  std::string indefinite = der;  // BER: the outer length is indefinite, and ends with two zeros
  indefinite.replace(0, 4, "\x30\x80");
  indefinite += std::string(2, '\0');
  for (const std::string& bytes : {std::string(), der + "x", der.substr(0, der.size() - 1), std::string("\x30\x00", 2),
                                   std::string(kMaxCertificateBytes + 1, 'x'), indefinite}) {
    EXPECT_EQ(CaughtError([&] { Certificate::Parse(bytes, "x"); }).kind(), ErrorKind::kCorrupt);
  }
  const std::string pem = Pki().leaf.certificate.ToPem();
  for (const std::string& text :
       {std::string(), std::string("-----BEGIN CERTIFICATE-----\n"), pem + "-----BEGIN PRIVATE KEY-----",
        std::string("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")}) {
    EXPECT_EQ(CaughtError([&] { Certificate::ParsePem(text, "x"); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST(Certificate, RefusesAnExtensionTwice) {
  CertificateSpec twice = kLeaf;
  twice.extensions.push_back({"extendedKeyUsage", "timeStamping"});
  EXPECT_EQ(CaughtError([&] { SelfSigned(twice); }).kind(), ErrorKind::kCorrupt);
}

TEST(Certificate, ParsesNoTextButOneUtf8String) {
  EXPECT_EQ(Utf8String(std::string("\x0c\x02hi", 4)), "hi");
  for (const std::string& der : {std::string(), std::string("\x0c\x03hi", 4), std::string("\x0c\x02hix", 5),
                                 std::string("\x13\x02hi", 4), std::string("\x0c\x81\x02hi", 5)}) {
    EXPECT_EQ(Utf8String(der), std::nullopt);
  }
}

TEST(Chain, LeadsFromTheLeafToTheAnchorWhateverTheOrder) {
  const TestPki& pki = Pki();
  const Chain chain = BuildChain(pki.leaf.certificate, {pki.root.certificate, pki.authority.certificate},
                                 {pki.root.certificate}, kNow, kCodeSigningUsage);
  EXPECT_EQ(chain.problem, std::nullopt) << chain.problem->text;
  EXPECT_EQ(chain.certificates,
            (std::vector<Certificate>{pki.leaf.certificate, pki.authority.certificate, pki.root.certificate}));
  // An anchor that is not self-signed ends the chain.
  EXPECT_EQ(CodeFor(pki.leaf.certificate, {}, pki.authority.certificate), "");
}

TEST(Chain, IsJudgedAtTheTimeBothEndsIncluded) {
  const Issued root = SelfSigned(kRoot);
  CertificateSpec spec = kLeaf;
  spec.not_before = kNow;
  spec.not_after = kNow + 600;
  const Certificate leaf = IssueBy(root, spec).certificate;
  EXPECT_EQ(CodeFor(leaf, {}, root.certificate, kNow), "");
  EXPECT_EQ(CodeFor(leaf, {}, root.certificate, kNow + 600), "");
  EXPECT_EQ(CodeFor(leaf, {}, root.certificate, kNow - 1), "certificate-not-yet-valid");
  EXPECT_EQ(CodeFor(leaf, {}, root.certificate, kNow + 601), "certificate-expired");
  CertificateSpec old = kRoot;
  old.not_after = kNow - 1;
  EXPECT_EQ(CodeFor(old, kLeaf), "certificate-expired");
}

TEST(Chain, EndsNowhereElse) {
  const TestPki& pki = Pki();
  EXPECT_EQ(CodeFor(pki.leaf.certificate, {}, pki.root.certificate), "untrusted-chain");
  EXPECT_EQ(CodeFor(pki.root.certificate, {}, pki.authority.certificate, kNow, ""), "untrusted-chain");
  // Another root of the same name.
  const Issued impostor = SelfSigned(kRoot);
  EXPECT_NE(CodeFor(pki.leaf.certificate, {pki.authority.certificate}, impostor.certificate), "");
  EXPECT_EQ(BuildChain(pki.leaf.certificate, {}, {}, kNow, "").problem->code, "untrusted-chain");
}

TEST(Chain, NeedsGoodSignatures) {
  // The signature is the last of a certificate; the flip leaves its DER intact.
  std::string der = Pki().authority.certificate.der();
  der.back() = static_cast<char>(der.back() ^ 1);
  EXPECT_EQ(CodeFor(Pki().leaf.certificate, {Certificate::Parse(der, "x")}, Pki().root.certificate),
            "bad-certificate-signature");
}

TEST(Chain, NeedsTheUseInTheLeafAndInEveryAuthorityThatListsUses) {
  EXPECT_EQ(CodeFor(kRoot, kLeaf.With("extendedKeyUsage", "timeStamping")), "wrong-usage");
  EXPECT_EQ(CodeFor(kRoot, kLeaf.With("extendedKeyUsage", "anyExtendedKeyUsage")), "wrong-usage");
  EXPECT_EQ(CodeFor(kRoot, kLeaf.Without("extendedKeyUsage")), "wrong-usage");
  EXPECT_EQ(CodeFor(kRoot.With("extendedKeyUsage", "codeSigning"), kLeaf), "");
  EXPECT_EQ(CodeFor(kRoot.With("extendedKeyUsage", "anyExtendedKeyUsage"), kLeaf), "");
  EXPECT_EQ(CodeFor(kRoot.With("extendedKeyUsage", "timeStamping"), kLeaf), "wrong-usage");
}

TEST(Chain, NeedsAuthoritiesThatSayCriticallyThatTheyAre) {
  EXPECT_EQ(CodeFor(kRoot.With("basicConstraints", "CA:TRUE"), kLeaf), "not-a-ca");
  EXPECT_EQ(CodeFor(kRoot.With("basicConstraints", "critical,CA:FALSE"), kLeaf), "not-a-ca");
  EXPECT_EQ(CodeFor(kRoot.Without("basicConstraints"), kLeaf), "not-a-ca");
  EXPECT_EQ(CodeFor(kRoot.With("keyUsage", "critical,digitalSignature"), kLeaf), "not-a-ca");
  EXPECT_EQ(CodeFor(kRoot.Without("keyUsage"), kLeaf), "not-a-ca");
  // A leaf that plays authority.
  const Issued below = IssueBy(Pki().leaf, kLeaf);
  EXPECT_EQ(CodeFor(below.certificate, {Pki().leaf.certificate, Pki().authority.certificate}, Pki().root.certificate),
            "not-a-ca");
}

TEST(Chain, KeepsToPathLengthsAndToItsOwnBound) {
  const Issued second = IssueBy(Pki().authority, CertificateSpec::Authority("CN=second"));
  const Issued leaf = IssueBy(second, kLeaf);
  EXPECT_EQ(CodeFor(leaf.certificate, {second.certificate, Pki().authority.certificate}, Pki().root.certificate),
            "path-too-long");
  for (const size_t length : {kMaxChainLength, kMaxChainLength + 1}) {
    Issued above = Pki().root;
    std::vector<Certificate> between;
    for (size_t i = 2; i < length; ++i) {
      above = IssueBy(above, CertificateSpec::Authority("CN=" + std::to_string(i)));
      between.push_back(above.certificate);
    }
    const std::string code = CodeFor(IssueBy(above, kLeaf).certificate, between, Pki().root.certificate);
    EXPECT_EQ(code.empty(), length == kMaxChainLength) << code;
  }
  EXPECT_EQ(CodeFor(leaf.certificate, std::vector<Certificate>(kMaxChainCandidates + 1, second.certificate),
                    Pki().root.certificate),
            "bad-chain");
}

TEST(Chain, TakesNoWeakKeyAndNoWeakDigest) {
  const auto with_key = [](CertificateSpec spec, const std::string& key, const std::string& digest = "SHA256") {
    spec.key = key;
    spec.digest = digest;
    return spec;
  };
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "RSA:1024")), "weak-key");
  EXPECT_EQ(CodeFor(with_key(kRoot, "RSA:1024"), kLeaf), "weak-key");
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "RSA:2048")), "");
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "secp224r1")), "weak-key");
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "secp256k1")), "weak-key");
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "P-521")), "");
  EXPECT_EQ(CodeFor(with_key(kRoot, "ED25519"), with_key(kLeaf, "P-256", "NULL")), "");
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "P-256", "SHA1")), "weak-digest");
  EXPECT_EQ(CodeFor(kRoot, with_key(kLeaf, "P-256", "SHA224")), "weak-digest");
  // The signature of the anchor itself vouches for nothing.
  EXPECT_EQ(CodeFor(with_key(kRoot, "P-256", "SHA1"), kLeaf), "");
}

TEST(Chain, RefusesCriticalExtensionsThatItDoesNotKnowAndNamesOutsideTheConstraints) {
  EXPECT_EQ(CodeFor(kRoot, kLeaf.With("1.2.3.4", "critical,DER:0500")), "unknown-critical-extension");
  EXPECT_EQ(CodeFor(kRoot, kLeaf.With("1.2.3.4", "DER:0500")), "");
  const CertificateSpec constrained = kRoot.With("nameConstraints", "critical,permitted;email:good.example");
  EXPECT_EQ(CodeFor(constrained, kLeaf.With("subjectAltName", "email:a@good.example")), "");
  EXPECT_EQ(CodeFor(constrained, kLeaf.With("subjectAltName", "email:a@bad.example")), "name-constraints");
}

TEST(Chain, ThatIsGivenWholeMustBeOneInOrderUpToASelfSignedRoot) {
  const TestPki& pki = Pki();
  const auto code = [](const std::vector<Certificate>& chain) {
    const auto problem = CheckOrderedChain(chain, kNow, "");
    return problem ? problem->code : "";
  };
  EXPECT_EQ(code({pki.leaf.certificate, pki.authority.certificate, pki.root.certificate}), "");
  EXPECT_EQ(code({SelfSigned(kLeaf).certificate}), "");
  EXPECT_EQ(code({pki.leaf.certificate, pki.root.certificate, pki.authority.certificate}), "bad-chain");
  EXPECT_EQ(code({pki.leaf.certificate, pki.authority.certificate}), "bad-chain");
  EXPECT_EQ(code({pki.leaf.certificate, pki.root.certificate}), "untrusted-chain");
  EXPECT_EQ(code({pki.leaf.certificate, pki.authority.certificate, pki.authority.certificate, pki.root.certificate}),
            "bad-chain");
  EXPECT_EQ(code({}), "bad-chain");
}

class CrlTest : public ::testing::Test {
 protected:
  RevocationStatus Check(const std::vector<testing::CrlSpec>& specs, const Issued& by = Pki().root,
                         int64_t time = kNow) {
    std::vector<Crl> lists;
    for (const auto& spec : specs) {
      lists.push_back(Crl::Parse(testing::MakeCrl(by, spec), "list"));
    }
    return CheckRevocation(Pki().authority.certificate, Pki().root.certificate, lists, time).status;
  }
  const std::string serial_ = Pki().authority.certificate.serial();
};

TEST_F(CrlTest, SaysWhoIsRevoked) {
  EXPECT_EQ(Check({{}}), RevocationStatus::kGood);
  EXPECT_EQ(Check({{.revoked = {"01", serial_}}}), RevocationStatus::kRevoked);
  EXPECT_EQ(Check({}), RevocationStatus::kUnknown);
  const Crl list = Crl::Parse(testing::MakeCrl(Pki().root, {.revoked = {serial_}, .invalid_since = kNow - 7}), "list");
  EXPECT_EQ(CheckRevocation(Pki().authority.certificate, Pki().root.certificate, {list}, kNow).invalid_since, kNow - 7);
}

TEST_F(CrlTest, CountsOnlyInItsTimeAndFromTheIssuerItself) {
  EXPECT_EQ(Check({{.next_update = kNow - 1}}), RevocationStatus::kUnknown);
  EXPECT_EQ(Check({{.this_update = kNow + 1}}), RevocationStatus::kUnknown);
  EXPECT_EQ(Check({{}}, SelfSigned(kRoot)), RevocationStatus::kUnknown);  // same name, another key
  EXPECT_EQ(Check({{}}, Pki().authority), RevocationStatus::kUnknown);
  EXPECT_EQ(Check({{.digest = "SHA1"}}), RevocationStatus::kUnknown);
  EXPECT_EQ(Check({{.distribution = "critical,onlyuser:TRUE"}}), RevocationStatus::kUnknown);
  EXPECT_EQ(Check({{.distribution = "critical,onlyCA:TRUE"}}), RevocationStatus::kGood);
}

TEST_F(CrlTest, TheNewestListDecidesAndDeltasAddToIt) {
  EXPECT_EQ(Check({{.revoked = {serial_}, .this_update = kNow - 9}, {.this_update = kNow - 5}}),
            RevocationStatus::kGood);
  EXPECT_EQ(Check({{.number = 4}, {.revoked = {serial_}, .number = 5, .delta_of = 4}}), RevocationStatus::kRevoked);
  EXPECT_EQ(Check({{.number = 4}, {.revoked = {serial_}, .number = 6, .delta_of = 5}}), RevocationStatus::kGood);
  EXPECT_EQ(Check({{.revoked = {serial_}, .number = 4},
                   {.revoked = {serial_}, .number = 5, .delta_of = 4, .reason = "removeFromCRL"}}),
            RevocationStatus::kGood);
  EXPECT_EQ(Check({{.revoked = {serial_}, .number = 5, .delta_of = 4}}), RevocationStatus::kUnknown);
}

TEST_F(CrlTest, IsRefusedWhenItIsNoneOrOnlyAPart) {
  const std::string der = testing::MakeCrl(Pki().root, {});
  for (const std::string& bytes :
       {std::string(), der + "x", der.substr(1),
        testing::MakeCrl(Pki().root, {.distribution = "critical,indirectCRL:TRUE"}),
        testing::MakeCrl(Pki().root, {.distribution = "critical,onlysomereasons:keyCompromise"})}) {
    EXPECT_EQ(CaughtError([&] { Crl::Parse(bytes, "list"); }).kind(), ErrorKind::kCorrupt);
  }
}

}  // namespace
}  // namespace gantry::sign
