#include "libsign/lint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/base64.h"
#include "tests/support/gpg_home.h"

namespace gantry::sign {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "CODE SCOPE" of each finding in a policy whose transports are those.
std::vector<std::string> Found(const std::string& transports, const std::string& by_default = R"({"type":"reject"})") {
  const Policy policy =
      Policy::Parse(R"({"default":[)" + by_default + R"(],"transports":{)" + transports + "}}", "test");
  std::vector<std::string> found;
  for (const Finding& finding : Lint(policy)) {
    found.push_back(finding.code + " " + finding.scope);
  }
  return found;
}

std::string Signed(const std::string& more = "") {
  static const std::string kKey = EncodeBase64(PrivateKey::Generate(KeyKind::kEd25519).public_key().ToPem());
  return R"({"type":"sigstoreSigned","keyData":")" + kKey + "\"" + more + "}";
}
constexpr std::string_view kAccept = R"({"type":"insecureAcceptAnything"})";

TEST(Lint, FindsNothingInASoundPolicy) {
  EXPECT_THAT(Found(R"("docker":{"quay.io/org":[)" + Signed() + R"(],"docker.io":[)" + Signed() +
                    R"(],"*.example.com":[)" + Signed() + R"(],"quay.io/a/b:v1":[)" + Signed() + R"(],"":[)" +
                    Signed() + R"(]},"oci":{"/srv/images":[)" + Signed() + "]}"),
              IsEmpty());
}

TEST(Lint, FindsWhatAcceptsAnythingAndWhatThatSetsAside) {
  const std::string accept(kAccept);
  EXPECT_THAT(Found("", accept), ElementsAre("accept-anything default"));
  EXPECT_THAT(Found(R"("docker":{"quay.io/org":[)" + Signed() + R"(],"quay.io/org/app":[)" + accept +
                    R"(],"quay.io/organ":[)" + accept + "]}"),
              ElementsAre("shadowed-scope docker: quay.io/org/app", "shadowed-scope docker: quay.io/organ"));
}

TEST(Lint, SeesWhatIsSetAsideByAWildcardAndByTheScopeOfAll) {
  const std::string accept(kAccept);
  EXPECT_THAT(
      Found(R"("docker":{"*.example.com":[)" + Signed() + R"(],"a.example.com:5000":[)" + accept + "]}", accept),
      ElementsAre("accept-anything default", "shadowed-scope docker: a.example.com:5000"));
  EXPECT_THAT(Found(R"("oci":{"":[)" + Signed() + R"(],"/srv":[)" + accept + "]}", accept),
              ElementsAre("accept-anything default", "shadowed-scope oci: /srv"));
}

TEST(Lint, FindsScopesThatNoImageHas) {
  EXPECT_THAT(Found(R"("docker":{"busybox":[)" + Signed() + R"(],"https://quay.io":[)" + Signed() +
                    R"(],"quay.io/":[)" + Signed() + R"(]},"atomic":{"":[)" + Signed() + "]}"),
              ElementsAre("unreachable-scope docker: busybox", "unreachable-scope docker: https://quay.io",
                          "unreachable-scope docker: quay.io/", "unknown-transport atomic: any"));
}

TEST(Lint, FindsKeysThatDoNotServeAndThresholdsThatCannotBeMet) {
  EXPECT_THAT(Found(R"("docker":{"a.example":[{"type":"sigstoreSigned","keyPath":"/nowhere.pub"}],"b.example":[)"
                    R"({"type":"signedBy","keyType":"GPGKeys","keyData":"YWJj"}],"c.example":[{"type":"threshold",)"
                    R"("count":2,"requirements":[)" +
                    Signed() +
                    R"(]}],"d.example":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchRepository"}}]})"),
              ElementsAre("unreadable-key docker: a.example", "unreadable-key docker: b.example",
                          "threshold-too-high docker: c.example", "never-met docker: d.example"));
}

// What counts is how many different keys there are, in one file or in two.
TEST(Lint, CountsTheKeysOfAThresholdAndNotTheirFiles) {
  const auto threshold = [](const std::string& parts) {
    return Found(R"("docker":{"a.example":[{"type":"threshold","count":2,"requirements":[)" + parts + "]}]}");
  };
  const std::string one = Signed();
  const std::string other = R"({"type":"sigstoreSigned","keyData":")" +
                            EncodeBase64(PrivateKey::Generate(KeyKind::kEcdsaP256).public_key().ToPem()) + "\"}";
  EXPECT_THAT(threshold(one + "," + one), ElementsAre("threshold-too-high docker: a.example"));
  EXPECT_THAT(threshold(one + "," + other), IsEmpty());
  EXPECT_THAT(threshold(R"({"type":"anyOf","requirements":[)" + one + "," + other + "]}"), IsEmpty());

  const testing::GpgHome home;
  const std::string first = home.Generate("a <a@gantry.example>"), second = home.Generate("b <b@gantry.example>");
  const auto signed_by = [&](const std::string& keys) {
    return R"({"type":"signedBy","keyType":"GPGKeys","keyData":")" + EncodeBase64(keys) + "\"}";
  };
  EXPECT_THAT(threshold(signed_by(home.Export(first) + home.Export(second))), IsEmpty());
  EXPECT_THAT(threshold(signed_by(home.Export(first)) + "," + signed_by(home.Export(first))),
              ElementsAre("threshold-too-high docker: a.example"));
}

// Whom an authority certifies may be any number of people, and an ACI has one signature.
TEST(Lint, SaysNothingOfAThresholdWhoseSignersItCannotCount) {
  const std::string certified =
      R"({"type":"sigstoreSigned","pki":{"caRootsPath":"/nowhere.pem","subjectEmail":"a@b.example"}})";
  const std::string appc = R"({"type":"appcSigned"})";
  const auto threshold = [](const std::string& parts) {
    return R"([{"type":"threshold","count":2,"requirements":[)" + parts + "]}]";
  };
  EXPECT_THAT(Found(R"("docker":{"a.example":)" + threshold(certified + "," + Signed()) + "}"),
              ElementsAre("unreadable-key docker: a.example"));
  EXPECT_THAT(Found(R"("aci":{"/srv":)" + threshold(appc + "," + Signed()) + "}"), IsEmpty());
  EXPECT_THAT(Found(R"("aci":{"/srv":)" + threshold(appc + "," + appc) + "}"),
              ElementsAre("threshold-too-high aci: /srv"));
}

TEST(Lint, FindsAuthoritiesLogsAndTrustStoresThatCannotBeRead) {
  const std::string fulcio = R"({"caPath":"/nowhere.pem","oidcIssuer":"https://i","subjectEmail":"a@b"})";
  EXPECT_THAT(
      Found(R"("docker":{"a.example":[{"type":"sigstoreSigned","fulcio":)" + fulcio +
            R"(,"rekorPublicKeyPath":"/nowhere.pub"}],"b.example":[{"type":"sigstoreSigned","pki":{"caRootsData":)"
            R"("YWJj","subjectEmail":"a@b"}}],"c.example":[{"type":"notationSigned","directory":"/nowhere"}]})"),
      ElementsAre("unreadable-key docker: a.example", "unreadable-key docker: b.example",
                  "unreadable-key docker: c.example"));
}

}  // namespace
}  // namespace gantry::sign
