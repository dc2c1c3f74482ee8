// The writers of archives, each under the one engine that converts and read back by its reader.
#include "libimage/layer/layer.h"
#include "libimage/transport/docker_archive.h"
#include "libimage/transport/oci_layout.h"
#include "tests/libimage/convert/convert_fixture.h"

namespace gantry::image {
namespace {

ImageBuilder ThreeLayers() {
  const std::string small = TarBuilder().File("a", "a").Build();
  return ImageBuilder().Layer(small).Layer(TarBuilder().File("b", std::string(3'000'000, 'b')).Build()).Layer(small);
}

class ArchiveSinkTest : public FileConversionTest {
 protected:
  std::string path() const { return PathOf("x.tar"); }
  static Image Put(ImageSink& sink, const ImageBuilder& from, const std::string& ref, const CopyOptions& options = {}) {
    Image image = Conversion::Copy(Trusted(from), MemoryBlobs(from), sink, options).image();
    sink.Name(image.descriptor, ref);
    return image;
  }
  template <typename Archive>
  static void ReadLayers(Archive& archive, const Image& image) {
    for (size_t i = 0; i < image.manifest.layers.size(); ++i)
      Drain(*OpenLayer(archive, image, i, false), 1 << 28, "layer");
  }
};

TEST_F(ArchiveSinkTest, OciArchiveHoldsTheImageAsItIs) {
  const auto sink = WriteOciArchive(path(), false);
  Put(*sink, ThreeLayers(), "v1", {.threads = 3});
  EXPECT_FALSE(Exists("x.tar"));
  sink->Commit();
  const auto archive = OciLayout::OpenArchive(path());
  const FetchedImage image = archive->Load("v1", Platform::Host());
  EXPECT_EQ(image.image().manifest_bytes, ThreeLayers().ManifestBytes());
  ReadLayers(*archive, image.image());
}

TEST_F(ArchiveSinkTest, DockerArchiveHoldsPlainLayersByTheirDiffIds) {
  const auto sink = WriteDockerArchive(path(), false);
  const Image put = Put(*sink, ThreeLayers(), "busybox");
  sink->Commit();
  const auto archive = DockerArchive::OpenArchive(path());
  EXPECT_THAT(archive->images().at(0).names, ElementsAre("docker.io/library/busybox:latest"));
  const Image image = archive->Load(archive->Find("busybox")).image();
  EXPECT_EQ(image.manifest_bytes, put.manifest_bytes) << "what it is read as is what was written";
  EXPECT_EQ(image.config_bytes, ThreeLayers().ConfigBytes());
  ReadLayers(*archive, image);
  const TarFile tar = TarFile::Open(path());
  EXPECT_EQ(tar.Size(image.config.diff_ids[1].hex() + ".tar"), image.manifest.layers[1].size);
  const json::Value repositories = json::Parse(*tar.ReadMember("repositories", 1000), "repositories");
  const std::string top = json::Cursor(repositories, "").At("docker.io/library/busybox").At("latest").String();
  EXPECT_EQ(tar.Size(top + "/layer.tar"), image.manifest.layers[2].size);
  EXPECT_THAT(*tar.ReadMember(top + "/json", 1000), HasSubstr(R"("id":")" + top));
}

TEST_F(ArchiveSinkTest, SeveralImagesShareLayers) {
  const ImageBuilder one = ThreeLayers();
  const ImageBuilder two = ThreeLayers().Config("Cmd", std::vector<std::string>{"/b"});
  const auto sink = WriteDockerArchive(path(), false);
  Put(*sink, one, "a:1");
  const uint64_t before = one.Build().config_bytes.size();
  Put(*sink, two, "b:1");
  Put(*sink, one, "c:1");
  EXPECT_EQ(CaughtError([&] { sink->Name(Trusted(one).image().descriptor, "a:1"); }).kind(), ErrorKind::kFailed);
  sink->Commit();
  EXPECT_LT(std::filesystem::file_size(path()), 3'100'000 + before);
  const auto archive = DockerArchive::OpenArchive(path());
  ASSERT_EQ(archive->images().size(), 2U);
  EXPECT_EQ(archive->images()[0].names.size(), 2U);
  ReadLayers(*archive, archive->Load(1).image());
}

TEST_F(ArchiveSinkTest, ABlobThatIsNotWhatItIsToBeIsNoMember) {
  const std::string that = std::string(5000, 'x');
  const auto sink = WriteOciArchive(path(), false);
  {
    const auto blob = sink->MakeBlob("layer 1");
    blob->Expect(Digest::Of("this"), "layer 1");
    blob->Write(AsBytes(that));
    EXPECT_EQ(CaughtError([&] { blob->Finish(); }).kind(), ErrorKind::kCorrupt);
  }
  sink->Commit();
  EXPECT_THAT(ReadFile(path(), 1 << 20), Not(HasSubstr(that)));
}

TEST_F(ArchiveSinkTest, BytesDoNotDependOnThreads) {
  for (const bool docker : {false, true}) {
    std::vector<std::string> bytes;
    for (const size_t threads : {1, 2, 5}) {
      const auto sink = docker ? WriteDockerArchive(path(), true) : WriteOciArchive(path(), true);
      CopyOptions options{.threads = threads};
      if (!docker)
        options.compression = Compression::kZstd;
      Put(*sink, ThreeLayers(), "a", options);
      sink->Commit();
      bytes.push_back(ReadFile(path(), 1 << 28));
    }
    EXPECT_THAT(bytes, Each(bytes.front()));
  }
}

TEST_F(ArchiveSinkTest, FailureLeavesNothing) {
  MemoryBlobs damaged(ThreeLayers());
  damaged.Damage(ThreeLayers().Build().manifest.layers[1].digest);
  for (const bool docker : {false, true}) {
    {
      const auto sink = docker ? WriteDockerArchive(path(), false) : WriteOciArchive(path(), false);
      EXPECT_EQ(CaughtError([&] { Conversion::Copy(Trusted(ThreeLayers()), damaged, *sink, {}); }).kind(),
                ErrorKind::kCorrupt);
    }
    EXPECT_TRUE(std::filesystem::is_empty(temp_.path()));
  }
}

TEST_F(ArchiveSinkTest, FileIsReplacedOnlyWhenAsked) {
  WriteOciArchive(path(), false)->Commit();
  for (const auto write : {WriteOciArchive, WriteDockerArchive}) {
    EXPECT_EQ(CaughtError([&] { write(path(), false); }).kind(), ErrorKind::kFailed);
    write(path(), true)->Commit();
  }
}

TEST_F(ArchiveSinkTest, DockerArchiveHoldsNoMissingLayers) {
  const ImageBuilder builder = ThreeLayers();
  Image image = builder.Build();
  for (Descriptor& layer : image.manifest.layers) {
    layer.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    layer.digest = image.config.diff_ids[0];
  }
  image = Image::FromBytes(image.manifest.ToJson(), {}, image.config_bytes);
  const auto sink = WriteDockerArchive(path(), false);
  const Image copied = Conversion::Copy(Trusted(image), MemoryBlobs(builder), *sink, {}).image();
  EXPECT_EQ(CaughtError([&] { sink->Name(copied.descriptor, "a"); }).kind(), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::image
