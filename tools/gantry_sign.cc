// gantry-sign: one OpenPGP signature over an image's digest and name.
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/store/store.h"
#include "libsign/openpgp.h"
#include "libsign/registries_d.h"
#include "libsign/simple_signing.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string image;
  std::string digest;
  std::string as;
  std::string key;
  std::string home;
  std::string passphrase_file;
  std::string lookaside;
  std::string registries;
};

struct Subject {
  image::DockerReference name;
  Digest manifest;
  bool in_store = false;
};

// What is signed: an image that is here, or a digest and a name that the caller vouches for.
Subject FindSubject(const Options& options, const sign::RegistriesD& registries) {
  const auto as = ParseAs(options.as);
  if (!options.digest.empty()) {
    if (!as) {
      throw Error(ErrorKind::kUsage, "--digest alone does not say what the image is called",
                  "add --as docker://NAME:TAG");
    }
    return {*as, Digest::Parse(options.digest), false};
  }
  const LocalImage local = OpenLocalImage({image::Reference::Parse(options.image)}, Purpose::kJudge,
                                          StoreRoot(options.common), {}, as, registries);
  if (!local.image.name()) {
    throw Error(ErrorKind::kUsage, Quoted(options.image) + " has no registry name that a signature could carry",
                "add --as docker://NAME:TAG");
  }
  const bool in_store = image::Reference::Parse(options.image).file() == nullptr;
  return {sign::PolicyName(*local.image.name()), local.image.image().descriptor.digest, in_store};
}

// The directory that signatures of `name` are written to.
std::string WritableLookaside(const Options& options, const sign::RegistriesD& registries,
                              const image::DockerReference& name) {
  if (!options.lookaside.empty()) {
    return options.lookaside;
  }
  const std::string base = registries.StagingFor(name).value();
  const auto directory = sign::LookasideDirectory(base);
  if (!directory) {
    throw Error(ErrorKind::kUsage, "the lookaside of " + Quoted(name.ToString()) + " is " + base + ", which only reads",
                "give --lookaside DIR and publish it there, or set lookaside-staging in registries.d");
  }
  return *directory;
}

// gpg-agent outlives this program, so it must not inherit the confinement: it is started before, if it does not run.
void StartAgent(const std::string& home) {
  std::vector<std::string> argv = {"gpgconf", "--launch", "gpg-agent"};
  if (!home.empty()) {
    argv.insert(argv.begin() + 1, {"--homedir", home});
  }
  if (RunCaptured(argv, {}, 4096).status.code != 0) {
    throw Error(ErrorKind::kFailed, "gpg-agent cannot be started", "see 'gpgconf --launch gpg-agent'");
  }
}

// The signature and, for a name in the store, the store are written: where, registries.d and the options say.
void ConfineSigner(const Options& options) {
  if (!options.common.print_confinement) {
    StartAgent(options.home);
  }
  image::Confinement keep{.read = {"/"}};
  KeepForGpg(keep);
  keep.write.emplace_back("/");
  Confine(options.common, keep);
}

int Sign(const Options& options) {
  ConfineSigner(options);
  const auto registries = sign::RegistriesD::Load(Given(options.registries));
  const Subject subject = FindSubject(options, registries);
  const std::string lookaside = WritableLookaside(options, registries, subject.name);
  const sign::SimpleClaim claim{subject.name, subject.manifest, "gantry " GANTRY_VERSION, std::time(nullptr)};
  const sign::MadeSignature made =
      sign::SignMessage(claim.ToJson(), {options.key, Given(options.home), Given(options.passphrase_file)});
  const std::string file = sign::AppendLookaside(lookaside, subject.name, subject.manifest, made.message);
  if (subject.in_store) {
    image::Store::Open(StoreRoot(options.common))->AddSignature(subject.manifest, made.message);
  }
  Note(options.common,
       "signed " + subject.manifest.str() + " as " + subject.name.ToString() + " with key " + made.fingerprint);
  std::printf("%s\n", file.c_str());
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Sign an image: its manifest's digest and its name, with an OpenPGP key.", "gantry-sign");
  Options options;
  AddCommonOptions(app, options.common);
  app.add_option("--key", options.key, "the secret key: fingerprint or user ID")->required()->type_name("KEY");
  app.add_option("--homedir", options.home, "gpg's directory [env: GNUPGHOME]")->type_name("DIR");
  app.add_option("--passphrase-file", options.passphrase_file, "its first line unlocks the key; else gpg-agent asks")
      ->type_name("FILE");
  app.add_option("--lookaside", options.lookaside, "write the signature below DIR, whatever registries.d says")
      ->type_name("DIR");
  AddLookasideOptions(app, options.as, options.registries);
  CLI::Option* image = app.add_option(
      "IMAGE", options.image,
      "a name in the store, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF] or aci:FILE");
  CLI::Option* digest =
      app.add_option("--digest", options.digest, "sign this manifest, which need not be here, with --as")
          ->type_name("DIGEST")
          ->excludes(image);
  return ToolMain(app, argc, argv, [&] {
    if (image->empty() && digest->empty()) {
      throw gantry::Error(gantry::ErrorKind::kUsage, "nothing to sign", "name an IMAGE, or --digest and --as");
    }
    return Sign(options);
  });
}
