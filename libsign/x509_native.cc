#include "libsign/x509_native.h"

#include <string>

#include "libimage/base/error.h"

namespace gantry::sign {

NativeCertificate ToNative(const Certificate& certificate) {
  const auto* at = reinterpret_cast<const unsigned char*>(certificate.der().data());
  NativeCertificate decoded(d2i_X509(nullptr, &at, static_cast<long>(certificate.der().size())));
  if (decoded == nullptr) {
    throw Error(ErrorKind::kFailed, "a certificate cannot be read again");
  }
  return decoded;
}

NativeCertificates ToNative(const std::vector<Certificate>& certificates) {
  NativeCertificates stack(sk_X509_new_null());
  for (const Certificate& certificate : certificates) {
    NativeCertificate decoded = ToNative(certificate);
    if (stack == nullptr || sk_X509_push(stack.get(), decoded.get()) == 0) {
      throw Error(ErrorKind::kFailed, "out of memory");
    }
    static_cast<void>(decoded.release());
  }
  return stack;
}

Certificate FromNative(const X509* native, std::string_view what) {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509(native, &bytes);
  const std::string der(reinterpret_cast<const char*>(bytes), size < 0 ? 0 : static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return Certificate::Parse(der, what);
}

}  // namespace gantry::sign
