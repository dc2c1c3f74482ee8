#include "libsign/trusted_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/ascii.h"
#include "libimage/base/fd.h"
#include "libsign/policy.h"
#include "tests/support/gpg_home.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SharedKey;
using testing::TempDir;

// A name for a key: of that digit, 40 times.
std::string Key(char digit) { return std::string(40, digit); }

class TrustedKeysTest : public ::testing::Test {
 protected:
  // In the directories "system" and "local", which counts last.
  void Put(const std::string& path, std::string_view content = "key") const {
    const RelPath file = RelPath::Parse(path);
    dir_.dir().MakeDirs(*file.Parent()).WriteFileAtomically(RelPath::Parse(file.Name()), content);
  }
  std::vector<std::string> Directories() const { return {dir_.path() + "/system", dir_.path() + "/local"}; }
  TrustedKeys Read() const { return TrustedKeys::Read(Directories()); }
  // The first digits of the keys for a name.
  std::string For(const std::string& name) const {
    std::string digits;
    for (const TrustedKey& key : Read().For(name)) {
      digits += key.fingerprint[0];
    }
    return digits;
  }

  TempDir dir_;
};

TEST_F(TrustedKeysTest, NothingIsThereForNobody) {
  EXPECT_EQ(For("example.com/foo"), "");
  EXPECT_FALSE(Read().PrefixOf("example.com/foo"));
}

TEST_F(TrustedKeysTest, RootKeysAreForAllAndPrefixesForWhatIsBelow) {
  Put("system/root.d/" + Key('1'));
  Put("local/prefix.d/example.com/" + Key('2'));
  Put("system/prefix.d/example.com/foo/" + Key('3'));
  EXPECT_EQ(For("other.org/x"), "1");
  EXPECT_EQ(For("example.com"), "12");
  EXPECT_EQ(For("example.com/bar"), "12");
  EXPECT_EQ(For("example.com/foo"), "132");
  EXPECT_EQ(For("example.com/foo/bar"), "132");
  EXPECT_EQ(Read().PrefixOf("example.com/foo/bar"), "example.com/foo");
  EXPECT_EQ(Read().PrefixOf("other.org/x"), "");
}

// rkt compares strings, and so takes a key of example.com/foo for example.com/foobar.
TEST_F(TrustedKeysTest, AKeyOfFooIsNoKeyOfFoobar) {
  Put("local/prefix.d/example.com/foo/" + Key('1'));
  for (const char* name : {"example.com/foobar", "example.com/fo", "example.com", "example.com/foo.bar",
                           "example.com/foo-bar", "www.example.com/foo", "foo"}) {
    EXPECT_EQ(For(name), "") << name;
    EXPECT_FALSE(Read().PrefixOf(name)) << name;
  }
}

TEST_F(TrustedKeysTest, AnEmptyFileHidesAKeyOfTheSystem) {
  Put("system/prefix.d/example.com/" + Key('1'));
  Put("system/prefix.d/example.com/" + Key('2'));
  EXPECT_EQ(For("example.com/x"), "12");
  Put("local/prefix.d/example.com/" + Key('1'), "");
  EXPECT_EQ(For("example.com/x"), "2");
  Put("local/prefix.d/example.com/" + Key('2'), "");
  EXPECT_FALSE(Read().PrefixOf("example.com/x"));
}

TEST_F(TrustedKeysTest, AnEmptyFileHidesWhatCameBeforeIt) {
  Put("system/root.d/" + Key('1'));
  Put("local/root.d/" + Key('1'), "");
  EXPECT_EQ(For("example.com"), "");
  // A prefix comes behind, and may trust it again; below another one it stays hidden.
  Put("system/prefix.d/example.com/" + Key('1'));
  EXPECT_EQ(For("example.com/x"), "1");
  EXPECT_EQ(For("example.org/x"), "");
  Put("local/prefix.d/example.com/inner/" + Key('1'), "");
  EXPECT_EQ(For("example.com/inner/x"), "");
  EXPECT_EQ(For("example.com/innermost"), "1");
}

// A removal that is not understood would leave a key trusted.
TEST_F(TrustedKeysTest, RefusesWhatIsNotNamedByAFingerprint) {
  for (const std::string& name :
       {std::string("root.d/key.asc"), "root.d/" + std::string(40, 'A'), "root.d/" + std::string(39, 'a'),
        "prefix.d/" + Key('1'), "prefix.d/Example.com/" + Key('1'), "root.d/example.com/" + Key('1')}) {
    const TempDir dir;
    const RelPath file = RelPath::Parse(name);
    dir.dir().MakeDirs(*file.Parent()).WriteFileAtomically(RelPath::Parse(file.Name()), "");
    const Error error = CaughtError([&] { TrustedKeys::Read({dir.path()}); });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << name;
    EXPECT_THAT(error.message(), HasSubstr(dir.path()));
  }
}

TEST_F(TrustedKeysTest, RefusesPrefixesThatAreNoNames) {
  EXPECT_EQ(ParseKeyPrefix("example.com/foo"), "example.com/foo");
  EXPECT_EQ(ParseKeyPrefix(""), "");
  for (const char* bad : {"https://example.com", "example.com/*", "Example.com", "example.com/", "/etc", "a/../b", "..",
                          "example.com:v1", "a//b"}) {
    EXPECT_EQ(CaughtError([&] { ParseKeyPrefix(bad); }).kind(), ErrorKind::kUsage) << bad;
  }
}

TEST_F(TrustedKeysTest, AddsAnArmoredFileThatRktAndGpgRead) {
  const SharedKey& key = SharedKey::Get();
  const std::string fingerprint = LowerAscii(key.fingerprint);
  const std::string local = Directories()[1];
  const KeyChange change = AddTrustedKey(local, "example.com/foo", fingerprint, key.public_key);
  EXPECT_TRUE(change.changed);
  EXPECT_EQ(change.file, local + "/prefix.d/example.com/foo/" + fingerprint);
  EXPECT_THAT(ReadFile(change.file, 65536), ::testing::StartsWith("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"));
  EXPECT_THAT(key.home.Run({"--show-keys", "--with-colons", change.file}), HasSubstr(key.fingerprint));
  EXPECT_FALSE(AddTrustedKey(local, "example.com/foo", fingerprint, key.public_key).changed);
  EXPECT_EQ(AddTrustedKey(local, "", fingerprint, key.public_key).file, local + "/root.d/" + fingerprint);
}

TEST_F(TrustedKeysTest, RemovesItsOwnFileAndHidesThoseOfOthers) {
  const auto remove = [&](const std::string& prefix, char digit) {
    return RemoveTrustedKey(Directories(), Directories()[1], prefix, Key(digit));
  };
  Put("local/prefix.d/example.com/" + Key('1'));
  EXPECT_FALSE(remove("example.com", '1').masks);
  EXPECT_THAT(Read().files(), IsEmpty());
  EXPECT_EQ(CaughtError([&] { remove("example.com", '1'); }).kind(), ErrorKind::kNotFound);

  Put("system/prefix.d/example.com/" + Key('2'));
  EXPECT_TRUE(remove("example.com", '2').masks);
  EXPECT_EQ(For("example.com/x"), "");
  Put("system/root.d/" + Key('3'));
  EXPECT_TRUE(remove("example.com", '3').masks);  // for this name only
  EXPECT_EQ(For("example.com/x"), "");
  EXPECT_EQ(For("example.org/x"), "3");
  EXPECT_TRUE(remove("", '3').masks);
  EXPECT_EQ(For("example.org/x"), "");
}

TEST_F(TrustedKeysTest, ComesBesideAPolicyThatIsNamed) {
  EXPECT_THAT(TrustedKeyDirectories("/srv/trust/policy.json"), ElementsAre("/srv/trust/trustedkeys"));
  EXPECT_THAT(TrustedKeyDirectories("policy.json"), ElementsAre("trustedkeys"));
  EXPECT_THAT(TrustedKeyDirectories(std::nullopt),
              ::testing::IsSupersetOf({"/usr/lib/rkt/trustedkeys", "/etc/rkt/trustedkeys", "/etc/gantry/trustedkeys"}));
}

TEST_F(TrustedKeysTest, DecidesBetweenTheScopesOfPathsAndTheDefault) {
  Put("trustedkeys/prefix.d/example.com/" + Key('1'));
  dir_.dir().WriteFileAtomically(RelPath::Parse("policy.json"), R"({"default":[{"type":"reject"}],"transports":{
      "aci":{"/srv/open":[{"type":"insecureAcceptAnything"}],"":[{"type":"reject"}]}}})");
  const Policy policy = Policy::Load(dir_.path() + "/policy.json");
  const auto scope = [&](const std::string& path, const std::string& name) {
    return policy.RuleFor("aci", path, name).scope;
  };
  EXPECT_EQ(scope("/home/x.aci", "example.com/app"), "appc: example.com");
  EXPECT_EQ(scope("/srv/open/x.aci", "example.com/app"), "aci: /srv/open");
  EXPECT_EQ(scope("/home/x.aci", "example.org/app"), "aci: any");
  EXPECT_EQ(policy.RuleFor("oci", "/home/x").scope, "default");
  EXPECT_THAT(policy.KeyPaths(), ElementsAre(dir_.path() + "/trustedkeys/prefix.d/example.com/" + Key('1')));
}

}  // namespace
}  // namespace gantry::sign
