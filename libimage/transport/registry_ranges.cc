#include "libimage/transport/registry_ranges.h"

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {

RangedDownload::RangedDownload(RegistryClient& registry, const Descriptor& blob, std::string what,
                               HttpClient::BodyWriter write)
    : registry_(registry), blob_(blob), what_(std::move(what)), write_(std::move(write)) {}

RangedDownload::~RangedDownload() {
  for (const auto& [begin, part] : parts_) {
    if (!part.complete)
      registry_.http_.Cancel(part.number);
  }
}

void RangedDownload::Start(uint64_t begin, Part& part) {
  HttpRequest request = registry_.RequestFor("blobs/" + blob_.digest.str(), what_);
  request.authorization = part.sent = registry_.shared_->authorizer.Header(registry_.http_);
  request.first_byte = begin + part.got;
  request.end_byte = part.end;
  request.expected_bytes = blob_.size;
  part.number = registry_.http_.Start(std::move(request),
                                      [this, begin](std::span<const std::byte> bytes) { Take(begin, bytes); });
}

void RangedDownload::Take(uint64_t begin, std::span<const std::byte> bytes) {
  Part& part = parts_.at(begin);
  part.got += bytes.size();
  keeps_to_ranges_ = true;
  if (begin == head_)
    write_(bytes);
  else
    part.waiting.append(AsText(bytes));
}

// The parts behind one that is complete may go on their way.
void RangedDownload::Complete(uint64_t begin) {
  parts_.at(begin).complete = true;
  for (auto part = parts_.find(head_); part != parts_.end() && part->second.complete; part = parts_.find(head_)) {
    head_ = part->second.end;
    parts_.erase(part);
    if (const auto next = parts_.find(head_); next != parts_.end())
      write_(AsBytes(std::exchange(next->second.waiting, {})));
  }
}

// Waits for one part, and returns where it begins; the size of the blob when it was asked for once more.
uint64_t RangedDownload::Await() {
  const HttpClient::Finished finished = registry_.http_.WaitAny();
  const auto found = std::find_if(parts_.begin(), parts_.end(), [&](const auto& one) {
    return !one.second.complete && one.second.number == finished.transfer;
  });
  if (found == parts_.end())
    throw Error(ErrorKind::kFailed, what_ + ": another transfer ended");
  auto& [begin, part] = *found;
  if (finished.error) {
    part.complete = true;  // nothing to cancel
    std::rethrow_exception(finished.error);
  }
  if (finished.response.ok() && begin + part.got == part.end)
    return begin;
  const bool again = finished.response.status == 401 && !std::exchange(part.asked_again, true) &&
                     registry_.shared_->authorizer.Retry(*registry_.shared_->Base(), finished.response, part.sent);
  if (!again) {
    part.complete = true;
    if (finished.response.ok())
      throw Error(ErrorKind::kNetwork, what_ + ": a part is shorter than what was asked for");
    registry_.ThrowStatus(finished.response, what_);
  }
  Start(begin, part);
  return blob_.size;
}

bool RangedDownload::Run(uint64_t first) {
  head_ = first;
  uint64_t next = first;
  while (head_ < blob_.size) {
    const size_t at_once = keeps_to_ranges_ ? kMaxConnections : 1;
    while (parts_.size() < at_once && next < blob_.size) {
      const uint64_t end = std::min(next + kRangeBytes, blob_.size);
      Start(next, parts_.emplace(next, Part{.end = end}).first->second);
      next = end;
    }
    try {
      if (const uint64_t begin = Await(); begin != blob_.size)
        Complete(begin);
    } catch (const Error& error) {
      if (keeps_to_ranges_ || error.kind() != ErrorKind::kNetwork)
        throw;
      return false;
    }
  }
  return true;
}

}  // namespace gantry::image
