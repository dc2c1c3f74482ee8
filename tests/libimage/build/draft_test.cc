#include "libimage/build/draft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/build/provenance.h"
#include "libimage/build/workspace.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_verifier.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Draft Edited() {
  Draft draft = Draft::Empty({"linux", "amd64", "", ""});
  draft.appc().name = "example.com/app";
  draft.SetExec({"/bin/app", "--serve"});
  draft.SetUser("app");
  draft.SetGroup("www");
  draft.SetEnvironment("A", "1");
  draft.SetEnvironment("A", "2");
  draft.AddPort({.name = "http", .protocol = "tcp", .port = 80});
  draft.AddMount({"data", "/data", true});
  draft.SetAppcLabel("version", "1.0");
  draft.SetAppcLabel("arch", "aarch64");
  draft.SetAnnotation("authors", "me");
  draft.AddHistory("step");
  return draft;
}

TEST(DraftTest, EditsTheConfiguration) {
  const ImageConfig config = Edited().ToImage(5).config;
  EXPECT_THAT(config.entrypoint, ElementsAre("/bin/app"));
  EXPECT_THAT(config.cmd, ElementsAre("--serve"));
  EXPECT_EQ(config.user, "app:www");
  EXPECT_THAT(config.env, ElementsAre("A=2"));
  EXPECT_THAT(config.exposed_ports, ElementsAre("80/tcp"));
  EXPECT_THAT(config.volumes, ElementsAre("/data"));
  EXPECT_EQ(config.platform.architecture, "arm64");
  EXPECT_EQ(config.created, "1970-01-01T00:00:05Z");
}

TEST(DraftTest, ComesBackFromJson) {
  const Draft draft = Edited();
  EXPECT_EQ(Draft::FromJson(draft.ToJson()).ToJson(), draft.ToJson());
  EXPECT_EQ(CaughtError([] { Draft::FromJson("{\"gantryBuild\":2}"); }).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(CaughtError([] { Draft::FromJson("{\"gantryBuild\":1}"); }).kind(), ErrorKind::kCorrupt);
}

TEST(DraftTest, KeepsWhatItDoesNotKnowOfItsBase) {
  const Image base = testing::ImageBuilder().Config("X-Unknown", "kept").Layer(testing::TarBuilder().Build()).Build();
  Draft draft = Draft::On(base, "oci:/base");
  draft.SetEnvironment("A", "1");
  EXPECT_THAT(draft.ToImage(0).config_bytes, HasSubstr("X-Unknown"));
  EXPECT_EQ(draft.ToImage(0).config.diff_ids, base.config.diff_ids);
}

TEST(DraftTest, WhatWasAddedCanBeRemoved) {
  Draft draft = Edited();
  EXPECT_TRUE(draft.RemovePort("http"));
  EXPECT_FALSE(draft.RemovePort("http"));
  EXPECT_TRUE(draft.RemoveMount("data"));
  EXPECT_TRUE(draft.RemoveEnvironment("A"));
  EXPECT_TRUE(draft.RemoveAnnotation("authors"));
  EXPECT_TRUE(draft.RemoveAppcLabel("version"));
  const ImageConfig config = draft.ToImage(0).config;
  EXPECT_TRUE(config.exposed_ports.empty() && config.volumes.empty() && config.env.empty());
}

TEST(DraftTest, AnAciHasTheNamesThatWereGiven) {
  const Draft draft = Edited();
  AciManifest generated{.name = "x"};
  generated.app.emplace();
  generated.app->ports = {{.name = "80-tcp", .protocol = "tcp", .port = 80}};
  generated.app->mount_points = {{"volume-data", "/data", false}};
  const AciManifest manifest = draft.Complete(generated);
  EXPECT_EQ(manifest.name, "example.com/app");
  ASSERT_EQ(manifest.app->ports.size(), 1U);
  EXPECT_EQ(manifest.app->ports[0].name, "http");
  ASSERT_EQ(manifest.app->mount_points.size(), 1U);
  EXPECT_TRUE(manifest.app->mount_points[0].read_only);
}

TEST(DraftTest, ProvenanceSaysNothingOfTheTime) {
  const std::string text = ProvenanceOf(Edited(), "app", "sha256:" + std::string(64, 'a'));
  EXPECT_THAT(text, HasSubstr("\"predicateType\":\"https://slsa.dev/provenance/v1\""));
  EXPECT_THAT(text, HasSubstr("\"steps\":[\"step\"]"));
  EXPECT_EQ(text, ProvenanceOf(Edited(), "app", "sha256:" + std::string(64, 'a')));
}

TEST(AuthoringTest, IsTrustedAsItsBaseAndRefusesAnother) {
  const Image base = testing::ImageBuilder().Layer(testing::TarBuilder().Build()).Build();
  const VerifiedImage verified = sign::Verifier::ForTest(base, "signedBy X");
  EXPECT_EQ(Authoring::Finish(Draft::On(base, "oci:/base"), &verified, 0).vouched_by(), "signedBy X; built upon here");
  EXPECT_EQ(CaughtError([&] { Authoring::Finish(Draft::On(base, "oci:/base"), nullptr, 0); }).kind(),
            ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([&] { Authoring::Finish(Edited(), &verified, 0); }).kind(), ErrorKind::kFailed);
}

TEST(WorkspaceTest, OneBuildAtATime) {
  const testing::TempDir temp;
  const std::string path = temp.path() + "/work";
  EXPECT_EQ(CaughtError([&] { Workspace::Open(path); }).kind(), ErrorKind::kNotFound);
  {
    const Workspace workspace = Workspace::Begin(path, Edited());
    EXPECT_THAT(CaughtError([&] { Workspace::Open(path); }).message(), HasSubstr("at work"));
  }
  EXPECT_EQ(Workspace::Open(path).draft().ToJson(), Edited().ToJson());
}

TEST(WorkspaceTest, BeginTellsWhatIsThere) {
  const testing::TempDir temp;
  const std::string path = temp.path() + "/work";
  { Workspace::Begin(path, Edited()).NewStep("upper"); }
  const std::string message = CaughtError([&] { Workspace::Begin(path, Edited()); }).message();
  EXPECT_THAT(message, HasSubstr("'example.com/app', 0 layers made, the last step interrupted"));
}

TEST(WorkspaceTest, WhatWasKilledBeforeTheDraftIsTakenOver) {
  const testing::TempDir temp;
  temp.dir().MakeDirs(RelPath::Parse("work/blobs"));
  Workspace workspace = Workspace::Begin(temp.path() + "/work", Edited());
  workspace.Remove();
  EXPECT_FALSE(temp.dir().Exists(RelPath::Parse("work")));
}

}  // namespace
}  // namespace gantry::image
