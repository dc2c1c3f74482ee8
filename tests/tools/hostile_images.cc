#include "tests/tools/hostile_images.h"

#include <optional>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/model/config.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/oci_layout.h"
#include "tests/tools/hostile_parts.h"

namespace gantry::testing {
namespace {

using image::Compression;
using std::string_literals::operator""s;

std::string WriteLayout(const std::string& directory, const Files& files) {
  const Dir root = Dir::Open(directory);
  for (const auto& [name, bytes] : files) {
    const RelPath path = RelPath::Parse(name);
    const std::optional<RelPath> parent = path.Parent();
    const Dir place = parent ? root.MakeDirs(*parent) : Dir::Open(directory);
    place.WriteFileAtomically(RelPath::Parse(std::string(path.Name())), bytes);
  }
  return "oci:" + directory;
}

HostileKind InLayout(std::string name, std::string reason, Bends bends) {
  return {std::move(name), std::move(reason),
          [bends = std::move(bends)](const std::string& directory) { return WriteLayout(directory, Layout(bends)); }};
}

HostileKind InLayer(const std::string& name, std::string reason, const TarBuilder& tree) {
  return InLayout("layer: " + name, std::move(reason), {.tree = tree});
}

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

// Every document by every bend that JSON can suffer.
void AddDocuments(std::vector<HostileKind>& kinds) {
  struct Document {
    std::string name;
    Bend Bends::*part;
    size_t bound;
  };
  const std::vector<Document> documents{{"manifest", &Bends::manifest, image::kMaxManifestBytes},
                                        {"configuration", &Bends::config, image::kMaxConfigBytes},
                                        {"index", &Bends::index, image::kMaxLayoutIndexBytes},
                                        {"oci-layout", &Bends::layout, 64 * 1024}};
  struct Damage {
    std::string name, reason;
    Bend bend;
  };
  const std::vector<Damage> damages{
      {"cut short", "not JSON", Cut(60)},
      {"empty", "not JSON", Become(" ")},
      {"with bytes behind it", "not JSON", Append("{}")},
      {"a list", "expected an object", Become("[]")},
      {"with one member twice", "a second member", Member(R"("a":1,"a":2)")},
      {"nested without end", "more than 64 levels", Member("\"a\":" + Nested(10'000))},
      {"not UTF-8", "not JSON", Member("\"a\":\"\xff\"")},
      {"of millions of values", "than",
       [](std::string& text) { Member("\"a\":[1" + Repeated(",1", 1'500'000) + "]")(text); }},
  };
  for (const Document& document : documents) {
    for (const Damage& damage : damages) {
      Bends bends;
      bends.*document.part = damage.bend;
      kinds.push_back(InLayout(document.name + ": " + damage.name, damage.reason, bends));
    }
    Bends bends;
    bends.*document.part = [bound = document.bound](std::string& text) { text.resize(bound + 1, ' '); };
    kinds.push_back(InLayout(document.name + ": too large", "than", bends));
  }
}

void AddManifests(std::vector<HostileKind>& kinds) {
  const auto manifest = [&](std::string name, std::string reason, Bend bend) {
    kinds.push_back(InLayout("manifest: " + std::move(name), std::move(reason), {.manifest = std::move(bend)}));
  };
  manifest("an index at once", "tools disagree", Member(R"("manifests":[])"));
  manifest("an index at once, in other letter case", "letter case", Member(R"("Manifests":[])"));
  manifest("schema 1 at once", "tools disagree", Member(R"("fsLayers":[])"));
  manifest("called an index", "contradicts",
           Replace(std::string(image::kOciManifestType), std::string(image::kOciIndexType)));
  manifest("negative size", "expected an integer", Number("size", "-1"));
  manifest("fractional size", "expected an integer", Number("size", "1.5"));
  manifest("size of 2^64", "beyond 64 bits", Number("size", "18446744073709551616"));
  manifest("size of an exbibyte", "expected an integer", Number("size", "1152921504606846976"));
  manifest("no layers member", "'layers' is missing", Replace("\"layers\"", "\"layer\""));
  manifest(
      "a layer too many", "diff",
      Replace("\"layers\":[", R"("layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:)" +
                                  std::string(64, '0') + R"(","size":1},)"));
  manifest("digest that is a path", "digest", Replace("sha256:", "sha256:../../../../etc/passwd"));
  manifest("digest in upper case", "digest", [](std::string& text) {
    for (size_t at = text.find("sha256:") + 7; text[at] != '"'; ++at)
      text[at] = text[at] >= 'a' ? static_cast<char>(text[at] - 32) : text[at];
  });
  manifest("digest too short", "digest", [](std::string& text) { text.erase(text.find("sha256:") + 20, 1); });
  manifest("size of the layer is one less", "longer than its descriptor says", [](std::string& text) {
    const size_t at = text.rfind("\"size\":") + 7;
    text.replace(at, text.find('}', at) - at, std::to_string(std::stoul(text.substr(at)) - 1));
  });
  manifest("size of the layer is one more", "ends after", [](std::string& text) {
    const size_t at = text.rfind("\"size\":") + 7;
    text.replace(at, text.find('}', at) - at, std::to_string(std::stoul(text.substr(at)) + 1));
  });
  manifest("compression that is another", "media type", Replace("tar+gzip", "tar+zstd"));
  manifest("ten thousand layers", "more than 1000 elements", [](std::string& text) {
    const size_t at = text.find("\"layers\":[") + 10;
    const std::string layer = text.substr(at, text.rfind(']') - at);
    for (int i = 0; i < 10'000; ++i) text.insert(at, layer + ",");
  });
}

void AddConfigs(std::vector<HostileKind>& kinds) {
  const auto config = [&](std::string name, std::string reason, Bend bend) {
    kinds.push_back(InLayout("configuration: " + std::move(name), std::move(reason), {.config = std::move(bend)}));
  };
  config("diff ID of another layer", "has digest", [](std::string& text) {
    const size_t at = text.rfind("sha256:") + 7;
    text[at] = text[at] == '0' ? '1' : '0';
  });
  config("diff ID that is a path", "digest", Replace("sha256:", "sha256:../"));
  config("no root file system", "rootfs", Replace("\"rootfs\"", "\"root\""));
  config("NUL in an argument", "NUL", Replace("/bin/true", "/bin/\\u0000true"));
  config("command in two letter cases", "letter case", Replace("\"Cmd\":[", R"("cmd":["x"],"Cmd":[)"));
}

void AddIndexes(std::vector<HostileKind>& kinds) {
  const auto index = [&](std::string name, std::string reason, std::function<void(Files&)> bend) {
    kinds.push_back(InLayout("index: " + std::move(name), std::move(reason), {.files = std::move(bend)}));
  };
  index("nested too deep", "nested more than", [](Files& files) {
    std::string inner = files.at("index.json");
    for (int i = 0; i < 8; ++i) {
      files[BlobName(inner)] = inner;
      inner = IndexText(DescriptorOf(image::kOciIndexType, inner));
    }
    files["index.json"] = inner;
  });
  index("manifest that is called an index", "contradicts", [](Files& files) {
    Replace(std::string(image::kOciManifestType), std::string(image::kOciIndexType))(files.at("index.json"));
  });
  index("index that is called a manifest", "tools disagree", [](Files& files) {
    const std::string inner = files.at("index.json");
    files[BlobName(inner)] = inner;
    files["index.json"] = IndexText(DescriptorOf(image::kOciManifestType, inner));
  });
  index("manifest with layers at the top", "tools disagree",
        [](Files& files) { Member(R"("layers":[])")(files.at("index.json")); });
  index("digest that is a path", "digest",
        [](Files& files) { Replace("sha256:", "sha256:../../../../../etc/")(files.at("index.json")); });
  index("size that lies", "longer than its descriptor says",
        [](Files& files) { Number("size", "7")(files.at("index.json")); });
}

void AddBlobs(std::vector<HostileKind>& kinds) {
  const auto blob = [&](std::string name, std::string reason, const std::function<void(std::string&)>& change,
                        int which) {
    kinds.push_back(InLayout("blob: " + std::move(name), std::move(reason), {.files = [=](Files& files) {
                               // Found by what they are: the layer is compressed, the manifest names a schema, the
                               // configuration a root.
                               for (auto& [path, bytes] : files) {
                                 const int found = !bytes.starts_with('{')                            ? 0
                                                   : bytes.find("schemaVersion") != std::string::npos ? 1
                                                                                                      : 2;
                                 if (path.starts_with("blobs/") && found == which)
                                   change(bytes);
                               }
                             }}));
  };
  const Bend flip = [](std::string& bytes) { bytes[bytes.size() / 2] ^= 1; };
  for (const auto& [which, name] : {std::pair(0, "layer"), {1, "manifest"}, {2, "configuration"}}) {
    blob(std::string(name) + " with one bit changed", which == 0 ? "checksum or length" : "has digest", flip, which);
    blob(std::string(name) + " that goes on", "longer than its descriptor says", Append("more"), which);
    blob(std::string(name) + " cut short", "ends after", Cut(50), which);
  }
}

void AddCompression(std::vector<HostileKind>& kinds) {
  const auto layer = [&](std::string name, std::string reason, Bend bend, Compression kind = Compression::kGzip) {
    kinds.push_back(InLayout("compression: " + std::move(name), std::move(reason),
                             {.compression = kind, .layer = std::move(bend)}));
  };
  constexpr Compression kZstd = Compression::kZstd;
  layer("gzip cut short", "ends early", Cut(70));
  layer("zstd cut short", "ends early", Cut(70), kZstd);
  layer("gzip of a wrong checksum", "checksum or length is wrong",
        [](std::string& bytes) { bytes[bytes.size() - 6] ^= 1; });
  layer("gzip with bytes behind it", "follows the last gzip member", Append("garbage"));
  layer("zstd with bytes behind it", "bad zstd data", Append("garbage"), kZstd);
  layer("gzip of a header without end", "header is too long", [](std::string& bytes) {
    bytes[3] = 8;  // FNAME
    bytes.insert(10, std::string(1 << 20, 'n'));
  });
  layer(
      "zstd of a window of gigabytes", "too much memory",
      [](std::string& bytes) { bytes = "\x28\xb5\x2f\xfd\x00\xb0"s + bytes; }, kZstd);
  layer("gzip bomb that is not what its diff ID says", "has digest",
        [](std::string& bytes) { bytes = Bomb(Compression::kGzip, uint64_t{1} << 36, 100); });
  layer(
      "zstd bomb that is not what its diff ID says", "has digest",
      [](std::string& bytes) { bytes = Bomb(kZstd, uint64_t{1} << 36, 200); }, kZstd);
}

// Archives that cannot be read, whatever is in them.
void AddTars(std::vector<HostileKind>& kinds) {
  const auto layer = [&](const std::string& name, std::string reason, const TarBuilder& tree) {
    kinds.push_back(InLayer(name, std::move(reason), tree));
  };
  const auto cut = [&](std::string name, std::string reason, const std::string& tar) {
    kinds.push_back(InLayout("layer: " + std::move(name), std::move(reason), {.tar = tar}));
  };
  const TarBuilder two = TarBuilder().File("a", std::string(1000, 'a')).File("b", "b");
  cut("bytes that are no archive", "archive", std::string(10'000, 'x'));
  cut("cut in the first header", "archive", two.bytes().substr(0, 300));
  cut("cut in the content", "Truncated", two.bytes().substr(0, 1200));
  cut("cut in the second header", "Truncated", two.bytes().substr(0, 1536 + 100));
  cut("cut in a pax header", "not a tar archive",
      TarBuilder().Pax({{"path", std::string(900, 'p')}}).bytes().substr(0, 1000));
  std::string flipped = two.Build();
  flipped[1536 + 3] ^= 1;
  cut("wrong checksum", "Damaged", flipped);
  layer("size of a file that is not there", "Truncated", TarBuilder().Entry({.name = "a", .size = 1 << 20}, "short"));
  layer("negative size", "negative", TarBuilder().Pax({{"size", "-1"}}).File("a", "1"));
  layer("size of an exbibyte", "bad size", TarBuilder().Pax({{"size", "1152921504606846976"}}).File("a", "1"));
  layer("owner of 33 bits", "bad owner", TarBuilder().Pax({{"uid", "8589934592"}}).File("a", "1"));
  layer("malformed pax record", "malformed pax",
        TarBuilder().Entry({.name = "pax", .type = 'x', .size = 6}, "99 a=b").File("a", "1"));
  layer("endless special headers", "malformed pax",
        TarBuilder().Bytes(Repeated(TarBuilder().Pax({{"comment", "x"}}).bytes(), 5000)).File("a", "1"));
  layer("name of 5000 bytes", "longer than",
        TarBuilder().Pax({{"path", Repeated(std::string(200, 'n') + "/", 25)}}).File("a", "1"));
  layer("component of 300 bytes", "component of more than 255 bytes",
        TarBuilder().Pax({{"path", std::string(300, 'n')}}).File("a", "1"));
  layer("ten thousand extended attributes", "more than 256 extended attributes", [] {
    std::vector<std::pair<std::string, std::string>> many;
    for (int i = 0; i < 10'000; ++i) many.emplace_back("SCHILY.xattr.user." + std::to_string(i), "x");
    return TarBuilder().Pax(many).File("a", "1");
  }());
  layer("extended attribute of a mebibyte", "too large",
        TarBuilder().Pax({{"SCHILY.xattr.user.x", std::string(1 << 20, 'v')}}).File("a", "1"));
  layer("extended attribute with two values", "two values",
        TarBuilder().Pax({{"SCHILY.xattr.user.x", "seen"}, {"LIBARCHIVE.xattr.user.x", "bm90"}}).File("a", "1"));
  layer("sparse file of an exbibyte", "bad size",
        TarBuilder()
            .Pax({{"GNU.sparse.size", "1152921504606846976"}, {"GNU.sparse.numblocks", "0"}, {"GNU.sparse.map", ""}})
            .File("a", ""));
  layer("sparse map beyond the size", "sparse map",
        TarBuilder()
            .Pax({{"GNU.sparse.size", "10"}, {"GNU.sparse.numblocks", "1"}, {"GNU.sparse.map", "100,5"}})
            .File("a", "12345"));
  const std::string map = "2000000\n" + Repeated("0\n0\n", 1'500'000);
  layer("sparse map without end", "headers",
        TarBuilder()
            .Pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "1"}})
            .File("a", map));
}

// Names and links.
void AddTrees(std::vector<HostileKind>& kinds) {
  const auto layer = [&](const std::string& name, std::string reason, const TarBuilder& tree) {
    kinds.push_back(InLayer(name, std::move(reason), tree));
  };
  layer("name with ..", "'..' component", TarBuilder().File("a/../../../etc/passwd", "x"));
  layer("absolute name with ..", "'..' component", TarBuilder().File("/../etc/passwd", "x"));
  layer("root that is a link", "root", TarBuilder().Symlink("./", "/etc").File("passwd", "x"));
  layer("root that is a file", "root", TarBuilder().File(".", "x"));
  layer("loop of links", "symbolic links", TarBuilder().Symlink("a", "b").Symlink("b", "a").File("a/x", "x"));
  layer("file as a directory", "directory", TarBuilder().File("a", "x").File("a/b", "x"));
  layer("path of 600 components", "components", TarBuilder().Pax({{"path", Repeated("d/", 600) + "f"}}).File("a", "x"));
  layer("depth by links", "directories deep", [] {
    const std::string half = Repeated("d/", 300);
    return TarBuilder()
        .Pax({{"path", half}})
        .Dir("x")
        .Pax({{"linkpath", half}})
        .Symlink("s", "x")
        .Pax({{"path", "s/" + half}})
        .Dir("x");
  }());
  layer("hard link out of the image", "'..' component", TarBuilder().HardLink("a", "../../etc/passwd"));
  layer("hard link to a directory", "directory", TarBuilder().Dir("d").HardLink("a", "d"));
  layer("hard link to nothing", "hard link", TarBuilder().HardLink("a", "nowhere"));
  layer("hard links in a circle", "hard link", TarBuilder().HardLink("a", "b").HardLink("b", "a"));
  layer("hard link to the root", "root", TarBuilder().HardLink("a", "."));
  layer("whiteout of nothing", "whiteout", TarBuilder().File(".wh.", ""));
  layer("whiteout of ..", "whiteout", TarBuilder().File(".wh...", ""));
  layer("path through a whiteout", "whiteout", TarBuilder().File(".wh.d/x", ""));
  layer("path through a link that was a file", "directory",
        TarBuilder().File("f", "x").HardLink("l", "f").File("l/x", "x"));
  HostileKind device =
      InLayer("device that overlayfs takes for a whiteout", "0:0", TarBuilder().CharDevice("etc", 0, 0));
  device.renderer_only = true;
  kinds.push_back(device);
  HostileKind major = InLayer("device number that Linux lacks", "device", TarBuilder().CharDevice("d", 5000, 1));
  major.renderer_only = true;
  kinds.push_back(major);
}

}  // namespace

std::vector<HostileKind> HostileKinds() {
  std::vector<HostileKind> kinds;
  AddDocuments(kinds);
  AddManifests(kinds);
  AddConfigs(kinds);
  AddIndexes(kinds);
  AddBlobs(kinds);
  AddCompression(kinds);
  AddTars(kinds);
  AddTrees(kinds);
  AddArchives(kinds);
  return kinds;
}

}  // namespace gantry::testing
