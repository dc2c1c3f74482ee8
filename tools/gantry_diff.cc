// gantry-diff: what differs between two images, in whatever formats they are (gantry-diff(1)).
#include <linux/capability.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/workers.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/difference.h"
#include "libimage/layer/identity.h"
#include "libimage/layer/rootfs_digest.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/tool_main.h"

namespace {

using namespace gantry;
using namespace gantry::tools;
using image::ConfigDifference;
using image::EntryType;
using image::ListedPath;
using image::Listing;
using image::PathDifference;

constexpr int kSame = 0, kDiffer = 1;
constexpr int kOwnFailure = 125;  // in place of ErrorKind::kFailed, which is 1

struct Options {
  CommonOptions common;
  PolicyOptions policy;
  std::array<std::string, 2> images;
  std::string platform;
  bool times = false;
  bool json = false;
};

struct Side {
  std::string name;
  LocalImage local;
  Listing tree;

  const image::Image& image() const { return local.image.image(); }
};

std::string_view NameOf(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return "file";
    case EntryType::kHardLink:
      return "hard link";
    case EntryType::kSymlink:
      return "symbolic link";
    case EntryType::kDirectory:
      return "directory";
    case EntryType::kCharDevice:
      return "character device";
    case EntryType::kBlockDevice:
      return "block device";
    case EntryType::kFifo:
      return "FIFO";
  }
  return "?";
}

std::string Octal(uint32_t mode) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%04o", mode);
  return text.data();
}

std::string PathText(std::string_view path) { return "/" + image::EscapedText(path); }

std::string TimeText(const ListedPath& path) {
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%09u", path.mtime.nanoseconds);
  return std::to_string(path.mtime.seconds) + fraction.data();
}

// What a path is in one way (difference.h). Content is none for people.
struct Way {
  std::string_view name;
  std::string (*text)(const ListedPath&);
};
constexpr std::array kWays = {
    Way{"type", [](const ListedPath& path) { return std::string(NameOf(path.type)); }},
    Way{"mode", [](const ListedPath& path) { return Octal(path.mode); }},
    Way{"owner", [](const ListedPath& path) { return std::to_string(path.uid) + ":" + std::to_string(path.gid); }},
    Way{"size", [](const ListedPath& path) { return std::to_string(path.size); }},
    Way{"target", [](const ListedPath& path) { return image::EscapedText(path.target); }},
    Way{"device",
        [](const ListedPath& path) {
          return std::to_string(path.device_major) + "," + std::to_string(path.device_minor);
        }},
    Way{"link", [](const ListedPath& path) { return PathText(path.first); }},
    Way{"time", TimeText},
};

// "mode 0644 -> 0600, content, xattr user.x".
std::string Describe(const PathDifference& difference) {
  std::string out;
  const auto next = [&](std::string_view text) { out.append(out.empty() ? "" : ", ").append(text); };
  for (const std::string_view name : difference.ways) {
    next(name);
    const auto* way = std::ranges::find(kWays, name, &Way::name);
    if (way != kWays.end())
      out += " " + way->text(*difference.before) + " -> " + way->text(*difference.after);
  }
  for (const std::string_view name : difference.xattrs) next("xattr " + image::EscapedText(name));
  return out;
}

// A path as JSON has it; texts that need not be UTF-8 are escaped as in lines of the identity.
json::Value ToJson(const ListedPath* path, bool times) {
  if (path == nullptr)
    return nullptr;
  json::Object out{{"type", NameOf(path->type)}, {"mode", Octal(path->mode)}, {"uid", path->uid}, {"gid", path->gid}};
  if (path->type == EntryType::kFile) {
    out.Set("size", path->size);
    out.Set("sha256", Digest::FromRaw(HashAlgorithm::kSha256, path->content).hex());
  } else if (path->type == EntryType::kSymlink) {
    out.Set("target", image::EscapedText(path->target));
  } else if (path->type == EntryType::kCharDevice || path->type == EntryType::kBlockDevice) {
    out.Set("major", uint64_t{path->device_major});
    out.Set("minor", uint64_t{path->device_minor});
  }
  if (path->first != path->path)
    out.Set("link", PathText(path->first));
  json::Object xattrs;
  for (const auto& [name, value] : *path->xattrs) xattrs.Set(image::EscapedText(name), image::EscapedText(value));
  if (!xattrs.empty())
    out.Set("xattrs", std::move(xattrs));
  if (times)
    out.Set("time", TimeText(*path));
  return out;
}

json::Value ToJson(const PathDifference& difference, bool times) {
  json::Array ways;
  for (const std::string_view way : difference.ways) ways.emplace_back(way);
  for (const std::string_view name : difference.xattrs) ways.emplace_back("xattr " + image::EscapedText(name));
  const bool added = difference.before == nullptr, removed = difference.after == nullptr;
  return json::Object{{"path", PathText(difference.path)},
                      {"change", added     ? "added"
                                 : removed ? "removed"
                                           : "changed"},
                      {"ways", std::move(ways)},
                      {"before", ToJson(difference.before, times)},
                      {"after", ToJson(difference.after, times)}};
}

json::Value ToJson(const ConfigDifference& difference) {
  json::Object out{{"field", difference.field}};
  if (!difference.name.empty())
    out.Set("name", difference.name);
  out.Set("before", difference.before);
  out.Set("after", difference.after);
  return out;
}

json::Value ToJson(const Side& side) {
  const image::ImageConfig& config = side.image().config;
  return json::Object{{"name", side.name},
                      {"digest", side.image().descriptor.digest.str()},
                      {"identity", image::Identity::Of(config, image::RootfsDigest(side.tree)).digest.str()}};
}

// One difference a line: "+" what only the second has, "-" what only the first has, "~" the rest.
bool PrintText(const Side& before, const Side& after) {
  bool same = true;
  for (const ConfigDifference& difference : CompareConfigs(before.image().config, after.image().config)) {
    same = false;
    const bool added = difference.before.is_null(), removed = difference.after.is_null();
    const std::string name = difference.field + (difference.name.empty() ? "" : " " + difference.name);
    const std::string line = name + ": " + (added ? "" : json::Print(difference.before)) +
                             (added || removed ? "" : " -> ") + (removed ? "" : json::Print(difference.after));
    std::printf("%c config %s\n", added ? '+' : removed ? '-' : '~', Printable(line).c_str());
  }
  CompareTrees(before.tree, after.tree, [&](const PathDifference& difference) {
    same = false;
    const std::string path = PathText(difference.path);
    if (difference.before == nullptr || difference.after == nullptr)
      std::printf("%c %s\n", difference.before == nullptr ? '+' : '-', path.c_str());
    else
      std::printf("~ %s: %s\n", path.c_str(), Describe(difference).c_str());
  });
  return same;
}

// One object, of which nothing waits in memory: a difference a line.
bool PrintJson(const Side& before, const Side& after, bool times) {
  const char* separator = "";
  bool same = true;
  const auto print = [&](const json::Value& difference) {
    std::printf("%s\n%s", std::exchange(separator, ","), json::Print(difference).c_str());
    same = false;
  };
  std::printf("{\"before\":%s,\n\"after\":%s,\n\"config\":[", json::Print(ToJson(before)).c_str(),
              json::Print(ToJson(after)).c_str());
  for (const ConfigDifference& difference : CompareConfigs(before.image().config, after.image().config))
    print(ToJson(difference));
  std::printf("],\n\"paths\":[");
  separator = "";
  CompareTrees(before.tree, after.tree, [&](const PathDifference& difference) { print(ToJson(difference, times)); });
  std::printf("],\n\"same\":%s}\n", same ? "true" : "false");
  return same;
}

image::Confinement Kept(const Options& options) {
  const std::string root = StoreRoot(options.common);
  image::Confinement keep{.read = image::SystemFiles(), .unix_sockets = false, .capabilities = {CAP_DAC_READ_SEARCH}};
  for (const std::string& text : options.images) {
    const image::Reference reference = image::Reference::Parse(text);
    KeepForImage(reference, root, keep);
    if (reference.file() == nullptr)
      keep.write.push_back(root);  // takes a lease
  }
  return keep;
}

// Both at once, each tree in a pass over the layers that checks their diff IDs.
void ReadTrees(const Options& options, std::array<Side, 2>& sides) {
  const auto progress = MakeProgress(options.common);
  RunParallel(sides.size(), ProcessorCount(), [&](size_t i) {
    Side& side = sides[i];
    const image::ProgressBlobs watched(*side.local.blobs, side.image(), progress.get(), side.name);
    side.tree = image::ListTree(side.image(), watched, options.times ? Listing::Times::kKeep : Listing::Times::kForget);
    watched.End();
  });
}

int Diff(const Options& options) {
  const image::Confinement keep = Kept(options);
  if (options.common.print_confinement)
    Confine(options.common, keep);
  std::vector<LocalName> names;
  for (const std::string& text : options.images)
    names.push_back(BringHere(text, options.platform, options.policy, options.common));
  Confine(options.common, keep);
  const auto open = [&](size_t i) {
    return Side{options.images[i],
                OpenLocalImage(names[i], Purpose::kRead, StoreRoot(options.common), options.platform, std::nullopt,
                               sign::RegistriesD()),
                Listing()};
  };
  std::array<Side, 2> sides{open(0), open(1)};
  ReadTrees(options, sides);
  const bool same = options.json ? PrintJson(sides[0], sides[1], options.times) : PrintText(sides[0], sides[1]);
  if (std::fflush(stdout) != 0)
    ThrowErrno("write to standard output");
  return same ? kSame : kDiffer;
}

// 1 says that the images differ and nothing else. Ends here, for what waits for a full disk would fail once more.
[[noreturn]] void ExitFailed(const Error& error) {
  PrintError(error);
  std::exit(kOwnFailure);
}

int Guarded(const std::function<int()>& run) {
  try {
    return run();
  } catch (const ChildFailed& child) {
    return child.exit_code == kDiffer ? kOwnFailure : child.exit_code;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFailed)
      throw;
    ExitFailed(error);
  } catch (const std::exception& error) {
    ExitFailed(Error(ErrorKind::kFailed, error.what()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Show what differs between two images: what they execute, and every path", "gantry-diff");
  Options options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("--platform", options.platform, "os/architecture[/variant] to choose; this machine's by default")
      ->type_name("PLATFORM");
  app.add_flag("--times", options.times, "compare times of modification, too");
  app.add_flag("--json", options.json, "print the differences as JSON");
  app.add_option(
         "A", options.images[0],
         "docker://NAME, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], aci:FILE, store:NAME "
         "or a bare name")
      ->required();
  app.add_option("B", options.images[1], "the same")->required();
  return ToolMain(app, argc, argv, [&] { return Guarded([&] { return Diff(options); }); });
}
