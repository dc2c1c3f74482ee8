#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/layer/compression.h"

namespace gantry::image {
namespace {

constexpr size_t kChunkBytes = 1024 * 1024;
// A chunk that does not shrink is stored: 5 bytes for each 64 KiB, and the flush at its end.
constexpr size_t kMaxChunkOutput = kChunkBytes + 5 * (kChunkBytes / 65535 + 2) + 1024;
constexpr int kZstdJobBytes = 2 * 1024 * 1024;
// From this level on what repeats is found through 8 MiB, for which every decoder should have room (RFC
// 8878, 3.1.1.1.2).
constexpr int kMinLongZstdLevel = 2;
constexpr int kZstdWindowLog = 23;
constexpr int kLongMatchBytes = 32;
// With that, tables that lie in a processor's second cache find nearly as much as those of libzstd's level 3, and
// faster.
constexpr int kDefaultZstdLevel = 3;
constexpr int kDefaultHashLog = 16, kDefaultChainLog = 15;
// More would wait for what inflates or hashes; each holds two chunks.
constexpr size_t kMaxGzipThreads = 8;

// The tables of a thread grow with the level: 10 MiB for what a thread has at level 6, 15 at 8, and from 12 on more
// than 60.
size_t MaxZstdThreads(int level) { return level <= kDefaultZstdLevel ? 5 : level <= 6 ? 3 : level <= 8 ? 2 : 1; }

class PlainSink : public Sink {
 public:
  explicit PlainSink(Sink& into) : into_(into) {}
  void Write(std::span<const std::byte> bytes) override { into_.Write(bytes); }
  void Finish() override { into_.Finish(); }

 private:
  Sink& into_;
};

// What goes in and what comes out: room for the most of each, of which memory takes only the pages that were written.
struct Chunk {
  std::unique_ptr<std::byte[]> plain = std::make_unique_for_overwrite<std::byte[]>(kChunkBytes);
  size_t plain_bytes = 0;
  std::unique_ptr<std::byte[]> deflated = std::make_unique_for_overwrite<std::byte[]>(kMaxChunkOutput);
  size_t deflated_bytes = 0;
  std::exception_ptr error;
  bool done = false;
};

// Deflates chunks, each ended by a full flush: none refers to what was before it. One a thread.
class Deflater {
 public:
  explicit Deflater(int level) : level_(level), buffer_(BufferBytes(level)) {}

  void Deflate(Chunk& chunk) {
    isal_deflate_init(stream_.get());
    stream_->level = static_cast<uint32_t>(level_);
    stream_->level_buf = buffer_.data();
    stream_->level_buf_size = static_cast<uint32_t>(buffer_.size());
    stream_->flush = FULL_FLUSH;
    stream_->next_in = reinterpret_cast<uint8_t*>(chunk.plain.get());
    stream_->avail_in = static_cast<uint32_t>(chunk.plain_bytes);
    stream_->next_out = reinterpret_cast<uint8_t*>(chunk.deflated.get());
    stream_->avail_out = static_cast<uint32_t>(kMaxChunkOutput);
    if (isal_deflate(stream_.get()) != COMP_OK || stream_->avail_in != 0 || stream_->avail_out == 0)
      throw Error(ErrorKind::kFailed, "compress: deflate failed on a chunk of " + std::to_string(chunk.plain_bytes));
    chunk.deflated_bytes = kMaxChunkOutput - stream_->avail_out;
  }

 private:
  static size_t BufferBytes(int level) {
    constexpr std::array<size_t, 4> kBytes = {ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT,
                                              ISAL_DEF_LVL3_DEFAULT};
    return kBytes[static_cast<size_t>(level)];
  }

  int level_;
  std::vector<uint8_t> buffer_;
  std::unique_ptr<isal_zstream> stream_ = std::make_unique<isal_zstream>();
};

// Threads that deflate chunks. The one that uses this hands chunks in and waits for each in turn; the threads touch
// nothing of it but the chunks, so an exception on its side only has to let the destructor stop them.
class DeflatePool {
 public:
  DeflatePool(size_t threads, int level) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, level] { Work(level); });
  }
  DeflatePool(const DeflatePool&) = delete;
  DeflatePool& operator=(const DeflatePool&) = delete;
  ~DeflatePool() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Start(std::shared_ptr<Chunk> chunk) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(chunk));
    }
    work_.notify_one();
  }

  // Until it is deflated; false at once when `wait` is not wanted and it is not.
  bool Done(const Chunk& chunk, bool wait) {
    std::unique_lock lock(mutex_);
    if (wait)
      done_.wait(lock, [&] { return chunk.done; });
    return chunk.done;
  }

 private:
  void Work(int level) {
    Deflater deflater(level);
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_)
        return;
      const std::shared_ptr<Chunk> chunk = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      try {
        deflater.Deflate(*chunk);
      } catch (...) {
        chunk->error = std::current_exception();
      }
      lock.lock();
      chunk->done = true;
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<std::shared_ptr<Chunk>> queue_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

// One gzip member of chunks that are deflated apart. Only the caller's thread writes to the inner sink, in order.
class GzipSink : public Sink {
 public:
  GzipSink(Sink& into, int level, size_t threads) : into_(into), max_ahead_(threads + 2) {
    if (threads > 1)
      pool_.emplace(threads, level);
    else
      deflater_.emplace(level);
  }

  void Write(std::span<const std::byte> bytes) override {
    crc_ = crc32_gzip_refl(crc_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    total_ += bytes.size();
    while (!bytes.empty()) {
      if (!filling_)
        filling_ = FreshChunk();
      const size_t n = std::min(bytes.size(), kChunkBytes - filling_->plain_bytes);
      std::copy_n(bytes.begin(), n, filling_->plain.get() + filling_->plain_bytes);
      filling_->plain_bytes += n;
      bytes = bytes.subspan(n);
      if (filling_->plain_bytes == kChunkBytes)
        Submit();
    }
  }

  void Finish() override {
    if (filling_)
      Submit();
    while (!ahead_.empty()) TakeFront();
    WriteHeader();
    // An empty final block, then RFC 1952's CRC-32 and length.
    std::array<std::byte, 10> end{std::byte{3}, std::byte{0}};
    for (size_t i = 0; i < 4; ++i) {
      end[2 + i] = static_cast<std::byte>(crc_ >> (8 * i));
      end[6 + i] = static_cast<std::byte>(total_ >> (8 * i));
    }
    into_.Write(end);
    into_.Finish();
  }

 private:
  std::shared_ptr<Chunk> FreshChunk() {
    if (spare_.empty())
      return std::make_shared<Chunk>();
    std::shared_ptr<Chunk> chunk = std::move(spare_.back());
    spare_.pop_back();
    chunk->plain_bytes = 0;
    chunk->done = false;
    return chunk;
  }

  void Submit() {
    std::shared_ptr<Chunk> chunk = std::move(filling_);
    filling_.reset();
    if (deflater_) {
      deflater_->Deflate(*chunk);
      chunk->done = true;
      ahead_.push_back(std::move(chunk));
      TakeFront();
      return;
    }
    ahead_.push_back(chunk);
    pool_->Start(std::move(chunk));
    while (!ahead_.empty() && pool_->Done(*ahead_.front(), ahead_.size() >= max_ahead_)) TakeFront();
  }

  // Waits for the oldest chunk and writes it.
  void TakeFront() {
    std::shared_ptr<Chunk> chunk = std::move(ahead_.front());
    ahead_.pop_front();
    if (pool_)
      pool_->Done(*chunk, true);
    if (chunk->error)
      std::rethrow_exception(chunk->error);
    WriteHeader();
    into_.Write({chunk->deflated.get(), chunk->deflated_bytes});
    spare_.push_back(std::move(chunk));
  }

  void WriteHeader() {
    constexpr std::array<unsigned char, 10> kHeader = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF};
    if (!std::exchange(header_written_, true))
      into_.Write(std::as_bytes(std::span(kHeader)));
  }

  Sink& into_;
  size_t max_ahead_;
  uint32_t crc_ = 0;
  uint64_t total_ = 0;
  bool header_written_ = false;
  std::shared_ptr<Chunk> filling_;
  std::vector<std::shared_ptr<Chunk>> spare_;
  std::deque<std::shared_ptr<Chunk>> ahead_;
  std::optional<Deflater> deflater_;
  std::optional<DeflatePool> pool_;  // last: its threads use the chunks
};

class ZstdSink : public Sink {
 public:
  ZstdSink(Sink& into, int level, size_t threads)
      : into_(into), context_(ZSTD_createCCtx()), out_(ZSTD_CStreamOutSize()) {
    if (!context_)
      throw std::bad_alloc();
    Set(ZSTD_c_compressionLevel, level);
    Set(ZSTD_c_checksumFlag, 1);
    // One worker cuts the same jobs as many do, none at all does not.
    Set(ZSTD_c_nbWorkers, static_cast<int>(threads));
    Set(ZSTD_c_jobSize, kZstdJobBytes);
    Set(ZSTD_c_overlapLog, level < kMinLongZstdLevel ? 6 : 9);
    if (level >= kMinLongZstdLevel) {
      Set(ZSTD_c_windowLog, kZstdWindowLog);
      Set(ZSTD_c_enableLongDistanceMatching, 1);
      Set(ZSTD_c_ldmMinMatch, kLongMatchBytes);
    }
    if (level == kDefaultZstdLevel) {
      Set(ZSTD_c_hashLog, kDefaultHashLog);
      Set(ZSTD_c_chainLog, kDefaultChainLog);
    }
  }

  void Write(std::span<const std::byte> bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size) Step(in, ZSTD_e_continue);
  }

  void Finish() override {
    ZSTD_inBuffer in{nullptr, 0, 0};
    while (Step(in, ZSTD_e_end) != 0) {
    }
    into_.Finish();
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };

  void Set(ZSTD_cParameter parameter, int value) { Check(ZSTD_CCtx_setParameter(context_.get(), parameter, value)); }

  static size_t Check(size_t result) {
    if (ZSTD_isError(result) != 0)
      throw Error(ErrorKind::kFailed, std::string("compress with zstd: ") + ZSTD_getErrorName(result));
    return result;
  }

  size_t Step(ZSTD_inBuffer& in, ZSTD_EndDirective end) {
    ZSTD_outBuffer out{out_.data(), out_.size(), 0};
    const size_t left = Check(ZSTD_compressStream2(context_.get(), &out, &in, end));
    if (out.pos > 0)
      into_.Write(std::span(out_).first(out.pos));
    return left;
  }

  Sink& into_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::vector<std::byte> out_;
};

int LevelOf(const CompressOptions& options, int fallback) {
  if (options.level == 0)
    return fallback;
  RequireLevel(options.compression, options.level);
  return options.level;
}

}  // namespace

void RequireLevel(Compression compression, int level) {
  constexpr int kMaxZstdLevel = 19;
  const int max = compression == Compression::kZstd   ? kMaxZstdLevel
                  : compression == Compression::kGzip ? ISAL_DEF_MAX_LEVEL
                                                      : 0;
  if (level >= 1 && level <= max)
    return;
  throw Error(ErrorKind::kUsage, "compression level " + std::to_string(level) + " does not exist",
              max == 0 ? "only gzip and zstd have levels" : "choose a level from 1 to " + std::to_string(max));
}

std::unique_ptr<Sink> Compress(Sink& into, const CompressOptions& options) {
  const size_t threads = std::max<size_t>(options.threads, 1);
  switch (options.compression) {
    case Compression::kNone:
      return std::make_unique<PlainSink>(into);
    case Compression::kGzip:
      return std::make_unique<GzipSink>(into, LevelOf(options, 1), std::min(threads, kMaxGzipThreads));
    case Compression::kZstd:
      return std::make_unique<ZstdSink>(into, LevelOf(options, kDefaultZstdLevel),
                                        std::min(threads, MaxZstdThreads(LevelOf(options, kDefaultZstdLevel))));
    case Compression::kXz:
    case Compression::kBzip2:
      break;
  }
  throw Error(ErrorKind::kUnsupported, "xz and bzip2 are read but not written", "choose gzip or zstd");
}

}  // namespace gantry::image
