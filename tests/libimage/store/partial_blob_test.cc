// Large blobs that come in parts, from one process after another.
#include "libimage/store/partial_blob.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/store/leases.h"
#include "tests/libimage/store/store_fixture.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::Problems;
using testing::StoreTest;

const std::string kBytes = std::string(700'000, 'a') + std::string(300'000, 'b');

class PartialBlobTest : public StoreTest {
 protected:
  static std::unique_ptr<IncomingBlob> Resume(Store& store) {
    return store.ResumeBlob(Digest::Of(kBytes), kBytes.size());
  }
  void Leave(const std::string& bytes) const {
    const auto store = Open();
    Resume(*store)->Write(AsBytes(bytes));
  }
  RelPath Partial() const { return RelPath::Parse("tmp/partial-sha256-" + Digest::Of(kBytes).hex()); }
};

TEST_F(PartialBlobTest, WhatHasComeIsThereTheNextTime) {
  Leave(kBytes.substr(0, 400'000));
  const auto store = Open();
  EXPECT_FALSE(store->HasBlob(Digest::Of(kBytes)));
  EXPECT_EQ(Problems(*store), "");
  const auto blob = Resume(*store);
  ASSERT_EQ(blob->received(), 400'000u);
  blob->Write(AsBytes(kBytes).subspan(400'000));
  blob->Finish();
  EXPECT_EQ(store->ReadBlob(Digest::Of(kBytes), kBytes.size()), kBytes);
  EXPECT_FALSE(RootDir().Exists(Partial()));
}

TEST_F(PartialBlobTest, AllOfItMayBeThere) {
  Leave(kBytes);
  const auto store = Open();
  const auto blob = Resume(*store);
  ASSERT_EQ(blob->received(), kBytes.size());
  blob->Finish();
  EXPECT_TRUE(store->HasBlob(Digest::Of(kBytes)));
}

TEST_F(PartialBlobTest, WhatIsCheckedIsThereBeforeItHasItsName) {
  const auto store = Open();
  auto blob = Resume(*store);
  blob->Write(AsBytes(kBytes));
  blob->Check();
  EXPECT_FALSE(store->HasBlob(Digest::Of(kBytes)));
  const auto open = store->OpenAsFarAsHere(Digest::Of(kBytes));
  ASSERT_TRUE(open);
  blob->Finish();
  EXPECT_TRUE(store->HasBlob(Digest::Of(kBytes)));
  EXPECT_EQ(ReadAll(open->get(), kBytes.size(), "it"), kBytes);
}

TEST_F(PartialBlobTest, WhatIsCheckedAndGetsNoNameIsThereTheNextTime) {
  {
    const auto store = Open();
    const auto blob = Resume(*store);
    blob->Write(AsBytes(kBytes));
    blob->Check();
  }
  EXPECT_EQ(Resume(*Open())->received(), kBytes.size());
}

TEST_F(PartialBlobTest, WrongBytesDoNotStay) {
  Leave(std::string(kBytes.size(), 'x'));
  const auto store = Open();
  EXPECT_EQ(CaughtError([&] { Resume(*store)->Finish(); }).kind(), ErrorKind::kCorrupt);
  EXPECT_FALSE(RootDir().Exists(Partial()));
  EXPECT_EQ(Resume(*store)->received(), 0u);
  EXPECT_EQ(CaughtError([&] { Resume(*store)->Write(AsBytes(kBytes + "more")); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] {
              const auto blob = Resume(*store);
              blob->Write(AsBytes(std::string(kBytes.size(), 'x')));
              blob->Check();
            }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_FALSE(RootDir().Exists(Partial()));
}

TEST_F(PartialBlobTest, MoreThanTheWholeIsForgotten) {
  Open();
  RootDir().WriteFileAtomically(Partial(), kBytes + "more");
  const auto store = Open();
  EXPECT_EQ(Resume(*store)->received(), 0u);
}

TEST_F(PartialBlobTest, AnotherProcessAtItBeginsAnew) {
  Leave(kBytes.substr(0, 1000));
  const auto store = Open();
  const auto first = Resume(*store);
  const auto second = Resume(*store);
  EXPECT_EQ(first->received(), 1000u);
  ASSERT_EQ(second->received(), 0u);
  second->Write(AsBytes(kBytes));
  second->Finish();
  first->Write(AsBytes(kBytes).subspan(1000));
  first->Finish();
  EXPECT_EQ(store->ReadBlob(Digest::Of(kBytes), kBytes.size()), kBytes);
  EXPECT_EQ(Problems(*store), "");
}

TEST_F(PartialBlobTest, ACollectionLeavesItForADay) {
  Leave(kBytes.substr(0, 1000));
  Open()->Collect({});
  EXPECT_EQ(Resume(*Open())->received(), 1000u);
}

TEST_F(PartialBlobTest, NothingStaysOnADiskThatAnyBlobFoundFull) {
  Open();
  const auto root = std::make_shared<const Dir>(RootDir());
  const auto session = std::make_shared<LeaseFile>(root);
  auto blob = OpenPartialBlob(root, session, Digest::Of(kBytes), kBytes.size(), WriteBack::Pace::kSteady);
  blob->Write(AsBytes("a beginning"));
  const Error error =
      CaughtError([&] { session->Write(OpenFile("/dev/full", O_WRONLY).get(), AsBytes("another"), "another blob"); });
  EXPECT_NE(error.message().find("write another blob: No space"), std::string::npos) << error.message();
  ASSERT_TRUE(RootDir().Exists(Partial()));
  blob.reset();
  EXPECT_FALSE(RootDir().Exists(Partial()));
}

TEST_F(PartialBlobTest, NothingIsLeftOfNothing) {
  Leave("");
  EXPECT_FALSE(RootDir().Exists(Partial()));
}

}  // namespace
}  // namespace gantry::image
