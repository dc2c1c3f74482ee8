#include "tools/fetch_appc.h"

#include <unistd.h>

#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/transport/certificates.h"
#include "libimage/transport/discovery.h"
#include "libsign/verify.h"
#include "tools/appc_files.h"
#include "tools/local_image.h"
#include "tools/network_options.h"

namespace gantry::tools {
namespace {

// Where one file comes in. Whoever fetches the same meanwhile waits, and what a killed one left is overwritten.
class IncomingFile {
 public:
  IncomingFile(const Dir& dir, std::string name)
      : dir_(dir), name_(std::move(name)), fd_(*HoldAppcPart(dir, name_, WhenHeld::kWait)) {
    if (ftruncate(fd_.get(), 0) < 0)
      ThrowErrno("empty " + part().str());
  }
  IncomingFile(const IncomingFile&) = delete;
  IncomingFile& operator=(const IncomingFile&) = delete;
  ~IncomingFile() {
    if (!kept_)
      unlinkat(dir_.fd(), part().c_str(), 0);
  }

  int fd() const { return fd_.get(); }
  std::string path() const { return dir_.name() + "/" + part().str(); }

  // A crash between the two leaves a signature that is not the file's: refused, until it is fetched again.
  void Keep(const std::optional<std::string>& signature) {
    if (fsync(fd_.get()) < 0)
      ThrowErrno("sync " + part().str());
    const RelPath beside = RelPath::Parse(name_ + ".asc");
    if (signature)
      dir_.WriteFileAtomically(beside, *signature);
    else
      dir_.RemoveFile(beside);
    dir_.Rename(part(), RelPath::Parse(name_));
    dir_.Sync();
    kept_ = true;
  }

 private:
  RelPath part() const { return AppcPart(name_); }

  const Dir& dir_;
  std::string name_;
  UniqueFd fd_;
  bool kept_ = false;
};

// The ACIs that it may depend on: those that were fetched before.
std::vector<std::string> FilesIn(const Dir& dir) {
  std::vector<std::string> out;
  for (const std::string& name : dir.List()) {
    if (name.ends_with(".aci"))
      out.push_back(dir.name() + "/" + name);
  }
  return out;
}

}  // namespace

AppcFetch::AppcFetch(const image::AppcReference& name, const std::string& platform, const PolicyOptions& policy,
                     const CommonOptions& common)
    : wanted_(WantedAppc(name, platform)),
      platform_(platform),
      common_(common),
      fetcher_(image::AppcFetcher::Start(
          {.wanted = wanted_,
           .http = WithNotes(
               image::WithCertificates({.verify_tls = !policy.insecure_tls(), .allow_http = policy.insecure_http()},
                                       name.name.substr(0, name.name.find('/'))),
               common),
           .confine = [common] { Confine(common, PushConfinement()); }})) {
  Dir::Create(AppcDirectory(StoreRoot(common)));
}

std::string AppcFetch::name() const { return image::Reference(wanted_).ToString(); }

image::VerifiedImage AppcFetch::Fetch(const sign::Policy& policy) {
  const std::string path = AppcPath(wanted_, StoreRoot(common_));
  const Dir dir = Dir::Open(AppcDirectory(StoreRoot(common_)));
  IncomingFile incoming(dir, path.substr(path.rfind('/') + 1));
  const image::AppcFound found = fetcher_.Receive(*FdSink(incoming.fd(), "the image"));
  LocalImage local = OpenFileImage({image::FileReference::Format::kAci, incoming.path(), {}}, platform_, FilesIn(dir));
  image::RequireSame(*local.aci, wanted_);
  // Judged as what it is going to be.
  sign::AppcFile& file = local.evidence.appc.back();
  file.file = found.place;
  file.signature = found.signature;
  local.evidence.path = RealPath(dir.name()) + "/" + path.substr(path.rfind('/') + 1);
  local.evidence.looked_at = {found.place + ".asc"};
  AddAccepted(local.image, StoreRoot(common_), local.evidence);
  image::VerifiedImage verified = sign::Verifier::Verify(std::move(local.image), policy, local.evidence);
  NoteAccepted(verified.accepted(), StoreRoot(common_));
  incoming.Keep(found.signature);
  return verified;
}

}  // namespace gantry::tools
