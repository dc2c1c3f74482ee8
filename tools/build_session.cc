#include "tools/build_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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
#include "tools/destination.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxAnswerFields = 8;
constexpr size_t kMaxAnswerBytes = 32 * 1024;  // an answer is read after its end, and a pipe holds twice as much
constexpr std::string_view kScratch = "scratch";

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
  keep.read.insert(keep.read.end(), options_.dependencies.begin(), options_.dependencies.end());
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
  NoteAccepted(verified->accepted(), root);
  return *std::move(verified);
}

BuildBase BuildSession::OpenBase(const std::string& text) {
  LocalName name = BringHere(text, options_.platform, options_.policy, options_.common);
  name.dependencies = options_.dependencies;
  image::VerifiedImage image = Verify(name);
  Note(options_.common, Quoted(text) + " is trusted by " + image.vouched_by());
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
  image::VerifiedImage image = Verify({reference, draft.base()->manifest, options_.dependencies});
  bases_.push_back(std::make_unique<BuildBase>(BuildBase{std::move(image), reference, options_.platform}));
  return bases_.back().get();
}

image::Draft BuildSession::NewDraft(const std::string& base) {
  if (base.empty() || base == kScratch)
    return image::Draft::Empty(PlatformOf(options_.platform));
  bases_.push_back(std::make_unique<BuildBase>(OpenBase(base)));
  return image::Draft::On(bases_.back()->image.image(), bases_.back()->name());
}

std::shared_ptr<const image::Blobs> BuildSession::BlobsOf(const image::Draft& draft, const image::BlobDirectory& blobs,
                                                          const Dependencies& below) {
  std::vector<std::shared_ptr<const image::Blobs>> places{std::make_shared<image::BlobDirectory>(blobs)};
  const auto add = [&](const BuildBase& image) {
    if (const auto* file = image.reference.file())
      places.push_back(OpenFileImage(*file, image.platform, options_.dependencies).blobs);
    else
      places.push_back(store_);
  };
  if (const BuildBase* base = BaseOf(draft))
    add(*base);
  std::ranges::for_each(below, add);
  return std::make_shared<image::JoinedBlobs>(std::move(places));
}

Layers BuildSession::Render(const image::Draft& draft, const image::BlobDirectory& blobs, const Dir& work,
                            const Dependencies& below) {
  const BuildBase* base = BaseOf(draft);
  std::vector<const image::VerifiedImage*> images;
  for (const BuildBase& dependency : below) images.push_back(&dependency.image);
  Layers layers{{},
                image::Authoring::Finish(draft, base == nullptr ? nullptr : &base->image, EpochOf(draft), images),
                store_->NewLease(),
                {}};
  layers.lease->Add(layers.image.image().config.diff_ids);
  const std::string root = StoreRoot(options_.common);
  runner::Rendering how{.open =
                            [&](const runner::UnpackFrom& unpack) {
                              unpack(*BlobsOf(draft, blobs, below), *MakeProgress(options_.common));
                            },
                        .keep = runner::RendererConfinement(root)};
  how.keep.read.push_back(work.name());
  how.keep.read.push_back(blobs.name());
  if (base != nullptr)
    KeepForImage(base->reference, root, how.keep);
  for (const BuildBase& dependency : below) KeepForImage(dependency.reference, root, how.keep);
  how.keep.read.insert(how.keep.read.end(), options_.dependencies.begin(), options_.dependencies.end());
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

// What a child keeps that fills or reads a step's directories.
image::Confinement BuildSession::StepConfinement(const Dir& work) const {
  image::Confinement keep = runner::RendererConfinement(StoreRoot(options_.common));
  keep.read = {"/"};
  keep.write = {work.name()};
  return keep;
}

void BuildSession::Add(image::Workspace& workspace, const std::string& created_by, const Fill& fill,
                       const Dependencies& below) {
  Step(workspace, [&] {
    const Layers layers = Render(workspace.draft(), workspace.blobs(), workspace.dir(), below);
    const Dir upper = workspace.NewStep("upper");
    const Dir spare = workspace.NewStep("spare");
    const auto newest = InChild([&]() -> std::vector<std::string> {
      Confine(options_.common, StepConfinement(workspace.dir()));
      image::Upper into(layers.pointers(), upper, unpack_options());
      return {std::to_string(fill(into, spare))};
    });
    workspace.draft().NoteTime(ParseDecimal<int64_t>(newest.at(0)).value_or(0));
    Pack(workspace, layers, upper, created_by, !below.empty());
  });
}

void BuildSession::Pack(image::Workspace& workspace, const Layers& layers, const Dir& upper,
                        const std::string& created_by, bool on_dependencies) {
  image::Draft& draft = workspace.draft();
  const auto file = workspace.blobs().New();
  const std::vector<std::string> made = InChild([&]() -> std::vector<std::string> {
    Confine(options_.common, StepConfinement(workspace.dir()));
    const image::UnpackOptions options = unpack_options();
    const image::TreeStack base(layers.pointers(), options.whiteouts);
    const auto packed = image::PackLayer(
        base, upper, file->fd(),
        {.changes = {.epoch = EpochOf(draft), .threads = ProcessorCount()}, .compress = {.threads = ProcessorCount()}});
    if (!packed)
      return {};
    return {json::Print(packed->layer.ToJson()), packed->hides ? "hides" : ""};
  });
  if (made.empty()) {
    draft.AddHistory(created_by);
  } else {
    const json::Value json = json::Parse(made.at(0), "a layer");
    const image::DraftLayer layer = image::DraftLayer::Parse(json::Cursor(json, "a layer"));
    workspace.blobs().Commit(*file, layer.blob.digest);
    draft.AddLayer(layer, created_by);
    if (on_dependencies && !made.at(1).empty())
      draft.NoteHiding();
  }
  workspace.Save();
}

void BuildSession::RemoveSteps(image::Workspace& workspace) const {
  InChild([&]() -> std::vector<std::string> {
    workspace.RemoveSteps();
    return {};
  });
}

}  // namespace gantry::tools
