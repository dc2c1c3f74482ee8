// A sink in memory that keeps the rules of image_sink.h.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "libimage/model/image_sink.h"
#include "tests/support/image_builder.h"

namespace gantry::testing {

class MemorySink : public image::ImageSink {
 public:
  explicit MemorySink(Form form = {}) : form_(std::move(form)) {}

  Form form() const override { return form_; }
  void AddBlob(const image::Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override {
    const auto checked = VerifyingSource(std::move(from), blob.digest, blob.size, std::string(what));
    Keep(Drain(*checked, 1 << 28, what));
  }
  std::unique_ptr<image::NewBlob> MakeBlob(std::string_view) override { return std::make_unique<Made>(*this); }
  void Vouch(const image::VerifiedImage& image) override { vouched.push_back(image.image().descriptor.digest); }
  void Name(const image::Descriptor&, const std::string&) override {}
  void Commit() override {}

  MemoryBlobs blobs;
  std::vector<Digest> order;
  std::vector<Digest> vouched;

 private:
  class Made : public image::NewBlob {
   public:
    explicit Made(MemorySink& sink) : sink_(sink) {}
    void Write(std::span<const std::byte> bytes) override {
      bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    void Finish() override {
      RequireExpected(digest());
      sink_.Keep(bytes_);
    }
    Digest digest() const override { return Digest::Of(bytes_); }
    uint64_t size() const override { return bytes_.size(); }

   private:
    MemorySink& sink_;
    std::string bytes_;
  };

  void Keep(const std::string& bytes) {
    const std::lock_guard lock(mutex_);
    blobs.Put(bytes);
    order.push_back(Digest::Of(bytes));
  }

  Form form_;
  std::mutex mutex_;
};

}  // namespace gantry::testing
