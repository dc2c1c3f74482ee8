#include "libimage/model/reference.h"

#include <gtest/gtest.h>

#include <random>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

const std::string kHex(64, 'f');
const std::string kSha256 = "sha256:" + kHex;
const std::string kSha512 = "sha512:" + kHex + kHex;

std::string Hint(std::string_view text) {
  const Error error = CaughtError([&] { Reference::Parse(text); });
  EXPECT_EQ(error.kind(), ErrorKind::kUsage) << text;
  EXPECT_EQ(error.message(), "invalid image name " + Quoted(text));
  return error.hint();
}

std::string Docker(std::string_view text) { return DockerReference::Parse(text).ToString(); }

// --- docker://

TEST(DockerReferenceTest, NormalisesByTheRulesOfDocker) {
  static const std::pair<std::string, std::string> kCases[] = {
      {"alpine", "docker.io/library/alpine"},
      {"alpine:3.20", "docker.io/library/alpine:3.20"},
      {"user/app", "docker.io/user/app"},
      {"docker.io/alpine", "docker.io/library/alpine"},
      {"docker.io/user/app", "docker.io/user/app"},
      {"index.docker.io/library/alpine", "docker.io/library/alpine"},
      {"localhost/app", "localhost/app"},
      {"localhost:5000/app", "localhost:5000/app"},
      {"localhost:5000", "docker.io/library/localhost:5000"},
      {"host/app", "docker.io/host/app"},
      {"host:80/app", "host:80/app"},
      {"quay.io/app", "quay.io/app"},
      {"Quay.IO/app", "quay.io/app"},
      {"192.168.1.1", "docker.io/library/192.168.1.1"},
      {"192.168.1.1:5000", "docker.io/library/192.168.1.1:5000"},
      {"192.168.1.1/repo", "192.168.1.1/repo"},
      {"test_com", "docker.io/library/test_com"},
      {"foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"},
      {"foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"},
      {"lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"},
      {"sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com/bar/baz/quux:some-long-tag"},
      {"b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io/test.example.com/my-app:test.example.com"},
      {"xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"},
      {"[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag"},
      {"[::1]/repo", "[::1]/repo"},
      {"[2001:DB8:1:2:3:4:5:6]/repo", "[2001:db8:1:2:3:4:5:6]/repo"},
      {"a__b/c--d/e.f", "docker.io/a__b/c--d/e.f"},
      {"a-----b", "docker.io/library/a-----b"},
      {"repo:_tag", "docker.io/library/repo:_tag"},
      {"repo@" + kSha256, "docker.io/library/repo@" + kSha256},
      {"h.io/repo:tag@" + kSha512, "h.io/repo:tag@" + kSha512},
  };
  for (const auto& [text, normal] : kCases) {
    EXPECT_EQ(Docker(text), normal);
    EXPECT_EQ(Docker(normal), normal) << "the normal form is its own";
  }
}

TEST(DockerReferenceTest, KeepsTagAndDigestApart) {
  const auto reference = DockerReference::Parse("[::1]:5000/a/b:tag@" + kSha256);
  EXPECT_EQ(reference.host, "[::1]:5000");
  EXPECT_EQ(reference.path, "a/b");
  EXPECT_EQ(reference.tag, "tag");
  EXPECT_EQ(reference.digest->str(), kSha256);
  EXPECT_EQ(reference.Repository(), "[::1]:5000/a/b");
}

TEST(DockerReferenceTest, DefaultsToLatestWithoutTagAndDigest) {
  EXPECT_EQ(DockerReference::Parse("a").WithDefaultTag().tag, "latest");
  EXPECT_EQ(DockerReference::Parse("a:1").WithDefaultTag().tag, "1");
  EXPECT_EQ(DockerReference::Parse("a@" + kSha256).WithDefaultTag().tag, "");
}

TEST(DockerReferenceTest, PointsAtTheCharacter) {
  static const std::pair<std::string, std::string> kCases[] = {
      {"docker://", "at character 10: the name is missing"},
      {"docker://:tag", "at character 10: the name is missing"},
      {"docker://@" + kSha256, "at character 10: the name is missing"},
      {"docker://Uppercase:tag", "at character 10: a repository path is in lower case"},
      {"docker://h:1/a/Bc", "at character 16: a repository path is in lower case"},
      {"docker://aa/asdf$$^/aa", "at character 17: '$' cannot be in a repository path"},
      {"docker://a b", "at character 11: ' ' cannot be in a repository path"},
      {"docker://aé", "at character 11: 'é' cannot be in a repository path"},
      {"docker://éa@x", "at character 13: a digest is sha256:"},
      {"docker://a//b", "at character 12: a part of the path is empty"},
      {"docker:///b", "at character 10: a part of the path is empty"},
      {"docker://a/", "at character 12: a repository path ends too early"},
      {"docker://a-", "at character 12: a repository path ends too early"},
      {"docker://-a", "at character 10: a separator must stand between"},
      {"docker://a___b", "at character 13: a separator must stand between"},
      {"docker://a._b", "at character 12: a separator must stand between"},
      {"docker://a:", "at character 12: the tag is missing"},
      {"docker://a:b:c", "at character 13: ':' cannot be in a tag"},
      {"docker://a:.b", "at character 12: '.' cannot be in the first place of a tag"},
      {"docker://a:b c", "at character 13: ' ' cannot be in a tag"},
      {"docker://a:" + std::string(129, 't'), "at character 140: a tag has at most 128"},
      {"docker://h:/a", "at character 12: the port is missing"},
      {"docker://h:http/a", "at character 12: 'h' cannot be in a port"},
      {"docker://h:0/a", "at character 12: a port is a number"},
      {"docker://h:65536/a", "at character 12: a port is a number"},
      {"docker://h:99999999999999999999/a", "at character 12: a port is a number"},
      {"docker://h..io/a", "at character 12: '.' cannot be in a host name"},
      {"docker://.io/a", "at character 10: '.' cannot be in a host name"},
      {"docker://-h.io/a", "at character 10: '-' cannot be in a host name"},
      {"docker://h-.io/a", "at character 12: '.' cannot be in a host name"},
      {"docker://h.io./a", "at character 15: a host name ends too early"},
      {"docker://foo_bar.com/a", "at character 13: '_' cannot be in a host name"},
      {"docker://[::1]", "at character 15: a host must be followed by '/'"},
      {"docker://[::1/a", "at character 14: the ']' of an IPv6 address is missing"},
      {"docker://[fe80::1%eth0]:5000/repo", "at character 11: not an IPv6 address"},
      {"docker://[]/a", "at character 11: not an IPv6 address"},
      {"docker://[::1]x/a", "at character 15: 'x' cannot be in a host"},
      {"docker://a@", "at character 12: a digest is sha256:"},
      {"docker://a@md5:00", "at character 12: a digest is sha256:"},
      {"docker://a@sha256:" + std::string(34, 'f'), "at character 53: sha256 has 64 digits, here are 34"},
      {"docker://a@sha256:" + std::string(65, 'f'), "at character 83: sha256 has 64 digits, here are 65"},
      {"docker://a@sha256:" + std::string(64, 'F'), "at character 19: 'F' cannot be in a digest"},
      {"docker://a@" + kSha256 + ":tag", "at character 83: ':' cannot be in a digest"},
      {"docker://" + kHex, "at character 10: 64 hexadecimal digits are an image ID"},
  };
  for (const auto& [text, hint] : kCases) EXPECT_EQ(Hint(text).substr(0, hint.size()), hint) << text;
}

TEST(DockerReferenceTest, BoundsTheName) {
  const std::string host = "a.io/";
  EXPECT_EQ(DockerReference::Parse(host + std::string(250, 'x')).Repository().size(), 255u);
  EXPECT_NE(Hint("docker://" + host + std::string(251, 'x')).find("at most 255"), std::string::npos);
  EXPECT_NO_THROW(DockerReference::Parse("a:" + std::string(128, 't')));
}

TEST(DockerReferenceTest, IsNotAnIdWhenMoreIsWritten) {
  EXPECT_EQ(Docker(kHex + ":t"), "docker.io/library/" + kHex + ":t");
  EXPECT_EQ(Docker("user/" + kHex), "docker.io/user/" + kHex);
}

// --- Files

TEST(ReferenceTest, SplitsFilesAtTheFirstColon) {
  using Format = FileReference::Format;
  static const std::pair<std::string, FileReference> kCases[] = {
      {"oci:dir", {Format::kOci, "dir", ""}},
      {"oci:/a/b c:v1", {Format::kOci, "/a/b c", "v1"}},
      {"oci:dir:docker.io/library/alpine:3", {Format::kOci, "dir", "docker.io/library/alpine:3"}},
      {"oci-archive:./x.tar:latest", {Format::kOciArchive, "./x.tar", "latest"}},
      {"docker-archive:x.tar", {Format::kDockerArchive, "x.tar", ""}},
      {"docker-archive:x.tar:host:80/a:t", {Format::kDockerArchive, "x.tar", "host:80/a:t"}},
      {"docker-archive:x.tar:@12", {Format::kDockerArchive, "x.tar", "@12"}},
      {"aci:a:b.aci", {Format::kAci, "a:b.aci", ""}},
      {"aci:\xff", {Format::kAci, "\xff", ""}},
  };
  for (const auto& [text, file] : kCases) {
    const Reference reference = Reference::Parse(text);
    ASSERT_NE(reference.file(), nullptr) << text;
    EXPECT_EQ(*reference.file(), file) << text;
    EXPECT_EQ(reference.ToString(), text);
  }
}

TEST(ReferenceTest, PointsAtTheCharacterOfAFile) {
  EXPECT_EQ(Hint("oci:"), "at character 5: the path is missing");
  EXPECT_EQ(Hint("oci::tag"), "at character 5: the path is missing");
  EXPECT_EQ(Hint("aci:"), "at character 5: the path is missing");
  EXPECT_EQ(Hint("oci:dir:"), "at character 9: the name of an image is missing after ':'");
  EXPECT_EQ(Hint("oci:dir:a b"), "at character 10: ' ' cannot be in the name of an image");
  EXPECT_EQ(Hint("oci:" + std::string(4097, 'a')), "at character 4101: the path is too long");
  EXPECT_EQ(Hint("docker-archive:f:@x"), "at character 19: 'x' cannot be in the number of an image in an archive");
  EXPECT_EQ(Hint("docker-archive:f:@"), "at character 19: expected the number of an image in the archive, from 0");
  EXPECT_EQ(Hint("docker-archive:f:Alpine"), "at character 18: a repository path is in lower case");
  EXPECT_NE(Hint("docker-archive:f:a@" + kSha256).find("at character 19: an archive of docker save"),
            std::string::npos);
  EXPECT_EQ(Hint(std::string_view("oci:a\0b", 7)), "at character 6: '\\x00' cannot be in a name");
}

// --- appc:

TEST(ReferenceTest, ReadsAppcNamesAndLabels) {
  const Reference reference = Reference::Parse("appc:example.com/a~b/worker:v1.0,os=linux,arch=amd64,x/y=a=b c");
  ASSERT_NE(reference.appc(), nullptr);
  EXPECT_EQ(reference.appc()->name, "example.com/a~b/worker");
  const std::vector<std::pair<std::string, std::string>> labels = {
      {"version", "v1.0"}, {"os", "linux"}, {"arch", "amd64"}, {"x/y", "a=b c"}};
  EXPECT_EQ(reference.appc()->labels, labels);
  EXPECT_EQ(reference.ToString(), "appc:example.com/a~b/worker:v1.0,os=linux,arch=amd64,x/y=a=b c");
}

TEST(ReferenceTest, AVersionLabelIsAVersion) {
  EXPECT_EQ(Reference::Parse("appc:a,version=2"), Reference::Parse("appc:a:2"));
  EXPECT_EQ(Reference::Parse("appc:a,os=linux,version=2").ToString(), "appc:a,os=linux,version=2");
}

TEST(ReferenceTest, PointsAtTheCharacterOfAnAppcName) {
  EXPECT_EQ(Hint("appc:"), "at character 6: the name of an App Container image is missing");
  EXPECT_NE(Hint("appc:A").find("at character 6: 'A' cannot be in the name of an App Container"), std::string::npos);
  EXPECT_NE(Hint("appc:a/-b").find("at character 8: '-' cannot be in"), std::string::npos);
  EXPECT_NE(Hint("appc:a/../b").find("at character 8: '.' cannot be in"), std::string::npos);
  EXPECT_NE(Hint("appc:a./b").find("at character 8: '/' cannot be in"), std::string::npos);
  EXPECT_EQ(Hint("appc:a/"), "at character 8: the name of an App Container image ends with a separator");
  EXPECT_EQ(Hint("appc:a:"), "at character 8: the version is missing");
  EXPECT_EQ(Hint("appc:a,"), "at character 8: a label is written NAME=VALUE");
  EXPECT_EQ(Hint("appc:a,os"), "at character 10: a label is written NAME=VALUE");
  EXPECT_EQ(Hint("appc:a,=x"), "at character 8: the name of a label is missing");
  EXPECT_EQ(Hint("appc:a,os="), "at character 11: the value of label 'os' is missing");
  EXPECT_EQ(Hint("appc:a,os=x,os=y"), "at character 13: label 'os' is given twice");
  EXPECT_EQ(Hint("appc:a:1,version=2"), "at character 10: label 'version' is given twice");
  EXPECT_EQ(Hint("appc:a,name=x"), "at character 8: a label cannot be called 'name'");
  EXPECT_EQ(Hint("appc:a,os=x\ny"), "at character 12: '\\x0a' cannot be in the value of a label");
}

// --- The store

TEST(ReferenceTest, BareNamesAreOfTheStore) {
  for (const std::string& text : {std::string("alpine"), std::string("quay.io/a/b:c"), std::string("docker:24-dind"),
                                  kSha256, kSha512, kHex, std::string("0123456789ab"), "alpine:3@" + kSha256}) {
    const Reference bare = Reference::Parse(text);
    ASSERT_NE(bare.store(), nullptr) << text;
    EXPECT_EQ(*bare.store(), (StoreReference{text, false}));
    EXPECT_EQ(bare.ToString(), text);
    const Reference marked = Reference::Parse("store:" + text);
    EXPECT_EQ(*marked.store(), (StoreReference{text, true}));
    EXPECT_EQ(marked.ToString(), "store:" + text);
  }
}

TEST(ReferenceTest, PointsAtTheCharacterOfAStoreName) {
  EXPECT_EQ(Hint(""), "at character 1: the name is missing");
  EXPECT_EQ(Hint("store:"), "at character 7: the name is missing");
  EXPECT_EQ(Hint("store:Alpine"), "at character 7: a repository path is in lower case");
  EXPECT_NE(Hint("sha256:abc").find("at character 11: a digest has 64"), std::string::npos);
  EXPECT_EQ(Hint(std::string(9000, 'a')), "at character 8193: the name is too long");
}

TEST(ReferenceTest, SaysThatATransportIsUnknown) {
  for (const char* text : {"https://example.com/a", "dir:/tmp/x", "docker-daemon:alpine", "containers-storage:a"}) {
    EXPECT_NE(Hint(text).find("is no transport of gantry; known are docker://"), std::string::npos) << text;
  }
  for (const char* text : {"/tmp/x.tar", "./x", "../x", "~/x"})
    EXPECT_NE(Hint(text).find("at character 1: a path needs the format"), std::string::npos) << text;
}

// --- Properties

std::string Pick(std::mt19937& random, std::initializer_list<std::string> choices) {
  return std::data(choices)[random() % choices.size()];
}

// A reference out of pieces that are all good, or nearly so.
std::string RandomReference(std::mt19937& random) {
  const std::string start = Pick(
      random, {"docker://", "oci:", "oci-archive:", "docker-archive:", "aci:", "appc:", "store:", "", "", "docker:"});
  std::string out = start + Pick(random, {"", "h.io/", "localhost:5000/", "[::1]:80/", "h:99999/", "Xx.io/"});
  for (size_t parts = 1 + random() % 3; parts > 0; --parts) {
    out += Pick(random, {"a", "a-b", "lib__x", "9.9", "é", "ff", "A", "docker.io", "library"});
    out += parts > 1 ? Pick(random, {"/", "/", ".", ":", "~"}) : "";
  }
  out += Pick(random, {"", "", ":tag", ":1.0-x_Y", ":", ",os=linux,arch=arm", ",version=1,a=b:c", ":@3"});
  out += Pick(random, {"", "", "", "@" + kSha256, "@" + kSha512, "@sha256:00"});
  return out;
}

TEST(ReferenceTest, WhatParsesPrintsToWhatParsesToTheSame) {
  std::mt19937 random(20240501);
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = RandomReference(random);
    std::optional<Reference> reference;
    try {
      reference = Reference::Parse(text);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kUsage);
      ASSERT_TRUE(error.hint().starts_with("at character ")) << text;
      continue;
    }
    ++parsed;
    const std::string printed = reference->ToString();
    ASSERT_EQ(Reference::Parse(printed), *reference) << text << " -> " << printed;
    ASSERT_EQ(Reference::Parse(printed).ToString(), printed);
  }
  EXPECT_GT(parsed, 4000);
}

TEST(ReferenceTest, EveryByteAtEveryPlaceIsReadOrRefused) {
  for (const std::string& seed : {std::string("docker://h.io:80/a/b:t@sha256:00"), std::string("appc:a.b/c:1,os=x"),
                                  std::string("docker-archive:f:a:b"), std::string("[::1]:80/a:b")}) {
    for (size_t at = 0; at < seed.size(); ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text = seed;
        text[at] = static_cast<char>(byte);
        try {
          const Reference reference = Reference::Parse(text);
          ASSERT_EQ(Reference::Parse(reference.ToString()), reference) << text;
        } catch (const Error& error) {
          ASSERT_EQ(error.kind(), ErrorKind::kUsage) << text;
        }
      }
    }
  }
}

}  // namespace
}  // namespace gantry::image
