#include "runner/outlines.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/outline.h"

namespace gantry::runner {

// Of one layer, in a file without a name.
class Outlines::Outline : public image::EntrySink {
 public:
  explicit Outline(const Dir& tmp)
      : file_(tmp),
        bytes_(FdSink(file_.fd(), "the outline of a layer")),
        packed_(image::Compress(*bytes_, {.compression = image::Compression::kZstd, .level = 1})),
        writer_(std::in_place, *packed_) {}

  void Add(const image::Entry& entry) override {
    Try([&] { writer_->Add(entry); });
  }
  void Write(std::span<const std::byte> bytes) override {
    Try([&] { writer_->Write(bytes); });
  }
  void WriteZeros(uint64_t count) override {
    Try([&] { writer_->WriteZeros(count); });
  }

  // What is open has buffers, and there may be many layers.
  void Finish() {
    Try([&] {
      writer_->Finish();
      packed_->Finish();
    });
    writer_.reset();
    packed_.reset();
    bytes_.reset();
  }

  // Throws what has stopped it.
  std::unique_ptr<Source> Open() const {
    if (failure_)
      throw Error(*failure_);
    UniqueFd fd(fcntl(file_.fd(), F_DUPFD_CLOEXEC, 0));
    if (!fd || lseek(fd.get(), 0, SEEK_SET) < 0)
      ThrowErrno("read the outline of a layer");
    return image::Decompress(FdSource(std::move(fd), "the outline of a layer"), image::Compression::kZstd,
                             "the outline of a layer");
  }

 private:
  template <typename Body>
  void Try(Body body) {
    if (failure_)
      return;
    try {
      body();
    } catch (const Error& error) {
      failure_ = error;
    }
  }

  StagedFile file_;
  std::unique_ptr<Sink> bytes_, packed_;
  std::optional<image::OutlineWriter> writer_;
  std::optional<Error> failure_;
};

Outlines::Outlines(const image::Image& image, const image::Store& store) : image_(image), store_(store) {
  if (store.RootfsOf(image.descriptor.digest))
    return;
  try {
    tmp_ = store.dir().OpenDir(RelPath::Parse("tmp"));
    outlines_.resize(image.manifest.layers.size());
  } catch (const Error&) {
    // Then it is found when it is needed.
  }
}

Outlines::~Outlines() = default;

image::EntrySink* Outlines::Begin(size_t layer) {
  if (!tmp_)
    return nullptr;
  try {
    outlines_[layer] = std::make_unique<Outline>(*tmp_);
  } catch (const Error&) {
    // A full disk: the layer may still find room, when something else has gone.
  }
  return outlines_[layer].get();
}

void Outlines::End(size_t layer) {
  if (tmp_ && outlines_[layer])
    outlines_[layer]->Finish();
}

void Outlines::Keep() {
  if (!tmp_ || std::ranges::any_of(outlines_, [](const auto& outline) { return outline == nullptr; }))
    return;
  try {
    store_.KeepRootfs(image_.descriptor.digest, image::RootfsOfOutlines(outlines_.size(), [this](size_t layer) {
                        return outlines_[layer]->Open();
                      }));
  } catch (const Error&) {
    // What tar cannot hold again, or layers that make no tree: whoever asks is told why.
  }
}

}  // namespace gantry::runner
