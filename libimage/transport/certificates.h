// Certificates for registries, from where Docker and Podman look for them (containers-certs.d(5)).
#pragma once

#include <string>
#include <vector>

#include "libimage/transport/http.h"

namespace gantry::image {

constexpr size_t kMaxCertificateBytes = 4 * 1024 * 1024;  // of one file

// The directories for `host` ("r.example:5000"), in order, whether they exist or not; the first that does counts:
// $XDG_CONFIG_HOME/containers/certs.d/HOST, /etc/containers/certs.d/HOST, /etc/docker/certs.d/HOST.
std::vector<std::string> CertificateDirectories(const std::string& host);

// What one has: *.crt are authorities, X.cert and X.key a certificate of ours and its key. kFailed when one of the two
// is missing, kUnsupported for several pairs.
HostCertificates ReadCertificates(const std::string& directory);

// The options with what the first existing directory has for `host`. Before any confinement.
HttpOptions WithCertificates(HttpOptions options, const std::string& host);

}  // namespace gantry::image
