#include "libimage/model/media_type.h"

#include <gtest/gtest.h>

namespace gantry::image {
namespace {

TEST(MediaTypeTest, EssenceDropsParametersSpaceAndCase) {
  EXPECT_EQ(Essence(" Application/VND.oci.image.Index.v1+json ; charset=utf-8"), kOciIndexType);
  EXPECT_EQ(Essence("text/plain;x"), "text/plain");
  EXPECT_EQ(Essence(" \t"), "");
  EXPECT_EQ(Essence(";q=1"), "");
}

TEST(MediaTypeTest, KnowsTheKinds) {
  EXPECT_EQ(KindOf(kOciManifestType), TypeKind::kManifest);
  EXPECT_EQ(KindOf(kDockerManifestType), TypeKind::kManifest);
  EXPECT_EQ(KindOf(kOciIndexType), TypeKind::kIndex);
  EXPECT_EQ(KindOf(kDockerListType), TypeKind::kIndex);
  EXPECT_EQ(KindOf(kDockerSchema1Type), TypeKind::kSchema1);
  EXPECT_EQ(KindOf(kDockerSignedSchema1Type), TypeKind::kSchema1);
  EXPECT_EQ(KindOf(kOciConfigType), TypeKind::kConfig);
  EXPECT_EQ(KindOf(kDockerConfigType), TypeKind::kConfig);
  EXPECT_EQ(KindOf(kOciLayerZstdType), TypeKind::kLayer);
  EXPECT_EQ(KindOf(kOciEmptyType), TypeKind::kOther);
  EXPECT_EQ(KindOf("application/json"), TypeKind::kOther);
  EXPECT_EQ(KindOf(""), TypeKind::kOther);
  EXPECT_EQ(KindOf("Application/vnd.docker.distribution.manifest.v2+JSON; charset=utf-8"), TypeKind::kManifest);
}

TEST(MediaTypeTest, TellsTheCompressionOfLayers) {
  EXPECT_EQ(LayerCompression(kOciLayerType), Compression::kNone);
  EXPECT_EQ(LayerCompression(kOciLayerGzipType), Compression::kGzip);
  EXPECT_EQ(LayerCompression(kOciLayerZstdType), Compression::kZstd);
  EXPECT_EQ(LayerCompression(kDockerLayerType), Compression::kNone);
  EXPECT_EQ(LayerCompression(kDockerLayerGzipType), Compression::kGzip);
  EXPECT_EQ(LayerCompression(kDockerLayerZstdType), Compression::kZstd);
  EXPECT_EQ(LayerCompression("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), Compression::kGzip);
  EXPECT_EQ(LayerCompression("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"), Compression::kZstd);
}

TEST(MediaTypeTest, WhatIsNoLayerHasNoCompression) {
  for (const char* type : {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "application/vnd.in-toto+json",
                           "application/vnd.oci.image.layer.v1.tar.gzip", "application/vnd.oci.image.layer.v1.tarball",
                           "application/vnd.docker.image.rootfs.diff.tar+gzip", "application/gzip", ""}) {
    EXPECT_EQ(LayerCompression(type), std::nullopt) << type;
    EXPECT_EQ(KindOf(type), TypeKind::kOther) << type;
  }
}

TEST(MediaTypeTest, KnowsForeignLayers) {
  EXPECT_TRUE(IsForeignLayer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
  EXPECT_TRUE(IsForeignLayer("application/vnd.oci.image.layer.nondistributable.v1.tar"));
  EXPECT_FALSE(IsForeignLayer(kOciLayerGzipType));
  EXPECT_FALSE(IsForeignLayer("application/vnd.oci.image.config.v1+json"));
}

}  // namespace
}  // namespace gantry::image
