// A store in a directory that goes away, and images to put into it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "libimage/base/fd.h"
#include "libimage/store/store.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_verifier.h"

namespace gantry::testing {

inline void AddBytes(image::Store& store, const std::string& bytes) {
  const auto blob = store.AddBlob(Digest::Of(bytes), bytes.size());
  blob->Write(AsBytes(bytes));
  blob->Finish();
}

// One layer that is no tar at all: the store does not look into layers.
inline ImageBuilder ImageOf(const std::string& layer, bool docker = false) {
  ImageBuilder builder(docker);
  builder.Layer(layer, image::Compression::kNone);
  return builder;
}

inline void AddBlobs(image::Store& store, const ImageBuilder& builder) {
  for (const auto& [digest, bytes] : builder.Blobs()) AddBytes(store, bytes);
}

inline image::VerifiedImage Vouched(const ImageBuilder& builder) { return sign::Verifier::ForTest(builder.Build()); }

inline void AddImage(image::Store& store, const std::string& name, const ImageBuilder& builder) {
  AddBlobs(store, builder);
  store.SetName(name, Vouched(builder));
}

// What Check found, for messages of failed tests; empty when the store is sound.
inline std::string Problems(const image::Store& store) {
  std::string out;
  for (const image::StoreProblem& problem : store.Check()) out += problem.what + ": " + problem.why + "\n";
  return out;
}

class StoreTest : public ::testing::Test {
 protected:
  std::string Root() const { return temp_.path() + "/store"; }
  std::unique_ptr<image::Store> Open() const { return image::Store::Open(Root()); }
  std::unique_ptr<image::Store> OpenReadOnly() const { return image::Store::OpenReadOnly(Root()); }
  Dir RootDir() const { return Dir::Open(Root()); }

  TempDir temp_;
};

}  // namespace gantry::testing
