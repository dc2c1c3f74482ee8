#include "libimage/transport/certificates.h"

#include <cstdlib>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

std::string Read(const std::string& directory, const std::string& name) {
  return ReadFile(directory + "/" + name, kMaxCertificateBytes) + "\n";
}

// Those that the environment names stand in place of the system's, and libcurl would forget them over others.
std::string AuthoritiesOfEnvironment() {
  const char* file = std::getenv("SSL_CERT_FILE");
  return file != nullptr && *file != '\0' ? ReadFile(file, kMaxCertificateBytes) + "\n" : "";
}

}  // namespace

std::vector<std::string> CertificateDirectories(const std::string& host) {
  std::vector<std::string> out;
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config != '\0')
    out.push_back(std::string(config) + "/containers/certs.d/" + host);
  else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    out.push_back(std::string(home) + "/.config/containers/certs.d/" + host);
  out.push_back("/etc/containers/certs.d/" + host);
  out.push_back("/etc/docker/certs.d/" + host);
  return out;
}

HostCertificates ReadCertificates(const std::string& directory) {
  const Dir dir = Dir::Open(directory);
  HostCertificates out;
  for (const std::string& name : dir.List()) {
    if (name.ends_with(".crt"))
      out.authorities += Read(directory, name);
    const bool certificate = name.ends_with(".cert");
    if (!certificate && !name.ends_with(".key"))
      continue;
    const std::string stem = name.substr(0, name.rfind('.'));
    const std::string other = stem + (certificate ? ".key" : ".cert");
    if (!dir.Exists(RelPath::Parse(other))) {
      throw Error(ErrorKind::kFailed,
                  Quoted(name) + " in " + Quoted(directory) + " has no " + Quoted(other) + " beside it",
                  "a certificate and its key are called NAME.cert and NAME.key; authorities end in .crt");
    }
    if (!certificate)
      continue;
    if (!out.certificate.empty()) {
      throw Error(ErrorKind::kUnsupported, "more than one certificate of ours in " + Quoted(directory),
                  "leave the one that the registry wants");
    }
    out.certificate = Read(directory, name);
    out.key = Read(directory, other);
  }
  return out;
}

HttpOptions WithCertificates(HttpOptions options, const std::string& host) {
  const std::optional<Url> url = Url::Parse("https://" + host + "/");
  for (const std::string& directory : CertificateDirectories(host)) {
    try {
      HostCertificates found = ReadCertificates(directory);
      if (!found.authorities.empty())
        found.authorities += AuthoritiesOfEnvironment();
      if (url)
        options.certificates.insert_or_assign(url->Origin(), std::move(found));
      break;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kNotFound)
        throw;
    }
  }
  return options;
}

}  // namespace gantry::image
