#include "libimage/base/write_back.h"

#include <utility>

#include "libimage/base/fd.h"

namespace gantry {
namespace {

class FileSinkImpl : public Sink {
 public:
  FileSinkImpl(int fd, std::string what) : fd_(fd), what_(std::move(what)) {}
  void Write(std::span<const std::byte> bytes) override {
    WriteFull(fd_, bytes, what_);
    written_ += bytes.size();
    write_back_.Advance(fd_, written_);
  }
  void Finish() override {}

 private:
  int fd_;
  std::string what_;
  uint64_t written_ = 0;
  WriteBack write_back_;
};

}  // namespace

std::unique_ptr<Sink> FileSink(int fd, std::string what) { return std::make_unique<FileSinkImpl>(fd, std::move(what)); }

}  // namespace gantry
