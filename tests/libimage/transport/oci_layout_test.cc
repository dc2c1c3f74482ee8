#include "libimage/transport/oci_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "libimage/base/json.h"
#include "libimage/base/process.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::TarBuilder;
using gantry::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Platform kAmd{"linux", "amd64", "", ""};
const Platform kArm{"linux", "arm64", "", ""};

ImageBuilder SmallImage(const std::string& text, const Platform& platform = kAmd) {
  ImageBuilder image;
  image.Platform(platform).Layer(TarBuilder().File("etc/text", text).Build());
  return image;
}

Descriptor DescriptorOf(const ImageBuilder& image) { return image.Build().descriptor; }

void Write(const std::string& path, std::string_view bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string ReadText(const std::string& path) { return ReadFile(path, 1 << 20); }

// Adds the image to the layout through the writer under test.
void Add(const std::string& directory, const ImageBuilder& builder, const std::string& ref, bool overwrite = false) {
  const Image image = builder.Build();
  const auto writer = OciLayoutWriter::Begin(directory, overwrite);
  for (const auto& [digest, bytes] : builder.Blobs()) {
    writer->AddBlob({"", digest, bytes.size(), {}, {}, {}, {}}, StringSource(bytes), "a blob");
  }
  Descriptor listed = image.descriptor;
  listed.platform = image.config.platform;
  writer->Name(listed, ref);
  writer->Commit();
}

// Replaces index.json by one that lists the given documents, which are written as blobs.
void WriteIndex(const std::string& directory, const std::vector<std::pair<std::string, std::string>>& documents) {
  json::Array entries;
  for (const auto& [type, bytes] : documents) {
    const Digest digest = Digest::Of(bytes);
    Write(directory + "/blobs/sha256/" + digest.hex(), bytes);
    entries.push_back(json::Object({{"mediaType", type}, {"digest", digest.str()}, {"size", uint64_t{bytes.size()}}}));
  }
  Write(directory + "/index.json", json::Print(json::Object({{"schemaVersion", 2}, {"manifests", entries}})));
}

class OciLayoutTest : public ::testing::Test {
 protected:
  std::string layout() const { return temp_.path() + "/layout"; }
  Error LoadError(const std::string& ref = "", const Platform& platform = kAmd) const {
    return CaughtError([&] { OciLayout::OpenAt(layout())->Load(ref, platform); });
  }
  TempDir temp_;
};

TEST_F(OciLayoutTest, LoadsWhatTheWriterWrote) {
  const ImageBuilder image = SmallImage("one");
  Add(layout(), image, "v1");
  const auto read = OciLayout::OpenAt(layout());
  EXPECT_EQ(read->Refs(), std::vector<std::string>{"v1"});
  const FetchedImage loaded = read->Load("v1", kAmd);
  EXPECT_EQ(loaded.image().descriptor.digest, DescriptorOf(image).digest);
  EXPECT_EQ(loaded.image().manifest_bytes, image.ManifestBytes());
  EXPECT_FALSE(loaded.name());
  EXPECT_EQ(read->Load("", kAmd).image().descriptor.digest, DescriptorOf(image).digest);
  EXPECT_EQ(read->Load(DescriptorOf(image).digest.str(), kAmd).image().manifest_bytes, image.ManifestBytes());
}

TEST_F(OciLayoutTest, NewLayoutHasNothingBesideIt) {
  Add(layout(), SmallImage("one"), "v1");
  EXPECT_THAT(temp_.dir().List(), ElementsAre("layout"));
  EXPECT_THAT(Dir::Open(layout()).List(), ElementsAre("blobs", "index.json", "oci-layout"));
}

TEST_F(OciLayoutTest, UncommittedLayoutLeavesNothing) {
  {
    const auto writer = OciLayoutWriter::Begin(layout());
    writer->AddBlob({"", Digest::Of("x"), 1, {}, {}, {}, {}}, StringSource("x"), "a blob");
  }
  EXPECT_TRUE(temp_.dir().List().empty());
}

TEST_F(OciLayoutTest, LeftoverOfADeadWriterIsRemovedAndALiveOneIsNot) {
  mkdir((temp_.path() + "/.layout.gantry-1-0").c_str(), 0755);
  Write(temp_.path() + "/.layout.gantry-1-0/oci-layout", "x");
  const auto live = OciLayoutWriter::Begin(layout());
  Add(layout(), SmallImage("one"), "v1");
  EXPECT_THAT(temp_.dir().List(), ::testing::SizeIs(2));
  live->Name(DescriptorOf(SmallImage("one")), "v1");
  const Error error = CaughtError([&] { live->Commit(); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.message(), HasSubstr("meanwhile"));
}

TEST_F(OciLayoutTest, SecondImageJoinsAndKeepsWhatIsUnknown) {
  Add(layout(), SmallImage("one"), "v1");
  json::Value index = json::Parse(ReadText(layout() + "/index.json"), "index");
  index.object()->Set("annotations", json::Object({{"org.example", "kept"}}));
  Write(layout() + "/index.json", json::Print(index));
  Add(layout(), SmallImage("two"), "v2");
  const auto read = OciLayout::OpenAt(layout());
  EXPECT_THAT(read->Refs(), ElementsAre("v1", "v2"));
  EXPECT_THAT(ReadText(layout() + "/index.json"), HasSubstr(R"("org.example":"kept")"));
  const Error error = LoadError();
  EXPECT_EQ(error.kind(), ErrorKind::kUsage);
  EXPECT_THAT(error.hint(), HasSubstr("'v1', 'v2'"));
}

TEST_F(OciLayoutTest, NameMovesOnlyWithOverwrite) {
  Add(layout(), SmallImage("one"), "v1");
  Add(layout(), SmallImage("one"), "v1");
  const Error error = CaughtError([&] { Add(layout(), SmallImage("two"), "v1"); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.hint(), HasSubstr("--overwrite"));
  Add(layout(), SmallImage("two"), "v1", true);
  const auto read = OciLayout::OpenAt(layout());
  EXPECT_THAT(read->Refs(), ElementsAre("v1"));
  EXPECT_EQ(read->Load("v1", kAmd).image().descriptor.digest, DescriptorOf(SmallImage("two")).digest);
}

TEST_F(OciLayoutTest, NameThatIsThereIsNotFree) {
  Add(layout(), SmallImage("one"), "v1");
  const auto writer = OciLayoutWriter::Begin(layout());
  EXPECT_EQ(CaughtError([&] { writer->RequireFree("v1"); }).kind(), ErrorKind::kFailed);
  writer->RequireFree("v2");
  writer->RequireFree("");
  OciLayoutWriter::Begin(layout(), true)->RequireFree("v1");
}

TEST_F(OciLayoutTest, BlobThatIsMadeIsNamedByWhatItIs) {
  Add(layout(), SmallImage("one"), "v1");
  const std::string path = layout() + "/blobs/sha256/" + Digest::Of("made in pieces").hex();
  Write(path, "damaged");
  const auto writer = OciLayoutWriter::Begin(layout());
  {
    const auto given_up = writer->MakeBlob("layer 1");
    given_up->Write(AsBytes("half"));
    const auto other = writer->MakeBlob("layer 1");
    other->Expect(Digest::Of("this"), "layer 1");
    other->Write(AsBytes("that"));
    EXPECT_EQ(CaughtError([&] { other->Finish(); }).kind(), ErrorKind::kCorrupt);
  }
  const auto blob = writer->MakeBlob("layer 1");
  blob->Write(AsBytes("made in "));
  blob->Write(AsBytes("pieces"));
  blob->Finish();
  EXPECT_EQ(blob->digest(), Digest::Of("made in pieces"));
  EXPECT_EQ(blob->size(), 14U);
  EXPECT_EQ(ReadText(path), "made in pieces");
  EXPECT_THAT(Dir::Open(layout() + "/blobs/sha256").List(), ::testing::SizeIs(4));
}

TEST_F(OciLayoutTest, WriterRefusesADirectoryOfSomethingElse) {
  mkdir(layout().c_str(), 0755);
  Write(layout() + "/notes", "mine");
  const Error error = CaughtError([&] { OciLayoutWriter::Begin(layout()); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(Dir::Open(layout()).List(), ElementsAre("notes"));
}

TEST_F(OciLayoutTest, WriterFillsAnEmptyDirectory) {
  mkdir(layout().c_str(), 0755);
  Add(layout(), SmallImage("one"), "v1");
  EXPECT_EQ(OciLayout::OpenAt(layout())->Refs().size(), 1U);
}

TEST_F(OciLayoutTest, BlobThatDoesNotMatchLeavesNoName) {
  const Digest digest = Digest::Of("right");
  mkdir(layout().c_str(), 0755);
  for (const char* wrong : {"wrong", "righ", "right and more"}) {
    const auto writer = OciLayoutWriter::Begin(layout());
    const Error error = CaughtError([&] {
      writer->AddBlob({"", digest, 5, {}, {}, {}, {}}, StringSource(wrong), "layer 1");
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << wrong;
    EXPECT_FALSE(Dir::Open(layout()).Exists(RelPath::Parse("blobs/sha256/" + digest.hex())));
  }
}

TEST_F(OciLayoutTest, DamagedBlobIsWrittenAnew) {
  const ImageBuilder image = SmallImage("one");
  Add(layout(), image, "v1");
  const std::string path = layout() + "/blobs/sha256/" + Digest::Of(image.ConfigBytes()).hex();
  std::string damaged = image.ConfigBytes();
  damaged.back() = '!';
  Write(path, damaged);
  Add(layout(), image, "v1");
  EXPECT_EQ(ReadText(path), image.ConfigBytes());
}

TEST_F(OciLayoutTest, PlatformChoosesWithinANestedIndex) {
  Add(layout(), SmallImage("amd", kAmd), "a");
  Add(layout(), SmallImage("arm", kArm), "b");
  Index inner;
  inner.media_type = kOciIndexType;
  for (const auto& [image, platform] : {std::pair(SmallImage("amd", kAmd), kAmd), {SmallImage("arm", kArm), kArm}}) {
    Descriptor descriptor = DescriptorOf(image);
    descriptor.platform = platform;
    inner.manifests.push_back(descriptor);
  }
  const std::string bytes = inner.ToJson();
  WriteIndex(layout(), {{std::string(kOciIndexType), bytes}});
  const FetchedImage arm = OciLayout::OpenAt(layout())->Load("", kArm);
  EXPECT_EQ(arm.image().descriptor.digest, DescriptorOf(SmallImage("arm", kArm)).digest);
  EXPECT_EQ(arm.index(), Digest::Of(bytes));
  const Error error = LoadError("", {"linux", "s390x", "", ""});
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.hint(), HasSubstr("linux/arm64"));
}

TEST_F(OciLayoutTest, AnUnnamedArtifactDoesNotTakeThePlaceOfTheImage) {
  const ImageBuilder image = SmallImage("one");
  Add(layout(), image, "v1");
  const auto artifact = [](const std::string& type) {
    Manifest manifest{.media_type = std::string(kOciManifestType), .config = DescriptorOf(SmallImage("none"))};
    manifest.artifact_type = type;
    return std::pair(std::string(kOciManifestType), manifest.ToJson());
  };
  const std::pair listed(std::string(kOciManifestType), image.Build().manifest_bytes);
  const std::string inner = [&] {
    Index index{.media_type = std::string(kOciIndexType)};
    for (const auto& [type, bytes] : {artifact("a"), listed})
      index.manifests.push_back({.media_type = type, .digest = Digest::Of(bytes), .size = bytes.size()});
    return index.ToJson();
  }();
  const std::vector<std::vector<std::pair<std::string, std::string>>> layouts = {{artifact("a"), artifact("b"), listed},
                                                                                 {{std::string(kOciIndexType), inner}}};
  for (const auto& documents : layouts) {
    WriteIndex(layout(), documents);
    EXPECT_EQ(OciLayout::OpenAt(layout())->Load("", kAmd).image().descriptor.digest, DescriptorOf(image).digest);
  }
  WriteIndex(layout(), {artifact("a"), artifact("b")});
  EXPECT_EQ(LoadError().kind(), ErrorKind::kUsage);
  WriteIndex(layout(), {artifact("a")});
  EXPECT_EQ(LoadError().kind(), ErrorKind::kUnsupported);
}

TEST_F(OciLayoutTest, IndexesNestedTooDeepAreRefused) {
  Add(layout(), SmallImage("one"), "v1");
  Descriptor inside = DescriptorOf(SmallImage("one"));
  std::string bytes;
  for (size_t i = 0; i < kMaxIndexDepth + 2; ++i) {
    Index index;
    index.media_type = kOciIndexType;
    index.manifests = {inside};
    bytes = index.ToJson();
    inside = {std::string(kOciIndexType), Digest::Of(bytes), bytes.size(), {}, {}, {}, {}};
    Write(layout() + "/blobs/sha256/" + inside.digest.hex(), bytes);
  }
  WriteIndex(layout(), {{std::string(kOciIndexType), bytes}});
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
}

TEST_F(OciLayoutTest, UnknownNameTellsWhatThereIs) {
  Add(layout(), SmallImage("one"), "v1");
  const Error error = LoadError("v2");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.hint(), HasSubstr("'v1'"));
}

TEST_F(OciLayoutTest, DirectoryWithoutLayoutFileIsNotFound) {
  mkdir(layout().c_str(), 0755);
  EXPECT_EQ(LoadError().kind(), ErrorKind::kNotFound);
}

TEST_F(OciLayoutTest, OtherLayoutVersionIsUnsupported) {
  Add(layout(), SmallImage("one"), "v1");
  Write(layout() + "/oci-layout", R"({"imageLayoutVersion":"2.0.0"})");
  EXPECT_EQ(LoadError().kind(), ErrorKind::kUnsupported);
}

TEST_F(OciLayoutTest, DigestThatIsAPathIsRefused) {
  Add(layout(), SmallImage("one"), "v1");
  Write(temp_.path() + "/secret", "{}");
  Write(layout() + "/index.json",
        R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",)"
        R"("digest":"sha256:../../../secret","size":2}]})");
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
}

TEST_F(OciLayoutTest, SymbolicLinksAreNotFollowed) {
  const ImageBuilder image = SmallImage("one");
  Add(layout(), image, "v1");
  const std::string config = layout() + "/blobs/sha256/" + Digest::Of(image.ConfigBytes()).hex();
  ASSERT_EQ(rename(config.c_str(), (temp_.path() + "/config").c_str()), 0);
  ASSERT_EQ(symlink((temp_.path() + "/config").c_str(), config.c_str()), 0);
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
  ASSERT_EQ(rename((temp_.path() + "/config").c_str(), config.c_str()), 0);
  ASSERT_EQ(rename((layout() + "/blobs").c_str(), (temp_.path() + "/blobs").c_str()), 0);
  ASSERT_EQ(symlink("../blobs", (layout() + "/blobs").c_str()), 0);
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
}

TEST_F(OciLayoutTest, ChangedBlobIsCorrupt) {
  const ImageBuilder image = SmallImage("one");
  Add(layout(), image, "v1");
  const std::string manifest = layout() + "/blobs/sha256/" + Digest::Of(image.ManifestBytes()).hex();
  std::string changed = image.ManifestBytes();
  changed[changed.size() / 2] ^= 1;
  Write(manifest, changed);
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
  Write(manifest, image.ManifestBytes() + " ");
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
}

TEST_F(OciLayoutTest, MissingBlobIsNotFound) {
  const ImageBuilder image = SmallImage("one");
  Add(layout(), image, "v1");
  const auto read = OciLayout::OpenAt(layout());
  const FetchedImage loaded = read->Load("v1", kAmd);
  const Descriptor& layer = loaded.image().manifest.layers[0];
  unlink((layout() + "/blobs/sha256/" + layer.digest.hex()).c_str());
  EXPECT_EQ(CaughtError([&] { read->Open(layer, "layer 1"); }).kind(), ErrorKind::kNotFound);
}

TEST_F(OciLayoutTest, HugeIndexIsRefusedBeforeItIsParsed) {
  Add(layout(), SmallImage("one"), "v1");
  ASSERT_EQ(truncate((layout() + "/index.json").c_str(), kMaxLayoutIndexBytes + 1), 0);
  EXPECT_EQ(LoadError().kind(), ErrorKind::kCorrupt);
}

TEST_F(OciLayoutTest, SkopeoReadsWhatWeWriteAndWeReadWhatItWrites) {
  if (RunCaptured({"sh", "-c", "command -v skopeo umoci"}, "", 4096).status.code != 0)
    GTEST_SKIP() << "skopeo or umoci is not installed";
  const ImageBuilder image = SmallImage("one", Platform::Host());
  Add(layout(), image, "v1");
  const std::string other = temp_.path() + "/other";
  ASSERT_EQ(RunCaptured({"skopeo", "--insecure-policy", "copy", "-q", "oci:" + layout() + ":v1", "oci:" + other + ":w"},
                        "", 1 << 16)
                .status.code,
            0);
  EXPECT_EQ(OciLayout::OpenAt(other)->Load("w", Platform::Host()).image().descriptor.digest,
            DescriptorOf(image).digest);
  ASSERT_EQ(
      RunCaptured({"umoci", "unpack", "--image", layout() + ":v1", temp_.path() + "/bundle"}, "", 1 << 16).status.code,
      0);
  EXPECT_EQ(ReadText(temp_.path() + "/bundle/rootfs/etc/text"), "one");
  ASSERT_EQ(RunCaptured({"umoci", "tag", "--image", layout() + ":v1", "again"}, "", 1 << 16).status.code, 0);
  EXPECT_EQ(OciLayout::OpenAt(layout())->Load("again", Platform::Host()).image().descriptor.digest,
            DescriptorOf(image).digest);
}

}  // namespace
}  // namespace gantry::image
