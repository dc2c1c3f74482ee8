// gantry-keygen: a new pair of keys to sign images with, as cosign keeps them.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/path_text.h"
#include "libsign/sealed_key.h"
#include "tools/passphrase.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct Options {
  CommonOptions common;
  PassphraseSource passphrase;
  std::string output = "gantry";
  std::string kind = "ecdsa-p256";
  std::string format = "sigstore";
  unsigned rsa_bits = 3072;
};

// Never over another one: whoever loses a key cannot sign any more.
void WriteNew(const std::string& path, std::string_view bytes, unsigned mode) {
  if (access(path.c_str(), F_OK) == 0) {
    throw Error(ErrorKind::kUsage, Quoted(path) + " exists", "choose another --output, or move it away");
  }
  const Dir dir = Dir::Open(DirectoryOf(path));
  dir.WriteFileAtomically(RelPath::Parse(path.substr(path.rfind('/') + 1)), bytes, mode);
}

// The directory of the keys is written to.
image::Confinement Kept(const Options& options) {
  image::Confinement keep{.read = image::SystemFiles()};
  keep.write = {DirectoryOf(options.output)};
  return keep;
}

int Generate(const Options& options) {
  if (options.common.print_confinement) {
    Confine(options.common, Kept(options));
  }
  const std::string private_path = options.output + ".key";
  const std::string public_path = options.output + ".pub";
  for (const std::string& path : {private_path, public_path}) {
    if (access(path.c_str(), F_OK) == 0) {
      throw Error(ErrorKind::kUsage, Quoted(path) + " exists", "choose another --output, or move it away");
    }
  }
  const sign::KeyKind kind = sign::ParseKeyKind(options.kind);
  const sign::SecretBytes passphrase = ReadPassphrase(options.passphrase, "the new key", true);
  Confine(options.common, Kept(options));  // behind the question: a terminal obeys nobody who is confined
  const sign::PrivateKey key = sign::PrivateKey::Generate(kind, options.rsa_bits);
  WriteNew(private_path, options.format == "sigstore" ? sign::SealKey(key, passphrase) : key.ToEncryptedPem(passphrase),
           0600);
  WriteNew(public_path, key.public_key().ToPem(), 0644);
  Note(options.common, private_path + " is the private key, " + public_path + " the public one");
  std::printf("sha256:%s  %s\n", key.public_key().fingerprint().c_str(), public_path.c_str());
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Make a pair of keys to sign images with: PREFIX.key under a passphrase, and PREFIX.pub.",
               "gantry-keygen");
  Options options;
  AddCommonOptions(app, options.common);
  app.add_option("-o,--output", options.output, "where the keys go, without .key and .pub (gantry)")
      ->type_name("PREFIX");
  app.add_option("--kind", options.kind, "ecdsa-p256 (the default), ecdsa-p384, ecdsa-p521, rsa or ed25519")
      ->type_name("KIND");
  app.add_option("--rsa-bits", options.rsa_bits, "size of an RSA key (3072)")->type_name("N");
  app.add_option("--format", options.format, "sigstore, which cosign reads (the default), or pkcs8")
      ->check(CLI::IsMember({"sigstore", "pkcs8"}))
      ->type_name("FORMAT");
  app.add_option("--passphrase-file", options.passphrase.file,
                 "its first line is the passphrase, - is stdin [env: COSIGN_PASSWORD]")
      ->type_name("FILE");
  return ToolMain(app, argc, argv, [&] { return Generate(options); });
}
