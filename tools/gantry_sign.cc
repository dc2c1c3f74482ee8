// gantry-sign: signatures over what an image is and what it is called, with OpenPGP, bare and certified keys.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/path_text.h"
#include "libimage/base/process.h"
#include "libimage/store/store.h"
#include "libimage/transport/aci_file.h"
#include "libsign/dsse.h"
#include "libsign/notary.h"
#include "libsign/openpgp.h"
#include "libsign/registries_d.h"
#include "libsign/sigstore_signing.h"
#include "libsign/simple_signing.h"
#include "libsign/statement.h"
#include "tools/local_image.h"
#include "tools/network_child.h"
#include "tools/policy_options.h"
#include "tools/remote_image.h"
#include "tools/signed_image.h"
#include "tools/signers.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string image;
  std::string digest;
  std::string file_digest;
  std::string as;
  std::vector<std::string> keys;
  std::string x509;
  std::string chain;
  std::vector<std::string> forms;
  std::string statement;
  std::string algorithm;
  std::string home;
  PassphraseSource passphrase;
  PolicyOptions network;  // --insecure-options
  std::string platform;
  bool all = false;
  std::string lookaside;
  std::string registries;
  bool identity = false;

  bool Wants(std::string_view form) const { return std::find(forms.begin(), forms.end(), form) != forms.end(); }
};

std::optional<image::DockerReference> NameOf(const sign::Judged& image) {
  return image.name() ? std::optional(sign::PolicyName(*image.name())) : std::nullopt;
}

SigningSubject RemoteSubject(const Options& options, RemoteImage& remote,
                             const std::optional<image::DockerReference>& as) {
  const sign::Judged judged(remote.fetched(as));
  SigningSubject subject{NameOf(judged), judged.descriptor().digest, judged.descriptor()};
  if (options.identity)
    subject.identity = remote.ComputeIdentity();
  return subject;
}

// What is signed: an image that is here or in a registry, or a digest and a name that the caller vouches for.
SigningSubject FindSubject(const Options& options, const sign::RegistriesD& registries, RemoteImage* remote) {
  const auto as = ParseAs(options.as);
  if (!options.digest.empty()) {
    if (!as) {
      throw Error(ErrorKind::kUsage, "--digest alone does not say what the image is called",
                  "add --as docker://NAME:TAG");
    }
    return {as, Digest::Parse(options.digest)};
  }
  const auto reference = image::Reference::Parse(options.image);
  if (reference.appc() != nullptr) {
    throw Error(ErrorKind::kUnsupported, "what " + Quoted(options.image) + " led to is signed by its publisher",
                "sign the file as aci:FILE, or a copy that gantry convert makes");
  }
  if (remote != nullptr)
    return RemoteSubject(options, *remote, as);
  const Local local = OpenLocal({reference}, options.identity ? Purpose::kRead : Purpose::kJudge,
                                StoreRoot(options.common), options.platform, as, registries);
  const auto* const opened = std::get_if<LocalImage>(&local);
  const image::Fetched fetched =
      opened != nullptr ? image::Fetched(opened->image) : LoadArtifact(std::get<LocalImages>(local));
  const sign::Judged judged(fetched);
  SigningSubject subject{NameOf(judged), judged.descriptor().digest, judged.descriptor()};
  if (const auto* file = reference.file(); file == nullptr) {
    subject.in_store = true;
  } else if (file->format == image::FileReference::Format::kOci) {
    subject.layout = file->path;
  } else if (file->format == image::FileReference::Format::kAci) {
    subject.aci = file->path;
  }
  if (options.identity && opened == nullptr)
    image::ThrowNotAnImage(Quoted(options.image), std::get<image::FetchedArtifact>(fetched).artifact.manifest);
  if (options.identity) {
    subject.identity = image::FindIdentity(opened->image.image(), *opened->blobs, opened->store).digest;
  }
  return subject;
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
void ConfineSigner(const Options& options, bool openpgp) {
  if (openpgp && !options.common.print_confinement) {
    StartAgent(options.home);
  }
  image::Confinement keep{.read = {"/"}};
  KeepForGpg(keep);
  keep.write.emplace_back("/");
  Confine(options.common, keep);
}

sign::Scheme SchemeFor(const Options& options, const sign::PublicKey& key) {
  if (options.algorithm.empty()) {
    return sign::Scheme::DefaultFor(key.kind());
  }
  const auto scheme = sign::Scheme::Parse(options.algorithm);
  if (!scheme) {
    throw Error(ErrorKind::kUsage, "no such algorithm: " + Quoted(options.algorithm),
                "ecdsa-sha256, rsa-pkcs1v15-sha256, rsa-pss-sha256 (or with sha384, sha512), ed25519 or ed25519ph");
  }
  return *scheme;
}

void Report(const Options& options, const sign::SignedImage& image, const std::string& key, const std::string& place) {
  Note(options.common, "signed " + image.manifest.str() + " as " + image.name.ToString() + " with key " + key);
  std::printf("%s\n", place.c_str());
}

constexpr const char* kCreator = "gantry " GANTRY_VERSION;

std::string Shown(const Options& options) { return options.image.empty() ? options.digest : options.image; }

const sign::SecretBytes* Passphrase(const Signer& signer) { return signer.passphrase ? &*signer.passphrase : nullptr; }

void SignOpenPgp(const Options& options, const SigningPlaces& places, const SigningSubject& subject,
                 const Signer& signer) {
  const sign::SignedImage image = subject.WithName(Shown(options), kCreator);
  const sign::SimpleClaim claim{image.name, image.manifest, image.creator, image.time};
  const sign::MadeSignature made =
      sign::SignMessage(claim.ToJson(), {signer.openpgp, Given(options.home), Passphrase(signer)});
  Report(options, image, made.fingerprint, places.KeepOpenPgp(subject, made.message));
}

void SignBare(const Options& options, const SigningPlaces& places, const SigningSubject& subject,
              const sign::PrivateKey& key) {
  const sign::Scheme scheme = SchemeFor(options, key.public_key());
  const sign::SignedImage image = subject.WithName(Shown(options), kCreator);
  std::vector<image::Attachment> made;
  if (options.Wants("payload")) {
    made.push_back(sign::SignPayload(image, key, scheme));
  }
  if (options.Wants("bundle")) {
    sign::SignedImage digest_alone = image;
    digest_alone.identity.reset();
    made.push_back(sign::SignStatement(digest_alone, key, scheme));
  }
  // An index has none.
  if (options.identity && image.identity) {
    made.push_back(sign::SignStatement(image, key, scheme));
  }
  for (const image::Attachment& attachment : made) {
    Report(options, image, key.public_key().fingerprint(), places.Keep(subject, attachment));
  }
}

void SignWithAll(const Options& options, const SigningPlaces& places, const SigningSubject& subject,
                 const std::vector<Signer>& signers) {
  for (const Signer& signer : signers) {
    if (signer.key) {
      SignBare(options, places, subject, *signer.key);
    } else {
      SignOpenPgp(options, places, subject, signer);
    }
  }
}

// With a key that a certificate vouches for: an envelope of the Notary Project, which carries no name.
void SignCertified(const Options& options, const SigningPlaces& places, const SigningSubject& subject,
                   const sign::PrivateKey& key) {
  const auto chain =
      sign::Certificate::ParsePem(ReadFile(options.chain, sign::kMaxCertificateFileBytes), Quoted(options.chain));
  const sign::NotarySigning signing{.time = std::time(nullptr), .agent = kCreator};
  const std::string envelope =
      sign::SignNotaryJws(sign::NotaryPayload(subject.descriptor.value()), key, chain, signing);
  const std::string place = places.Keep(subject, {std::string(sign::kJoseType), envelope});
  Note(options.common, "signed " + subject.manifest.str() + " as " + Quoted(chain.front().subject()));
  std::printf("%s\n", place.c_str());
}

// A file as it is, an ACI as rkt and gpg verify it: FILE.asc, which must not be there.
void SignFile(const Options& options, const std::string& file, std::unique_ptr<Source> content, const Signer& signer) {
  const std::string beside = file + ".asc";
  if (access(beside.c_str(), F_OK) == 0) {
    throw Error(ErrorKind::kUsage, Quoted(beside) + " exists, and holds one signature only",
                "move it away to sign the file anew");
  }
  Hasher hasher;
  const auto bytes = Tap(std::move(content), [&](std::span<const std::byte> part) { hasher.Update(part); });
  const sign::MadeSignature made =
      sign::SignDetached(*bytes, {signer.openpgp, Given(options.home), Passphrase(signer)});
  // What gpg has read counts, whoever writes to the file meanwhile.
  if (const Digest is = hasher.Finish(); !options.file_digest.empty() && is != Digest::Parse(options.file_digest)) {
    throw Error(ErrorKind::kCorrupt, Quoted(file) + " is " + is.str() + " instead of " + options.file_digest,
                "it is not the file that was to be signed; nothing was written");
  }
  const Dir dir = Dir::Open(DirectoryOf(beside));
  dir.WriteFileAtomically(RelPath::Parse(beside.substr(beside.rfind('/') + 1)), made.message);
  Note(options.common, "signed " + file + " with key " + made.fingerprint);
  std::printf("%s\n", beside.c_str());
}

// The file of aci:FILE, which is signed as it is where it gets no registry name; nullopt for all else.
std::optional<std::string> AciFile(const Options& options) {
  if (options.image.empty() || !options.as.empty()) {
    return std::nullopt;
  }
  const auto reference = image::Reference::Parse(options.image);
  const auto* file = reference.file();
  const bool aci = file != nullptr && file->format == image::FileReference::Format::kAci;
  return aci ? std::optional(file->path) : std::nullopt;
}

// An in-toto statement that somebody made about this image and nothing else, such as its provenance. One that verifiers
// take for a signature would sign whatever its subjects say.
std::string ReadStatement(const Options& options, const SigningSubject& subject) {
  std::string text = ReadFile(options.statement, sign::kMaxEnvelopePayloadBytes);
  std::set<std::string> about{subject.manifest.hex()};
  if (!subject.aci.empty())
    about.insert(image::AciFile::Open(subject.aci)->image_id().hex());
  const sign::Statement statement = sign::Statement::Parse(text);
  if (statement.predicate_type == sign::kCosignPredicate || statement.predicate_type == sign::kIdentityPredicate) {
    throw Error(ErrorKind::kUsage,
                Quoted(options.statement) + " is a signature by its type, " + Quoted(statement.predicate_type),
                "sign the image itself: leave --statement out");
  }
  const bool is_about = std::ranges::all_of(statement.subjects, [&](const sign::Subject& one) {
    return std::ranges::any_of(one.digests, [&](const auto& digest) { return about.contains(digest.second); });
  });
  if (!is_about) {
    throw Error(ErrorKind::kUsage, Quoted(options.statement) + " is about another image than " + subject.manifest.str(),
                "name the image that it was made for, and that alone");
  }
  return text;
}

void SignStatement(const Options& options, const SigningPlaces& places, const SigningSubject& subject,
                   const std::vector<Signer>& signers) {
  const std::string statement = ReadStatement(options, subject);
  for (const Signer& signer : signers) {
    if (!signer.key) {
      // What was looked at, whatever the file holds by now.
      SignFile(options, options.statement, StringSource(statement), signer);
      continue;
    }
    const sign::Scheme scheme = SchemeFor(options, signer.key->public_key());
    const std::string place = places.Keep(subject, sign::SignAttestation(statement, *signer.key, scheme));
    Note(options.common, "attested " + subject.manifest.str() + " with key " + signer.key->public_key().fingerprint());
    std::printf("%s\n", place.c_str());
  }
}

void RequireSense(const Options& options, const std::vector<Signer>& signers) {
  if (!options.file_digest.empty() && (!AciFile(options) || !options.statement.empty() || !options.x509.empty())) {
    throw Error(ErrorKind::kUsage, "--file-digest is for the file of aci:FILE, signed with --key");
  }
  if (!options.statement.empty() && (options.identity || !options.forms.empty() || !options.x509.empty())) {
    throw Error(ErrorKind::kUsage, "--statement goes with --key alone", "sign the image and its statement one by one");
  }
  const bool openpgp = std::any_of(signers.begin(), signers.end(), [](const Signer& signer) { return !signer.key; });
  if (openpgp && options.identity && signers.size() == 1) {
    throw Error(ErrorKind::kUnsupported, "an identity attestation is not made with an OpenPGP key",
                "gantry keygen makes a key that does");
  }
  if (options.identity && !options.digest.empty()) {
    throw Error(ErrorKind::kUsage, "the identity of an image that is not here is not known",
                "name the IMAGE in place of --digest");
  }
  if (options.x509.empty() != options.chain.empty()) {
    throw Error(ErrorKind::kUsage, "--x509 and --chain go together",
                "--x509 KEY --chain FILE, with the certificate of the key and those above it, up to the root");
  }
  if (!options.x509.empty() && !options.digest.empty()) {
    throw Error(ErrorKind::kUsage, "signatures with certificates are over the size of the manifest, too",
                "name the IMAGE in place of --digest");
  }
}

// The key of --x509; nullopt without it.
std::optional<sign::PrivateKey> OpenCertified(const Options& options) {
  if (options.x509.empty() || options.common.print_confinement) {
    return std::nullopt;
  }
  std::vector<Signer> opened = OpenSigners({options.x509}, options.passphrase);
  if (!opened.front().key) {
    throw Error(ErrorKind::kUsage, Quoted(options.x509) + " is no file with a private key, nor env:// or pkcs11:",
                "OpenPGP keys go with --key");
  }
  return std::move(opened.front().key);
}

// The registry of docker://NAME, which bare and certified keys put their signatures into.
std::optional<image::Pusher> StartPusher(const Options& options) {
  if (options.image.empty() || !options.lookaside.empty())
    return std::nullopt;
  const auto reference = image::Reference::Parse(options.image);
  if (reference.docker() == nullptr)
    return std::nullopt;
  WarnOfInsecureNetwork(options.network, "pushed");
  return StartPush(*reference.docker(), PushArguments(options.network, options.common));
}

// docker://NAME that is not in the store.
std::optional<RemoteImage> AskForImage(const Options& options) {
  if (options.image.empty())
    return std::nullopt;
  const auto reference = image::Reference::Parse(options.image);
  const auto* name = reference.docker();
  if (name == nullptr || IsInStore(*name, options.platform, StoreRoot(options.common)))
    return std::nullopt;
  return RemoteImage::Ask(*name, options.platform, options.registries, options.network, options.common);
}

// With --all: what docker://NAME leads to in its registry, whatever the store has.
std::optional<image::DockerReference> NameOfAll(const Options& options) {
  if (!options.all)
    return std::nullopt;
  const auto reference = image::Reference::Parse(options.image);
  if (reference.docker() == nullptr) {
    throw Error(ErrorKind::kUnsupported, "--all signs what is in a registry, and " + Quoted(options.image) + " is not",
                "push it first with gantry push --all, or choose one image with --platform");
  }
  return *reference.docker();
}

int Sign(Options options) {
  const bool attests = !options.statement.empty();
  if (options.forms.empty() && !options.identity && !attests) {
    options.forms = {"payload"};
  }
  options.identity = options.identity || options.Wants("identity");
  const bool only_print = options.common.print_confinement;
  const std::vector<Signer> signers =
      only_print ? std::vector<Signer>() : OpenSigners(options.keys, options.passphrase);
  RequireSense(options, signers);
  const std::optional<sign::PrivateKey> certified = OpenCertified(options);
  const bool openpgp = std::any_of(signers.begin(), signers.end(), [](const Signer& signer) { return !signer.key; });
  const bool bare =
      std::any_of(signers.begin(), signers.end(), [](const Signer& signer) { return signer.key.has_value(); });
  std::optional<image::Pusher> pusher = bare || certified ? StartPusher(options) : std::nullopt;
  const std::optional<image::DockerReference> of_all = only_print ? std::nullopt : NameOfAll(options);
  std::optional<image::Fetcher> all =
      of_all ? std::optional(AskForAll(*of_all, options.registries, options.network, options.common)) : std::nullopt;
  std::optional<RemoteImage> remote = only_print || of_all ? std::nullopt : AskForImage(options);
  ConfineSigner(options, openpgp);
  if (const auto aci = AciFile(options); aci && !certified && !attests) {
    if (signers.size() != 1 || signers.front().key || options.identity) {
      throw Error(ErrorKind::kUnsupported, "an App Container Image is signed with one OpenPGP key",
                  "--as docker://NAME:TAG signs what is in it, with any key");
    }
    SignFile(options, *aci, FdSource(OpenFile(*aci, O_RDONLY), Quoted(*aci)), signers.front());
    return 0;
  }
  const auto registries = sign::RegistriesD::Load(Given(options.registries));
  std::vector<SigningSubject> subjects;
  if (all) {
    const image::DockerReference name = ParseAs(options.as).value_or(sign::PolicyName(*of_all));
    subjects = ReceiveSubjects(*all, name, StoreRoot(options.common), options.identity);
  } else {
    subjects.push_back(FindSubject(options, registries, remote ? &*remote : nullptr));
  }
  const SigningPlaces places(options.lookaside, registries, StoreRoot(options.common), pusher ? &*pusher : nullptr);
  for (const SigningSubject& subject : subjects) {
    if (attests) {
      SignStatement(options, places, subject, signers);
      continue;
    }
    SignWithAll(options, places, subject, signers);
    if (certified) {
      SignCertified(options, places, subject, *certified);
    }
  }
  if (pusher) {
    pusher->Settle();
  }
  return 0;
}

void AddOptions(CLI::App& app, Options& options) {
  AddCommonOptions(app, options.common);
  app.add_option("--key", options.keys,
                 "a private key: a file, env://NAME, a pkcs11: URI, or the fingerprint or user ID of an OpenPGP key")
      ->allow_extra_args(false)
      ->type_name("KEY");
  app.add_option("--x509", options.x509, "a private key that a certificate vouches for, as for --key; with --chain")
      ->type_name("KEY");
  app.add_option("--chain", options.chain, "its certificate and those above it, up to the root (PEM)")
      ->type_name("FILE");
  app.add_option("--form", options.forms,
                 "what bare keys make: payload (as cosign 2, the default), bundle (as cosign 3), identity")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"payload", "bundle", "identity"}))
      ->type_name("LIST");
  app.add_option("--statement", options.statement, "sign this in-toto statement about the image in place of the image")
      ->type_name("FILE");
  app.add_flag("--identity", options.identity, "attest what the image is, so that it verifies after a conversion");
  app.add_option("--algorithm", options.algorithm, "of bare keys, in place of the one that all verifiers know")
      ->type_name("NAME");
  app.add_option("--homedir", options.home, "gpg's directory [env: GNUPGHOME]")->type_name("DIR");
  app.add_option("--passphrase-file", options.passphrase.file,
                 "its first line unlocks the keys, - is stdin; else the agent or the terminal asks")
      ->type_name("FILE");
  app.add_option("--file-digest", options.file_digest,
                 "sign the file of aci:FILE only if it is the one with this digest")
      ->type_name("DIGEST");
  app.add_option("--lookaside", options.lookaside, "write the signatures below DIR, whatever registries.d says")
      ->type_name("DIR");
  CLI::Option* platform =
      app.add_option("--platform", options.platform, "os/architecture[/variant] to choose; this machine's by default")
          ->type_name("PLATFORM");
  app.add_flag("--all", options.all, "an index, and the image for every platform that it lists")
      ->excludes(platform)
      ->excludes("--statement");
  AddInsecureOptions(app, options.network, {"http", "tls"});
  AddLookasideOptions(app, options.as, options.registries);
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Sign an image: its manifest's digest and its name, with OpenPGP, bare and certified keys.",
               "gantry-sign");
  Options options;
  AddOptions(app, options);
  CLI::Option* image = app.add_option(
      "IMAGE", options.image,
      "docker://NAME, a name in the store, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF] or "
      "aci:FILE");
  CLI::Option* digest =
      app.add_option("--digest", options.digest, "sign this manifest, which need not be here, with --as")
          ->type_name("DIGEST")
          ->excludes(image)
          ->excludes("--all");
  return ToolMain(app, argc, argv, [&] {
    if (image->empty() && digest->empty()) {
      throw gantry::Error(gantry::ErrorKind::kUsage, "nothing to sign", "name an IMAGE, or --digest and --as");
    }
    if (options.keys.empty() && options.x509.empty() && !options.common.print_confinement) {
      throw gantry::Error(gantry::ErrorKind::kUsage, "no key to sign with", "name one with --key or --x509");
    }
    return Sign(options);
  });
}
