#include <bzlib.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/compression.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxGzipHeaderBytes = 256 * 1024;  // the extra field alone may have 64 KiB; names are unbounded
constexpr size_t kMagicBytes = 10;                  // what DetectCompression needs at most

bool StartsWith(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// The compressed bytes, block after block.
class Input {
 public:
  Input(std::unique_ptr<Source> from, std::string what) : from_(std::move(from)), what_(std::move(what)) {}

  std::span<const std::byte> bytes() const { return block_.bytes(); }
  uint64_t taken() const { return taken_; }
  const std::string& what() const { return what_; }
  void Consume(size_t n) { block_ = block_.Skip(n); }

  // Makes bytes() non-empty; false at the end of the stream.
  bool Fill() {
    if (block_.empty() && !ended_) {
      block_ = from_->Next();
      taken_ += block_.size();
      ended_ = block_.empty();
    }
    return !ended_;
  }

  // What is left of the block at hand, or the next one; empty at the end.
  Block TakeBlock() { return Fill() ? std::exchange(block_, Block()) : Block(); }

  // Skips padding; false when that was all.
  bool SkipZeros() {
    while (Fill()) {
      const auto first = std::find_if(bytes().begin(), bytes().end(), [](std::byte b) { return b != std::byte{0}; });
      Consume(static_cast<size_t>(first - bytes().begin()));
      if (!bytes().empty())
        return true;
    }
    return false;
  }

  unsigned char TakeByte() {
    if (!Fill())
      Truncated();
    const auto byte = std::to_integer<unsigned char>(bytes()[0]);
    Consume(1);
    return byte;
  }

  // The compressed offset is that of the end of the bytes at hand: near enough to find the place.
  [[noreturn]] void Corrupt(std::string_view why) const {
    throw Error(ErrorKind::kCorrupt,
                what_ + ": " + std::string(why) + " at compressed byte " + std::to_string(taken_ - block_.size()),
                "fetch it again; if it stays so, whoever made it must build it anew");
  }
  [[noreturn]] void Truncated() const { Corrupt("the stream ends early"); }

 private:
  std::unique_ptr<Source> from_;
  std::string what_;
  Block block_;
  uint64_t taken_ = 0;
  bool ended_ = false;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Fills `out` as far as the stream goes; less than out.size() only at its end, which is 0 from then on.
  virtual size_t Decode(Input& in, std::span<std::byte> out) = 0;
};

class GzipDecoder : public Decoder {
 public:
  GzipDecoder() : state_(std::make_unique<inflate_state>()) { isal_inflate_init(state_.get()); }

  size_t Decode(Input& in, std::span<std::byte> out) override {
    state_->next_out = reinterpret_cast<uint8_t*>(out.data());
    state_->avail_out = static_cast<uint32_t>(out.size());
    while (state_->avail_out > 0) {
      if (!in_member_ && !StartMember(in))
        break;
      Step(in);
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        in_member_ = false;
      } else if (state_->avail_out > 0 && in.bytes().empty() && !in.Fill()) {
        in.Truncated();
      }
    }
    return out.size() - state_->avail_out;
  }

 private:
  void Step(Input& in) {
    // ISA-L does not change what it reads.
    state_->next_in = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(in.bytes().data()));
    const size_t offered = std::min<size_t>(in.bytes().size(), uint32_t{1} << 30);
    state_->avail_in = static_cast<uint32_t>(offered);
    const uint32_t room = state_->avail_out;
    const int result = isal_inflate(state_.get());
    if (result == ISAL_INCORRECT_CHECKSUM)
      in.Corrupt("gzip checksum or length is wrong");
    if (result != ISAL_DECOMP_OK)
      in.Corrupt("bad deflate data");
    const bool progress = state_->avail_in < offered || state_->avail_out < room;
    in.Consume(offered - state_->avail_in);
    if (!progress && offered > 0 && state_->block_state != ISAL_BLOCK_FINISH)
      in.Corrupt("bad deflate data");
  }

  // Reads the header of the next member; false when the stream ends properly before one.
  bool StartMember(Input& in) {
    if (!first_ && !in.SkipZeros())
      return false;
    ReadHeader(in);
    first_ = false;
    in_member_ = true;
    isal_inflate_reset(state_.get());
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;
    return true;
  }

  // RFC 1952, 2.3. Done here because ISA-L's own reader forgets the flags when a header straddles two blocks.
  void ReadHeader(Input& in) {
    constexpr unsigned char kHeaderCrc = 2, kExtra = 4, kName = 8, kComment = 16, kReserved = 0xE0;
    std::string seen;
    const auto take = [&] {
      if (seen.size() >= kMaxGzipHeaderBytes)
        in.Corrupt("gzip header is too long");
      seen += static_cast<char>(in.TakeByte());
      return static_cast<unsigned char>(seen.back());
    };
    if (take() != 0x1F || take() != 0x8B)
      in.Corrupt(first_ ? "not a gzip stream" : "what follows the last gzip member is neither one nor zeros");
    if (take() != 8)
      in.Corrupt("unknown gzip method");
    const unsigned char flags = take();
    if ((flags & kReserved) != 0)
      in.Corrupt("reserved gzip flags");
    for (int i = 0; i < 6; ++i) take();  // time, extra flags, system
    if ((flags & kExtra) != 0) {
      const unsigned low = take();
      for (unsigned left = low + (unsigned{take()} << 8); left > 0; --left) take();
    }
    for (const unsigned char text : {kName, kComment}) {
      while ((flags & text) != 0 && take() != 0) {
      }
    }
    if ((flags & kHeaderCrc) != 0) {
      const uint32_t crc = crc32_gzip_refl(0, reinterpret_cast<const unsigned char*>(seen.data()), seen.size());
      const unsigned low = take();
      if ((crc & 0xFFFF) != low + (unsigned{take()} << 8))
        in.Corrupt("gzip header checksum is wrong");
    }
  }

  std::unique_ptr<inflate_state> state_;
  bool first_ = true;
  bool in_member_ = false;
};

class ZstdDecoder : public Decoder {
 public:
  explicit ZstdDecoder(uint64_t max_window) : context_(ZSTD_createDCtx()) {
    if (!context_)
      throw std::bad_alloc();
    const int log = std::clamp(static_cast<int>(std::bit_width(max_window)) - 1, 10, 31);
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, log);
  }

  size_t Decode(Input& in, std::span<std::byte> out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos < output.size) {
      const bool more = in.Fill();
      if (!more && !in_frame_ && !first_)
        break;
      ZSTD_inBuffer input{in.bytes().data(), in.bytes().size(), 0};
      const size_t before = output.pos;
      const size_t result = ZSTD_decompressStream(context_.get(), &output, &input);
      if (ZSTD_isError(result) != 0)
        in.Corrupt(std::string("bad zstd data (") + ZSTD_getErrorName(result) + ")");
      in.Consume(input.pos);
      if (!more && output.pos == before && result != 0)
        in.Truncated();
      first_ = false;
      in_frame_ = result != 0;
    }
    return output.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool first_ = true;
  bool in_frame_ = false;
};

class XzDecoder : public Decoder {
 public:
  explicit XzDecoder(uint64_t max_memory) {
    if (lzma_stream_decoder(&stream_, max_memory, LZMA_CONCATENATED) != LZMA_OK)
      throw std::bad_alloc();
  }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;
  ~XzDecoder() override { lzma_end(&stream_); }

  size_t Decode(Input& in, std::span<std::byte> out) override {
    stream_.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream_.avail_out = out.size();
    while (stream_.avail_out > 0 && !ended_) {
      const bool more = in.Fill();
      stream_.next_in = reinterpret_cast<const uint8_t*>(in.bytes().data());
      stream_.avail_in = in.bytes().size();
      const lzma_ret result = lzma_code(&stream_, more ? LZMA_RUN : LZMA_FINISH);
      in.Consume(in.bytes().size() - stream_.avail_in);
      if (result == LZMA_STREAM_END) {
        ended_ = true;
      } else if (result == LZMA_MEMLIMIT_ERROR) {
        in.Corrupt("xz data needs more memory than is allowed");
      } else if (result == LZMA_BUF_ERROR && !more) {
        in.Truncated();
      } else if (result != LZMA_OK) {
        in.Corrupt("bad xz data");
      }
    }
    return out.size() - stream_.avail_out;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

class Bzip2Decoder : public Decoder {
 public:
  Bzip2Decoder() = default;
  Bzip2Decoder(const Bzip2Decoder&) = delete;
  Bzip2Decoder& operator=(const Bzip2Decoder&) = delete;
  ~Bzip2Decoder() override { End(); }

  size_t Decode(Input& in, std::span<std::byte> out) override {
    stream_.next_out = reinterpret_cast<char*>(out.data());
    stream_.avail_out = static_cast<unsigned>(out.size());
    while (stream_.avail_out > 0) {
      if (!open_ && !Begin(in))
        break;
      if (!in.Fill())
        in.Truncated();
      // bzip2 does not change what it reads.
      stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(in.bytes().data()));
      const size_t offered = std::min<size_t>(in.bytes().size(), unsigned{1} << 30);
      stream_.avail_in = static_cast<unsigned>(offered);
      const int result = BZ2_bzDecompress(&stream_);
      in.Consume(offered - stream_.avail_in);
      if (result == BZ_STREAM_END) {
        End();
      } else if (result != BZ_OK) {
        in.Corrupt("bad bzip2 data");
      }
    }
    return out.size() - stream_.avail_out;
  }

 private:
  // Opens the first stream, or one that follows another; false when the end does.
  bool Begin(Input& in) {
    if (!first_ && !in.SkipZeros())
      return false;
    first_ = false;
    char* const next = stream_.next_out;
    const unsigned room = stream_.avail_out;
    stream_ = {};
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK)
      throw std::bad_alloc();
    stream_.next_out = next;
    stream_.avail_out = room;
    open_ = true;
    return true;
  }

  void End() {
    if (open_)
      BZ2_bzDecompressEnd(&stream_);
    open_ = false;
  }

  bz_stream stream_{};
  bool first_ = true;
  bool open_ = false;
};

std::unique_ptr<Decoder> MakeDecoder(Compression compression, const InflateLimits& limits) {
  switch (compression) {
    case Compression::kNone:
      return nullptr;
    case Compression::kGzip:
      return std::make_unique<GzipDecoder>();
    case Compression::kZstd:
      return std::make_unique<ZstdDecoder>(limits.max_window);
    case Compression::kXz:
      return std::make_unique<XzDecoder>(limits.max_window + (uint64_t{1} << 20));
    case Compression::kBzip2:
      return std::make_unique<Bzip2Decoder>();
  }
  return nullptr;
}

uint64_t RatioOf(Compression compression, const InflateLimits& limits) {
  if (limits.max_ratio != 0)
    return limits.max_ratio;
  return compression == Compression::kGzip ? 1100 : compression == Compression::kXz ? 8000 : 33'000;
}

// Drives a decoder (none for plain bytes) and keeps it to the limits.
class DecompressSource : public Source {
 public:
  DecompressSource(std::unique_ptr<Source> inner, Compression compression, std::string what,
                   const InflateLimits& limits)
      : in_(std::move(inner), std::move(what)),
        limits_(limits),
        max_ratio_(RatioOf(compression, limits)),
        decoder_(MakeDecoder(compression, limits)) {}

  Block Next() override {
    Block block = decoder_ ? Decoded() : in_.TakeBlock();
    made_ += block.size();
    if (made_ > limits_.max_bytes)
      in_.Corrupt("more than " + std::to_string(limits_.max_bytes) + " bytes come out");
    if (made_ > limits_.ratio_free_bytes && made_ / max_ratio_ > in_.taken())
      in_.Corrupt("more than " + std::to_string(max_ratio_) + " times its size comes out");
    return block;
  }

 private:
  Block Decoded() {
    std::shared_ptr<std::byte[]> buffer = pool_.Take();
    const std::span<std::byte> room(buffer.get(), pool_.block_bytes());
    const size_t n = decoder_->Decode(in_, room);
    return {std::move(buffer), room.first(n)};
  }

  Input in_;
  InflateLimits limits_;
  uint64_t max_ratio_;
  std::unique_ptr<Decoder> decoder_;
  BlockPool pool_;
  uint64_t made_ = 0;
};

// `head`, which was read to look at it, before the rest of its source.
class RejoinedSource : public Source {
 public:
  RejoinedSource(Block head, std::unique_ptr<Source> rest) : head_(std::move(head)), rest_(std::move(rest)) {}

  Block Next() override { return head_.empty() ? rest_->Next() : std::exchange(head_, Block()); }

 private:
  Block head_;
  std::unique_ptr<Source> rest_;
};

Block Join(const Block& first, const Block& second) {
  const auto both =
      std::make_shared<const std::string>(std::string(AsText(first.bytes())).append(AsText(second.bytes())));
  return {both, AsBytes(*both)};
}

}  // namespace

Compression DetectCompression(std::span<const std::byte> first_bytes) {
  using std::string_view_literals::operator""sv;
  if (StartsWith(first_bytes, "\x1F\x8B"sv))
    return Compression::kGzip;
  if (StartsWith(first_bytes, "\x28\xB5\x2F\xFD"sv))
    return Compression::kZstd;
  // A skippable frame, which zstd:chunked and pzstd put first.
  if (first_bytes.size() >= 4 && (first_bytes[0] & std::byte{0xF0}) == std::byte{0x50} &&
      StartsWith(first_bytes.subspan(1), "\x2A\x4D\x18"sv))
    return Compression::kZstd;
  if (StartsWith(first_bytes,
                 "\xFD"
                 "7zXZ\0"sv))
    return Compression::kXz;
  // "BZh" and a digit could begin a name in a plain tar; the block magic after it could not.
  if (first_bytes.size() >= kMagicBytes && StartsWith(first_bytes, "BZh"sv) &&
      (StartsWith(first_bytes.subspan(4), "\x31\x41\x59\x26\x53\x59"sv) ||
       StartsWith(first_bytes.subspan(4), "\x17\x72\x45\x38\x50\x90"sv)))
    return Compression::kBzip2;
  return Compression::kNone;
}

std::unique_ptr<Source> Decompress(std::unique_ptr<Source> inner, Compression compression, std::string_view what,
                                   const InflateLimits& limits) {
  return std::make_unique<DecompressSource>(std::move(inner), compression, std::string(what), limits);
}

std::unique_ptr<Source> DecompressAny(std::unique_ptr<Source> inner, std::string_view what,
                                      const InflateLimits& limits) {
  Compression found = Compression::kNone;
  inner = DetectCompression(std::move(inner), found);
  return Decompress(std::move(inner), found, what, limits);
}

std::unique_ptr<Source> DetectCompression(std::unique_ptr<Source> from, Compression& found) {
  Block head = from->Next();
  while (!head.empty() && head.size() < kMagicBytes) {
    const Block next = from->Next();
    if (next.empty())
      break;
    head = Join(head, next);
  }
  found = DetectCompression(head.bytes());
  return std::make_unique<RejoinedSource>(std::move(head), std::move(from));
}

}  // namespace gantry::image
