#include "libimage/model/schema1.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/media_type.h"
#include "tests/support/source_dir.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;

std::string Seed(const std::string& name) {
  return ReadFile(testing::SourceDir() + "/testdata/fuzz/schema1/" + name, 1 << 20);
}

const Digest kA = Digest::Parse("sha256:" + std::string(64, 'a'));
const Digest kB = Digest::Parse("sha256:" + std::string(64, 'b'));

std::vector<Descriptor> Layers() {
  return {{.media_type = std::string(kDockerLayerGzipType), .digest = kA, .size = 10},
          {.media_type = std::string(kDockerLayerGzipType), .digest = kB, .size = 20}};
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Schema1, TheSignatureCoversThePayload) {
  EXPECT_EQ(Schema1::Parse(Seed("signed.json")).payload(), Seed("unsigned.json"));
  EXPECT_EQ(Schema1::Parse(Seed("unsigned.json")).payload(), Seed("unsigned.json"));
  EXPECT_TRUE(IsSchema1(Seed("signed.json"), kDockerSignedSchema1Type));
  EXPECT_TRUE(IsSchema1(Seed("signed.json"), "application/json"));
  EXPECT_FALSE(IsSchema1("{\"schemaVersion\":2}", ""));
  EXPECT_FALSE(IsSchema1(Seed("signed.json"), kOciManifestType));
}

TEST(Schema1, BecomesAnImageOfSchema2) {
  const Schema1 old = Schema1::Parse(Seed("signed.json"));
  EXPECT_EQ(old.Blobs(), (std::vector{kA, kB}));
  const Image image = old.ToImage(Layers(), {kB, kA});
  EXPECT_EQ(image.manifest.media_type, kDockerManifestType);
  EXPECT_EQ(image.manifest.layers, Layers());
  EXPECT_EQ(image.config.diff_ids, (std::vector{kB, kA}));
  EXPECT_EQ(image.config.cmd, std::vector<std::string>{"/bin/sh"});
  EXPECT_EQ(image.config.env, std::vector<std::string>{"A=b"});
  EXPECT_EQ(image.config.platform, (Platform{"linux", "amd64", "", ""}));
  const std::vector<HistoryEntry> history = {{"2015-01-01T00:00:00Z", "amy", "", "base", false},
                                             {"2015-01-02T00:00:00Z", "", "ENV A=b", "", true},
                                             {"2015-01-03T00:00:00Z", "", "/bin/sh -c make it", "", false}};
  EXPECT_EQ(image.config.history, history);
  EXPECT_EQ(image.config_bytes.find("\"parent\""), std::string::npos);
  EXPECT_EQ(old.ToImage(Layers(), {kB, kA}).manifest_bytes, image.manifest_bytes);
}

TEST(Schema1, RefusesWhatContradictsItself) {
  const std::string plain = Seed("unsigned.json");
  const std::string sealed = Seed("signed.json");
  const auto with_protected = [&](const std::string& header) {
    const size_t at = sealed.find("\"protected\": \"") + 14;
    return sealed.substr(0, at) + EncodeBase64(header) + sealed.substr(sealed.find('"', at));
  };
  const std::string bad[] = {
      Replaced(plain, "\"schemaVersion\": 1", "\"schemaVersion\": 2"),
      Replaced(plain, "\"name\"", "\"config\""),
      Replaced(plain, "{\"blobSum\": \"" + kA.str() + "\"}, ", ""),
      Replaced(plain, "\"fsLayers\": [", "\"fsLayers\": [{\"blobSum\": \"sha256:../../x\"}, "),
      Replaced(plain, "{\"v1Compatibility\": \"{", "{\"v1Compatibility\": \"[{"),
      Replaced(sealed, "\"signatures\": [", "\"signatures\": [{}, "),
      sealed.substr(0, sealed.find("\"signatures\"")) + "\"signatures\": []}",
      with_protected("{\"formatLength\":99999999,\"formatTail\":\"\"}"),
      with_protected("{\"formatLength\":-1,\"formatTail\":\"\"}"),
      with_protected("{\"formatLength\":10,\"formatTail\":\"Cn0\"}"),
      with_protected("{\"formatTail\":\"Cn0\"}"),
      Replaced(sealed, "\"protected\": \"", "\"protected\": \"*"),
      "{}",
  };
  for (const std::string& text : bad)
    EXPECT_EQ(CaughtError([&] { Schema1::Parse(text); }).kind(), ErrorKind::kCorrupt) << text;
}

}  // namespace
}  // namespace gantry::image
