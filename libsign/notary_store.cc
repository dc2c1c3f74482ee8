// What lies on disk for the Notary Project: trust stores and revocation lists.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libsign/notary.h"

namespace gantry::sign {
namespace {

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

}  // namespace gantry::sign
