#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "libimage/transport/oci_layout.h"
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

ImageBuilder SmallImage() {
  ImageBuilder image;
  image.Platform(kAmd).Layer(TarBuilder().File("etc/text", "one").Build());
  return image;
}

class OciArchiveTest : public ::testing::Test {
 protected:
  OciArchiveTest() { SmallImage().WriteLayout(temp_.path() + "/layout", "v1"); }

  // The file `name` of the layout.
  std::string Part(const std::string& name) const { return ReadFile(temp_.path() + "/layout/" + name, 1 << 20); }
  std::string path() const { return temp_.path() + "/x.tar"; }
  void Write(const TarBuilder& tar) const { std::ofstream(path(), std::ios::binary) << tar.Build(); }
  TarBuilder Blobs(const std::string& prefix = "") const {
    TarBuilder tar;
    tar.Dir(prefix + "blobs").Dir(prefix + "blobs/sha256");
    for (const auto& [digest, bytes] : SmallImage().Blobs()) tar.File(prefix + "blobs/sha256/" + digest.hex(), bytes);
    return tar;
  }
  TarBuilder Whole(const std::string& prefix = "") const {
    return Blobs(prefix)
        .File(prefix + "index.json", Part("index.json"))
        .File(prefix + "oci-layout", Part("oci-layout"));
  }
  // Everything of the image is read.
  void ReadWhole() const {
    const auto layout = OciLayout::OpenArchive(path());
    const FetchedImage image = layout->Load("v1", kAmd);
    for (const Descriptor& layer : image.image().manifest.layers)
      Drain(*layout->Open(layer, "layer"), 1 << 20, "layer");
  }
  TempDir temp_;
};

TEST_F(OciArchiveTest, IsTheImageOfTheDirectory) {
  for (const char* prefix : {"", "./"}) {
    Write(Whole(prefix));
    const auto archive = OciLayout::OpenArchive(path());
    EXPECT_THAT(archive->Refs(), ElementsAre("v1"));
    const FetchedImage image = archive->Load("", kAmd);
    EXPECT_EQ(image.image().manifest_bytes, SmallImage().ManifestBytes());
    const Descriptor& layer = image.image().manifest.layers.at(0);
    EXPECT_EQ(Digest::Of(Drain(*archive->Open(layer, "layer"), 1 << 20, "layer")), layer.digest);
    EXPECT_EQ(archive->Load(image.image().descriptor.digest.str(), kAmd).image().config.platform, kAmd);
  }
}

TEST_F(OciArchiveTest, EveryTruncationIsCorrupt) {
  Write(Whole());
  ReadWhole();
  for (auto size = static_cast<off_t>(Whole().Build().size()) - 1; size >= 0; --size) {
    ASSERT_EQ(truncate(path().c_str(), size), 0);
    const Error error = CaughtError([&] { ReadWhole(); });
    ASSERT_EQ(error.kind(), ErrorKind::kCorrupt) << size << ": " << error.message();
  }
}

TEST_F(OciArchiveTest, EveryChangedBlobByteIsCorrupt) {
  const std::string tar = Whole().Build();
  for (const auto& [digest, bytes] : SmallImage().Blobs()) {
    std::string changed = tar;
    changed[tar.find(bytes) + bytes.size() / 2] ^= 1;
    std::ofstream(path(), std::ios::binary) << changed;
    EXPECT_EQ(CaughtError([&] { ReadWhole(); }).kind(), ErrorKind::kCorrupt) << digest.str();
  }
}

TEST_F(OciArchiveTest, MissingPartsAreTold) {
  Write(Blobs().File("index.json", Part("index.json")));
  EXPECT_EQ(CaughtError([&] { ReadWhole(); }).kind(), ErrorKind::kNotFound);
  Write(Blobs().File("manifest.json", "[]"));
  EXPECT_THAT(CaughtError([&] { ReadWhole(); }).hint(), HasSubstr("docker-archive:"));
  Write(Blobs().File("oci-layout", Part("oci-layout")));
  EXPECT_EQ(CaughtError([&] { ReadWhole(); }).kind(), ErrorKind::kCorrupt);
  Write(TarBuilder().File("index.json", Part("index.json")).File("oci-layout", Part("oci-layout")));
  EXPECT_EQ(CaughtError([&] { ReadWhole(); }).kind(), ErrorKind::kNotFound);
}

TEST_F(OciArchiveTest, UnknownNameTellsWhatThereIs) {
  Write(Whole());
  const Error error = CaughtError([&] { OciLayout::OpenArchive(path())->Load("v2", kAmd); });
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.hint(), HasSubstr("'v1'"));
}

}  // namespace
}  // namespace gantry::image
