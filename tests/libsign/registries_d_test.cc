#include "libsign/registries_d.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/fd.h"
#include "libimage/base/workers.h"
#include "libsign/evidence.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::TempDir;
using ::testing::UnorderedElementsAreArray;

const Digest kManifest = Digest::Of("manifest");

std::string LookasideOf(const RegistriesD& registries, const std::string& name) {
  return registries.LookasideFor(DockerReference::Parse(name)).at(0);
}
std::string StagingOf(const RegistriesD& registries, const std::string& name) {
  return registries.StagingFor(DockerReference::Parse(name)).value();
}

TEST(RegistriesD, MostSpecificScopeWinsKeyByKey) {
  const RegistriesD registries = RegistriesD::Parse(
      "docker:\n"
      "  a.example:\n    lookaside: https://a/\n    lookaside-staging: file:///staging\n"
      "  a.example/foo:\n    lookaside: https://foo\n"
      "  a.example/bar:\n    use-sigstore-attachments: true\n"
      "  '*.wild.example':\n    sigstore: https://wild\n    sigstore-staging: file:///wild\n"
      "default-docker:\n  lookaside: https://all\n",
      "x.yaml");
  EXPECT_EQ(LookasideOf(registries, "a.example/foo:1"), "https://foo");
  EXPECT_EQ(LookasideOf(registries, "a.example/foobar:1"), "https://a/");
  EXPECT_EQ(LookasideOf(registries, "a.example/bar"), "https://a/");
  EXPECT_EQ(LookasideOf(registries, "x.wild.example/y"), "https://wild");
  EXPECT_EQ(StagingOf(registries, "x.wild.example/y"), "file:///wild");
  EXPECT_EQ(LookasideOf(registries, "b.example/y"), "https://all");
  EXPECT_EQ(StagingOf(registries, "a.example/z"), "file:///staging");
}

TEST(RegistriesD, NewKeysWinOverTheOldNames) {
  const RegistriesD registries =
      RegistriesD::Parse("default-docker: {sigstore: 'https://old', lookaside: 'https://new'}", "x.yaml");
  EXPECT_EQ(LookasideOf(registries, "a.example/b"), "https://new");
}

TEST(RegistriesD, WithoutConfigurationItIsTheUsersSigstore) {
  EXPECT_THAT(LookasideOf(RegistriesD::Parse("", "x.yaml"), "a.example/b"), EndsWith("/containers/sigstore"));
}

TEST(RegistriesD, RefusesWhatItCannotRead) {
  for (const char* text :
       {"docker: [", "docker: 1", "docker: {a: 1}", "- x", "docker: {a: {lookaside: [x]}}",
        "docker: {a: {lookaside: x}, a: {lookaside: y}}", "{[1]: x}", "docker: {a: {lookaside: x, lookaside: y}}"}) {
    EXPECT_EQ(CaughtError([&] { RegistriesD::Parse(text, "x.yaml"); }).kind(), ErrorKind::kCorrupt) << text;
  }
  EXPECT_EQ(CaughtError([&] { RegistriesD::Parse(std::string(100'000, '['), "x.yaml"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { RegistriesD::Parse(std::string(kMaxRegistriesFileBytes + 1, ' '), "x.yaml"); }).kind(),
            ErrorKind::kCorrupt);
}

TEST(RegistriesD, OneScopeInTwoFilesIsAnError) {
  const TempDir dir;
  dir.dir().WriteFileAtomically(RelPath::Parse("a.yaml"), "docker: {q.example: {lookaside: 'https://a'}}");
  dir.dir().WriteFileAtomically(RelPath::Parse("b.yaml"), "docker: {q.example: {lookaside: 'https://b'}}");
  dir.dir().WriteFileAtomically(RelPath::Parse("c.txt"), "not read: [");
  EXPECT_THAT(CaughtError([&] { RegistriesD::Load(dir.path()); }).message(), HasSubstr("a.yaml"));
  dir.dir().RemoveFile(RelPath::Parse("b.yaml"));
  EXPECT_EQ(LookasideOf(RegistriesD::Load(dir.path()), "q.example/x"), "https://a");
}

TEST(Lookaside, NamesPlacesAsTheContainersToolsDo) {
  const DockerReference name = DockerReference::Parse("h.example:5000/ns/app:v1");
  EXPECT_EQ(SignatureUrl("https://s.example/sig/", name, kManifest, 3),
            "https://s.example/sig/ns/app@sha256=" + kManifest.hex() + "/signature-3");
}

TEST(Lookaside, OnlyAbsoluteFileUrlsAreDirectories) {
  EXPECT_EQ(LookasideDirectory("file:///var/x"), "/var/x");
  EXPECT_EQ(LookasideDirectory("file:/var/x"), "/var/x");
  EXPECT_EQ(LookasideDirectory("https://h/x"), std::nullopt);
  EXPECT_EQ(CaughtError([] { LookasideDirectory("file://host/x"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([] { LookasideDirectory("file:x"); }).kind(), ErrorKind::kCorrupt);
}

TEST(Lookaside, AppendsAndNeverOverwrites) {
  const TempDir dir;
  const DockerReference name = DockerReference::Parse("h.example/app:v1");
  EXPECT_THAT(ReadLookaside(dir.path(), name, kManifest), ElementsAre());
  EXPECT_THAT(AppendLookaside(dir.path(), name, kManifest, "one"), EndsWith("/signature-1"));
  EXPECT_THAT(AppendLookaside(dir.path(), name, kManifest, "two"), EndsWith("/signature-2"));
  EXPECT_THAT(AppendLookaside(dir.path(), name, kManifest, "one"), EndsWith("/signature-1"));
  EXPECT_THAT(ReadLookaside(dir.path(), name, kManifest), ElementsAre("one", "two"));
  EXPECT_THAT(Dir::Open(dir.path() + "/app@sha256=" + kManifest.hex()).List(),
              ElementsAre("signature-1", "signature-2"));
}

TEST(Lookaside, WritersAtOnceGetNumbersOfTheirOwn) {
  const TempDir dir;
  const DockerReference name = DockerReference::Parse("h.example/app:v1");
  std::vector<std::string> written;
  for (int i = 0; i < 20; ++i) {
    written.push_back("signature " + std::to_string(i));
  }
  RunParallel(written.size(), 8, [&](size_t i) { AppendLookaside(dir.path(), name, kManifest, written[i]); });
  EXPECT_THAT(ReadLookaside(dir.path(), name, kManifest), UnorderedElementsAreArray(written));
}

TEST(Lookaside, ReadsUpToTheFirstGapAndWithinBounds) {
  const TempDir dir;
  const DockerReference name = DockerReference::Parse("h.example/app:v1");
  const Dir place = dir.dir().MakeDirs(RelPath::Parse("app@sha256=" + kManifest.hex()));
  place.WriteFileAtomically(RelPath::Parse("signature-1"), "one");
  place.WriteFileAtomically(RelPath::Parse("signature-3"), "three");
  EXPECT_THAT(ReadLookaside(dir.path(), name, kManifest), ElementsAre("one"));
  place.WriteFileAtomically(RelPath::Parse("signature-2"), std::string(kMaxEvidenceBytes + 1, 'x'));
  EXPECT_EQ(CaughtError([&] { ReadLookaside(dir.path(), name, kManifest); }).kind(), ErrorKind::kCorrupt);
  place.WriteFileAtomically(RelPath::Parse("signature-2"), "two");
  for (size_t n = 3; n <= kMaxEvidence + 1; ++n) {
    place.WriteFileAtomically(RelPath::Parse("signature-" + std::to_string(n)), std::to_string(n));
  }
  EXPECT_EQ(ReadLookaside(dir.path(), name, kManifest).size(), kMaxEvidence) << "more than count block nothing";
}

TEST(Evidence, IsBoundedAndWithoutRepetition) {
  Evidence evidence;
  EXPECT_TRUE(evidence.Add("a"));
  EXPECT_TRUE(evidence.Add("a"));
  EXPECT_EQ(evidence.signatures.size(), 1U);
  for (size_t i = 1; i < kMaxEvidence; ++i) {
    EXPECT_TRUE(evidence.Add(std::to_string(i)));
  }
  EXPECT_FALSE(evidence.Add("one more"));
  EXPECT_EQ(CaughtError([&] { evidence.Add(std::string(kMaxEvidenceBytes + 1, 'x')); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::sign
