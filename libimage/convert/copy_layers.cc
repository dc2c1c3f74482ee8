#include "libimage/convert/copy_layers.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/turnstile.h"
#include "libimage/base/workers.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

// One recompression keeps about so many processors busy: inflating, hashing, deflating.
constexpr size_t kThreadsOfAJob = 4;
// Threads that deflate one layer; each holds a few MiB, and inflating does not keep up with more.
constexpr size_t kMaxDeflaters = 5;
// What recompressions may hold together, however many processors there are, and what one holds: an inflater with a
// window of 8 MiB, the blocks that are read ahead, and what the compressor has.
constexpr size_t kMemoryOfJobs = 48;  // MiB
// Beside those that compress: one whose layer is read ahead, and one whose blob goes to the disk.
constexpr size_t kJobsAround = 2;

size_t MemoryOfJob(Compression compression) {
  return compression == Compression::kZstd ? 40 : compression == Compression::kGzip ? 32 : 14;
}

// Hands on all but the end.
class OpenEnded : public Sink {
 public:
  explicit OpenEnded(Sink& into) : into_(into) {}
  void Write(std::span<const std::byte> bytes) override { into_.Write(bytes); }
  void Finish() override {}

 private:
  Sink& into_;
};

// The failure of lowest rank among jobs that run beside each other.
class LowestFailure {
 public:
  // Then a job of this rank need not begin: what it might find is not told.
  bool IsBelow(size_t rank) const {
    const std::lock_guard lock(mutex_);
    return rank_ < rank;
  }
  void Add(size_t rank, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (rank >= rank_)
      return;
    rank_ = rank;
    error_ = std::move(error);
  }
  void Rethrow() const {
    if (error_)
      std::rethrow_exception(error_);
  }

 private:
  mutable std::mutex mutex_;
  size_t rank_ = std::numeric_limits<size_t>::max();
  std::exception_ptr error_;
};

class LayersCopy {
 public:
  LayersCopy(const Image& image, const Blobs& blobs, ImageSink& sink, const CopyPlan& plan, const CopyOptions& options)
      : image_(image),
        blobs_(blobs),
        sink_(sink),
        parallel_(sink.form().parallel),
        plan_(plan),
        options_(options),
        layers_(image.manifest.layers),
        made_(layers_.size()),
        at_once_(RecompressedAtOnce()),
        reading_(at_once_),
        packing_(at_once_) {}

  std::vector<Descriptor> Run() {
    const std::vector<size_t> jobs = Jobs();
    // Ranks, which are places in `jobs`. Where one blob is made at a time, the copies have their turns, too.
    std::vector<size_t> turned, copied;
    for (size_t rank = 0; rank < jobs.size(); ++rank) {
      if (!parallel_ || plan_.Recompresses(layers_[jobs[rank]]))
        turned.push_back(rank);
      else
        copied.push_back(rank);
    }
    const auto copy = [&](size_t number) {
      const size_t rank = copied[number];
      Try(rank, [&] { CopyAsItIs(jobs[rank]); });
    };
    const auto take_turn = [&](size_t number) {
      const size_t rank = turned[number];
      Turnstile::Turn reading(reading_, number), packing(packing_, number);
      Try(rank, [&] { Add(rank, jobs[rank], reading, packing); });
    };
    const size_t beside = options_.threads > 1 ? at_once_ + kJobsAround : 1;
    RunParallel(2, options_.threads, [&](size_t group) {
      if (group == 0)
        RunParallel(turned.size(), beside, take_turn);
      else
        RunParallel(copied.size(), options_.threads, copy);
    });
    failure_.Rethrow();
    return AtDestination(jobs);
  }

 private:
  // Each layer once; the largest first, so that none is left alone at the end.
  std::vector<size_t> Jobs() const {
    std::map<std::pair<Digest, Digest>, size_t> distinct;
    std::vector<size_t> jobs;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (distinct.emplace(std::pair(layers_[i].digest, image_.config.diff_ids[i]), i).second)
        jobs.push_back(i);
    }
    if (parallel_) {
      std::stable_sort(jobs.begin(), jobs.end(), [&](size_t a, size_t b) { return layers_[a].size > layers_[b].size; });
    }
    return jobs;
  }

  size_t RecompressedAtOnce() const {
    if (!parallel_ || !plan_.layers)
      return 1;
    return std::clamp<size_t>((options_.threads + kThreadsOfAJob - 1) / kThreadsOfAJob, 1,
                              kMemoryOfJobs / MemoryOfJob(*plan_.layers));
  }

  void Try(size_t rank, const std::function<void()>& job) {
    if (failure_.IsBelow(rank))
      return;
    try {
      job();
    } catch (...) {
      failure_.Add(rank, std::current_exception());
    }
  }

  void Add(size_t rank, size_t i, Turnstile::Turn& reading, Turnstile::Turn& packing) {
    if (plan_.Recompresses(layers_[i]))
      made_[i] = Recompress(rank, i, reading, packing);
    else if (HasTurn(packing, rank))
      CopyAsItIs(i);
  }

  // Waits, and says whether there is still something to do: a job before this one may have failed meanwhile.
  bool HasTurn(Turnstile::Turn& turn, size_t rank) {
    turn.Wait();
    return !failure_.IsBelow(rank);
  }

  // The blob of a foreign layer may be nowhere but at its URLs.
  void CopyAsItIs(size_t i) {
    const Descriptor& layer = layers_[i];
    const std::string what = LayerName(image_, i);
    std::unique_ptr<Source> source;
    try {
      source = blobs_.OpenWhole(layer, what);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kNotFound && IsForeignLayer(layer.media_type))
        return;
      throw;
    }
    sink_.AddBlob(layer, std::move(source), what);
  }

  // What is said about a layer in annotations and URLs is about its old bytes. `reading` is for the blocks that are
  // read ahead, `packing` for what the compressor holds: the next layer begins with either as soon as this one is
  // through. nullopt: it was not its turn any more.
  std::optional<Descriptor> Recompress(size_t rank, size_t i, Turnstile::Turn& reading, Turnstile::Turn& packing) {
    const Digest& diff_id = image_.config.diff_ids.at(i);
    // What is not compressed has its diff ID for digest, which the sink computes and looks at.
    const bool plain = *plan_.layers == Compression::kNone && diff_id.algorithm() == HashAlgorithm::kSha256;
    const auto open = plain ? OpenUncheckedLayer : OpenLayer;
    if (!HasTurn(reading, rank))
      return std::nullopt;
    std::unique_ptr<Source> tar = open(blobs_, image_, i, options_.threads > 1);
    const Block first = tar->Next();  // what follows is inflated meanwhile
    if (!HasTurn(packing, rank))
      return std::nullopt;
    const std::unique_ptr<NewBlob> blob = sink_.MakeBlob(LayerName(image_, i));
    if (plain)
      blob->Expect(diff_id, LayerName(image_, i));
    OpenEnded bytes(*blob);
    std::unique_ptr<Sink> packed = Compress(
        bytes,
        {.compression = *plan_.layers, .level = options_.level, .threads = std::min(options_.threads, kMaxDeflaters)});
    packed->Write(first.bytes());
    Copy(*tar, *packed);
    tar.reset();
    reading.End();
    packed->Finish();
    packed.reset();
    if (parallel_)
      packing.End();
    blob->Finish();
    return Descriptor{
        .media_type = LayerType(plan_.manifest_type, *plan_.layers), .digest = blob->digest(), .size = blob->size()};
  }

  std::vector<Descriptor> AtDestination(const std::vector<size_t>& jobs) const {
    std::map<Digest, Descriptor> recompressed;
    for (const size_t i : jobs) {
      if (made_[i])
        recompressed.emplace(layers_[i].digest, *made_[i]);
    }
    std::vector<Descriptor> layers = layers_;
    for (Descriptor& layer : layers) {
      if (const auto found = recompressed.find(layer.digest); found != recompressed.end())
        layer = found->second;
    }
    return layers;
  }

  const Image& image_;
  const Blobs& blobs_;
  ImageSink& sink_;
  const bool parallel_;
  const CopyPlan& plan_;
  const CopyOptions& options_;
  const std::vector<Descriptor>& layers_;
  std::vector<std::optional<Descriptor>> made_;  // of what was recompressed
  const size_t at_once_;
  Turnstile reading_, packing_;
  LowestFailure failure_;
};

}  // namespace

std::vector<Descriptor> CopyLayers(const Image& image, const Blobs& blobs, ImageSink& sink, const CopyPlan& plan,
                                   const CopyOptions& options) {
  return LayersCopy(image, blobs, sink, plan, options).Run();
}

}  // namespace gantry::image
