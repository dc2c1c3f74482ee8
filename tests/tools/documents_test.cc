// The real programs and documents that Debian's registry does not take or does not send: the artifact manifest of a
// draft of OCI 1.1, Docker's schema 1 without a signature, what is not what it says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libimage/model/media_type.h"
#include "libimage/store/store.h"
#include "tests/support/image_builder.h"
#include "tests/support/registry_server.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::testing {
namespace {

class RegistryDocuments : public ::testing::Test {
 protected:
  RegistryDocuments() {
    temp_.dir().WriteFileAtomically(RelPath::Parse("policy.json"),
                                    R"({"default":[{"type":"insecureAcceptAnything"}]})");
  }

  // The exit code.
  int Run(std::vector<std::string> words) {
    words[0] = ProgramDirectory() + "/" + words[0];
    const UniqueFd output = OpenFile(temp_.path() + "/said", O_CREAT | O_WRONLY | O_TRUNC);
    const std::vector<std::string> environment{"PATH=/usr/bin:/bin", "HOME=" + temp_.path(), "TMPDIR=" + temp_.path(),
                                               "GANTRY_ROOT=" + temp_.path() + "/store",
                                               "GANTRY_POLICY=" + temp_.path() + "/policy.json"};
    return Process::Start(words, {{output.get(), STDOUT_FILENO}, {output.get(), STDERR_FILENO}}, environment)
        .Wait()
        .code;
  }
  std::string Said() const { return ReadFile(temp_.path() + "/said", 1 << 20); }

  std::string Put(const std::string& repository, const std::string& bytes) {
    const std::string digest = Digest::Of(bytes).str();
    server_.PutBlob(repository, digest, bytes);
    return digest;
  }

  std::string Old(const std::string& blob) {
    return R"({"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"application/vnd.example",)"
           R"("blobs":[{"mediaType":"text/plain","digest":")" +
           Put("app", blob) + R"(","size":)" + std::to_string(blob.size()) +
           R"(,"annotations":{"org.opencontainers.image.title":"a.txt"}}]})";
  }

  void ExpectNothingNamed() const {
    const auto store = image::Store::OpenReadOnly(temp_.path() + "/store");
    EXPECT_TRUE(store == nullptr || store->List().empty());
    EXPECT_TRUE(store == nullptr || store->Check().empty());
  }

  TempDir temp_;
  RegistryServer server_;
};

TEST_F(RegistryDocuments, TheManifestOfADraftGoesFromRegistryToRegistry) {
  const std::string manifest = Old("text");
  server_.PutManifest("app", "v1", std::string(image::kOciArtifactManifestType), manifest);
  const std::string name = server_.host() + "/app:v1";
  ASSERT_EQ(Run({"gantry-fetch", "docker://" + name}), 0) << Said();
  EXPECT_EQ(server_.Count("GET", Digest::Of("").hex()), 0U);
  ASSERT_EQ(Run({"gantry-push", name, "docker://" + server_.host() + "/copy:v1"}), 0) << Said();
  EXPECT_EQ(server_.Manifest("copy", "v1"), manifest);
  ASSERT_EQ(Run({"gantry-sync", name, "docker://" + server_.host() + "/m/"}), 0) << Said();
  EXPECT_EQ(server_.Manifest("m/app", "v1"), manifest);
  ASSERT_EQ(Run({"gantry-convert", name, "oci:" + temp_.path() + "/layout:v1"}), 0) << Said();
  ASSERT_EQ(Run({"gantry-convert", "oci:" + temp_.path() + "/layout:v1", "files:" + temp_.path() + "/files"}), 0)
      << Said();
  EXPECT_EQ(ReadFile(temp_.path() + "/files/a.txt", 100), "text");
  ASSERT_EQ(Run({"gantry-store", "gc"}), 0) << Said();
  ASSERT_EQ(Run({"gantry-store", "check"}), 0) << Said();
}

TEST_F(RegistryDocuments, BlobsThatAreNotWhatTheManifestSaysAreHostile) {
  const std::string manifest = Old("text");
  server_.PutBlob("app", Digest::Of("text").str(), "TEXT");
  server_.PutManifest("app", "v1", std::string(image::kOciArtifactManifestType), manifest);
  EXPECT_EQ(Run({"gantry-fetch", "docker://" + server_.host() + "/app:v1"}), 5) << Said();
  // In another registry, where it cannot be mounted unseen.
  const RegistryServer other;
  EXPECT_EQ(Run({"gantry-sync", server_.host() + "/app:v1", "docker://" + other.host() + "/m/"}), 5) << Said();
  EXPECT_FALSE(other.Manifest("m/app", "v1"));
  ExpectNothingNamed();
}

// A document that some would take for an image and others for an artifact is neither.
TEST_F(RegistryDocuments, ADocumentThatIsBothIsHostile) {
  const std::string config = Put("app", "{}");
  const std::string image = R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",)"
                            R"("digest":")" +
                            config + R"(","size":2},"layers":[],"blobs":[],"artifactType":"a/b"})";
  server_.PutManifest("app", "v1", std::string(image::kOciManifestType), image);
  server_.PutManifest("app", "v2", std::string(image::kOciManifestType), Old("text"));
  server_.PutManifest(
      "app", "v3", std::string(image::kOciArtifactManifestType),
      R"({"artifactType":"a/b","config":{},"mediaType":"application/vnd.oci.artifact.manifest.v1+json"})");
  for (const char* tag : {":v1", ":v2", ":v3"}) {
    EXPECT_EQ(Run({"gantry-fetch", "docker://" + server_.host() + "/app" + tag}), 5) << tag << Said();
    EXPECT_EQ(Run({"gantry-fetch", "--all", "docker://" + server_.host() + "/app" + tag}), 5) << tag << Said();
  }
  ExpectNothingNamed();
}

TEST_F(RegistryDocuments, Schema1WithoutASignatureBecomesAnImage) {
  ImageBuilder image;
  image.Layer(TarBuilder().File("file", "text").Build());
  const image::Descriptor layer = image.Build().manifest.layers[0];
  for (const auto& [digest, bytes] : image.Blobs()) server_.PutBlob("app", digest.str(), bytes);
  const std::string host = image::Platform::Host().architecture;
  const std::string manifest =
      R"({"schemaVersion":1,"name":"app","tag":"v1","architecture":")" + host + R"(","fsLayers":[{"blobSum":")" +
      layer.digest.str() + R"("}],"history":[{"v1Compatibility":"{\"id\":\")" + std::string(64, 'a') +
      R"(\",\"os\":\"linux\",\"architecture\":\")" + host + R"(\",\"config\":{\"Cmd\":[\"/file\"]}}"}]})";
  const std::string digest = Digest::Of(manifest).str();
  server_.PutManifest("app", "v1", std::string(image::kDockerSchema1Type), manifest);
  for (const std::string& name : {server_.host() + "/app:v1", server_.host() + "/app@" + digest})
    ASSERT_EQ(Run({"gantry-fetch", "docker://" + name}), 0) << Said();
  const auto store = image::Store::OpenReadOnly(temp_.path() + "/store");
  const image::FetchedImage fetched = store->Load(store->Resolve(server_.host() + "/app:v1").value());
  EXPECT_EQ(fetched.image().manifest.layers[0].digest, layer.digest);
  EXPECT_EQ(fetched.image().config.cmd, std::vector<std::string>{"/file"});
  EXPECT_TRUE(store->Check().empty());
}

}  // namespace
}  // namespace gantry::testing
