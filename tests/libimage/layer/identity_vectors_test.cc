// The test vectors of gantry-identity(5), in testdata/golden/identity: images as descriptions, and beside each the
// lines, the document and the identity. tests/tools/identity_vectors.sh checks the same files without our code.
#include <gtest/gtest.h>

#include "libimage/base/ascii.h"
#include "libimage/layer/identity.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/listing.h"
#include "libimage/layer/rootfs_digest.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"
#include "tests/support/testdata.h"

namespace gantry::image {
namespace {

using gantry::testing::Cases;
using gantry::testing::ExpectAsInFile;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::ReadText;
using gantry::testing::TarBuilder;

std::vector<std::string> Split(std::string_view text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// "\xHH" is a byte, "-" alone is nothing.
std::string Unescaped(const std::string& text) {
  if (text == "-")
    return {};
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text.compare(i, 2, "\\x") == 0;
    out += escape ? static_cast<char>(std::stoi(text.substr(i + 2, 2), nullptr, 16)) : text[i];
    i += escape ? 3 : 0;
  }
  return out;
}

void AddLink(TarBuilder& tar, const std::vector<std::string>& words) {
  const std::string path = Unescaped(words.at(1));
  if (words[0] == "h")
    tar.HardLink(path, Unescaped(words.at(2)));
  else if (words[0] == "o")
    tar.Opaque(path);
  else
    tar.Whiteout(SplitPath(path).first, SplitPath(path).second);
}

// TYPE MODE UID GID PATH, then by type the content, the target or the device, then extended attributes.
void AddInode(TarBuilder& tar, const std::vector<std::string>& words) {
  const char type = words[0][0];
  const bool has_more = type != 'd' && type != 'p';
  const std::string more = has_more ? words.at(5) : "";
  TarBuilder::Header header{.name = Unescaped(words.at(4)), .type = "05234 6"[std::string("fdlcb p").find(type)]};
  header.mode = static_cast<uint32_t>(std::stoul(words.at(1), nullptr, 8));
  std::string content;
  if (type == 'f')
    content = Unescaped(more);
  else if (type == 'l')
    header.link = Unescaped(more);
  else if (has_more) {
    header.major = ParseDecimal<uint32_t>(Split(more, ',').at(0)).value();
    header.minor = ParseDecimal<uint32_t>(Split(more, ',').at(1)).value();
  }
  header.size = content.size();
  std::vector<std::pair<std::string, std::string>> pax{{"uid", words.at(2)}, {"gid", words.at(3)}};
  for (size_t i = has_more ? 6 : 5; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    pax.emplace_back("SCHILY.xattr." + Unescaped(words[i].substr(0, equals)), Unescaped(words[i].substr(equals + 1)));
  }
  tar.Pax(pax).Entry(header, content);
}

// The image that a description is of: its configuration, then layers, base first.
ImageBuilder Described(const std::string& text) {
  std::vector<TarBuilder> layers;
  json::Value config;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> words = Split(line, ' ');
    if (words[0] == "config")
      config = json::Parse(line.substr(line.find(' ')), "the vector");
    else if (words[0] == "layer")
      layers.emplace_back();
    else if (words.size() <= 3 && words.size() > 1)
      AddLink(layers.back(), words);
    else if (words.size() > 3)
      AddInode(layers.back(), words);
  }
  ImageBuilder image;
  image.Root(*config.object());
  for (const TarBuilder& layer : layers) image.Layer(layer.Build());
  return image;
}

TEST(IdentityVectorsTest, EveryVectorHasItsLinesItsDocumentAndItsIdentity) {
  for (const auto& place : Cases("golden/identity", 12)) {
    SCOPED_TRACE(place);
    const ImageBuilder builder = Described(ReadText(place / "image"));
    const MemoryBlobs blobs(builder);
    const Image image = builder.Build();
    std::string lines;
    const Digest rootfs =
        RootfsDigest(ListTree(image, blobs), [&](std::string_view line) { lines.append(line).append("\n"); });
    const Identity identity = Identity::Compute(image, blobs);
    EXPECT_EQ(identity.rootfs, rootfs);
    ExpectAsInFile(lines, place / "lines");
    ExpectAsInFile(identity.document, place / "document");
    ExpectAsInFile(identity.digest.str() + "\n", place / "identity");
  }
}

}  // namespace
}  // namespace gantry::image
