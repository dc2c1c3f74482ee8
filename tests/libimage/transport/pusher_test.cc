#include "libimage/transport/pusher.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/transport/registry_upload.h"
#include "tests/support/image_builder.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::ImageBuilder;
using testing::RegistryServer;

class PusherTest : public ::testing::Test {
 protected:
  PusherTest() { signal(SIGPIPE, SIG_IGN); }

  Pusher Start(const std::string& tail = "/app:v1") {
    HttpOptions http;
    http.first_pause = std::chrono::milliseconds(1);
    http.max_tries = 2;
    return Pusher::Start({.name = DockerReference::Parse(server_.host() + tail), .http = http, .confine = [] {}});
  }

  void Add(ImageSink& sink, const Descriptor& blob, const std::string& bytes) {
    sink.AddBlob(blob, StringSource(bytes), "a blob");
  }
  const std::string& Bytes(const Digest& digest) const { return blobs_.Get(digest); }

  void PushAll(Pusher& pusher) {
    const auto sink = MakeRegistrySink(pusher);
    Add(*sink, image_.manifest.layers[0], Bytes(image_.manifest.layers[0].digest));
    Add(*sink, image_.manifest.config, image_.config_bytes);
    Add(*sink, image_.descriptor, image_.manifest_bytes);
    sink->Name(image_.descriptor, "v1");
    sink->Commit();
  }

  const ImageBuilder builder_ = ImageBuilder().Layer(std::string(50'000, 'a'), Compression::kNone);
  const Image image_ = builder_.Build();
  const testing::MemoryBlobs blobs_{builder_};
  RegistryServer server_;
};

TEST_F(PusherTest, PutsAnImageAndKnowsItTheNextTime) {
  {
    Pusher pusher = Start();
    EXPECT_FALSE(pusher.Has(image_.descriptor.digest));
    PushAll(pusher);
  }
  EXPECT_EQ(server_.Manifest("app", "v1"), image_.manifest_bytes);
  const size_t before = server_.requests().size();
  Pusher again = Start();
  EXPECT_TRUE(again.Has(image_.descriptor.digest));
  // One request, and the hello over TLS that the server does not understand.
  EXPECT_EQ(server_.Count("HEAD", "/manifests/v1"), 2u);
  EXPECT_EQ(server_.requests().size(), before + 1);
}

TEST_F(PusherTest, AsksForEachBlobOnceAndSendsNoneThatIsThere) {
  const Descriptor& layer = image_.manifest.layers[0];
  server_.PutBlob("app", layer.digest.str(), Bytes(layer.digest));
  Pusher pusher = Start();
  PushAll(pusher);
  EXPECT_EQ(server_.Count("HEAD", "/blobs/" + layer.digest.str()), 1u);
  EXPECT_EQ(server_.Count("POST", "/uploads/"), 1u);
}

TEST_F(PusherTest, MountsFromAnotherRepository) {
  const Descriptor& layer = image_.manifest.layers[0];
  server_.PutBlob("base", layer.digest.str(), Bytes(layer.digest));
  Pusher pusher = Start();
  pusher.MountFrom("base");
  PushAll(pusher);
  EXPECT_TRUE(server_.Blob("app", layer.digest.str()));
  EXPECT_EQ(server_.Count("PUT", "/uploads/"), 1u);  // the configuration, in the session that its mount became
  EXPECT_EQ(server_.open_uploads(), 0u);
}

TEST_F(PusherTest, StreamsABlobWhoseDigestComesLast) {
  const std::string bytes(3 * kBlockBytes + 5, 'z');
  Pusher pusher = Start();
  const auto sink = MakeRegistrySink(pusher);
  const auto blob = sink->MakeBlob("a blob");
  blob->Write(AsBytes(bytes));
  blob->Finish();
  EXPECT_EQ(blob->digest(), Digest::Of(bytes));
  EXPECT_EQ(blob->size(), bytes.size());
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
}

TEST_F(PusherTest, ABlobThatFailsCancelsItsUpload) {
  const std::string bytes(9'000'000, 'z');
  Pusher pusher = Start();
  const auto sink = MakeRegistrySink(pusher);
  {
    const auto blob = sink->MakeBlob("a blob");
    blob->Write(AsBytes(bytes));
    blob->Write(AsBytes(bytes));
  }
  {
    const auto blob = sink->MakeBlob("a blob");
    blob->Expect(Digest::Of("this"), "a blob");
    blob->Write(AsBytes("that"));
    EXPECT_EQ(CaughtError([&] { blob->Finish(); }).kind(), ErrorKind::kCorrupt);
    EXPECT_FALSE(server_.Blob("app", Digest::Of("that").str()));
  }
  const Descriptor wrong{.media_type = std::string(kOciLayerType), .digest = Digest::Of("other"), .size = 5};
  EXPECT_EQ(CaughtError([&] { Add(*sink, wrong, "bytes"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_FALSE(server_.Blob("app", wrong.digest.str()));
  { const Pusher ended = std::move(pusher); }
}

// A blob in a file of which `take` bytes were said to be gone.
struct FileBlob : public Source {
  FileBlob(std::unique_ptr<Source> from, uint64_t& gone) : inner(std::move(from)), took(gone) {}
  Block Next() override {
    ADD_FAILURE() << "it was read here";
    return inner->Next();
  }
  std::optional<FileRange> File() const override { return inner->File(); }
  void Took(uint64_t bytes) override { took += bytes; }
  std::unique_ptr<Source> inner;
  uint64_t& took;
};

class FilePusherTest : public PusherTest {
 protected:
  // A part of a file.
  std::unique_ptr<Source> InFile(const std::string& bytes) {
    const std::string path = temp_.path() + "/file";
    std::ofstream(path) << "before " + bytes + " and after";
    auto fd = std::make_shared<const UniqueFd>(OpenFile(path, O_RDONLY));
    return std::make_unique<FileBlob>(FdRangeSource(std::move(fd), 7, bytes.size(), "a blob"), took_);
  }
  static Descriptor DescriptorOf(const std::string& bytes) {
    return {.media_type = std::string(kOciLayerType), .digest = Digest::Of(bytes), .size = bytes.size()};
  }
  void AddFile(const Descriptor& blob, const std::string& bytes) {
    Pusher pusher = Start();
    MakeRegistrySink(pusher)->AddBlob(blob, InFile(bytes), "a blob");
  }

  testing::TempDir temp_;
  uint64_t took_ = 0;
};

TEST_F(FilePusherTest, SendsAFileFromWhereItLies) {
  for (const size_t size : {size_t{0}, size_t{10}, size_t{3'000'000}}) {
    took_ = 0;
    const std::string bytes(size, 'f');
    AddFile(DescriptorOf(bytes), bytes);
    EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes) << size;
    EXPECT_EQ(took_, size);
  }
}

TEST_F(FilePusherTest, SendsALargeFileInChunks) {
  const std::string bytes(kUploadFileChunkBytes + 5, 'f');
  AddFile(DescriptorOf(bytes), bytes);
  EXPECT_EQ(server_.Count("PATCH", "/uploads/"), 2u);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
  EXPECT_EQ(took_, bytes.size());
}

TEST_F(FilePusherTest, ChunksBecomeSmallerWhereAProxyTakesNoLargeOnes) {
  const std::string bytes(2 * kUploadChunkBytes + 5, 'f');
  server_.Script("PUT /uploads/ status 413\n");
  AddFile(DescriptorOf(bytes), bytes);
  EXPECT_EQ(server_.Count("PATCH", "/uploads/"), 3u);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);

  took_ = 0;
  const std::string larger(kUploadFileChunkBytes + 5, 'g');
  server_.Script("PATCH /uploads/ part 5\nPATCH /uploads/ status 413\n");
  AddFile(DescriptorOf(larger), larger);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(larger).str()) == larger);
  EXPECT_EQ(took_, larger.size());
}

TEST_F(FilePusherTest, ChunksBecomeSmallerAfterALoss) {
  const std::string bytes(kUploadFileChunkBytes + 5, 'f');
  server_.Script("PATCH /uploads/ drop 1000000\n");
  AddFile(DescriptorOf(bytes), bytes);
  EXPECT_GE(server_.Count("PATCH", "/uploads/"), 9u);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
  EXPECT_EQ(took_, bytes.size());
}

TEST_F(FilePusherTest, WhatWasToGoWholeGoesInChunksAfterALoss) {
  const std::string bytes(2 * kUploadChunkBytes + 5, 'f');
  server_.Script("PUT /uploads/ drop 1000000\nPATCH /uploads/ drop 1000000\n");
  AddFile(DescriptorOf(bytes), bytes);
  EXPECT_GE(server_.Count("PATCH", "/uploads/"), 3u);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
  EXPECT_EQ(took_, bytes.size());
}

TEST_F(FilePusherTest, ABusyRegistryMakesNoChunksSmaller) {
  const std::string bytes(2 * kUploadChunkBytes + 5, 'f');
  server_.Script("PUT /uploads/ status 503\n");
  AddFile(DescriptorOf(bytes), bytes);
  EXPECT_EQ(server_.Count("PATCH", "/uploads/"), 0u);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
}

TEST_F(FilePusherTest, ALargeChunkThatComesLateCounts) {
  const std::string bytes(kUploadFileChunkBytes + 5, 'f');
  server_.Script("PATCH /uploads/ lose\nGET /uploads/ set Range: 0-0\n");
  AddFile(DescriptorOf(bytes), bytes);
  // Of which libcurl itself may have repeated the first, and a small one is refused.
  EXPECT_LE(server_.Count("PATCH", "/uploads/"), 4u);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
  EXPECT_EQ(took_, bytes.size());
}

TEST_F(FilePusherTest, AnUploadThatIsForgottenAgainAndAgainIsGivenUp) {
  const std::string bytes(kUploadFileChunkBytes + 5, 'f');
  for (int i = 0; i < 5; ++i) server_.Script("PATCH /uploads/ part 1000000\nPATCH /uploads/ forget\n");
  EXPECT_EQ(CaughtError([&] { AddFile(DescriptorOf(bytes), bytes); }).kind(), ErrorKind::kNotFound);
  EXPECT_EQ(server_.Count("POST", "/uploads/"), 3u);  // the first and as many as there are tries
}

TEST_F(FilePusherTest, ADamagedFileIsCorruptWhateverTheRegistrySays) {
  const std::string bytes(10'000'000, 'f');
  const std::string right = "Docker-Content-Digest: " + Digest::Of(bytes).str();
  for (const std::string& script :
       {std::string(), "PUT /uploads/ status 201;" + right + "\n", std::string("PUT /uploads/ status 201\n"),
        std::string("PUT /uploads/ status 422\n"), std::string("PUT /uploads/ status 409\n"),
        std::string("PUT /uploads/ status 500\nPUT /uploads/ status 500\n"),
        std::string("POST /uploads/ status 403\n")}) {
    server_.Script(script);
    const Error error = CaughtError([&] { AddFile(DescriptorOf(bytes), std::string(bytes.size(), 'g')); });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << script;
    EXPECT_NE(error.message().find("a blob has digest"), std::string::npos) << error.message();
    EXPECT_FALSE(server_.Blob("app", Digest::Of(bytes).str()));
    server_.Reset();
  }
}

TEST_F(FilePusherTest, ARegistryNeedNotTellTheDigestButMustNotTellAnother) {
  const std::string bytes(100'000, 'f');
  server_.Script("PUT /uploads/ status 201;Docker-Content-Digest: " + Digest::Of("other").str() + "\n");
  EXPECT_EQ(CaughtError([&] { AddFile(DescriptorOf(bytes), bytes); }).kind(), ErrorKind::kNetwork);
  server_.Script("PUT /uploads/ unset Docker-Content-Digest\n");
  AddFile(DescriptorOf(bytes), bytes);
  EXPECT_TRUE(server_.Blob("app", Digest::Of(bytes).str()) == bytes);
}

TEST_F(FilePusherTest, AFileOfAnotherSizeIsNotSent) {
  Pusher pusher = Start();
  const auto sink = MakeRegistrySink(pusher);
  const std::string bytes(100'000, 'f');
  std::ofstream(temp_.path() + "/file") << bytes.substr(1);
  EXPECT_EQ(CaughtError([&] {
              sink->AddBlob(DescriptorOf(bytes), FdSource(OpenFile(temp_.path() + "/file", O_RDONLY), "it"), "it");
            }).kind(),
            ErrorKind::kCorrupt);
}

TEST_F(FilePusherTest, ARefusalOfASoundFileIsTheRegistrys) {
  server_.Script("PUT /uploads/ status 400\nPUT /uploads/ status 400\n");
  const std::string bytes(100'000, 'f');
  EXPECT_EQ(CaughtError([&] { AddFile(DescriptorOf(bytes), bytes); }).kind(), ErrorKind::kNetwork);
}

TEST_F(PusherTest, TellsWhatTheRegistrySaid) {
  server_.Script("POST /uploads/ status 403\n");
  Pusher pusher = Start();
  const auto sink = MakeRegistrySink(pusher);
  const std::string bytes(9'000'000, 'z');
  const Error error = CaughtError([&] {
    const auto blob = sink->MakeBlob("layer 1");
    for (int i = 0; i < 3; ++i) blob->Write(AsBytes(bytes));
    blob->Finish();
  });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_NE(error.message().find("layer 1: registry"), std::string::npos) << error.message();
  EXPECT_NE(error.message().find("SCRIPTED"), std::string::npos) << error.message();
}

TEST_F(PusherTest, ADigestInTheNameIsThatOfTheImageOrNothing) {
  Pusher other = Start("/app@" + Digest::Of("other").str());
  EXPECT_EQ(CaughtError([&] { PushAll(other); }).kind(), ErrorKind::kUsage);
  EXPECT_FALSE(server_.Manifest("app", image_.descriptor.digest.str()));
  Pusher pusher = Start("/app@" + image_.descriptor.digest.str());
  PushAll(pusher);
  EXPECT_TRUE(server_.Manifest("app", image_.descriptor.digest.str()));
}

TEST_F(PusherTest, RefusesPathsThatAreNone) {
  Pusher pusher = Start();
  pusher.MountFrom("../../Evil?x=");
  EXPECT_EQ(CaughtError([&] { pusher.Has(image_.descriptor.digest); }).kind(), ErrorKind::kUsage);
}

TEST_F(PusherTest, IndexesGoAfterWhatTheyList) {
  const Index index{.media_type = std::string(kOciIndexType), .manifests = {image_.descriptor}};
  const std::string bytes = index.ToJson();
  const Descriptor top{.media_type = index.media_type, .digest = Digest::Of(bytes), .size = bytes.size()};
  Pusher pusher = Start();
  const auto sink = MakeRegistrySink(pusher);
  Add(*sink, image_.manifest.layers[0], Bytes(image_.manifest.layers[0].digest));
  Add(*sink, image_.manifest.config, image_.config_bytes);
  Add(*sink, image_.descriptor, image_.manifest_bytes);
  Add(*sink, top, bytes);
  sink->Name(top, "v1");
  sink->Commit();
  EXPECT_EQ(server_.Manifest("app", "v1"), bytes);
  EXPECT_EQ(server_.Count("PUT", "/manifests/sha256:"), 1u);
}

}  // namespace
}  // namespace gantry::image
