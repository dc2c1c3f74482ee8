// gantry-inspect: shows what an image is (gantry-inspect(1)).
#include <linux/capability.h>

#include <cstdio>
#include <variant>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/convert/artifact_files.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/identity.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"
#include "tools/appc_files.h"
#include "tools/local_image.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/tool_main.h"

namespace {

using namespace gantry;
using namespace gantry::tools;
using image::FetchedImage;
using image::Image;
using image::ImageConfig;
using image::Store;

struct Options {
  CommonOptions common;
  std::string image;
  std::string platform;
  bool json = false;
  bool raw = false;
  bool config = false;
  bool identity = false;
  bool index = false;
};

// An image or an artifact, or of --raw only the bytes that are asked for.
struct Inspected {
  std::string name;
  std::string manifest_bytes;
  std::optional<image::Fetched> fetched = std::nullopt;
  std::string config_bytes = {};  // of --config

  const FetchedImage* image() const { return std::get_if<FetchedImage>(&*fetched); }
};

// Of an artifact it may be anything; what is long is got with gantry convert.
std::string ConfigOf(const image::Fetched& fetched, const image::Blobs& blobs) {
  if (const auto* image = std::get_if<FetchedImage>(&fetched))
    return image->image().config_bytes;
  const image::Descriptor& config = std::get<image::FetchedArtifact>(fetched).artifact.manifest.config;
  if (config.media_type.empty())
    throw Error(ErrorKind::kNotFound, "the artifact has no configuration", "its manifest is shown by --raw");
  const std::string what = "the configuration of the artifact";
  if (config.size > image::kMaxConfigBytes)
    throw Error(ErrorKind::kUnsupported, what + " is over " + std::to_string(image::kMaxConfigBytes) + " bytes");
  return Drain(*blobs.Open(config, what), image::kMaxConfigBytes, what);
}

Inspected FromStore(const Options& options, const std::string& name, bool may_be_remote) {
  const std::string root = StoreRoot(options.common);
  const auto store = Store::OpenReadOnly(root);
  const auto found = store ? store->Resolve(name) : std::nullopt;
  if (!found) {
    throw Error(ErrorKind::kNotFound, "no image " + Quoted(name) + " in the store " + Quoted(root),
                may_be_remote ? "bring it in with: gantry fetch " + name : "gantry store list shows what there is");
  }
  if (options.raw)
    return {found->name, store->ReadBlob(found->descriptor.digest, image::kMaxManifestBytes)};
  image::Fetched fetched = store->LoadAny(*found);
  std::string config = options.config ? ConfigOf(fetched, *store) : std::string();
  return {found->name, {}, std::move(fetched), std::move(config)};
}

Inspected FromFile(const Options& options, const image::FileReference& file) {
  const Local local = OpenLocalFile(file, options.platform);
  const auto* const opened = std::get_if<LocalImage>(&local);
  const auto* const artifact = std::get_if<LocalImages>(&local);
  image::Fetched fetched = opened != nullptr ? image::Fetched(opened->image) : LoadArtifact(*artifact);
  std::string bytes = sign::Judged(fetched).manifest_bytes();
  std::string config =
      options.config ? ConfigOf(fetched, opened != nullptr ? *opened->blobs : *artifact->blobs) : std::string();
  return {options.image, std::move(bytes), std::move(fetched), std::move(config)};
}

Inspected Open(const Options& options, const image::Reference& reference) {
  if (const auto* file = reference.file())
    return FromFile(options, *file);
  if (const auto* docker = reference.docker())
    return FromStore(options, docker->WithDefaultTag().ToString(), true);
  if (const auto* store = reference.store())
    return FromStore(options, store->name, !store->explicitly_store);
  throw Error(ErrorKind::kUnsupported, "inspect does not go to the network for " + Quoted(options.image),
              "it reads the store, oci:, oci-archive:, docker-archive: and aci:");
}

uint64_t TotalBytes(const Image& image) {
  uint64_t bytes = image.manifest_bytes.size() + image.config_bytes.size();
  for (const image::Descriptor& layer : image.manifest.layers) bytes += layer.size;
  return bytes;
}

uint64_t TotalBytes(const image::Artifact& artifact) {
  uint64_t bytes = artifact.manifest_bytes.size();
  for (const image::Descriptor& blob : artifact.manifest.Blobs()) bytes += blob.size;
  return bytes;
}

json::Object DescribeBlob(const image::Descriptor& blob) {
  json::Object out{{"digest", blob.digest.str()}, {"size", blob.size}, {"mediaType", blob.media_type}};
  if (!blob.annotations.empty())
    out.Set("annotations", blob.annotations);
  return out;
}

json::Value ToJson(const std::string& name, const image::FetchedArtifact& fetched) {
  const image::Manifest& manifest = fetched.artifact.manifest;
  json::Array layers;
  for (const image::Descriptor& layer : manifest.layers) layers.emplace_back(DescribeBlob(layer));
  json::Object out{
      {"name", name}, {"digest", fetched.artifact.descriptor.digest.str()}, {"mediaType", manifest.media_type}};
  if (fetched.index)
    out.Set("index", fetched.index->str());
  out.Set("artifactType", manifest.ArtifactType());
  out.Set("size", TotalBytes(fetched.artifact));
  if (manifest.subject)
    out.Set("subject", manifest.subject->digest.str());
  out.Set("annotations", manifest.annotations);
  if (!manifest.config.media_type.empty())
    out.Set("config", DescribeBlob(manifest.config));
  out.Set("layers", std::move(layers));
  return out;
}

json::Value ToJson(const Inspected& inspected) {
  if (const auto* artifact = std::get_if<image::FetchedArtifact>(&*inspected.fetched))
    return ToJson(inspected.name, *artifact);
  const Image& image = inspected.image()->image();
  const ImageConfig& config = image.config;
  json::Array layers;
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const image::Descriptor& layer = image.manifest.layers[i];
    layers.emplace_back(json::Object{{"digest", layer.digest.str()},
                                     {"size", layer.size},
                                     {"mediaType", layer.media_type},
                                     {"diffID", config.diff_ids[i].str()}});
  }
  json::Object out{
      {"name", inspected.name}, {"digest", image.descriptor.digest.str()}, {"mediaType", image.descriptor.media_type}};
  if (inspected.image()->index())
    out.Set("index", inspected.image()->index()->str());
  out.Set("platform", config.platform.ToString());
  out.Set("created", config.created);
  out.Set("author", config.author);
  out.Set("size", TotalBytes(image));
  out.Set("user", config.user);
  out.Set("entrypoint", config.entrypoint);
  out.Set("cmd", config.cmd);
  out.Set("env", config.env);
  out.Set("workingDir", config.working_dir);
  out.Set("stopSignal", config.stop_signal);
  out.Set("ports", config.exposed_ports);
  out.Set("volumes", config.volumes);
  out.Set("labels", config.labels);
  out.Set("annotations", image.manifest.annotations);
  out.Set("config", image.manifest.config.digest.str());
  out.Set("layers", std::move(layers));
  return out;
}

void PrintLine(std::string_view label, const std::string& value) {
  if (!value.empty())
    std::printf("%-12.*s%s\n", static_cast<int>(label.size()), label.data(), Printable(value).c_str());
}

// Arguments as JSON writes them: their borders and blanks stay visible.
void PrintArguments(std::string_view label, const std::vector<std::string>& values) {
  if (!values.empty())
    PrintLine(label, json::Print(values));
}

void PrintEach(std::string_view label, const std::vector<std::string>& values) {
  for (const std::string& value : values)
    PrintLine(&value == values.data() ? label : "", value.empty() ? "\"\"" : value);
}

void PrintEach(std::string_view label, const std::map<std::string, std::string>& values) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : values) lines.push_back(key + "=" + value);
  PrintEach(label, lines);
}

void PrintTable(const std::string& name, const image::FetchedArtifact& fetched) {
  const image::Manifest& manifest = fetched.artifact.manifest;
  PrintLine("Name", name);
  PrintLine("Digest", fetched.artifact.descriptor.digest.str());
  PrintLine("Media type", manifest.media_type);
  if (fetched.index)
    PrintLine("Index", fetched.index->str());
  PrintLine("Artifact", manifest.ArtifactType());
  PrintLine("Size", FormatBytes(TotalBytes(fetched.artifact)));
  if (manifest.subject)
    PrintLine("Subject", manifest.subject->digest.str());
  PrintEach("Annotations", manifest.annotations);
  if (!manifest.config.media_type.empty())
    PrintLine("Config", manifest.config.digest.str() + " " + manifest.config.media_type);
  std::printf("\n");
  Table table({"LAYER", "SIZE", "DIGEST", "MEDIA TYPE", "TITLE"});
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const image::Descriptor& layer = manifest.layers[i];
    const auto title = layer.annotations.find(std::string(image::kTitleAnnotation));
    table.Add({std::to_string(i + 1), FormatBytes(layer.size), layer.digest.str(), layer.media_type,
               title == layer.annotations.end() ? "" : title->second});
  }
  std::fputs(table.ToString().c_str(), stdout);
}

void PrintTable(const Inspected& inspected) {
  if (const auto* artifact = std::get_if<image::FetchedArtifact>(&*inspected.fetched))
    return PrintTable(inspected.name, *artifact);
  const Image& image = inspected.image()->image();
  const ImageConfig& config = image.config;
  PrintLine("Name", inspected.name);
  PrintLine("Digest", image.descriptor.digest.str());
  PrintLine("Media type", image.descriptor.media_type);
  if (inspected.image()->index())
    PrintLine("Index", inspected.image()->index()->str());
  PrintLine("Platform", config.platform.ToString());
  PrintLine("Created", config.created);
  PrintLine("Author", config.author);
  PrintLine("Size", FormatBytes(TotalBytes(image)));
  PrintLine("User", config.user);
  PrintArguments("Entrypoint", config.entrypoint);
  PrintArguments("Cmd", config.cmd);
  PrintLine("Directory", config.working_dir);
  PrintLine("Stop signal", config.stop_signal);
  PrintEach("Env", config.env);
  PrintEach("Ports", config.exposed_ports);
  PrintEach("Volumes", config.volumes);
  PrintEach("Labels", config.labels);
  std::printf("Config      %s\n\n", image.manifest.config.digest.str().c_str());
  Table table({"LAYER", "SIZE", "DIGEST", "DIFF ID", "MEDIA TYPE"});
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const image::Descriptor& layer = image.manifest.layers[i];
    table.Add({std::to_string(i + 1), FormatBytes(layer.size), layer.digest.str(), config.diff_ids[i].str(),
               layer.media_type});
  }
  std::fputs(table.ToString().c_str(), stdout);
}

void PrintBytes(const std::string& bytes) { std::fwrite(bytes.data(), 1, bytes.size(), stdout); }

int PrintIdentity(const Options& options, const image::Reference& reference) {
  const LocalImage local = OpenLocalImage({reference}, Purpose::kRead, StoreRoot(options.common), options.platform,
                                          std::nullopt, sign::RegistriesD());
  const Image& image = local.image.image();
  const auto progress = MakeProgress(options.common);
  const image::ProgressBlobs watched(*local.blobs, image, progress.get(), "identity");
  const auto identity = image::FindIdentity(image, watched, local.store);
  watched.End();
  if (options.json) {
    const json::Object out{{"digest", image.descriptor.digest.str()},
                           {"identity", identity.digest.str()},
                           {"document", json::Parse(identity.document, "the identity")}};
    std::fputs(json::PrintPretty(out).c_str(), stdout);
  } else {
    std::printf("%s\n", identity.digest.str().c_str());
  }
  return 0;
}

// What an entry of an index is, in a word.
std::string KindOfEntry(const image::Descriptor& entry) {
  if (const auto type = entry.annotations.find("vnd.docker.reference.type"); type != entry.annotations.end())
    return type->second;
  if (!entry.artifact_type.empty())
    return entry.artifact_type;
  if (entry.media_type == image::kOciArtifactManifestType)
    return "artifact";
  const image::TypeKind kind = image::KindOf(entry.media_type);
  return kind == image::TypeKind::kManifest ? "image" : kind == image::TypeKind::kIndex ? "index" : entry.media_type;
}

json::Value ToJson(const std::string& name, const image::Descriptor& top, const image::Index& index) {
  json::Array manifests;
  for (const image::Descriptor& entry : index.manifests) {
    manifests.emplace_back(json::Object{{"platform", entry.platform ? entry.platform->ToString() : ""},
                                        {"kind", KindOfEntry(entry)},
                                        {"digest", entry.digest.str()},
                                        {"size", entry.size},
                                        {"mediaType", entry.media_type},
                                        {"annotations", entry.annotations}});
  }
  return json::Object{{"name", name},
                      {"digest", top.digest.str()},
                      {"mediaType", index.media_type},
                      {"annotations", index.annotations},
                      {"manifests", std::move(manifests)}};
}

void PrintTable(const std::string& name, const image::Descriptor& top, const image::Index& index) {
  PrintLine("Name", name);
  PrintLine("Digest", top.digest.str());
  PrintLine("Media type", index.media_type);
  PrintEach("Annotations", index.annotations);
  std::printf("\n");
  Table table({"PLATFORM", "KIND", "DIGEST", "SIZE"});
  for (const image::Descriptor& entry : index.manifests) {
    table.Add({entry.platform ? entry.platform->ToString() : "", KindOfEntry(entry), entry.digest.str(),
               FormatBytes(entry.size)});
  }
  std::fputs(table.ToString().c_str(), stdout);
}

int ShowIndex(const Options& options, const image::Reference& reference) {
  const LocalImages all = OpenLocalImages({reference}, StoreRoot(options.common), sign::RegistriesD());
  if (all.tops.size() != 1) {
    throw Error(ErrorKind::kUsage, Quoted(options.image) + " has " + std::to_string(all.tops.size()) + " images",
                "name one of them");
  }
  const image::Descriptor& top = all.tops.front().descriptor;
  const std::string what = "manifest " + top.digest.str();
  const std::string bytes = Drain(*all.blobs->Open(top, what), image::kMaxManifestBytes, what);
  const image::ManifestOrIndex document = image::ParseManifest(bytes, top.media_type);
  const auto* index = std::get_if<image::Index>(&document);
  if (index == nullptr) {
    throw Error(ErrorKind::kNotFound, Quoted(options.image) + " is one image, and no index leads to it here",
                "leave out --index to see it");
  }
  if (options.raw)
    PrintBytes(bytes);
  else if (options.json)
    std::fputs(json::PrintPretty(ToJson(options.image, top, *index)).c_str(), stdout);
  else
    PrintTable(options.image, top, *index);
  return 0;
}

// A look needs no right to write; to read more than one manifest takes a lease in the store.
image::Confinement Kept(const Options& options, const image::Reference& reference) {
  image::Confinement keep{.read = image::SystemFiles(), .unix_sockets = false, .capabilities = {CAP_DAC_READ_SEARCH}};
  const std::string root = StoreRoot(options.common);
  KeepForImage(reference, root, keep);
  if ((options.identity || options.index) && reference.file() == nullptr)
    keep.write.push_back(root);
  return keep;
}

int Inspect(const Options& options) {
  const image::Reference reference =
      FindFile(image::Reference::Parse(options.image), options.platform, StoreRoot(options.common));
  Confine(options.common, Kept(options, reference));
  if (options.identity)
    return PrintIdentity(options, reference);
  if (options.index)
    return ShowIndex(options, reference);
  const Inspected inspected = Open(options, reference);
  if (options.raw)
    PrintBytes(inspected.manifest_bytes);
  else if (options.config)
    PrintBytes(inspected.config_bytes);
  else if (options.json)
    std::fputs(json::PrintPretty(ToJson(inspected)).c_str(), stdout);
  else
    PrintTable(inspected);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Show what an image is: its digests, layers and configuration; or what an artifact is",
               "gantry-inspect");
  Options options;
  AddCommonOptions(app, options.common);
  app.add_option(
         "IMAGE", options.image,
         "a name or digest in the store, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF] or aci:FILE")
      ->required();
  CLI::Option* platform =
      app.add_option("--platform", options.platform, "of a layout with several, the image for this platform")
          ->type_name("OS/ARCH");
  CLI::Option* json = app.add_flag("--json", options.json, "print all of it as JSON");
  CLI::Option* raw = app.add_flag("--raw", options.raw, "print the bytes of the manifest");
  CLI::Option* config = app.add_flag("--config", options.config, "print the bytes of the configuration");
  app.add_flag("--identity", options.identity, "print the identity, which every packing of the image has; reads it all")
      ->excludes(raw)
      ->excludes(config);
  app.add_flag("--index", options.index, "show the index that leads to the image: its platforms; with --raw its bytes")
      ->excludes(config)
      ->excludes(platform)
      ->excludes("--identity");
  json->excludes(raw)->excludes(config);
  raw->excludes(config);
  return ToolMain(app, argc, argv, [&] { return Inspect(options); });
}
