// Certificates as OpenSSL has them, for those that verify with it. Internal to libsign.
#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string_view>
#include <vector>

#include "libsign/free_by.h"
#include "libsign/x509.h"

namespace gantry::sign {

using NativeCertificate = std::unique_ptr<X509, FreeBy<X509_free>>;

struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_pop_free(stack, X509_free); }
};
using NativeCertificates = std::unique_ptr<STACK_OF(X509), FreeStack>;

// kFailed when OpenSSL has no memory left.
NativeCertificate ToNative(const Certificate& certificate);
NativeCertificates ToNative(const std::vector<Certificate>& certificates);

// `what` names it in errors.
Certificate FromNative(const X509* native, std::string_view what);

}  // namespace gantry::sign
