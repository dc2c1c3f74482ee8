#include "libimage/store/store_sink.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

class StoreSink : public ImageSink {
 public:
  StoreSink(std::unique_ptr<Store> store, bool overwrite)
      : store_(std::move(store)), lease_(store_->NewLease()), overwrite_(overwrite) {}

  Form form() const override { return {.layers = {}, .manifest_type = {}, .indexes = false, .registry_names = true}; }

  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view) override {
    lease_->Add({blob.digest});
    if (store_->HasBlob(blob.digest))
      return;
    const std::unique_ptr<IncomingBlob> into = store_->AddBlob(blob.digest, blob.size);
    Copy(*from, *into);
    into->Finish();
  }

  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override { return store_->MakeBlob(what); }

  void Vouch(const VerifiedImage& image) override { vouched_.insert_or_assign(image.image().descriptor.digest, image); }
  void VouchForArtifact(const VerifiedArtifact& artifact) override {
    vouched_.insert_or_assign(artifact.artifact().descriptor.digest, artifact);
  }

  void KeepRootfs(const Digest& manifest, const Digest& rootfs) override { store_->KeepRootfs(manifest, rootfs); }

  void Name(const Descriptor& top, const std::string& ref) override {
    const auto verified = vouched_.find(top.digest);
    if (verified == vouched_.end())
      throw Error(ErrorKind::kFailed, "nobody vouches for " + top.digest.str() + ", so it gets no name in the store");
    RefuseTaken(ref, top.digest);
    names_.emplace_back(ref, *verified);
  }

  void Commit() override {
    for (const auto& [name, verified] : names_) {
      RefuseTaken(name, verified.first);
      std::visit([&, to = name](const auto& one) { store_->SetName(to, one); }, verified.second);
    }
  }

 private:
  void RefuseTaken(const std::string& name, const Digest& manifest) const {
    const std::vector<StoredName> names = store_->List();
    const auto has = std::find_if(names.begin(), names.end(), [&](const StoredName& one) { return one.name == name; });
    if (overwrite_ || has == names.end() || has->descriptor.digest == manifest)
      return;
    throw Error(ErrorKind::kFailed, Quoted(name) + " is in the store already (" + has->descriptor.digest.str() + ")",
                "give --overwrite to move the name, or choose another one");
  }

  std::unique_ptr<Store> store_;
  std::unique_ptr<Lease> lease_;
  bool overwrite_;
  using Vouched = std::map<Digest, std::variant<VerifiedImage, VerifiedArtifact>>;
  Vouched vouched_;
  std::vector<std::pair<std::string, Vouched::value_type>> names_;
};

}  // namespace

std::unique_ptr<ImageSink> IntoStore(std::unique_ptr<Store> store, bool overwrite) {
  return std::make_unique<StoreSink>(std::move(store), overwrite);
}

}  // namespace gantry::image
