// gantry-push: an image that is on this machine into registries, under the trust policy.
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/convert/convert.h"
#include "libimage/transport/pusher.h"
#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/publish.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxDestinations = 16;  // each has a process
constexpr std::string_view kFromConvert = "-";

struct PushOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string source;
  std::vector<std::string> destinations;
  std::string platform;
  std::string as;
  std::string mount_from;
  bool no_signatures = false;
  bool json = false;
};

image::DockerReference ParseDestination(const std::string& text) {
  const image::Reference reference = image::Reference::Parse(text);
  if (reference.docker() == nullptr)
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no registry", "gantry-push SRC docker://[HOST/]PATH[:TAG]");
  return *reference.docker();
}

image::PushPlan PlanFor(const PushOptions& options, const image::DockerReference& name) {
  return {.name = name, .http = HttpOptionsOf(options.policy, name), .confine = [common = options.common] {
            Confine(common, PushConfinement());
          }};
}

// What the process that reads the image and decides keeps.
image::Confinement Kept(const PushOptions& options, const sign::Policy& policy, const sign::RegistriesD& registries) {
  image::Confinement keep = DecisionConfinement(policy, registries);
  const std::string root = StoreRoot(options.common);
  keep.write.push_back(root);  // for a lease
  if (options.source != kFromConvert)
    KeepForImage(image::Reference::Parse(options.source), root, keep);
  return keep;
}

int PrintConfinements(const PushOptions& options) {
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  std::printf("the process with the network:\n%s\nthe process that reads the image and decides:\n%s",
              image::Describe(PushConfinement()).c_str(),
              image::Describe(Kept(options, policy, sign::RegistriesD::Load())).c_str());
  return 0;
}

void Print(const PushOptions& options, const std::string& where, const image::VerifiedImage& image, bool pushed) {
  const std::string digest = image.image().descriptor.digest.str();
  if (!options.json) {
    std::printf("%s  %s\n", digest.c_str(), where.c_str());
    return;
  }
  const json::Object line{{"output", where},
                          {"id", digest},
                          {"mediaType", image.image().descriptor.media_type},
                          {"pushed", pushed},
                          {"vouchedBy", image.vouched_by()}};
  std::printf("%s\n", json::Print(line).c_str());
}

// Returns whether there was something to do.
bool PushTo(const PushOptions& options, const image::DockerReference& to, image::Pusher& pusher,
            const LocalImage& source, const image::VerifiedImage& image) {
  const image::Descriptor& manifest = image.image().descriptor;
  if (pusher.Has(manifest.digest)) {
    Note(options.common, Quoted(to.ToString()) + " is this image already");
    return false;
  }
  if (!options.mount_from.empty())
    pusher.MountFrom(options.mount_from);
  else if (source.image.name() && source.image.name()->host == to.host)
    pusher.MountFrom(source.image.name()->path);
  const auto sink = image::MakeRegistrySink(pusher);
  const auto progress = MakeProgress(options.common);
  image::Conversion::Copy(image, *source.blobs, *sink,
                          {.preserve_digests = true, .threads = image::kMaxUploads, .progress = progress.get()});
  sink->Name(manifest, to.tag);
  sink->Commit();
  return true;
}

// The half with the network of a gantry-convert, which is at the other end of standard input.
int ServeConvert(const PushOptions& options, const std::vector<image::DockerReference>& names) {
  if (names.size() != 1)
    throw Error(ErrorKind::kUsage, "standard input goes to one registry");
  return image::ServePush(PlanFor(options, names.front()), STDIN_FILENO);
}

int Run(const PushOptions& options) {
  if (options.common.print_confinement)
    return PrintConfinements(options);
  std::vector<image::DockerReference> names;
  for (const std::string& text : options.destinations) names.push_back(ParseDestination(text));
  if (names.size() > kMaxDestinations)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(kMaxDestinations) + " destinations at once");
  if (options.source == kFromConvert)
    return ServeConvert(options, names);
  const LocalName source_name{image::Reference::Parse(options.source)};
  const auto as = ParseAs(options.as);
  std::deque<image::Pusher> pushers;
  for (const image::DockerReference& name : names) pushers.push_back(image::Pusher::Start(PlanFor(options, name)));
  WarnOfInsecureNetwork(options.policy, "pushed");
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  const sign::RegistriesD registries = sign::RegistriesD::Load();
  Confine(options.common, Kept(options, policy, registries));
  const LocalImage source =
      OpenLocalImage(source_name, Purpose::kRead, StoreRoot(options.common), options.platform, as, registries);
  const image::VerifiedImage verified = sign::Verifier::Verify(source.image, policy, source.evidence);
  Note(options.common, "the image is trusted by " + verified.vouched_by());
  for (const image::DockerReference& name : names) {
    const bool pushed = PushTo(options, name, pushers.front(), source, verified);
    if (!options.no_signatures)
      PublishAll(pushers.front(), verified.image().descriptor, source.evidence);
    pushers.pop_front();
    Print(options, image::Reference(name.WithDefaultTag()).ToString(), verified, pushed);
  }
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Push an image that is on this machine to registries, under the trust policy.", "gantry-push");
  PushOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("--as", options.as, "the registry name to judge the image under, in place of the one it has")
      ->type_name("NAME");
  app.add_option("--platform", options.platform, "os/architecture[/variant] to choose; this machine's by default")
      ->type_name("PLATFORM");
  app.add_option("--mount-from", options.mount_from, "a repository of the same registry that has the same blobs")
      ->type_name("PATH");
  app.add_flag("--no-signatures", options.no_signatures, "push the image alone, without what speaks for it");
  app.add_flag("--json", options.json, "print the results as JSON");
  app.add_option(
         "SRC", options.source,
         "oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], aci:FILE, store:NAME or a bare name")
      ->required();
  app.add_option("DST", options.destinations, "docker://[HOST[:PORT]/]PATH[:TAG]")->required();
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
