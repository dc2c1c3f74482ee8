// bench_parts ACI LAYER...: what no conversion of these compressed layers to that ACI can do without, each part
// measured alone on one core: inflate of the layers; SHA-256 of them, compressed and not; SHA-512 and deflate of the
// ACI's tar. Prints a line for each: name, CPU milliseconds, MiB that went through it, separated by tabs.
#include <fcntl.h>

#include <cstdio>
#include <ctime>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/fd.h"
#include "libimage/base/stream.h"
#include "libimage/layer/compression.h"

namespace gantry::image {
namespace {

constexpr size_t kBatchBytes = size_t{16} << 20;

double CpuMilliseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

struct Part {
  std::string name;
  double milliseconds = 0;
  uint64_t bytes = 0;

  // Adds the CPU time of `body`, which put `count` bytes through.
  void Time(uint64_t count, const std::function<void()>& body) {
    const double begin = CpuMilliseconds();
    body();
    milliseconds += CpuMilliseconds() - begin;
    bytes += count;
  }
};

class NullSink : public Sink {
 public:
  void Write(std::span<const std::byte>) override {}
  void Finish() override {}
};

std::unique_ptr<Source> OpenFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  return FdSource(UniqueFd(fd), path);
}

// Calls `use` with the whole stream in large pieces, so that timing each costs nothing.
void InBatches(Source& source, const std::function<void(std::string_view)>& use) {
  std::string batch;
  batch.reserve(kBatchBytes + kBlockBytes);
  for (Block block = source.Next(); !block.empty(); block = source.Next()) {
    batch.append(reinterpret_cast<const char*>(block.bytes().data()), block.size());
    if (batch.size() >= kBatchBytes) {
      use(batch);
      batch.clear();
    }
  }
  use(batch);
}

std::vector<Part> MeasureParts(const std::string& aci, const std::vector<std::string>& layers) {
  Part inflate{"inflate"};
  Part sha256{"SHA-256"};
  Part sha512{"SHA-512"};
  Part deflate{"deflate"};
  Hasher hasher256;
  const auto hash = [&](std::string_view batch) {
    sha256.Time(batch.size(), [&] { hasher256.Update(std::as_bytes(std::span(batch))); });
  };
  for (const std::string& layer : layers) {
    inflate.Time(0, [&] {
      const auto stream = DecompressAny(OpenFile(layer), layer);
      for (Block block = stream->Next(); !block.empty(); block = stream->Next()) {
        inflate.bytes += block.size();
      }
    });
    InBatches(*OpenFile(layer), hash);
    InBatches(*DecompressAny(OpenFile(layer), layer), hash);
  }
  NullSink nowhere;
  const auto compressor = Compress(nowhere, {});
  Hasher hasher512(HashAlgorithm::kSha512);
  InBatches(*DecompressAny(OpenFile(aci), aci), [&](std::string_view batch) {
    const auto bytes = std::as_bytes(std::span(batch));
    sha512.Time(batch.size(), [&] { hasher512.Update(bytes); });
    deflate.Time(batch.size(), [&] { compressor->Write(bytes); });
  });
  deflate.Time(0, [&] { compressor->Finish(); });
  return {inflate, sha256, sha512, deflate};
}

}  // namespace
}  // namespace gantry::image

int main(int argc, char** argv) {
  try {
    if (argc < 3) {
      throw std::runtime_error("usage: bench_parts ACI LAYER...");
    }
    for (const auto& part : gantry::image::MeasureParts(argv[1], std::vector<std::string>(argv + 2, argv + argc))) {
      std::printf("%s\t%.2f\t%.0f\n", part.name.c_str(), part.milliseconds, static_cast<double>(part.bytes) / 1048576);
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_parts: " << error.what() << "\n";
    return 1;
  }
}
