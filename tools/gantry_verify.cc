// gantry-verify: the policy's decision about one image, explained.
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <variant>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/store/store.h"
#include "libsign/crypto_start.h"
#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/remote_image.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  CommonOptions common;
  PolicyOptions policy;
  std::string image;
  std::string as;
  std::string registries;
  std::string platform;
  bool explain = false;
  bool json = false;
  bool dry_run = false;
};

// What becomes of one name in the store when the policy changes.
struct Change {
  sign::Decision before;
  sign::Decision after;

  std::string_view Verdict(const sign::Decision& decision) const { return decision.allowed ? "allowed" : "refused"; }
  json::Value ToJson() const {
    return json::Object{{"image", after.image},
                        {"digest", after.digest},
                        {"before", json::Object{{"allowed", before.allowed}, {"code", before.code}}},
                        {"after", json::Object{{"allowed", after.allowed}, {"code", after.code}}},
                        {"reason", after.reason}};
  }
  void Print() const {
    const std::string changed = before.allowed == after.allowed ? "" : std::string(Verdict(before)) + ", then ";
    std::printf("%s: %s%s (%s)%s\n", after.image.c_str(), changed.c_str(), std::string(Verdict(after)).c_str(),
                after.code.c_str(), after.allowed ? "" : (": " + after.reason).c_str());
  }
};

sign::Decision DecideOn(const Local& local, const sign::Policy& policy, const std::string& root,
                        sign::Detail detail = sign::Detail::kEnough) {
  if (const auto* image = std::get_if<LocalImage>(&local))
    return sign::Verifier::Decide(image->image, policy, image->evidence, detail);
  const auto& opened = std::get<LocalImages>(local);
  const image::FetchedArtifact artifact = LoadArtifact(opened);
  sign::Evidence evidence = opened.evidence(artifact.artifact.descriptor.digest);
  AddAccepted(artifact, root, evidence);
  return sign::Verifier::Decide(artifact, policy, evidence, detail);
}

// Judges every name in the store, or the one that is given, under the policy that decides now and under --policy.
int DryRun(const Options& options) {
  const std::string root = StoreRoot(options.common);
  const sign::Policy now = sign::Policy::Load(std::nullopt);
  const sign::Policy then = sign::Policy::Load(Given(options.policy.policy_path));
  const auto registries = sign::RegistriesD::Load(Given(options.registries));
  image::Confinement keep = DecisionConfinement(now, registries);
  const image::Confinement more = DecisionConfinement(then, registries);
  keep.unix_sockets = false;
  keep.read.insert(keep.read.end(), more.read.begin(), more.read.end());
  keep.read.push_back(root);
  Confine(options.common, keep);
  const auto store = image::Store::OpenReadOnly(root);
  json::Array lines;
  for (const image::StoredName& stored : store != nullptr ? store->List() : std::vector<image::StoredName>()) {
    if (!options.image.empty() && stored.name != options.image)
      continue;
    const Local local = OpenLocal({image::Reference(image::StoreReference{stored.name, true})}, Purpose::kJudge, root,
                                  {}, std::nullopt, registries);
    const Change change{DecideOn(local, now, root), DecideOn(local, then, root)};
    if (options.json)
      lines.push_back(change.ToJson());
    else
      change.Print();
  }
  if (options.json)
    std::fputs(
        json::PrintPretty(json::Object{{"before", now.source()}, {"after", then.source()}, {"images", lines}}).c_str(),
        stdout);
  return 0;
}

int Print(const Options& options, const sign::Decision& decision) {
  if (options.json) {
    std::fputs(json::PrintPretty(decision.ToJson()).c_str(), stdout);
  } else if (options.explain) {
    std::fputs(decision.Explain().c_str(), stdout);
  } else if (decision.allowed) {
    std::printf("%s@%s: %s\n", decision.image.c_str(), decision.digest.c_str(), decision.evidence.c_str());
  }
  if (decision.allowed) {
    return 0;
  }
  if (options.json || options.explain) {
    return static_cast<int>(ErrorKind::kRefused);
  }
  throw decision.Refusal();
}

int Verify(const Options& options) {
  const auto reference = image::Reference::Parse(options.image);
  const auto as = ParseAs(options.as);
  const std::string root = StoreRoot(options.common);
  std::optional<RemoteImage> remote;
  if (reference.docker() != nullptr && !options.common.print_confinement) {
    WarnOfInsecureNetwork(options.policy, "fetched");
    remote.emplace(
        RemoteImage::Ask(*reference.docker(), options.platform, options.registries, options.policy, options.common));
  }
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  const auto registries = sign::RegistriesD::Load(Given(options.registries));
  image::Confinement keep = DecisionConfinement(policy, registries);
  keep.unix_sockets = false;
  KeepForImage(reference, root, keep);
  Confine(options.common, keep);
  const auto detail = options.explain || options.json ? sign::Detail::kWhole : sign::Detail::kEnough;
  if (remote) {
    const image::Fetched judged = remote->fetched(as);
    return Print(options, sign::Verifier::Decide(judged, policy, remote->Gather(policy, registries), detail));
  }
  // An ACI is read whole before its signature is looked at.
  const auto* file = reference.file();
  const bool is_aci = file != nullptr && file->format == image::FileReference::Format::kAci;
  const std::jthread crypto = is_aci ? sign::StartCrypto() : std::jthread();
  const Local local = OpenLocal({reference}, Purpose::kJudge, root, options.platform, as, registries);
  return Print(options, DecideOn(local, policy, root, detail));
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Decide about one image under the trust policy, without running or changing anything.", "gantry-verify");
  Options options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_flag("--explain", options.explain, "print every step of the decision");
  app.add_flag("--json", options.json, "print the decision as JSON")->excludes("--explain");
  AddLookasideOptions(app, options.as, options.registries);
  app.add_option("--platform", options.platform, "os/architecture[/variant] to choose; this machine's by default")
      ->type_name("PLATFORM");
  CLI::Option* dry_run = app.add_flag("--dry-run", options.dry_run,
                                      "show what --policy would change for the names in the store, or for IMAGE");
  dry_run->needs("--policy")->excludes("--explain")->excludes("--as");
  CLI::Option* image = app.add_option(
      "IMAGE", options.image,
      "a name in the store, docker://NAME, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF] or "
      "aci:FILE");
  return ToolMain(app, argc, argv, [&] {
    if (options.dry_run)
      return DryRun(options);
    if (image->empty())
      throw gantry::Error(gantry::ErrorKind::kUsage, "no image is named", "gantry verify IMAGE");
    return Verify(options);
  });
}
