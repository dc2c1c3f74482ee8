// What all verbs of gantry-build share: a base that a policy allowed, the layers of a draft as directories, and steps
// that make one more layer of them.
//
// Bytes that nobody vouched for are read by children that gave up what they do not need (VerifyInChild, Render); what
// changes files or reads those that an image's programs wrote does so in a child too, which without root is root of
// the user namespace that the image sees. Only `run` executes anything.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/build/draft.h"
#include "libimage/build/upper.h"
#include "libimage/build/workspace.h"
#include "libimage/store/store.h"
#include "libsign/policy.h"
#include "libsign/registries_d.h"
#include "runner/config.h"
#include "runner/rootfs.h"
#include "tools/build_engine.h"
#include "tools/local_image.h"

namespace gantry::tools {

struct BuildOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string work_path = ".gantry-build";
  std::string platform;
  std::vector<std::string> dependencies;  // files of ACIs
};

// A base, allowed, and where its blobs are.
struct BuildBase {
  image::VerifiedImage image;
  image::Reference reference;
  std::string platform;

  // As a draft remembers it: absolute, and never fetched again.
  std::string name() const { return reference.ToString(); }
};

// What a draft depends on, in the order of rendering.
using Dependencies = std::vector<BuildBase>;

// The layers of a draft as directories, the nearest first, held against collection as long as this lives.
struct Layers {
  runner::Rootfs rootfs;
  image::VerifiedImage image;
  std::unique_ptr<image::Lease> lease;
  std::vector<Dir> dirs;

  std::vector<const Dir*> pointers() const;
};

class BuildSession {
 public:
  explicit BuildSession(const BuildOptions& options);

  const BuildOptions& options() const { return options_; }
  // For the base that is begun on.
  void AllowPlainHttp() { options_.policy.insecure.emplace_back("http"); }
  const std::optional<runner::IdMap>& map() const { return map_; }
  std::optional<int64_t> fixed_epoch() const { return fixed_epoch_; }  // SOURCE_DATE_EPOCH
  int64_t EpochOf(const image::Draft& draft) const { return fixed_epoch_.value_or(draft.newest()); }

  // Brings an image here where it has to be brought, and asks the policy. A relative path becomes absolute.
  BuildBase OpenBase(const std::string& text);
  // That of a draft, asked again; nullptr when it has none. kFailed when the name leads to another image by now.
  const BuildBase* BaseOf(const image::Draft& draft);
  // "scratch" is nothing.
  image::Draft NewDraft(const std::string& base);

  // What the manifest depends on: ACIs that --dependency names, then those in the working directory, then images of
  // that name in the store; never fetched. Noted in the draft as inputs: kFailed when one is another than before.
  // kNotFound when one is not here.
  Dependencies FindDependencies(image::Draft& draft);

  // Renders what is missing. `blobs` has the layers that were made here; its place is told for confinement.
  Layers Render(const image::Draft& draft, const image::BlobDirectory& blobs, const Dir& work,
                const Dependencies& below = {});
  std::shared_ptr<const image::Blobs> BlobsOf(const image::Draft& draft, const image::BlobDirectory& blobs,
                                              const Dependencies& below = {});
  // All paths of the image on what it depends on, as a pathWhitelist has them.
  std::vector<std::string> PathsOf(const image::Draft& draft, const image::BlobDirectory& blobs, const Dir& work,
                                   const Dependencies& below);

  // Makes one layer: `fill` fills an upper directory in a child, or `run` does so in a container (one of them is
  // empty). The draft gets the layer, if anything changed, and `created_by` in its history; the workspace is saved.
  // `spare` is an empty directory that is removed afterwards. Returns the newest time of what it read.
  using Fill = std::function<int64_t(image::Upper& upper, const Dir& spare)>;
  void Add(image::Workspace& workspace, const std::string& created_by, const Fill& fill,
           const Dependencies& below = {});
  // kFailed when the command ends with anything but 0.
  void Run(image::Workspace& workspace, const std::string& created_by, const runner::RunOptions& run,
           const Dependencies& below = {}, const Engine& engine = {});

  // `work` in a child that is root of the user namespace, or a plain child; what it returns.
  using Work = std::function<std::vector<std::string>()>;
  std::vector<std::string> InChild(const Work& work) const { return InChild(work, map_); }
  // The same as whoever we are.
  std::vector<std::string> InPlainChild(const Work& work) const { return InChild(work, std::nullopt); }

  // Removes what a step left, whoever it belongs to.
  void RemoveSteps(image::Workspace& workspace) const;

  image::UnpackOptions unpack_options() const;

  // For --print-confinement.
  static void PrintConfinements(const BuildOptions& options);

 private:
  static std::vector<std::string> InChild(const Work& work, const std::optional<runner::IdMap>& map);
  image::VerifiedImage Verify(const LocalName& name);
  std::string PlaceOf(const image::AciDependency& wanted) const;
  void Step(image::Workspace& workspace, const std::function<void()>& make);
  int Execute(const Layers& layers, const runner::RunConfig& config, const Engine& engine, const Dir& changes);
  void Pack(image::Workspace& workspace, const Layers& layers, const Dir& upper, const std::string& created_by,
            bool on_dependencies);
  image::Confinement StepConfinement(const Dir& work) const;

  BuildOptions options_;
  std::optional<runner::IdMap> map_;
  std::optional<int64_t> fixed_epoch_;
  std::shared_ptr<image::Store> store_;
  std::optional<sign::Policy> policy_;
  sign::RegistriesD registries_ = sign::RegistriesD::Load();
  std::vector<std::unique_ptr<BuildBase>> bases_;
};

}  // namespace gantry::tools
