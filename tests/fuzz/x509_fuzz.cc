#include "libsign/x509.h"
#include "libsign/x509_chain.h"
#include "libsign/x509_crl.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::Certificate;
using gantry::sign::Crl;

namespace {

constexpr int64_t kTime = 1'750'000'000;

// A certificate that was read says the same when it is read again, and no chain ends where no anchor is.
void CheckCertificates(std::string_view bytes) {
  std::vector<Certificate> certificates;
  if (!Accepts([&] { certificates = Certificate::ParseFile(bytes, "fuzz"); }))
    return;
  const Certificate& leaf = certificates.front();
  Require(Certificate::ParsePem(leaf.ToPem(), "fuzz").front() == leaf);
  Require(leaf.TbsWithout("1.3.6.1.4.1.11129.2.4.2").size() <= leaf.der().size() + 16);
  if (certificates.size() > gantry::sign::kMaxChainCandidates)
    return;
  Require(BuildChain(leaf, certificates, {}, kTime, {}).problem.has_value());
  const auto chain = BuildChain(leaf, certificates, {certificates.back()}, kTime, gantry::sign::kCodeSigningUsage);
  Require(chain.problem.has_value() == chain.certificates.empty());
  static_cast<void>(CheckOrderedChain(certificates, kTime, {}));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = gantry::fuzz::Text(data, size);
  CheckCertificates(bytes);
  Accepts([&] { Require(Crl::Parse(bytes, "fuzz").issuer() == Crl::Parse(bytes, "fuzz").issuer()); });
  static_cast<void>(gantry::sign::Utf8String(bytes));
  return 0;
}
