// What lies on disk and in registries for the Notary Project: trust stores, and manifests around envelopes.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "libsign/notary.h"
#include "libsign/time_text.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kThumbprints = "io.cncf.notary.x509chain.thumbprint#S256";
constexpr std::string_view kCreated = "org.opencontainers.image.created";
constexpr size_t kMaxNotaryManifestBytes = 4 * 1024 * 1024;

// Calls `use` with name and content of each file of a directory below `root`; none when there is no such directory.
void ForEachFile(const Dir& root, const std::string& path, size_t max_bytes, const auto& use) {
  const RelPath relative = RelPath::Parse(path);
  if (!root.Exists(relative)) {
    return;
  }
  const Dir directory = root.OpenDir(relative);
  const std::vector<std::string> names = directory.List();
  if (names.size() > kMaxStoreFiles) {
    throw Error(ErrorKind::kCorrupt, Quoted(path) + " holds more than " + std::to_string(kMaxStoreFiles) + " files");
  }
  for (const std::string& name : names) {
    const auto status = directory.Stat(RelPath::Parse(name));
    if (!status || !S_ISREG(status->st_mode)) {
      throw Error(ErrorKind::kCorrupt, Quoted(path + "/" + name) + " is not a regular file",
                  "trust stores hold certificates only, no links and no directories");
    }
    use(path + "/" + name, directory.ReadFile(RelPath::Parse(name), max_bytes));
  }
}

std::vector<Certificate> LoadStores(const Dir& root, const std::string& type, const std::vector<std::string>& stores) {
  std::vector<Certificate> certificates;
  for (const std::string& store : stores) {
    const std::string path = "trust-store/x509/" + type + "/" + store;
    const size_t before = certificates.size();
    ForEachFile(root, path, kMaxCertificateFileBytes, [&](const std::string& name, const std::string& bytes) {
      for (Certificate& certificate : Certificate::ParseFile(bytes, name)) {
        if (!certificate.is_ca() && !certificate.self_signed()) {
          throw Error(ErrorKind::kCorrupt, Quoted(name) + ": certificate " + Quoted(certificate.subject()) +
                                               " is neither an authority's nor self-signed");
        }
        certificates.push_back(std::move(certificate));
      }
    });
    if (certificates.size() == before) {
      throw Error(ErrorKind::kNotFound, "trust store " + Quoted(path) + " holds no certificate",
                  "put PEM or DER files into " + root.name() + "/" + path);
    }
  }
  return certificates;
}

std::string Thumbprints(const std::vector<Certificate>& chain) {
  json::Array list;
  for (const Certificate& certificate : chain) {
    list.emplace_back(Digest::Of(certificate.der()).hex());
  }
  return json::Print(list);
}

}  // namespace

NotaryTrust NotaryTrust::Load(const std::string& directory, const NotaryStatement& statement) {
  NotaryTrust trust;
  if (statement.skip) {
    return trust;
  }
  const Dir root = Dir::Open(directory);
  trust.ca = LoadStores(root, "ca", statement.ca_stores);
  trust.signing_authority = LoadStores(root, "signingAuthority", statement.authority_stores);
  trust.tsa = LoadStores(root, "tsa", statement.tsa_stores);
  ForEachFile(root, "crl", kMaxCrlBytes, [&](const std::string& name, const std::string& bytes) {
    trust.revocation_lists.push_back(Crl::Parse(bytes, name));
  });
  return trust;
}

std::string MakeNotaryManifest(const image::Descriptor& subject, const image::Descriptor& envelope,
                               const std::vector<Certificate>& chain, int64_t created) {
  const image::Descriptor bare_subject{subject.media_type, subject.digest, subject.size};
  const image::Descriptor config{std::string(image::kOciEmptyType), Digest::Of("{}"), 2};
  return json::Print(json::Object{
      {"schemaVersion", 2},
      {"mediaType", image::kOciManifestType},
      {"artifactType", kNotaryArtifactType},
      {"config", config.ToJson()},
      {"layers", json::Array{envelope.ToJson()}},
      {"subject", bare_subject.ToJson()},
      {"annotations",
       json::Object{{std::string(kThumbprints), Thumbprints(chain)}, {std::string(kCreated), TimeText(created)}}},
  });
}

image::Descriptor ParseNotaryManifest(std::string_view manifest, const Digest& subject) {
  if (manifest.size() > kMaxNotaryManifestBytes) {
    throw Error(ErrorKind::kCorrupt, "signature manifest: over " + std::to_string(kMaxNotaryManifestBytes) + " bytes");
  }
  const json::Value document = json::Parse(manifest, "signature manifest");
  const json::Cursor root(document, "signature manifest");
  const auto type = root.Find("artifactType");
  const std::string& found = type ? type->String(256) : root.At("config").At("mediaType").String(256);
  if (found != kNotaryArtifactType) {
    root.Fail("expected an artifact of type " + std::string(kNotaryArtifactType));
  }
  if (image::Descriptor::Parse(root.At("subject")).digest != subject) {
    root.At("subject").Fail("it is about another image");
  }
  const auto layers = root.At("layers").Elements(1);
  if (layers.empty()) {
    root.At("layers").Fail("expected one envelope");
  }
  image::Descriptor envelope = image::Descriptor::Parse(layers.front());
  if ((envelope.media_type != kJoseType && envelope.media_type != kCoseType) ||
      envelope.size > kMaxNotaryEnvelopeBytes) {
    layers.front().Fail("expected an envelope in JWS or COSE, of at most " + std::to_string(kMaxNotaryEnvelopeBytes) +
                        " bytes");
  }
  return envelope;
}

}  // namespace gantry::sign
