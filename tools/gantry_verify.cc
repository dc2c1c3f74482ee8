// gantry-verify: the policy's decision about one image, explained.
#include <cstdio>
#include <optional>
#include <string>

#include "libimage/base/json.h"
#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  CommonOptions common;
  PolicyOptions policy;
  std::string image;
  std::string as;
  std::string registries;
  bool explain = false;
  bool json = false;
};

int Verify(const Options& options) {
  const auto reference = image::Reference::Parse(options.image);
  const auto as = ParseAs(options.as);
  const std::string root = StoreRoot(options.common);
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  const auto registries = sign::RegistriesD::Load(Given(options.registries));
  image::Confinement keep = DecisionConfinement(policy, registries);
  KeepForImage(reference, root, keep);
  Confine(options.common, keep);
  const LocalImage local = OpenLocalImage({reference}, Purpose::kJudge, root, {}, as, registries);
  const auto detail = options.explain || options.json ? sign::Detail::kWhole : sign::Detail::kEnough;
  const sign::Decision decision = sign::Verifier::Decide(local.image, policy, local.evidence, detail);
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
  app.add_option("IMAGE", options.image,
                 "a name in the store, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF] or aci:FILE")
      ->required();
  return ToolMain(app, argc, argv, [&] { return Verify(options); });
}
