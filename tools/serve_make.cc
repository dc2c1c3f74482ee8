#include "tools/serve_make.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/process.h"
#include "libimage/convert/convert.h"
#include "libimage/model/manifest.h"
#include "libimage/store/store.h"
#include "libsign/verify.h"
#include "tools/arriving_blobs.h"
#include "tools/local_image.h"
#include "tools/network_child.h"
#include "tools/remote_image.h"

namespace gantry::tools {
namespace {

using serve::Answer;
using serve::Order;
using serve::Record;

constexpr size_t kMaxOutput = 64 * 1024 * 1024;  // of another program: the tags of a repository, at most
constexpr size_t kMaxComplaint = 64 * 1024;

std::string StoreDir(const MakeOptions& options) { return options.directory + "/" + std::string(serve::kStoreDir); }

image::DockerReference Upstream(const Order& order, const MakeOptions& options) {
  auto name = options.upstreams.Find(order.name, order.reference);
  if (!name)
    throw Error(ErrorKind::kNotFound, "there is no upstream for " + Quoted(order.name));
  return *std::move(name);
}

// What a program said last about why it failed: "NAME: message", and a line with what to do.
Error ComplaintOf(const std::string& program, int exit_code, std::string_view said) {
  const std::string head = program + ": ";
  std::string message = program + " ended with exit code " + std::to_string(exit_code);
  std::string hint;
  for (size_t at = 0; at < said.size();) {
    const size_t end = std::min(said.find('\n', at), said.size());
    const std::string_view line = said.substr(at, end - at);
    if (line.starts_with(head)) {
      message = line.substr(head.size());
      hint.clear();
    } else if (line.starts_with("  ")) {
      hint = Trimmed(line);
    }
    at = end + 1;
  }
  const bool known = exit_code >= static_cast<int>(ErrorKind::kFailed) &&
                     exit_code <= static_cast<int>(ErrorKind::kUnsupported) &&
                     exit_code != static_cast<int>(ErrorKind::kUsage);
  return {known ? static_cast<ErrorKind>(exit_code) : ErrorKind::kFailed, message, hint};
}

// Runs a program of ours; what it prints.
std::string RunTool(const std::string& program, std::vector<std::string> arguments) {
  const UniqueFd said(memfd_create("stderr", MFD_CLOEXEC));
  if (!said || dup2(said.get(), STDERR_FILENO) < 0)
    ThrowErrno("keep what " + program + " says");
  arguments.insert(arguments.begin(), Sibling(program));
  const Captured captured = RunCaptured(arguments, {}, kMaxOutput);
  if (captured.status.code != 0) {
    std::string text(kMaxComplaint, '\0');
    text.resize(ReadFullAt(said.get(), 0, std::as_writable_bytes(std::span(text)), program));
    throw ComplaintOf(program, captured.status.code, text);
  }
  return captured.output;
}

void Append(std::vector<std::string>& to, std::vector<std::string> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// --- App Container Images ---

// One image, from the first question to its last byte.
class AciMaker {
 public:
  AciMaker(const Order& order, const MakeOptions& options, int channel)
      : order_(order),
        options_(options),
        channel_(channel),
        name_(Upstream(order, options)),
        new_(Dir::Open(options.directory + "/" + std::string(serve::kNewDir))) {
    options_.common.root = StoreDir(options);
    options_.common.quiet = true;
  }

  void Run() {
    store_ = image::Store::Open(options_.common.root);
    RemoteImage remote =
        RemoteImage::Ask(name_, order_.platform, options_.registries, options_.policy, options_.common);
    const sign::Policy policy = options_.policy.insecure_image()
                                    ? sign::Policy::AcceptAnything("--insecure-options=image")
                                    : sign::Policy::Load(Given(options_.policy.policy_path));
    const auto registries = sign::RegistriesD::Load(Given(options_.registries));
    image::Confinement keep = DecisionConfinement(policy, registries);
    keep.write.insert(keep.write.end(), {options_.common.root, new_.name()});
    Confine(options_.common, keep);
    const image::FetchedImage fetched = remote.KeepIn(*store_).image();
    const sign::Evidence evidence = remote.Gather(policy, registries);
    const image::VerifiedImage verified = sign::Verifier::Verify(fetched, policy, evidence);
    record_.source = verified.image().descriptor.digest.str();
    record_.unchanged = record_.source == order_.known;
    if (!record_.unchanged)
      Convert(verified, remote);
    // Not before its layers have come: else it would keep from us what there was before.
    if (verified.accepted())
      store_->NoteAccepted(*verified.accepted());
    SendMessage(channel_, Answer{Answer::Kind::kDone, order_.id, record_.ToJson()}.ToMessage());
  }

 private:
  void Convert(const image::VerifiedImage& verified, RemoteImage& remote) {
    SendMessage(channel_, Answer{Answer::Kind::kBegun, order_.id, record_.source}.ToMessage());
    ArrivingBlobs blobs(store_, [&remote] { remote.FetchBlobs(); });
    const int code = ReportErrors(channel_, [&] {
      try {
        WriteAci(verified, blobs);
      } catch (const Error& error) {
        if (!blobs.MayExplain(error))
          throw;
        WriteAci(verified, blobs);
      }
    });
    if (code != 0)
      _exit(code);  // and what still fetches dies with this process
    remote.Release();
  }

  void WriteAci(const image::VerifiedImage& verified, const ArrivingBlobs& blobs) {
    image::AciOptions how{.naming = image::AciNaming::For(name_), .threads = options_.threads};
    how.naming.name = options_.host + "/" + order_.name;
    const image::AciResult result = image::ConvertToAci(
        verified, blobs, [this] { return OpenOutput(); }, how);
    blobs.Finish();
    record_.size = result.bytes;
    record_.image_id = "sha512-" + result.image_id.hex();
    record_.digest = hasher_->Finish().str();
  }

  // Somebody may have read the first file already, so that one which begins again has another one.
  std::unique_ptr<Sink> OpenOutput() {
    if (output_) {
      SendMessage(channel_, Answer{Answer::Kind::kAgain, order_.id, {}}.ToMessage());
      record_.file = 1;
    }
    const RelPath path = RelPath::Parse(std::to_string(order_.id) + "." + std::to_string(record_.file));
    output_ = new_.OpenBeneath(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    file_ = FdSink(output_->get(), "the image");
    hasher_.emplace();
    return TapSink(*file_, [this](std::span<const std::byte> bytes) { hasher_->Update(bytes); });
  }

  const Order& order_;
  MakeOptions options_;
  int channel_;
  image::DockerReference name_;
  Dir new_;
  std::shared_ptr<image::Store> store_;
  std::optional<UniqueFd> output_;
  std::unique_ptr<Sink> file_;
  std::optional<Hasher> hasher_;
  Record record_;
};

// --- Images of the distribution protocol ---

// Where a walk finds documents.
struct Place {
  std::function<bool(const Digest&)> has;
  std::function<std::string(const Digest&)> read;  // a manifest that is there
  std::function<std::vector<image::Descriptor>(const Digest&)> referrers;
};

Place InStore(const image::Store& store) {
  return {[&store](const Digest& digest) { return store.HasBlob(digest); },
          [&store](const Digest& digest) { return store.ReadBlob(digest, image::kMaxManifestBytes); },
          [&store](const Digest& subject) { return store.Referrers(subject); }};
}

// `layout` is borrowed.
Place InLayout(const Dir& layout) {
  const auto path = [](const Digest& digest) {
    return RelPath::Parse("blobs/" + std::string(Name(digest.algorithm())) + "/" + digest.hex());
  };
  return {[&layout, path](const Digest& digest) { return layout.Exists(path(digest)); },
          [&layout, path](const Digest& digest) { return layout.ReadFile(path(digest), image::kMaxManifestBytes); },
          [](const Digest&) { return std::vector<image::Descriptor>(); }};
}

// All that a digest leads to, as far as it is there.
class Walk {
 public:
  Walk(const Place& place, Record& into) : place_(place), into_(into) {}

  void Visit(const image::Descriptor& manifest, size_t depth = 0) {
    if (depth > image::kMaxIndexDepth || !place_.has(manifest.digest) || !seen_.insert(manifest.digest).second)
      return;
    const std::string bytes = place_.read(manifest.digest);
    const image::ManifestOrIndex parsed = image::ParseManifest(bytes, manifest.media_type);
    if (const auto* index = std::get_if<image::Index>(&parsed)) {
      into_.manifests.push_back(Described(manifest, index->media_type, bytes.size()));
      for (const image::Descriptor& child : index->manifests) VisitEntry(child, depth + 1);
    } else {
      const auto& one = std::get<image::Manifest>(parsed);
      into_.manifests.push_back(Described(manifest, one.media_type, bytes.size()));
      AddBlob(one.config);
      for (const image::Descriptor& layer : one.layers) AddBlob(layer);
    }
    VisitReferrers(manifest.digest, depth);
  }

 private:
  // What is not listed as a manifest nobody was asked about as one.
  void VisitEntry(const image::Descriptor& entry, size_t depth) {
    const image::TypeKind kind = image::KindOf(entry.media_type);
    if (kind == image::TypeKind::kManifest || kind == image::TypeKind::kIndex)
      Visit(entry, depth);
    else
      AddBlob(entry);
  }

  static image::Descriptor Described(const image::Descriptor& manifest, const std::string& type, size_t size) {
    return {.media_type = type, .digest = manifest.digest, .size = size};
  }

  void AddBlob(const image::Descriptor& blob) {
    if (place_.has(blob.digest) && seen_.insert(blob.digest).second)
      into_.blobs.push_back({.media_type = blob.media_type, .digest = blob.digest, .size = blob.size});
  }

  void VisitReferrers(const Digest& subject, size_t depth) {
    std::vector<image::Descriptor> list = place_.referrers(subject);
    if (list.empty())
      return;
    for (const image::Descriptor& referrer : list) Visit(referrer, depth + 1);
    into_.referrers.push_back({subject, std::move(list)});
  }

  const Place& place_;
  Record& into_;
  std::set<Digest> seen_;
};

struct Stored {
  Digest top;
  std::string manifest_type;  // of the image for this machine
};

// What the store has by that name. A process of its own reads it, which has nothing but the store: strangers wrote it.
Stored LookAt(const std::string& stored_as, const MakeOptions& options) {
  constexpr std::string_view kWho = "the process that reads the store";
  auto [channel, process] = ForkOverSocket([&](int ours) {
    return ReportErrors(ours, [&] {
      Confine(options.common, {.read = {StoreDir(options)}});
      const auto store = image::Store::OpenReadOnly(StoreDir(options));
      const auto found = store ? store->Resolve(stored_as) : std::nullopt;
      if (!found)
        throw Error(ErrorKind::kFailed, Quoted(stored_as) + " went out of the store again");
      const image::FetchedImage fetched = store->Load(*found);
      const image::Descriptor& manifest = fetched.image().descriptor;
      SendMessage(ours, {'s', {fetched.index().value_or(manifest.digest).str(), manifest.media_type}});
    });
  });
  const auto said = ReceiveMessage(channel.get(), {3, kMaxComplaint, kWho});
  if (!said || said->fields.size() != 2)
    throw Error(ErrorKind::kFailed, std::string(kWho) + " ended early");
  return {Digest::Parse(said->fields[0]), said->fields[1]};
}

class ImageMaker {
 public:
  ImageMaker(const Order& order, const MakeOptions& options)
      : order_(order), options_(options), name_(Upstream(order, options)), form_(FormOf(order)) {}

  Record Run() {
    image::Store::Open(StoreDir(options_));
    const std::string stored_as = Fetch();
    const Stored stored = LookAt(stored_as, options_);
    const image::Descriptor top{.media_type = {}, .digest = stored.top};
    record_.source = top.digest.str();
    // What refers to an image may be new though the image is not.
    record_.unchanged = record_.source == order_.known && !form_.as_upstream();
    if (record_.unchanged)
      return record_;
    record_.names = {stored_as};
    if (form_.as_upstream()) {
      Confine(options_.common, {.read = {StoreDir(options_)}});
      Describe(InStore(*image::Store::OpenReadOnly(StoreDir(options_))), top);
      return record_;
    }
    const Dir layout = Convert(stored_as, stored.manifest_type);
    Confine(options_.common, {.read = {StoreDir(options_), layout.name()}});
    const auto store = image::Store::OpenReadOnly(StoreDir(options_));
    // What it was made of stays beside it, so that a look upstream costs no fetch.
    Describe(InStore(*store), top);
    for (const auto* list : {&record_.manifests, &record_.blobs}) {
      for (const image::Descriptor& part : *list) record_.size += part.size;
    }
    record_.manifests.clear();
    record_.blobs.clear();
    record_.referrers.clear();
    Describe(InLayout(layout), made_.value());
    return record_;
  }

 private:
  static serve::Form FormOf(const Order& order) {
    const std::optional<serve::Form> form = order.form.empty() ? serve::Form() : serve::Form::Parse(order.form);
    if (!form)
      throw Error(ErrorKind::kNotFound, "there is no form " + Quoted(order.form));
    if (form->manifest == "docker" && form->compression == "zstd")  // before anything is fetched for nothing
      throw Error(ErrorKind::kUnsupported, "a Docker manifest holds no layers that are compressed by zstd");
    return *form;
  }

  std::vector<std::string> CommonArguments() const {
    std::vector<std::string> out{"--quiet", "--json", "--root", StoreDir(options_)};
    Append(out, options_.policy.Arguments());
    const std::string& platforms = options_.platforms;
    if (platforms.empty() || name_.digest)
      out.emplace_back("--all");
    else  // one twice is a list, too, with which the index comes along
      Append(out, {"--platform", platforms.find(',') == std::string::npos ? platforms + "," + platforms : platforms});
    return out;
  }

  std::string Fetch() {
    std::vector<std::string> arguments = CommonArguments();
    if (form_.as_upstream())
      arguments.emplace_back("--referrers");
    if (!options_.registries.empty())
      Append(arguments, {"--registries.d", options_.registries});
    arguments.push_back(image::Reference(name_).ToString());
    const json::Value said = json::Parse(RunTool("gantry-fetch", arguments), "what gantry-fetch says");
    return json::Cursor(said, "what gantry-fetch says").At("name").String();
  }

  void Describe(const Place& place, const image::Descriptor& top) {
    Walk(place, record_).Visit(top);
    if (record_.manifests.empty())
      throw Error(ErrorKind::kFailed, top.digest.str() + " is not whole in the cache");
    record_.top = record_.manifests.front();
  }

  // Judged again, out of the store. The layout is the front's to take.
  Dir Convert(const std::string& stored_as, const std::string& manifest_type) {
    std::vector<std::string> arguments = CommonArguments();
    Append(arguments, {"--threads", std::to_string(options_.threads)});
    std::string format = form_.manifest;
    if (format.empty())  // as it was; but Docker's manifests have no zstd
      format = manifest_type == image::kDockerManifestType && form_.compression != "zstd" ? "docker" : "oci";
    Append(arguments, {"--format", format});
    if (!form_.compression.empty())
      Append(arguments, {"--compress", form_.compression});
    if (form_.squashed)
      arguments.emplace_back("--squash");
    const std::string directory =
        options_.directory + "/" + std::string(serve::kNewDir) + "/" + std::to_string(order_.id) + ".oci";
    Append(arguments, {"store:" + stored_as, "oci:" + directory + ":made"});
    const json::Value said = json::Parse(RunTool("gantry-convert", arguments), "what gantry-convert says");
    made_ = {.media_type = {},
             .digest = Digest::Parse(json::Cursor(said, "what gantry-convert says").At("id").String())};
    return Dir::Open(directory);
  }

  const Order& order_;
  const MakeOptions& options_;
  image::DockerReference name_;
  serve::Form form_;
  std::optional<image::Descriptor> made_;
  Record record_;
};

// --- The rest ---

Record ListTags(const Order& order, const MakeOptions& options) {
  const image::DockerReference name = Upstream(order, options);
  std::vector<std::string> arguments = PushArguments(options.policy, options.common);
  Append(arguments, {"--json", "docker://" + name.Repository()});
  const json::Value said = json::Parse(RunTool("gantry-tags", arguments), "what gantry-tags says");
  Record record;
  record.tags = json::Cursor(said, "what gantry-tags says").At("tags").Strings(json::kMaxValues);
  return record;
}

Record Sign(const Order& order, const MakeOptions& options) {
  Digest::Parse("sha256:" + order.reference);  // nothing else names a file
  std::vector<std::string> arguments{"--key", options.sign_key, "--file-digest", order.known};
  if (!options.sign_home.empty())
    Append(arguments, {"--homedir", options.sign_home});
  if (!options.passphrase_file.empty())
    Append(arguments, {"--passphrase-file", options.passphrase_file});
  const std::string file = options.directory + "/" + std::string(serve::kFilesDir) + "/" + order.reference + ".aci";
  unlink((file + ".asc").c_str());
  arguments.push_back("aci:" + file);
  RunTool("gantry-sign", arguments);
  return {};
}

Record Clean(const Order& order, const MakeOptions& options) {
  Confine(options.common, {.write = {StoreDir(options)}});
  const auto store = image::Store::Open(StoreDir(options));
  for (const std::string& name : order.names) store->RemoveName(name);
  store->Collect({});
  return {};
}

}  // namespace

int Make(const Order& order, const MakeOptions& options, int channel) {
  setpgid(0, 0);  // what a terminal sends to the server is not for this
  return ReportErrors(channel, [&] {
    if (order.kind == Order::Kind::kAci)
      return AciMaker(order, options, channel).Run();
    const Record record = order.kind == Order::Kind::kImage  ? ImageMaker(order, options).Run()
                          : order.kind == Order::Kind::kTags ? ListTags(order, options)
                          : order.kind == Order::Kind::kSign ? Sign(order, options)
                                                             : Clean(order, options);
    SendMessage(channel, Answer{Answer::Kind::kDone, order.id, record.ToJson()}.ToMessage());
  });
}

}  // namespace gantry::tools
