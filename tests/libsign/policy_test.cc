#include "libsign/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Policy PolicyOf(const std::string& transports) {
  return Policy::Parse(R"({"default":[{"type":"reject"}],"transports":)" + transports + "}", "policy");
}

IdentityRule RuleOf(const std::string& text) {
  const json::Value value = json::Parse(text, "rule");
  return IdentityRule::Parse(json::Cursor(value, "rule"));
}

bool Allows(const std::string& rule, const std::string& asked, const std::string& signed_as) {
  return RuleOf(rule).Allows(DockerReference::Parse(asked), DockerReference::Parse(signed_as));
}

TEST(PolicyParse, RefusesWhatItDoesNotKnow) {
  for (const char* text : {
           "",
           "[]",
           "{}",
           R"({"default":[]})",
           R"({"default":{}})",
           R"({"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]})",
           R"({"default":[{"type":"reject"}],"comment":"x"})",
           R"({"Default":[{"type":"reject"}]})",
           R"({"default":[{"type":"reject","x":1}]})",
           R"({"default":[{"type":"accept"}]})",
           R"({"default":[{}]})",
           R"({"default":["reject"]})",
           R"({"default":[{"type":"reject"}],"transports":{"docker":{"a":[]}}})",
           R"({"default":[{"type":"reject"}],"transports":{"docker":[]}})",
           R"({"default":[{"type":"reject"}]} x)",
       }) {
    EXPECT_EQ(CaughtError([&] { Policy::Parse(text, "policy"); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST(PolicyParse, RefusesIncompleteOrAmbiguousSignedBy) {
  for (const char* members : {
           R"("keyPath":"/k")",
           R"("keyType":"GPGKeys")",
           R"("keyType":"GPGKeys","keyPath":"/k","keyData":"YQ==")",
           R"("keyType":"GPGKeys","keyPath":"/k","keyPaths":["/l"])",
           R"("keyType":"GPGKeys","keyPaths":[])",
           R"("keyType":"GPGKeys","keyData":"not base64")",
           R"("keyType":"GPGKeys","keyData":"")",
           R"("keyType":"gpgkeys","keyPath":"/k")",
           R"("keyType":"GPGKeys","keyPath":"/k","signedIdentity":{"type":"any"})",
           R"("keyType":"GPGKeys","keyPath":"/k","signedIdentity":null)",
       }) {
    const std::string text = std::string(R"({"default":[{"type":"signedBy",)") + members + "}]}";
    EXPECT_EQ(CaughtError([&] { Policy::Parse(text, "policy"); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST(PolicyParse, RefusesScopesThatAreNoPathsWhereOnlyPathsAreLookedUp) {
  for (const char* transport : {"oci", "oci-archive", "dir", "aci", "docker-archive"}) {
    for (const char* scope : {"images", "/", "/srv/", "/srv//x", "/srv/../x", "/srv/./x"}) {
      const std::string text = std::string("{\"") + transport + "\":{\"" + scope + R"(":[{"type":"reject"}]}})";
      EXPECT_EQ(CaughtError([&] { PolicyOf(text); }).kind(), ErrorKind::kCorrupt) << text;
    }
    PolicyOf(std::string("{\"") + transport + R"(":{"":[{"type":"reject"}]}})");
  }
  PolicyOf(R"({"oci":{"/srv/images":[{"type":"reject"}]},"containers-storage":{"what/ever":[{"type":"reject"}]}})");
}

TEST(PolicyParse, SaysWhereItStumbled) {
  const Error error = CaughtError([] { PolicyOf(R"({"docker":{"quay.io":[{"type":"reject"},{"type":"rejct"}]}})"); });
  EXPECT_THAT(error.message(), HasSubstr("/transports/docker/quay.io/1/type"));
}

TEST(PolicyParse, TakesEveryDocumentedRequirement) {
  const Policy policy = PolicyOf(R"({"docker":{"a.example":[
      {"type":"signedBy","keyType":"GPGKeys","keyPaths":["/a","/b"],"signedIdentity":{"type":"matchRepository"}},
      {"type":"signedBy","keyType":"signedByX509CAs","keyData":"YWJj"},
      {"type":"signedBaseLayer","baseLayerIdentity":{"type":"exactReference","dockerReference":"a/b:c"}},
      {"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r"},
      {"type":"insecureAcceptAnything"}]}})");
  const PolicyRule rule = policy.RuleFor(DockerReference::Parse("a.example/x"));
  ASSERT_EQ(rule.requirements.size(), 5U);
  EXPECT_THAT(rule.requirements[0].key_paths, ElementsAre("/a", "/b"));
  EXPECT_EQ(rule.requirements[0].identity.kind, IdentityRule::Kind::kMatchRepository);
  EXPECT_THAT(rule.requirements[1].key_datas, ElementsAre("abc"));
  EXPECT_EQ(rule.requirements[2].identity.reference, "docker.io/a/b:c");
  EXPECT_EQ(rule.requirements[3].Name(), "sigstoreSigned");
}

TEST(PolicyScopes, GoFromTheNameUpToWildcards) {
  EXPECT_THAT(ScopesOf(DockerReference::Parse("r.example.com:5000/a/b:v1")),
              ElementsAre("r.example.com:5000/a/b:v1", "r.example.com:5000/a/b", "r.example.com:5000/a",
                          "r.example.com:5000", "*.example.com", "*.com"));
  EXPECT_THAT(ScopesOf(DockerReference::Parse("busybox")),
              ElementsAre("docker.io/library/busybox:latest", "docker.io/library/busybox", "docker.io/library",
                          "docker.io", "*.io"));
}

TEST(PolicyScopes, LookUpATagWithADigestByTheDigest) {
  const std::string digest = Digest::Of("x").str();
  EXPECT_EQ(ScopesOf(DockerReference::Parse("a.example/b:v1@" + digest))[0], "a.example/b@" + digest);
}

TEST(PolicyScopes, MostSpecificDecidesAlone) {
  const Policy policy = PolicyOf(R"({"docker":{
      "":[{"type":"insecureAcceptAnything"}],
      "*.example":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/wild"}],
      "a.example/foo":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/foo"}],
      "a.example/foo:v1":[{"type":"reject"}]}})");
  const auto scope = [&](const char* name) { return policy.RuleFor(DockerReference::Parse(name)).scope; };
  EXPECT_EQ(scope("a.example/foo:v1"), "docker: a.example/foo:v1");
  EXPECT_EQ(scope("a.example/foo"), "docker: a.example/foo");
  EXPECT_EQ(scope("a.example/foo/bar"), "docker: a.example/foo");
  EXPECT_EQ(scope("a.example/foobar"), "docker: *.example");
  EXPECT_EQ(scope("other.test/x"), "docker: any");
  EXPECT_EQ(PolicyOf("{}").RuleFor(DockerReference::Parse("other.test/x")).scope, "default");
}

TEST(PolicyScopes, FilesAreLookedUpByPathAndParents) {
  const Policy policy = PolicyOf(R"({"oci":{"/srv/images":[{"type":"insecureAcceptAnything"}]}})");
  EXPECT_EQ(policy.RuleFor("oci", "/srv/images/a").scope, "oci: /srv/images");
  EXPECT_EQ(policy.RuleFor("oci", "/srv/imagesX").scope, "default");
  EXPECT_EQ(policy.RuleFor("dir", "/srv/images").scope, "default");
}

TEST(PolicyIdentity, DefaultTakesExactTagOrAnyTagOfADigest) {
  const std::string rule = R"({"type":"matchRepoDigestOrExact"})";
  const std::string digest = Digest::Of("x").str();
  EXPECT_TRUE(Allows(rule, "h.example/a:v1", "h.example/a:v1"));
  EXPECT_FALSE(Allows(rule, "h.example/a:v2", "h.example/a:v1"));
  EXPECT_FALSE(Allows(rule, "h.example/a:v1", "h.example/a"));
  EXPECT_FALSE(Allows(rule, "h.example/ab:v1", "h.example/a:v1"));
  EXPECT_TRUE(Allows(rule, "h.example/a@" + digest, "h.example/a:v1"));
  EXPECT_FALSE(Allows(rule, "h.example/a@" + digest, "h.example/a"));
  EXPECT_FALSE(Allows(rule, "h.example/b@" + digest, "h.example/a:v1"));
  EXPECT_TRUE(Allows(rule, "busybox", "docker.io/library/busybox:latest"));
}

TEST(PolicyIdentity, EveryOtherRule) {
  const std::string digest = Digest::Of("x").str();
  EXPECT_TRUE(Allows(R"({"type":"matchExact"})", "a.example/a:1", "a.example/a:1"));
  EXPECT_FALSE(Allows(R"({"type":"matchExact"})", "a.example/a@" + digest, "a.example/a:1"));
  EXPECT_TRUE(Allows(R"({"type":"matchRepository"})", "a.example/a:1", "a.example/a:2"));
  EXPECT_TRUE(Allows(R"({"type":"matchRepository"})", "a.example/a:1", "a.example/a"));
  EXPECT_FALSE(Allows(R"({"type":"matchRepository"})", "a.example/a:1", "a.example/b:1"));
  const std::string exact = R"({"type":"exactReference","dockerReference":"up.example/x:9"})";
  EXPECT_TRUE(Allows(exact, "mirror.example/y:1", "up.example/x:9"));
  EXPECT_FALSE(Allows(exact, "up.example/x:8", "up.example/x:8"));
  const std::string repository = R"({"type":"exactRepository","dockerRepository":"up.example/x"})";
  EXPECT_TRUE(Allows(repository, "mirror.example/y:1", "up.example/x:3"));
  EXPECT_FALSE(Allows(repository, "mirror.example/y:1", "up.example/xx:3"));
  EXPECT_TRUE(RuleOf(repository).Allows(std::nullopt, DockerReference::Parse("up.example/x:3")));
  EXPECT_FALSE(RuleOf(R"({"type":"matchRepository"})").Allows(std::nullopt, DockerReference::Parse("up.example/x:3")));
}

TEST(PolicyIdentity, RemapsAtComponentBoundaries) {
  const std::string rule = R"({"type":"remapIdentity","prefix":"mirror.example/q","signedPrefix":"quay.io"})";
  EXPECT_TRUE(Allows(rule, "mirror.example/q/org/app:1", "quay.io/org/app:1"));
  EXPECT_FALSE(Allows(rule, "mirror.example/q/org/app:1", "mirror.example/q/org/app:1"));
  EXPECT_FALSE(Allows(rule, "mirror.example/qq/app:1", "quay.io/q/app:1"));
  EXPECT_TRUE(Allows(rule, "mirror.example/qq/app:1", "mirror.example/qq/app:1"));
  for (const char* bad : {"Mirror.example/Q", "mirror.example/q:v1", "mirror.example/q/", ""}) {
    const std::string text = std::string(R"({"type":"remapIdentity","prefix":")") + bad + R"(","signedPrefix":"q.io"})";
    EXPECT_EQ(CaughtError([&] { RuleOf(text); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST(PolicyIdentity, ExactReferenceNeedsATag) {
  EXPECT_EQ(CaughtError([] { RuleOf(R"({"type":"exactReference","dockerReference":"a.example/b"})"); }).kind(),
            ErrorKind::kCorrupt);
}

// The order of places, without touching /etc.
class PolicyPlaces : public ::testing::Test {
 protected:
  PolicyPlaces() {
    setenv("XDG_CONFIG_HOME", dir_.path().c_str(), 1);
    unsetenv("GANTRY_POLICY");
  }
  ~PolicyPlaces() override {
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("GANTRY_POLICY");
  }
  std::string Put(const std::string& where, const std::string& type) {
    const size_t slash = where.find('/');
    dir_.dir()
        .MakeDirs(RelPath::Parse(where.substr(0, slash)))
        .WriteFileAtomically(RelPath::Parse(where.substr(slash + 1)), R"({"default":[{"type":")" + type + R"("}]})");
    return dir_.path() + "/" + where;
  }
  testing::TempDir dir_;
};

TEST_F(PolicyPlaces, GantrysOwnComesBeforeTheSharedOne) {
  const std::string shared = Put("containers/policy.json", "insecureAcceptAnything");
  EXPECT_EQ(Policy::Load(std::nullopt).source(), shared);
  const std::string own = Put("gantry/policy.json", "reject");
  EXPECT_EQ(Policy::Load(std::nullopt).source(), own);
  setenv("GANTRY_POLICY", shared.c_str(), 1);
  EXPECT_EQ(Policy::Load(std::nullopt).source(), shared);
  EXPECT_FALSE(Policy::Load(std::nullopt).named());
  EXPECT_EQ(Policy::Load(own).source(), own);
  EXPECT_TRUE(Policy::Load(own).named());
}

TEST_F(PolicyPlaces, ANamedFileMustExist) {
  EXPECT_EQ(CaughtError([] { Policy::Load("/nonexistent/policy.json"); }).kind(), ErrorKind::kNotFound);
  setenv("GANTRY_POLICY", "/nonexistent/policy.json", 1);
  EXPECT_EQ(CaughtError([] { Policy::Load(std::nullopt); }).kind(), ErrorKind::kNotFound);
}

TEST_F(PolicyPlaces, WithoutAnyEverythingIsRejectedAlsoWhereTheDistributionAcceptsEverything) {
  if (access("/etc/gantry/policy.json", F_OK) == 0) {
    GTEST_SKIP() << "this machine has an /etc/gantry/policy.json";
  }
  const std::string shared = "/etc/containers/policy.json";
  const bool present = access(shared.c_str(), F_OK) == 0;
  if (present && !Policy::Load(shared).RequiresNothing()) {
    GTEST_SKIP() << "this machine has a policy in " << shared;
  }
  const Policy policy = Policy::Load(std::nullopt);
  EXPECT_EQ(policy.source(), "built-in policy");
  EXPECT_EQ(policy.DefaultRule().requirements.at(0).type, Requirement::Type::kReject);
  EXPECT_EQ(policy.passed_over().empty(), !present);
  if (present) {  // named, it is taken as it is
    EXPECT_EQ(Policy::Load(shared).DefaultRule().requirements.at(0).type, Requirement::Type::kInsecureAcceptAnything);
  }
}

TEST(PolicyTest, AnyRuleCanAskForIdentities) {
  const auto asks = [](const std::string& type) {
    return Policy::Parse(R"({"default":[{"type":"reject"}],"transports":{"docker":{"a.example":[{"type":"reject"},
        {"type":")" + type + R"(","keyPath":"/key.pub"}]}}})",
                         "x")
        .WantsIdentities();
  };
  EXPECT_TRUE(asks("identitySigned"));
  EXPECT_FALSE(asks("sigstoreSigned"));
}

TEST(PolicyTest, ARequirementWithinAnotherAsksForIdentities) {
  for (const std::string group : {R"("anyOf","requirements":[)", R"("threshold","count":1,"requirements":[)"}) {
    EXPECT_TRUE(Policy::Parse(R"({"default":[{"type":)" + group + R"({"type":"signedBy","keyType":"GPGKeys",
        "keyPath":"/a.gpg"},{"type":"identitySigned","keyPath":"/key.pub"}]}]})",
                              "x")
                    .WantsIdentities());
  }
}

TEST(PolicyDefault, WhatADistributionShipsRequiresNothing) {
  EXPECT_TRUE(Policy::Parse(R"({"default":[{"type":"insecureAcceptAnything"}],
      "transports":{"docker-daemon":{"":[{"type":"insecureAcceptAnything"}]}}})",
                            "x")
                  .RequiresNothing());
  EXPECT_FALSE(Policy::Parse(R"({"default":[{"type":"insecureAcceptAnything"}],
      "transports":{"docker":{"a.example":[{"type":"reject"}]}}})",
                             "x")
                   .RequiresNothing());
}

}  // namespace
}  // namespace gantry::sign
