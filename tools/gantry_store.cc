// gantry-store: looks into the local store and cleans it (gantry-store(1)).
#include <linux/capability.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <variant>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/message.h"
#include "libimage/store/store.h"
#include "libsign/judged.h"
#include "runner/userns.h"
#include "tools/progress.h"
#include "tools/store_aci.h"
#include "tools/table.h"
#include "tools/tool_main.h"

namespace {

using namespace gantry;
using namespace gantry::tools;
using image::Store;

constexpr size_t kMaxReportBytes = 64 * 1024;

struct Options {
  CommonOptions common;
  bool json = false;
  std::vector<std::string> names;
  bool all = false;
  bool dry_run = false;
  std::string grace;
};

std::unique_ptr<Store> OpenForReading(const Options& options) { return Store::OpenReadOnly(StoreRoot(options.common)); }

// What a verb that changes the store opens: it does not make one only to find it empty.
std::unique_ptr<Store> OpenExisting(const Options& options) {
  const std::string root = StoreRoot(options.common);
  return Store::OpenReadOnly(root) == nullptr ? nullptr : Store::Open(root);
}

[[noreturn]] void ThrowNoImage(const std::string& name, const std::string& root) {
  throw Error(ErrorKind::kNotFound, "no image " + Quoted(name) + " in the store " + Quoted(root),
              "gantry store list shows what there is");
}

void PrintJson(const json::Value& value) { std::fputs(json::PrintPretty(value).c_str(), stdout); }

const image::Manifest& ManifestOf(const image::Fetched& fetched) {
  const auto* image = std::get_if<image::FetchedImage>(&fetched);
  return image != nullptr ? image->image().manifest : std::get<image::FetchedArtifact>(fetched).artifact.manifest;
}

// Of its configuration and layers; 0 when the manifest cannot be read, which check tells more about.
uint64_t ImageBytes(const Store& store, const image::StoredName& name) {
  try {
    const image::Fetched loaded = store.LoadAny(name);
    uint64_t bytes = sign::Judged(loaded).manifest_bytes().size();
    for (const image::Descriptor& blob : ManifestOf(loaded).Blobs()) bytes += blob.size;
    return bytes;
  } catch (const Error&) {
    return 0;
  }
}

json::Object ListedObject(const Store& store, const image::StoredName& name) {
  json::Object out{{"name", name.name}, {"digest", name.descriptor.digest.str()}, {"size", ImageBytes(store, name)}};
  if (name.descriptor.platform)
    out.Set("platform", name.descriptor.platform->ToString());
  if (!name.descriptor.artifact_type.empty())
    out.Set("artifactType", name.descriptor.artifact_type);
  if (const auto by = name.descriptor.annotations.find("gantry.vouched-by"); by != name.descriptor.annotations.end())
    out.Set("vouchedBy", by->second);
  return out;
}

int List(const Options& options) {
  const auto store = OpenForReading(options);
  const std::vector<image::StoredName> names = store ? store->List() : std::vector<image::StoredName>();
  const std::vector<StoredAci> acis = StoredAcis(StoreRoot(options.common)).List();
  if (options.json) {
    json::Array out;
    for (const image::StoredName& name : names) out.emplace_back(ListedObject(*store, name));
    for (const StoredAci& aci : acis) out.emplace_back(aci.ToJson());
    PrintJson(out);
    return 0;
  }
  // For scripts and completion: names alone.
  if (options.common.quiet) {
    for (const image::StoredName& name : names) std::printf("%s\n", Printable(name.name).c_str());
    for (const StoredAci& aci : acis) std::printf("%s\n", Printable(aci.name()).c_str());
    return 0;
  }
  Table table({"NAME", "DIGEST", "PLATFORM", "SIZE"});
  for (const image::StoredName& name : names) {
    table.Add({name.name, name.descriptor.digest.hex().substr(0, 12),
               name.descriptor.platform                ? name.descriptor.platform->ToString()
               : name.descriptor.artifact_type.empty() ? "-"
                                                       : name.descriptor.artifact_type,
               FormatBytes(ImageBytes(*store, name))});
  }
  for (const StoredAci& aci : acis) table.Add({aci.name(), "-", aci.platform(), FormatBytes(aci.bytes)});
  std::fputs(table.ToString().c_str(), stdout);
  return 0;
}

json::Object ShownObject(const Store& store, const image::StoredName& name) {
  const image::Fetched loaded = store.LoadAny(name);
  const auto* const fetched = std::get_if<image::FetchedImage>(&loaded);
  const image::Manifest& manifest = ManifestOf(loaded);
  json::Object out = ListedObject(store, name);
  out.Set("mediaType", manifest.media_type);
  if (!manifest.config.media_type.empty())
    out.Set("config", manifest.config.digest.str());
  json::Array layers;
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const image::Descriptor& layer = manifest.layers[i];
    json::Object one{{"digest", layer.digest.str()}, {"size", layer.size}};
    if (fetched != nullptr)
      one.Set("diffID", fetched->image().config.diff_ids[i].str());
    one.Set("present", store.HasBlob(layer.digest));
    if (fetched != nullptr)
      one.Set("rendered", store.RenderedLayer(fetched->image().config.diff_ids[i], "").has_value());
    layers.emplace_back(std::move(one));
  }
  out.Set("layers", std::move(layers));
  out.Set("signatures", static_cast<uint64_t>(store.Signatures(sign::Judged(loaded).descriptor().digest).size()));
  return out;
}

void PrintLine(const char* label, const std::string& value) {
  std::printf("%-12s%s\n", label, Printable(value).c_str());
}

void PrintShownAci(const json::Object& shown) {
  const json::Cursor aci(*shown.Find("manifest"), "manifest");
  PrintLine("Name", *shown.Find("name")->string());
  PrintLine("File", *shown.Find("file")->string());
  PrintLine("Image ID", *shown.Find("imageID")->string());
  PrintLine("Called", aci.At("name").String());
  PrintLine("Signature", json::Cursor(*shown.Find("signed"), "signed").Bool() ? "beside it" : "none");
  PrintLine("Size", FormatBytes(json::Cursor(*shown.Find("size"), "size").Unsigned(UINT64_MAX)));
}

void PrintShown(const json::Object& shown) {
  if (shown.Find("manifest") != nullptr)
    return PrintShownAci(shown);
  const auto line = PrintLine;
  const auto text = [&](const char* key) {
    const json::Value* value = shown.Find(key);
    return value == nullptr ? std::string("-") : *value->string();
  };
  line("Name", text("name"));
  line("Digest", text("digest"));
  line("Media type", text("mediaType"));
  if (shown.Find("artifactType") != nullptr)
    line("Artifact", text("artifactType"));
  else
    line("Platform", text("platform"));
  line("Vouched by", text("vouchedBy"));
  line("Signatures", json::Print(*shown.Find("signatures")));
  line("Config", text("config"));
  line("Size", FormatBytes(json::Cursor(*shown.Find("size"), "size").Unsigned(UINT64_MAX)));
  std::printf("Layers\n");
  Table table({"  DIGEST", "SIZE", "RENDERED"});
  for (const json::Value& value : *shown.Find("layers")->array()) {
    const json::Cursor layer(value, "layer");
    table.Add({"  " + layer.At("digest").String(),
               layer.At("present").Bool() ? FormatBytes(layer.At("size").Unsigned(UINT64_MAX)) : "missing",
               !layer.Find("rendered")       ? "-"
               : layer.At("rendered").Bool() ? "yes"
                                             : "no"});
  }
  std::fputs(table.ToString().c_str(), stdout);
}

int Show(const Options& options) {
  const auto store = OpenForReading(options);
  json::Array out;
  const StoredAcis acis(StoreRoot(options.common));
  for (const std::string& name : options.names) {
    if (const auto aci = acis.Find(name)) {
      out.emplace_back(acis.Show(*aci));
      continue;
    }
    const auto found = store ? store->Resolve(name) : std::nullopt;
    if (!found)
      ThrowNoImage(name, StoreRoot(options.common));
    out.emplace_back(ShownObject(*store, *found));
  }
  if (options.json) {
    PrintJson(out);
    return 0;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (i > 0)
      std::printf("\n");
    PrintShown(*out[i].object());
  }
  return 0;
}

int Remove(const Options& options) {
  if (options.all != options.names.empty())
    throw Error(ErrorKind::kUsage, options.all ? "give names or --all, not both" : "no name given",
                "see 'gantry-store rm --help'");
  const auto store = OpenExisting(options);
  const StoredAcis acis(StoreRoot(options.common));
  std::vector<std::string> names;
  std::vector<StoredAci> files;
  if (options.all)
    files = acis.List();
  if (options.all && store) {
    for (const image::StoredName& name : store->List()) names.push_back(name.name);
  }
  // All are looked up before the first is removed: a typing error removes nothing.
  for (const std::string& name : options.names) {
    if (const auto aci = acis.Find(name)) {
      files.push_back(*aci);
      continue;
    }
    const auto found = store ? store->Resolve(name) : std::nullopt;
    if (!found)
      ThrowNoImage(name, StoreRoot(options.common));
    names.push_back(found->name);
  }
  json::Array removed;
  for (const std::string& name : names) {
    if (store->RemoveName(name))
      removed.emplace_back(name);
  }
  for (const StoredAci& aci : files) {
    acis.Remove(aci);
    removed.emplace_back(aci.name());
  }
  if (options.json) {
    PrintJson(json::Object{{"removed", removed}});
  } else {
    for (const json::Value& name : removed) std::printf("%s\n", Printable(*name.string()).c_str());
  }
  return 0;
}

int Collect(const Options& options) {
  const auto store = OpenExisting(options);
  const image::CollectOptions how{.dry_run = options.dry_run,
                                  .keep_seconds = options.grace.empty() ? 0 : ParseSeconds(options.grace)};
  image::CollectResult result = store ? store->Collect(how) : image::CollectResult{};
  const StoredAcis acis(StoreRoot(options.common));
  result.leftovers += options.dry_run ? acis.Leftovers().size() : acis.RemoveLeftovers();
  if (options.json) {
    PrintJson(json::Object{{"dryRun", options.dry_run},
                           {"blobs", result.blobs},
                           {"bytes", result.bytes},
                           {"layers", result.layers},
                           {"signatures", result.signatures},
                           {"identities", result.identities},
                           {"leftovers", result.leftovers}});
    return 0;
  }
  std::printf("%s %" PRIu64 " blobs (%s), %" PRIu64 " rendered layers, evidence of %" PRIu64 " images, %" PRIu64
              " leftovers\n",
              options.dry_run ? "would remove" : "removed", result.blobs, FormatBytes(result.bytes).c_str(),
              result.layers, result.signatures, result.leftovers);
  return 0;
}

int Check(const Options& options) {
  const auto store = OpenForReading(options);
  auto problems = store ? store->Check() : std::vector<image::StoreProblem>();
  auto leftovers = store ? store->Leftovers() : std::vector<std::string>();
  const StoredAcis acis(StoreRoot(options.common));
  for (image::StoreProblem& problem : acis.Check()) problems.push_back(std::move(problem));
  for (std::string& path : acis.Leftovers()) leftovers.push_back(std::move(path));
  if (options.json) {
    json::Array list;
    for (const image::StoreProblem& problem : problems)
      list.emplace_back(json::Object{{"what", problem.what}, {"why", problem.why}});
    PrintJson(json::Object{{"sound", problems.empty()}, {"problems", std::move(list)}, {"leftovers", leftovers}});
  } else {
    for (const image::StoreProblem& problem : problems)
      std::printf("%s: %s\n", Printable(problem.what).c_str(), Printable(problem.why).c_str());
    for (const std::string& path : leftovers) std::printf("%s: left by a dead process\n", Printable(path).c_str());
  }
  if (!problems.empty()) {
    throw Error(ErrorKind::kCorrupt,
                "the store " + Quoted(StoreRoot(options.common)) + " has " + std::to_string(problems.size()) +
                    (problems.size() == 1 ? " problem" : " problems"),
                "remove the files that are wrong from the store, then fetch their images again");
  }
  if (!options.json)
    std::printf("sound%s\n", leftovers.empty() ? "" : "; gantry store gc removes the leftovers");
  return 0;
}

// Verbs that only look cannot write anywhere. What a collection removes may belong to users of images.
void ConfineTo(const Options& options, bool writes) {
  image::Confinement keep{.read = image::SystemFiles(), .unix_sockets = false, .capabilities = {CAP_DAC_READ_SEARCH}};
  if (writes) {
    keep.write = {StoreRoot(options.common)};
    keep.capabilities = {CAP_DAC_OVERRIDE, CAP_FOWNER};
  } else {
    keep.read.push_back(StoreRoot(options.common));
  }
  Confine(options.common, keep);
}

// Rendered layers of an ordinary user may have files of that user's range of ids, which only the root of the user
// namespace can remove. Confinement comes after, for the helpers that write the map need their set-user-ID bit.
int CollectAsOwnerOfAll(Options options) {
  options.common.root = StoreRoot(options.common);  // of this user: inside, everyone is root
  const std::optional<runner::IdMap> map = geteuid() == 0 ? std::nullopt : std::optional(runner::PlanIdMap());
  const auto collect = [&] {
    ConfineTo(options, true);
    return Collect(options);
  };
  if (!map || map->single() || options.common.print_confinement)
    return collect();
  Pipe report = MakePipe();
  const ExitStatus status = runner::RunInUserNamespace(*map, [&] {
    int code = 0;
    const int failed = ReportErrors(report.write.get(), [&] { code = collect(); });
    return std::fflush(stdout) == 0 && failed == 0 ? code : static_cast<int>(ErrorKind::kFailed);
  });
  report.write.Reset();
  ReceiveMessage(report.read.get(), {3, kMaxReportBytes, "the process that collects"});
  return status.code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("List, show, remove, check and clean images of the local store", "gantry-store");
  app.require_subcommand(1);
  app.fallthrough();
  Options options;
  AddCommonOptions(app, options.common);
  app.add_flag("--json", options.json, "print JSON");
  CLI::App* list = app.add_subcommand("list", "print images, a line each; with -q their names alone");
  CLI::App* show = app.add_subcommand("show", "print what the store has of an image");
  show->add_option("NAME", options.names, "a name, a digest or the beginning of one")->required();
  CLI::App* remove = app.add_subcommand("rm", "remove names; gc then frees their space");
  remove->add_option("NAME", options.names, "a name, a digest or the beginning of one");
  remove->add_flag("--all", options.all, "remove all names");
  CLI::App* collect = app.add_subcommand("gc", "remove what no name, running program or pod needs");
  collect->add_flag("-n,--dry-run", options.dry_run, "print what would be removed, and remove nothing");
  collect->add_option("--grace", options.grace, "spare what is younger: 90, 90s, 10m, 12h or 7d")->type_name("TIME");
  app.add_subcommand("check", "hash every blob and prove the store sound; exit 5 when it is not");
  return ToolMain(app, argc, argv, [&] {
    if (collect->parsed())
      return CollectAsOwnerOfAll(options);
    ConfineTo(options, remove->parsed());
    if (list->parsed())
      return List(options);
    if (show->parsed())
      return Show(options);
    if (remove->parsed())
      return Remove(options);
    return Check(options);
  });
}
