#include "libsign/notary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "libsign/cose.h"
#include "libsign/proto_json.h"
#include "libsign/referrer.h"
#include "libsign/time_text.h"
#include "tests/support/fake_sigstore.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace gantry::sign {
namespace {

using testing::At;
using testing::CaughtError;
using testing::CertificateSpec;
using testing::IssueBy;
using testing::Issued;
using testing::kDay;
using testing::kNow;
using testing::SelfSigned;
using testing::TempDir;

const image::Descriptor kTarget{std::string(image::kOciManifestType), Digest::Of("manifest"), 8};
const CertificateSpec kLeaf = CertificateSpec::CodeSigner("C=US,ST=WA,O=gantry test,CN=signer");

// An authority and what it issued, as a company would have it.
struct Signer {
  Issued root = SelfSigned(CertificateSpec::Authority("C=US,O=gantry test,CN=notary root"));
  Issued leaf;
  explicit Signer(const CertificateSpec& spec = kLeaf) : leaf(IssueBy(root, spec)) {}
  std::vector<Certificate> chain() const { return {leaf.certificate, root.certificate}; }
};

const Signer& Alice() {
  static const Signer kSigner;
  return kSigner;
}

std::string Jws(const Signer& signer = Alice(), const NotarySigning& signing = {.time = kNow}) {
  return SignNotaryJws(NotaryPayload(kTarget), signer.leaf.key(), signer.chain(), signing);
}

// A JWS with a protected header of the test's own, signed well.
std::string JwsWith(const json::Object& header, const Signer& signer = Alice(),
                    const std::string& payload = NotaryPayload(kTarget)) {
  json::Value envelope = json::Parse(Jws(signer), "jws");
  const std::string encoded = EncodeBase64Url(json::Print(header));
  const std::string body = EncodeBase64Url(payload);
  At(envelope, "/protected") = encoded;
  At(envelope, "/payload") = body;
  const Scheme scheme = NotaryAlgorithm(*signer.leaf.certificate.key()).value();
  At(envelope, "/signature") = EncodeBase64Url(signer.leaf.key().Sign(scheme, encoded + "." + body));
  return json::Print(envelope);
}

json::Object Header(const std::string& scheme = "notary.x509") {
  json::Object header = {{"alg", "ES256"}, {"cty", kNotaryPayloadType}, {"io.cncf.notary.signingScheme", scheme}};
  if (scheme == "notary.x509") {
    header.Set("crit", json::Array{"io.cncf.notary.signingScheme"});
    header.Set("io.cncf.notary.signingTime", TimeText(kNow));
  } else {
    header.Set("crit", json::Array{"io.cncf.notary.signingScheme", "io.cncf.notary.authenticSigningTime"});
    header.Set("io.cncf.notary.authenticSigningTime", TimeText(kNow));
  }
  return header;
}

// CBOR, as much as a COSE envelope is made of.
std::string Head(unsigned major, uint64_t size) {
  const auto byte = [](uint64_t value) { return std::string(1, static_cast<char>(value)); };
  if (size < 24)
    return byte(major << 5 | size);
  if (size < 0x100)
    return byte(major << 5 | 24) + byte(size);
  if (size < 0x10000)
    return byte(major << 5 | 25) + byte(size >> 8) + byte(size & 0xff);
  return byte(major << 5 | 26) + byte(size >> 24) + byte(size >> 16 & 0xff) + byte(size >> 8 & 0xff) +
         byte(size & 0xff);
}
std::string Bytes(const std::string& bytes) { return Head(2, bytes.size()) + bytes; }
std::string Text(const std::string& text) { return Head(3, text.size()) + text; }
std::string Number(int64_t n) {
  return n < 0 ? Head(1, static_cast<uint64_t>(-1 - n)) : Head(0, static_cast<uint64_t>(n));
}
std::string Time(int64_t time) { return Head(6, 1) + Number(time); }

std::string CoseHeader(int64_t algorithm = -7) {
  return Head(5, 5) + Number(1) + Number(algorithm) + Number(2) + Head(4, 1) + Text("io.cncf.notary.signingScheme") +
         Number(3) + Text(std::string(kNotaryPayloadType)) + Text("io.cncf.notary.signingScheme") +
         Text("notary.x509") + Text("io.cncf.notary.signingTime") + Time(kNow);
}

std::string Cose(const std::string& header = CoseHeader(), const Signer& signer = Alice()) {
  const std::string payload = NotaryPayload(kTarget);
  const std::string signed_bytes = Head(4, 4) + Text("Signature1") + Bytes(header) + Bytes("") + Bytes(payload);
  const Scheme scheme = NotaryAlgorithm(*signer.leaf.certificate.key()).value();
  std::string chain = Head(4, 2);
  for (const Certificate& certificate : signer.chain()) chain += Bytes(certificate.der());
  return Head(6, 18) + Head(4, 4) + Bytes(header) + Head(5, 1) + Number(33) + chain + Bytes(payload) +
         Bytes(signer.leaf.key().Sign(scheme, signed_bytes));
}

std::string PolicyText(const std::string& verification = R"({"level":"strict"})",
                       const std::string& identity = "x509.subject: C=US,ST=WA,O=gantry test",
                       const std::string& stores = R"("ca:company")") {
  return R"({"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":)" +
         verification + R"(,"trustStores":[)" + stores + R"(],"trustedIdentities":[")" + identity + R"("]}]})";
}

NotaryStatement Statement(const std::string& text = PolicyText()) {
  return NotaryPolicy::Parse(text, "trustpolicy.json").statements().front();
}

NotaryTrust Trust(const Signer& signer = Alice()) { return {{signer.root.certificate}, {}, {}, {}}; }

std::string Code(const std::string& envelope, const NotaryStatement& statement = Statement(),
                 const NotaryTrust& trust = Trust(), int64_t now = kNow, std::string_view type = kJoseType) {
  const NotaryVerdict verdict = VerifyNotary(type, envelope, kTarget, statement, trust, now);
  EXPECT_EQ(verdict.accepted, verdict.code == "signed");
  return verdict.code;
}

std::string CoseCode(const std::string& envelope) { return Code(envelope, Statement(), Trust(), kNow, kCoseType); }

TEST(Notary, AcceptsBothEnvelopesAndEveryKeyOfTheSpecification) {
  EXPECT_EQ(Code(Jws()), "signed");
  EXPECT_EQ(CoseCode(Cose()), "signed");
  for (const char* key : {"P-384", "P-521", "RSA:2048", "RSA:3072"}) {
    CertificateSpec spec = kLeaf;
    spec.key = key;
    const Signer signer(spec);
    EXPECT_EQ(Code(Jws(signer), Statement(), Trust(signer)), "signed") << key;
  }
  const NotaryVerdict verdict = VerifyNotary(kJoseType, Jws(), kTarget, Statement(), Trust(), kNow);
  std::vector<std::string> codes;
  for (const Step& step : verdict.steps) codes.push_back(step.code);
  EXPECT_EQ(codes,
            (std::vector<std::string>{"integrity", "authentic", "timely", "not-expired", "not-revoked", "signed"}));
}

TEST(Notary, ASelfSignedCertificateIsAChainOfItsOwn) {
  const Issued own = SelfSigned(kLeaf);
  const std::string envelope = SignNotaryJws(NotaryPayload(kTarget), own.key(), {own.certificate}, {.time = kNow});
  EXPECT_EQ(Code(envelope, Statement(), {{own.certificate}, {}, {}, {}}), "signed");
  EXPECT_EQ(Code(envelope), "untrusted-signer");
}

TEST(Notary, IsAboutExactlyThisImage) {
  for (const image::Descriptor& other :
       {image::Descriptor{kTarget.media_type, Digest::Of("other"), 8},
        image::Descriptor{kTarget.media_type, kTarget.digest, 9},
        image::Descriptor{std::string(image::kDockerManifestType), kTarget.digest, 8}}) {
    EXPECT_EQ(VerifyNotary(kJoseType, Jws(), other, Statement(), Trust(), kNow).code, "not-about-this-image");
  }
  EXPECT_EQ(Code(JwsWith(Header(), Alice(), R"({"targetArtifact":{},"x":1})")), "bad-payload");
  EXPECT_EQ(Code(JwsWith(Header(), Alice(), "{}")), "bad-payload");
  json::Object header = Header();
  header.Set("cty", "application/json");
  EXPECT_EQ(Code(JwsWith(header)), "bad-payload");
}

TEST(Notary, KnowsTheSignerByStoreAndByName) {
  EXPECT_EQ(Code(Jws(), Statement(), Trust(Signer())), "untrusted-signer");
  EXPECT_EQ(Code(Jws(), Statement(PolicyText(R"({"level":"strict"})", "*"))), "signed");
  const auto by = [](const std::string& identity) {
    return Code(Jws(), Statement(PolicyText(R"({"level":"strict"})", "x509.subject: " + identity)));
  };
  EXPECT_EQ(by("C=US, ST=WA, O=gantry test, CN=signer"), "signed");
  EXPECT_EQ(by("C=US,S=WA,O=gantry test"), "signed");
  EXPECT_EQ(by("C=US,ST=WA,O=gantry"), "identity-mismatch");
  EXPECT_EQ(by("C=US,ST=WA,O=gantry test,OU=x"), "identity-mismatch");
}

TEST(Notary, FailedChecksRefuseOrAreNotedAsTheLevelSays) {
  const auto at = [](const std::string& verification, const NotaryTrust& trust, int64_t now = kNow) {
    return Code(Jws(Alice(), {.time = kNow, .expiry = kNow + kDay}), Statement(PolicyText(verification)), trust, now);
  };
  const NotaryTrust nobody;
  const std::string strict = R"({"level":"strict"})";
  const std::string permissive = R"({"level":"permissive"})";
  const std::string audit = R"({"level":"audit"})";
  EXPECT_EQ(at(strict, nobody), "untrusted-signer");
  EXPECT_EQ(at(permissive, nobody), "untrusted-signer");
  EXPECT_EQ(at(audit, nobody), "signed");
  EXPECT_EQ(at(strict, Trust(), kNow + 2 * kDay), "expired-signature");
  EXPECT_EQ(at(permissive, Trust(), kNow + 2 * kDay), "signed");
  EXPECT_EQ(at(R"({"level":"permissive","override":{"expiry":"enforce"}})", Trust(), kNow + 2 * kDay),
            "expired-signature");
  EXPECT_EQ(at(strict, Trust(), kNow + 200 * kDay), "certificate-expired");
  EXPECT_EQ(
      at(R"({"level":"strict","override":{"authenticTimestamp":"log","expiry":"log"}})", Trust(), kNow + 200 * kDay),
      "signed");
  // Integrity, and what it is about, refuse also where all else is only noted.
  std::string broken = Jws();
  broken.replace(broken.find("\"signature\":\"") + 20, 1,
                 broken[broken.find("\"signature\":\"") + 20] == 'A' ? "B" : "A");
  EXPECT_EQ(Code(broken, Statement(PolicyText(audit)), nobody), "bad-signature");
  NotaryStatement skip;
  skip.skip = true;
  const NotaryVerdict skipped = VerifyNotary(kJoseType, "", kTarget, skip, {}, kNow);
  EXPECT_TRUE(skipped.accepted);
  EXPECT_EQ(skipped.code, "accept-anything");
}

TEST(Notary, RevocationIsReadFromListsAndSilenceOfOneThatIsNamedIsAFailure) {
  const Signer named(kLeaf.With("crlDistributionPoints", "URI:http://crl.example/x"));
  NotaryTrust trust = Trust(named);
  EXPECT_EQ(Code(Jws(named), Statement(), trust), "revocation-unknown");
  EXPECT_EQ(Code(Jws(named), Statement(PolicyText(R"({"level":"strict","override":{"revocation":"skip"}})")), trust),
            "signed");
  trust.revocation_lists = {Crl::Parse(MakeCrl(named.root, {}), "x")};
  EXPECT_EQ(Code(Jws(named), Statement(), trust), "signed");
  trust.revocation_lists = {Crl::Parse(MakeCrl(named.root, {.revoked = {named.leaf.certificate.serial()}}), "x")};
  EXPECT_EQ(Code(Jws(named), Statement(), trust), "revoked-certificate");
}

TEST(Notary, ASigningAuthorityVouchesForTheTimeAndIsTrustedApart) {
  const std::string envelope = JwsWith(Header("notary.x509.signingAuthority"));
  const NotaryTrust authority = {{}, {Alice().root.certificate}, {}, {}};
  EXPECT_EQ(Code(envelope, Statement(), authority), "signed");
  EXPECT_EQ(Code(envelope, Statement(), authority, kNow + 200 * kDay), "signed");  // expired since
  EXPECT_EQ(Code(Jws(), Statement(), authority), "untrusted-signer");
  NotaryTrust revoked = authority;
  const std::string serial = Alice().leaf.certificate.serial();
  revoked.revocation_lists = {Crl::Parse(MakeCrl(Alice().root, {.revoked = {serial}, .invalid_since = kNow + 1}), "x")};
  EXPECT_EQ(Code(envelope, Statement(), revoked), "signed");
  revoked.revocation_lists = {Crl::Parse(MakeCrl(Alice().root, {.revoked = {serial}, .invalid_since = kNow - 1}), "x")};
  EXPECT_EQ(Code(envelope, Statement(), revoked), "revoked-certificate");
}

class NotaryTimestamp : public ::testing::Test {
 protected:
  std::string Stamped(const testing::TimestampSpec& spec, const std::string& of = "") const {
    json::Value envelope = json::Parse(Jws(), "jws");
    const std::string signature = DecodeBase64Url(*At(envelope, "/signature").string()).value();
    At(envelope, "/header")
        .object()
        ->Set("io.cncf.notary.timestampSignature",
              EncodeBase64(MakeTimestampToken(tsa_, of.empty() ? signature : of, spec)));
    return json::Print(envelope);
  }
  std::string Check(const std::string& envelope, const std::string& when = "always", int64_t now = kNow + 200 * kDay) {
    return Code(envelope,
                Statement(PolicyText(R"({"level":"strict","verifyTimestamp":")" + when + "\"}", "*",
                                     R"("ca:company","tsa:stamps")")),
                trust_, now);
  }
  Issued root_ = SelfSigned(CertificateSpec::Authority("CN=tsa root"));
  Issued tsa_ = IssueBy(root_, CertificateSpec::Timestamper("CN=tsa"));
  NotaryTrust trust_ = {{Alice().root.certificate}, {}, {root_.certificate}, {}};
};

TEST_F(NotaryTimestamp, CarriesASignatureBeyondItsCertificates) {
  EXPECT_EQ(Check(Stamped({})), "signed");
  EXPECT_EQ(Check(Jws()), "no-timestamp");
  EXPECT_EQ(Check(Jws(), "afterCertExpiry"), "no-timestamp");
  EXPECT_EQ(Check(Jws(), "afterCertExpiry", kNow), "signed");
  EXPECT_EQ(Check(Stamped({}, "another signature")), "timestamp-mismatch");
  EXPECT_EQ(Check(Stamped({.time = kNow + 99 * kDay, .accuracy_seconds = 3600})), "signed");
  EXPECT_EQ(Check(Stamped({.time = kNow + 100 * kDay - 60, .accuracy_seconds = 3600})), "certificate-expired");
  trust_.tsa = {Alice().root.certificate};
  EXPECT_EQ(Check(Stamped({})), "untrusted-chain");
}

TEST_F(NotaryTimestamp, OfARevokedAuthorityDoesNotCount) {
  trust_.revocation_lists = {
      Crl::Parse(MakeCrl(root_, {.revoked = {tsa_.certificate.serial()}, .next_update = kNow + 300 * kDay}), "x")};
  EXPECT_EQ(Check(Stamped({})), "revoked-certificate");
}

TEST(NotaryEnvelope, RefusesWhatItsHeaderMayNotSay) {
  const auto code = [](const std::string& key, const json::Value& value) {
    json::Object header = Header();
    header.Set(key, value);
    return Code(JwsWith(header));
  };
  const std::string scheme = "io.cncf.notary.signingScheme";
  EXPECT_EQ(Code(JwsWith(Header())), "signed");
  EXPECT_EQ(code("com.example.attribute", "x"), "signed");
  EXPECT_EQ(code("crit", json::Array{scheme, scheme}), "bad-envelope");
  EXPECT_EQ(code("crit", json::Array{}), "bad-envelope");
  EXPECT_EQ(code(scheme, "notary.x510"), "bad-envelope");
  EXPECT_EQ(code("io.cncf.notary.expiry", TimeText(kNow + 1)), "bad-envelope");  // not critical
  EXPECT_EQ(code("io.cncf.notary.authenticSigningTime", TimeText(kNow)), "bad-envelope");
  EXPECT_EQ(code("io.cncf.notary.signingTime", "soon"), "bad-envelope");
  EXPECT_EQ(code("io.cncf.notary.signingTime", TimeText(kNow - 101 * kDay)), "certificate-not-yet-valid");
}

// Attacks that verifiers fell for.

TEST(NotaryAttack, AnEnvelopeThatChoosesItsAlgorithm) {
  for (const char* algorithm : {"none", "HS256", "RS256", "ES384", "PS256", ""}) {
    json::Object header = Header();
    header.Set("alg", algorithm);
    EXPECT_EQ(Code(JwsWith(header)), "bad-envelope") << algorithm;
  }
}

TEST(NotaryAttack, ACriticalAttributeThatNobodyUnderstands) {
  json::Object header = Header();
  header.Set("com.example.attribute", "x");
  EXPECT_EQ(Code(JwsWith(header)), "signed");
  header.Set("crit", json::Array{"io.cncf.notary.signingScheme", "com.example.attribute"});
  EXPECT_EQ(Code(JwsWith(header)), "bad-envelope");
}

TEST(NotaryAttack, ASignerThatPosesAsASigningAuthority) {
  EXPECT_EQ(Code(JwsWith(Header("notary.x509.signingAuthority")), Statement(), Trust()), "untrusted-signer");
}

TEST(NotaryEnvelope, NeedsALeafForSigningAlone) {
  const auto code = [](const CertificateSpec& spec) {
    return CheckNotaryChain(Signer(spec).chain(), kNow).value_or(Reason{}).code;
  };
  EXPECT_EQ(code(kLeaf), "");
  EXPECT_EQ(code(kLeaf.Without("extendedKeyUsage")), "");
  EXPECT_EQ(code(kLeaf.With("keyUsage", "digitalSignature")), "wrong-usage");
  EXPECT_EQ(code(kLeaf.With("keyUsage", "critical,digitalSignature,keyEncipherment")), "wrong-usage");
  EXPECT_EQ(code(kLeaf.Without("keyUsage")), "wrong-usage");
  EXPECT_EQ(code(kLeaf.With("basicConstraints", "critical,CA:TRUE")), "wrong-usage");
  for (const char* usage : {"anyExtendedKeyUsage", "serverAuth", "clientAuth", "emailProtection", "timeStamping"}) {
    EXPECT_EQ(code(kLeaf.With("extendedKeyUsage", std::string("codeSigning,") + usage)), "wrong-usage") << usage;
  }
  CertificateSpec weak = kLeaf;
  weak.digest = "SHA1";
  EXPECT_EQ(code(weak), "weak-digest");
  EXPECT_EQ(CheckNotaryChain({Alice().leaf.certificate}, kNow)->code, "bad-chain");
}

TEST(NotaryEnvelope, IsSignedOnlyWithAChainThatVerifies) {
  const auto kind = [](const PrivateKey& key, const std::vector<Certificate>& chain) {
    return CaughtError([&] { SignNotaryJws("{}", key, chain, {.time = kNow}); }).kind();
  };
  const Signer other;
  EXPECT_EQ(kind(Alice().leaf.key(), other.chain()), ErrorKind::kUsage);
  EXPECT_EQ(kind(Alice().leaf.key(), {Alice().leaf.certificate}), ErrorKind::kUsage);
  EXPECT_EQ(kind(Alice().leaf.key(), {Alice().leaf.certificate, other.root.certificate}), ErrorKind::kUsage);
  EXPECT_EQ(kind(PrivateKey::Generate(KeyKind::kEd25519), Alice().chain()), ErrorKind::kUsage);
}

TEST(Cose, ReadsExactlyOneValueOfDefiniteLength) {
  EXPECT_EQ(ParseCbor(Head(4, 2) + Number(-7) + Text("x")).items[0], CborValue::Integer(-7));
  for (const std::string& bad :
       {std::string(), Number(1) + Number(1), Head(4, 2) + Number(1), std::string("\x9f\x01\xff"), std::string("\xf6"),
        std::string("\xfb\x00\x00\x00\x00\x00\x00\x00\x00", 9),
        Head(5, 2) + Number(1) + Number(1) + Number(1) + Number(2), Head(4, 0xffffffff), Head(2, 10) + "x",
        std::string(kMaxCborDepth + 1, '\x81') + Number(1)}) {
    EXPECT_EQ(CaughtError([&] { ParseCbor(bad); }).kind(), ErrorKind::kCorrupt);
  }
}

TEST(Cose, RefusesWhatItsHeaderMayNotSay) {
  EXPECT_EQ(CoseCode(Cose(CoseHeader(-35))), "bad-envelope");
  EXPECT_EQ(CoseCode(Cose(CoseHeader(5))), "bad-envelope");
  EXPECT_EQ(CoseCode(Cose(Head(5, 0))), "bad-envelope");
  EXPECT_EQ(CoseCode(Cose(Number(1))), "bad-envelope");
  EXPECT_EQ(CoseCode(Cose().substr(1)), "bad-envelope");
  EXPECT_EQ(CoseCode(Jws()), "bad-envelope");
  EXPECT_EQ(Code(Cose()), "bad-envelope");
}

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  return bytes;
}

const std::vector<std::string> kReasonsOfAChange = {"bad-envelope",
                                                    "bad-signature",
                                                    "bad-certificate-signature",
                                                    "bad-chain",
                                                    "untrusted-chain",
                                                    "untrusted-signer",
                                                    "wrong-usage",
                                                    "weak-digest",
                                                    "not-a-ca",
                                                    "unknown-critical-extension",
                                                    "certificate-expired",
                                                    "certificate-not-yet-valid"};

TEST(NotaryMutation, NoChangedByteOfAJwsIsAccepted) {
  const json::Value good = json::Parse(Jws(), "jws");
  size_t count = 0;
  for (const auto& [pointer, url] :
       {std::pair("/payload", true), std::pair("/protected", true), std::pair("/signature", true),
        std::pair("/header/x5c/0", false), std::pair("/header/x5c/1", false)}) {
    const std::string text = *At(const_cast<json::Value&>(good), pointer).string();
    const std::string bytes = (url ? DecodeBase64Url(text) : DecodeBase64(text)).value();
    for (size_t step = 0; step < 24; ++step, ++count) {
      json::Value bad = good;
      const std::string flipped = Flipped(bytes, step * (bytes.size() - 1) / 23);
      At(bad, pointer) = url ? EncodeBase64Url(flipped) : EncodeBase64(flipped);
      EXPECT_THAT(kReasonsOfAChange, ::testing::Contains(Code(json::Print(bad)))) << pointer << " " << step;
    }
  }
  EXPECT_EQ(count, 120U);
}

TEST(NotaryMutation, NoChangedByteOfACoseIsAccepted) {
  const std::string good = Cose();
  for (size_t step = 0; step < 120; ++step) {
    const std::string code = CoseCode(Flipped(good, step * (good.size() - 1) / 119));
    EXPECT_THAT(kReasonsOfAChange, ::testing::Contains(code)) << step;
  }
}

TEST(NotaryPolicy, ThatIsNotClearIsRefused) {
  for (const std::string& bad : {
           std::string("{}"),
           PolicyText() + "x",
           PolicyText(R"({"level":"loose"})"),
           PolicyText(R"({"level":"strict","override":{"integrity":"log"}})"),
           PolicyText(R"({"level":"strict","override":{"authenticity":"skip"}})"),
           PolicyText(R"({"level":"skip","override":{"expiry":"log"}})"),
           PolicyText(R"({"level":"skip"})"),
           PolicyText(R"({"level":"strict","verifyTimestamp":"never"})"),
           PolicyText(R"({"level":"strict","level":"skip"})"),
           PolicyText(R"({"level":"strict","x":1})"),
           PolicyText(R"({"level":"strict"})", "x509.subject: C=US,ST=WA"),
           PolicyText(R"({"level":"strict"})", "x509.subject: C=US,ST=WA,O=a+OU=b"),
           PolicyText(R"({"level":"strict"})", "x509.subject: C=US,ST=WA,O=#04"),
           PolicyText(R"({"level":"strict"})", "x509.subject: C=US,ST=WA,O=a,O=b"),
           PolicyText(R"({"level":"strict"})", "somebody"),
           PolicyText(R"({"level":"strict"})", R"(*","x509.subject: C=US,ST=WA,O=a)"),
           PolicyText(R"({"level":"strict"})", R"(x509.subject: C=US,ST=WA,O=a","x509.subject: C=US,ST=WA,O=a,CN=b)"),
           PolicyText(R"({"level":"strict"})", "*", R"("ca:../../etc")"),
           PolicyText(R"({"level":"strict"})", "*", R"("ca:..")"),
           PolicyText(R"({"level":"strict"})", "*", R"("other:x")"),
           PolicyText(R"({"level":"strict"})", "*", R"("tsa:x")"),
           PolicyText(R"({"level":"strict"})", "*", ""),
       }) {
    EXPECT_EQ(CaughtError([&] { NotaryPolicy::Parse(bad, "x"); }).kind(), ErrorKind::kCorrupt) << bad;
  }
}

TEST(NotaryPolicy, TheStatementThatNamesTheRepositoryComesBeforeTheOneForAll) {
  const std::string skip = R"(,"signatureVerification":{"level":"skip"}})";
  const auto policy = [&](const std::string& scopes) {
    return R"({"version":"1.0","trustPolicies":[{"name":"a","registryScopes":)" + scopes + skip +
           R"(,{"name":"b","registryScopes":["*"])" + skip + "]}";
  };
  const NotaryPolicy parsed = NotaryPolicy::Parse(policy(R"(["h.example/a","h.example/b/c"])"), "x");
  EXPECT_EQ(parsed.For("h.example/b/c")->name, "a");
  EXPECT_EQ(parsed.For("h.example/b")->name, "b");
  EXPECT_EQ(parsed.For("h.example/b/c/d")->name, "b");
  for (const char* bad : {R"(["*"])", R"(["h.example/a","*"])", R"(["h.example/a","h.example/a"])",
                          R"(["h.example/a:v1"])", R"(["h.example"])", "[]"}) {
    EXPECT_EQ(CaughtError([&] { NotaryPolicy::Parse(policy(bad), "x"); }).kind(), ErrorKind::kCorrupt) << bad;
  }
}

TEST(NotaryStore, IsReadFromNotationsPlacesWithoutFollowingLinks) {
  const TempDir directory;
  const Dir store = directory.dir().MakeDirs(RelPath::Parse("trust-store/x509/ca/company"));
  const NotaryStatement statement = Statement();
  const auto load = [&] { return NotaryTrust::Load(directory.path(), statement); };
  EXPECT_EQ(CaughtError(load).kind(), ErrorKind::kNotFound);
  store.WriteFileAtomically(RelPath::Parse("root.pem"), Alice().root.certificate.ToPem());
  directory.dir()
      .MakeDirs(RelPath::Parse("crl"))
      .WriteFileAtomically(RelPath::Parse("x.crl"), MakeCrl(Alice().root, {}));
  EXPECT_EQ(load().ca, std::vector<Certificate>{Alice().root.certificate});
  EXPECT_EQ(load().revocation_lists.size(), 1U);
  EXPECT_EQ(Code(Jws(), statement, load()), "signed");
  store.WriteFileAtomically(RelPath::Parse("leaf.pem"), Alice().leaf.certificate.ToPem());
  EXPECT_EQ(CaughtError(load).kind(), ErrorKind::kCorrupt);  // anchors nothing
  store.RemoveFile(RelPath::Parse("leaf.pem"));
  ASSERT_EQ(symlinkat("root.pem", store.fd(), "link.pem"), 0);
  EXPECT_EQ(CaughtError(load).kind(), ErrorKind::kCorrupt);
  store.RemoveFile(RelPath::Parse("link.pem"));
  store.MakeDirs(RelPath::Parse("more"));
  EXPECT_EQ(CaughtError(load).kind(), ErrorKind::kCorrupt);
}

TEST(NotaryManifest, TiesAnEnvelopeToItsImage) {
  const image::Attachment envelope{std::string(kJoseType), Jws()};
  const image::SignatureManifest made = ReferrerOf(kTarget, envelope).value();
  EXPECT_EQ(ReferrerOf(kTarget, envelope)->bytes, made.bytes);
  json::Value document = json::Parse(made.bytes, "x");
  EXPECT_EQ(*At(document, "/artifactType").string(), kNotaryArtifactType);
  const json::Object& annotations = *At(document, "/annotations").object();
  EXPECT_EQ(*annotations.Find("org.opencontainers.image.created")->string(), TimeText(kNow));
  EXPECT_EQ(*annotations.Find("io.cncf.notary.x509chain.thumbprint#S256")->string(),
            "[\"" + Digest::Of(Alice().leaf.certificate.der()).hex() + "\",\"" +
                Digest::Of(Alice().root.certificate.der()).hex() + "\"]");
  EXPECT_TRUE(image::ReferrerLayers(made.bytes, Digest::Of("other")).empty());
  // What older registries were given: the type is that of the configuration.
  document.object()->Remove("artifactType");
  At(document, "/config/mediaType") = std::string(kNotaryArtifactType);
  for (const std::string& form : {made.bytes, json::Print(document)}) {
    const auto layers = image::ReferrerLayers(form, kTarget.digest);
    ASSERT_EQ(layers.size(), 1U);
    EXPECT_EQ(layers[0].digest, Digest::Of(envelope.payload));
    EXPECT_EQ(layers[0].media_type, kJoseType);
  }
}

}  // namespace
}  // namespace gantry::sign
