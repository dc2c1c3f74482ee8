// Hostile archives: of an OCI layout, of what docker save writes, and App Container Images.
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"
#include "tests/tools/hostile_parts.h"

namespace gantry::testing {
namespace {

using image::Compression;
using std::string_literals::operator""s;

// `bytes` makes a whole archive out of a sound layout's files.
HostileKind InArchive(const std::string& name, std::string reason, std::function<std::string(const Files&)> bytes) {
  return {"archive: " + name, std::move(reason), [bytes = std::move(bytes)](const std::string& directory) {
            Dir::Open(directory).WriteFileAtomically(RelPath::Parse("image.tar"), bytes(Layout({})));
            return "oci-archive:" + directory + "/image.tar";
          }};
}

void AddOciArchives(std::vector<HostileKind>& kinds) {
  const auto archive = [&](const std::string& name, std::string reason,
                           std::function<std::string(const Files&)> bytes) {
    kinds.push_back(InArchive(name, std::move(reason), std::move(bytes)));
  };
  archive("empty", "is empty", [](const Files&) { return ""s; });
  const size_t size = Archive(Layout({})).bytes().size();
  for (size_t at = 512; at < size; at += 512) {
    archive("cut at " + std::to_string(at), "the file",
            [at](const Files& files) { return Archive(files).bytes().substr(0, at); });
  }
  archive("without its end", "end marker", [](const Files& files) { return Archive(files).bytes(); });
  archive("two indexes", "second member",
          [](const Files& files) { return Archive(files).File("./index.json", files.at("index.json")).Build(); });
  archive("member of a lying size", "but the file only", [](const Files& files) {
    return Archive(files).Entry({.name = "more", .size = uint64_t{1} << 32}, "short").Build();
  });
  archive("link out of it", "out of the archive",
          [](const Files& files) { return Archive(files).Symlink("blobs/x", "../../etc/passwd").Build(); });
  archive("index that is a loop of links", "circle", [](Files files) {
    files.erase("index.json");
    return Archive(files).Symlink("index.json", "i").Symlink("i", "index.json").Build();
  });
  archive("member with ..", "'..'", [](const Files& files) { return Archive(files).File("../x", "x").Build(); });
  archive("name in two headers", "given twice", [](const Files& files) {
    return Archive(files).Pax({{"path", "index.json"}, {"path", "other"}}).File("a", "x").Build();
  });
  archive("extended header without end", "longer than", [](const Files& files) {
    return Archive(files).Pax({{"comment", std::string(3 << 20, 'x')}}).File("a", "x").Build();
  });
  archive("device for a member", "neither a file",
          [](const Files& files) { return Archive(files).CharDevice("zero", 1, 5).Build(); });
  archive("hundred thousand members", "members", [](const Files& files) {
    return Archive(files).Bytes(Repeated(TarBuilder().Entry({.name = "d/", .type = '5'}).bytes(), 100'001)).Build();
  });
  archive("gzip cut short", "ends early", [](const Files& files) {
    const std::string packed = Compressed(Archive(files).Build(), Compression::kGzip);
    return packed.substr(0, packed.size() / 2);
  });
  archive("gzip bomb", "but the file only",
          [](const Files&) { return Bomb(Compression::kGzip, uint64_t{1} << 36, 100); });
}

// What docker save writes, with one image: manifest.json, its configuration and its layer, by their names.
struct Saved {
  std::string config_name, config, layer_name, layer, list;
};

Saved Sound() {
  Saved saved;
  saved.layer = Bends().tree.Build();
  saved.config = ConfigText(saved.layer);
  saved.config_name = Digest::Of(saved.config).hex() + ".json";
  saved.layer_name = Digest::Of(saved.layer).hex() + ".tar";
  saved.list = R"([{"Config":")" + saved.config_name + R"(","RepoTags":["example.com/a:1"],"Layers":[")" +
               saved.layer_name + R"("]}])";
  return saved;
}

TarBuilder Archive(const Saved& saved) {
  return TarBuilder()
      .File("manifest.json", saved.list)
      .File(saved.config_name, saved.config)
      .File(saved.layer_name, saved.layer);
}

void AddDockerArchives(std::vector<HostileKind>& kinds) {
  const auto archive = [&](std::string name, std::string reason, std::function<std::string(Saved)> bytes) {
    kinds.push_back({"docker archive: " + std::move(name), std::move(reason),
                     [bytes = std::move(bytes)](const std::string& directory) {
                       Dir::Open(directory).WriteFileAtomically(RelPath::Parse("image.tar"), bytes(Sound()));
                       return "docker-archive:" + directory + "/image.tar";
                     }});
  };
  // `bend` one part of it.
  const auto bent = [&](std::string name, std::string reason, std::string Saved::*part, Bend bend) {
    archive(std::move(name), std::move(reason), [part, bend = std::move(bend)](const Saved& saved) {
      Saved bad = saved;
      bend(bad.*part);
      return Archive(bad).Build();
    });
  };
  bent("list cut short", "not JSON", &Saved::list, Cut(50));
  bent("list that is an object", "expected", &Saved::list, Become("{}"));
  bent("list with one member twice", "second member", &Saved::list, Replace("{", R"({"Config":"x",)"));
  bent("list in two letter cases", "letter case", &Saved::list, Replace("{", R"({"config":"x",)"));
  bent("list of layers without end", "than", &Saved::list,
       [](std::string& text) { Replace("\"Layers\":[", "\"Layers\":[" + Repeated("\"x\",", 100'000))(text); });
  bent("configuration outside", "leads out of the archive", &Saved::list, Replace("\"Config\":\"", "\"Config\":\"../"));
  bent("layer outside", "leads out of the archive", &Saved::list, Replace("\"Layers\":[\"", "\"Layers\":[\"../../"));
  bent("layer too many", "layers", &Saved::list, [](std::string& text) {
    const size_t at = text.find("\"Layers\":[") + 10;
    text.insert(at, text.substr(at, text.find(']', at) - at) + ",");
  });
  bent("configuration that is not its name", "has the digest", &Saved::config, Append(" "));
  bent("layer that is not its diff ID", "has digest", &Saved::layer, [](std::string& bytes) { bytes[1024] ^= 1; });
  archive("layer that is a loop of links", "circle", [](const Saved& saved) {
    return TarBuilder()
        .File("manifest.json", saved.list)
        .File(saved.config_name, saved.config)
        .Symlink(saved.layer_name, "l")
        .Symlink("l", saved.layer_name)
        .Build();
  });
  archive("layer that is a link out of it", "out of the archive", [](const Saved& saved) {
    return TarBuilder()
        .File("manifest.json", saved.list)
        .File(saved.config_name, saved.config)
        .Symlink(saved.layer_name, "/etc/passwd")
        .Build();
  });
  archive("two lists", "second member",
          [](const Saved& saved) { return Archive(saved).File("./manifest.json", "[]").Build(); });
  archive("index.json that has another image", "index.json does not list", [](const Saved& saved) {
    Bends other;
    other.tree.File("more", "more");
    TarBuilder both = Archive(saved);
    for (const auto& [name, bytes] : Layout(other)) both.File(name, bytes);
    return both.Build();
  });
  archive("cut short", "the file", [](const Saved& saved) { return Archive(saved).bytes().substr(0, 2000); });
}

// An App Container Image: its manifest, and the archive behind it.
struct Aci {
  std::string manifest;
  TarBuilder tree = TarBuilder().Dir("rootfs").Dir("rootfs/etc").File("rootfs/etc/motd", "hello");

  std::string Tar() const { return TarBuilder().File("manifest", manifest).Bytes(tree.bytes()).Build(); }
};

// `more` are members of its manifest.
Aci AciOf(const std::string& name, const std::string& more = "") {
  return {R"({"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/)" + name +
          R"(","app":{"exec":["/bin/true"],"user":"0","group":"0"})" + more + "}"};
}

std::string DependsOn(const std::string& name) {
  return R"(,"dependencies":[{"imageName":"example.com/)" + name + R"("}])";
}

void AddAcis(std::vector<HostileKind>& kinds) {
  // By name, of which "a.aci" is read.
  const auto several = [&](std::string name, std::string reason, const Files& files) {
    kinds.push_back({"ACI: " + std::move(name), std::move(reason), [=](const std::string& directory) {
                       for (const auto& [file, bytes] : files)
                         Dir::Open(directory).WriteFileAtomically(RelPath::Parse(file), bytes);
                       return "aci:" + directory + "/a.aci";
                     }});
  };
  const auto aci = [&](std::string name, std::string reason, const std::string& tar) {
    several(std::move(name), std::move(reason), {{"a.aci", tar}});
  };
  const auto tree = [&](std::string name, std::string reason, const TarBuilder& more) {
    Aci bad = AciOf("a");
    bad.tree.Bytes(more.bytes());
    aci(std::move(name), std::move(reason), bad.Tar());
  };
  const auto manifest = [&](const std::string& name, std::string reason, const Bend& bend) {
    Aci bad = AciOf("a");
    bend(bad.manifest);
    aci("manifest " + name, std::move(reason), bad.Tar());
  };
  manifest("cut short", "not JSON", Cut(50));
  manifest("with one member twice", "second member", Member(R"("acKind":"ImageManifest")"));
  manifest("in two letter cases", "letter case", Member(R"("Name":"example.com/b")"));
  manifest("of a pod", "acKind", Replace("ImageManifest", "PodManifest"));
  manifest("with a name that is a path", "AC Identifier", Replace("example.com/a", "../../etc"));
  aci("no manifest", "has no 'manifest'", AciOf("a").tree.Build());
  aci("no rootfs", "has no 'rootfs'", TarBuilder().File("manifest", AciOf("a").manifest).Build());
  tree("two manifests", "a second manifest", TarBuilder().File("manifest", AciOf("b").manifest));
  tree("a file beside rootfs", "below 'rootfs'", TarBuilder().File("etc/passwd", "x"));
  tree("a name with ..", "'..'", TarBuilder().File("rootfs/../../etc/passwd", "x"));
  tree("a hard link out of rootfs", "not below 'rootfs'", TarBuilder().HardLink("rootfs/a", "manifest"));
  tree("a path twice", "second entry", TarBuilder().File("rootfs/etc/motd", "other"));
  aci("cut short", "Truncated", AciOf("a").Tar().substr(0, 2000));
  aci("gzip cut short", "ends early", [] {
    const std::string packed = Compressed(AciOf("a").Tar(), Compression::kGzip);
    return packed.substr(0, packed.size() / 2);
  }());
  several("dependencies in a circle", "depends on itself",
          {{"a.aci", AciOf("a", DependsOn("b")).Tar()},
           {"b.aci", AciOf("b", DependsOn("c")).Tar()},
           {"c.aci", AciOf("c", DependsOn("b")).Tar()}});
  Files chain{{"a.aci", AciOf("a", DependsOn("0")).Tar()}};
  for (int i = 0; i < 300; ++i)
    chain[std::to_string(i) + ".aci"] = AciOf(std::to_string(i), DependsOn(std::to_string(i + 1))).Tar();
  several("dependencies without end", "depth of more than", chain);
  several("dependency with another image ID", "image ID",
          {{"a.aci", AciOf("a", R"(,"dependencies":[{"imageName":"example.com/b","imageID":"sha512-)" +
                                    std::string(128, '0') + R"("}])")
                         .Tar()},
           {"b.aci", AciOf("b").Tar()}});
  manifest("whose annotation names another user", "is not about",
           Member(R"("annotations":[{"name":"appc.io/docker/user","value":"admin"}])"));
}

}  // namespace

void AddArchives(std::vector<HostileKind>& kinds) {
  AddOciArchives(kinds);
  AddDockerArchives(kinds);
  AddAcis(kinds);
}

}  // namespace gantry::testing
