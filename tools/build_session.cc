#include "tools/build_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/message.h"
#include "libimage/base/workers.h"
#include "libimage/build/pack.h"
#include "libsign/verify.h"
#include "runner/pod.h"
#include "runner/process.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxAnswerFields = 8;
constexpr size_t kMaxAnswerBytes = 32 * 1024;  // an answer is read after its end, and a pipe holds twice as much
constexpr std::string_view kScratch = "scratch";

std::optional<int64_t> SourceDateEpoch() {
  const char* const text = std::getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr)
    return std::nullopt;
  const auto seconds = ParseDecimal<int64_t>(text);
  if (!seconds)
    throw Error(ErrorKind::kUsage, "SOURCE_DATE_EPOCH is " + Quoted(text), "expected seconds since 1970");
  return seconds;
}

// A place that is found again from another working directory.
image::Reference Lasting(const LocalName& name) {
  if (const auto* file = name.reference.file()) {
    image::FileReference absolute = *file;
    absolute.path = RealPath(file->path);
    return image::Reference(absolute);
  }
  if (const auto* stored = name.reference.store())
    return image::Reference(image::StoreReference{stored->name, true});
  return name.reference;
}

image::Platform PlatformOf(const std::string& text) {
  return text.empty() ? image::Platform::Host() : image::Platform::Parse(text);
}

}  // namespace

std::vector<const Dir*> Layers::pointers() const {
  std::vector<const Dir*> all;
  for (const Dir& dir : dirs) all.push_back(&dir);
  return all;
}

BuildSession::BuildSession(const BuildOptions& options) : options_(options), fixed_epoch_(SourceDateEpoch()) {
  if (geteuid() != 0)
    map_ = runner::PlanIdMap();
  if (map_ && !map_->note.empty())
    Note(options_.common, map_->note);
  PrepareHashing();
  store_ = image::Store::Open(StoreRoot(options_.common));
}

void BuildSession::PrintConfinements(const BuildOptions& options) {
  const std::string root = StoreRoot(options.common);
  image::Confinement decides =
      DecisionConfinement(LoadPolicy(options.policy, options.common), sign::RegistriesD::Load());
  KeepForImage(image::Reference(image::StoreReference{}), root, decides);
  std::printf("the process that decides:\n%s\nthe process that renders:\n%s\n", image::Describe(decides).c_str(),
              image::Describe(runner::RendererConfinement(root)).c_str());
}

image::UnpackOptions BuildSession::unpack_options() const {
  image::UnpackOptions options;
  if (map_) {
    options.whiteouts = image::UnpackOptions::Whiteouts::kOverlayUser;
    options.keep_owners = !map_->single();
  }
  return options;
}

// By a process of its own, which can do nothing else.
image::VerifiedImage BuildSession::Verify(const LocalName& name) {
  if (!policy_)
    policy_ = LoadPolicy(options_.policy, options_.common);
  const std::string root = StoreRoot(options_.common);
  image::Confinement keep = DecisionConfinement(*policy_, registries_);
  KeepForImage(name.reference, root, keep);
  auto verified = sign::Verifier::VerifyInChild(
      *policy_, [&] { Confine(options_.common, keep); },
      [&]() -> std::optional<sign::Candidate> {
        LocalImage local = OpenLocalImage(name, Purpose::kJudge, root, options_.platform, std::nullopt, registries_);
        return sign::Candidate{std::move(local.image), std::move(local.evidence)};
      });
  if (name.pinned && verified->image().descriptor.digest != *name.pinned)
    throw Error(ErrorKind::kFailed,
                Quoted(name.reference.ToString()) + " is " + verified->image().descriptor.digest.str() +
                    " by now, the build was begun on " + name.pinned->str(),
                "begin anew, or put the image back");
  NoteAccepted(*verified, root);
  return *std::move(verified);
}

BuildBase BuildSession::OpenBase(const std::string& text) {
  const LocalName name = BringHere(text, options_.platform, options_.policy, options_.common);
  image::VerifiedImage image = Verify(name);
  Note(options_.common, "the base is trusted by " + image.vouched_by());
  return {std::move(image), Lasting(name), options_.platform};
}

const BuildBase* BuildSession::BaseOf(const image::Draft& draft) {
  if (!draft.base())
    return nullptr;
  for (const auto& base : bases_) {
    if (base->image.image().descriptor.digest == draft.base()->manifest)
      return base.get();
  }
  const image::Reference reference = image::Reference::Parse(draft.base()->name);
  image::VerifiedImage image = Verify({reference, draft.base()->manifest});
  bases_.push_back(std::make_unique<BuildBase>(BuildBase{std::move(image), reference, options_.platform}));
  return bases_.back().get();
}

image::Draft BuildSession::NewDraft(const std::string& base) {
  if (base.empty() || base == kScratch)
    return image::Draft::Empty(PlatformOf(options_.platform));
  bases_.push_back(std::make_unique<BuildBase>(OpenBase(base)));
  return image::Draft::On(bases_.back()->image.image(), bases_.back()->name());
}

std::shared_ptr<const image::Blobs> BuildSession::BlobsOf(const image::Draft& draft,
                                                          const image::BlobDirectory& blobs) {
  std::vector<std::shared_ptr<const image::Blobs>> places{std::make_shared<image::BlobDirectory>(blobs)};
  if (const BuildBase* base = BaseOf(draft)) {
    if (const auto* file = base->reference.file())
      places.push_back(OpenFileImage(*file, base->platform).blobs);
    else
      places.push_back(store_);
  }
  return std::make_shared<image::JoinedBlobs>(std::move(places));
}

Layers BuildSession::Render(const image::Draft& draft, const image::BlobDirectory& blobs, const Dir& work) {
  const BuildBase* base = BaseOf(draft);
  Layers layers{{},
                image::Authoring::Finish(draft, base == nullptr ? nullptr : &base->image, EpochOf(draft)),
                store_->NewLease(),
                {}};
  for (const image::DraftLayer& layer : draft.layers()) layers.lease->Add({layer.diff_id});
  const std::string root = StoreRoot(options_.common);
  runner::Rendering how{.open = [&] { return BlobsOf(draft, blobs); },
                        .keep = runner::RendererConfinement(root),
                        .progress = [&] { return MakeProgress(options_.common); }};
  how.keep.read.push_back(work.name());
  how.keep.read.push_back(blobs.name());
  if (base != nullptr)
    KeepForImage(base->reference, root, how.keep);
  layers.rootfs = runner::Render(layers.image, *store_, map_, how);
  for (const std::string& path : layers.rootfs.layers) layers.dirs.push_back(Dir::Open(path));
  return layers;
}

std::vector<std::string> BuildSession::InChild(const Work& work, const std::optional<runner::IdMap>& map) {
  Pipe answer = MakePipe();
  const auto body = [&] {
    answer.read.Reset();
    return ReportErrors(answer.write.get(), [&] { SendMessage(answer.write.get(), {'a', work()}); });
  };
  const ExitStatus status = map ? runner::RunInUserNamespace(*map, body) : gantry::Process::Fork(body).Wait();
  answer.write.Reset();
  const auto message =
      ReceiveMessage(answer.read.get(), {kMaxAnswerFields, kMaxAnswerBytes, "the process that makes a layer"});
  if (status.code != 0 || !message)
    throw Error(ErrorKind::kFailed, "the process that makes a layer ended early",
                "was it killed? see the kernel's log for 'Out of memory'");
  return message->fields;
}

// Without root, what a step left may belong to ids that only the root of the namespace can remove.
void BuildSession::Step(image::Workspace& workspace, const std::function<void()>& make) {
  if (workspace.interrupted())
    RemoveSteps(workspace);
  try {
    make();
  } catch (...) {
    RemoveSteps(workspace);
    throw;
  }
  RemoveSteps(workspace);
}

void BuildSession::Add(image::Workspace& workspace, const std::string& created_by, const Fill& fill) {
  Step(workspace, [&] {
    const Layers layers = Render(workspace.draft(), workspace.blobs(), workspace.dir());
    const Dir upper = workspace.NewStep("upper");
    const auto newest = InChild([&]() -> std::vector<std::string> {
      image::Upper into(layers.pointers(), upper, unpack_options());
      return {std::to_string(fill(into))};
    });
    workspace.draft().NoteTime(ParseDecimal<int64_t>(newest.at(0)).value_or(0));
    Pack(workspace, layers, upper, created_by);
  });
}

void BuildSession::Pack(image::Workspace& workspace, const Layers& layers, const Dir& upper,
                        const std::string& created_by) {
  image::Draft& draft = workspace.draft();
  const auto file = workspace.blobs().New();
  const std::vector<std::string> made = InChild([&]() -> std::vector<std::string> {
    const image::UnpackOptions options = unpack_options();
    const image::TreeStack base(layers.pointers(), options.whiteouts);
    const auto layer = image::PackLayer(
        base, upper, file->fd(),
        {.changes = {.epoch = EpochOf(draft), .threads = ProcessorCount()}, .compress = {.threads = ProcessorCount()}});
    if (!layer)
      return {};
    return {json::Print(layer->blob.ToJson()), layer->diff_id.str()};
  });
  if (made.size() == 2) {
    const json::Value blob = json::Parse(made[0], "a layer");
    image::DraftLayer layer{image::Descriptor::Parse(json::Cursor(blob, "a layer")), Digest::Parse(made[1])};
    workspace.blobs().Commit(*file, layer.blob.digest);
    draft.AddLayer(std::move(layer), created_by);
  } else {
    draft.AddHistory(created_by);
  }
  workspace.Save();
}

void BuildSession::RemoveSteps(image::Workspace& workspace) const {
  InChild([&]() -> std::vector<std::string> {
    workspace.RemoveSteps();
    return {};
  });
}

int BuildSession::Execute(const Layers& layers, const runner::RunConfig& config) {
  const Dir pods = Dir::Open(StoreRoot(options_.common) + "/pods");
  runner::SweepPods(pods, map_);
  runner::Pod pod = runner::Pod::Create(pods, layers.image.image(), map_);
  runner::Process process = runner::Process::Start(config, layers.rootfs, pod);
  if (process.failure())
    PrintError(*process.failure());
  const int code = process.Wait().code;
  pod.Remove();
  return code;
}

void BuildSession::Run(image::Workspace& workspace, const std::string& created_by, const runner::RunOptions& run) {
  Step(workspace, [&] {
    Layers layers = Render(workspace.draft(), workspace.blobs(), workspace.dir());
    const Dir upper = workspace.NewStep("upper");
    const Dir work = workspace.NewStep("work");
    if (layers.dirs.empty())
      layers.rootfs.layers.push_back(workspace.NewStep("empty").name());
    layers.rootfs.upper = upper.name();
    layers.rootfs.work = work.name();
    InChild([&]() -> std::vector<std::string> {
      image::Upper(layers.pointers(), upper, unpack_options());
      return {};
    });
    const int code = Execute(layers, runner::Plan(layers.image.image().config, run));
    if (code != 0)
      throw Error(ErrorKind::kFailed, Quoted(created_by) + " ended with " + std::to_string(code),
                  "the build is as it was before");
    InChild([&]() -> std::vector<std::string> {
      image::RemoveRunnersFiles(layers.pointers(), upper, unpack_options());
      return {};
    });
    Pack(workspace, layers, upper, created_by);
  });
}

}  // namespace gantry::tools
