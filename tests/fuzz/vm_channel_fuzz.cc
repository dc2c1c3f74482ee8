// Both ends of the channel of a virtual machine: frames of a guest, frames of a host, what the host makes of a process
// of the guest, and a job as the guest reads it.
#include <algorithm>
#include <cstring>
#include <memory>

#include "libimage/base/error.h"
#include "runner/vm/frame.h"
#include "runner/vm/guest_process.h"
#include "runner/vm/job.h"
#include "runner/vm/job_bundle.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Require;
using namespace gantry::runner::vm;  // NOLINT(google-build-using-namespace): a file of a page

namespace {

// However the bytes arrive, the frames are the same, and each is within its bounds.
struct Summary {
  size_t frames = 0;
  size_t bytes = 0;
  bool broken = false;
  bool operator==(const Summary&) const = default;
};

Summary Read(FrameRule rule, std::string_view text, size_t piece) {
  const auto reader = std::make_unique<FrameReader>(rule);
  Summary out;
  while (!text.empty()) {
    size_t room = 0;
    char* into = reader->Room(room);
    Require(room > 0);
    const size_t count = std::min({room, piece, text.size()});
    std::memcpy(into, text.data(), count);
    reader->Took(count);
    text.remove_prefix(count);
    Frame frame;
    FrameReader::Result result{};
    while ((result = reader->Next(frame)) == FrameReader::Result::kFrame) {
      Require(frame.size <= kMaxFrameBytes && frame.stream <= 2 && frame.process < kMaxProcesses);
      for (size_t i = 0; i < frame.size; ++i) out.bytes += static_cast<unsigned char>(frame.payload[i]);
      ++out.frames;
    }
    if (result == FrameReader::Result::kBroken) {
      out.broken = true;
      return out;
    }
  }
  return out;
}

void CheckBundle(const char* bytes, size_t size, const Job& job) {
  const auto bundle = std::make_unique<JobBundle>();
  if (!JobBundleReader(bytes, size, job).Read(*bundle))
    return;
  Require(bundle->plan.mount_count <= kMaxBundleMounts && bundle->plan.node_count <= kMaxBundleNodes);
  size_t length = 0;
  for (size_t i = 0; i < bundle->plan.mount_count; ++i) {
    const auto& mount = bundle->plan.mounts[i];
    Require(mount.target[0] == '/' && std::strlen(mount.source) < kMaxJobText);
    Require((mount.type[0] == '\0') == (bundle->volumes[i] != PackedJobMount::kNewFileSystem));
    for (const char* const* option = mount.data; *option != nullptr; ++option) length += std::strlen(*option);
  }
  for (size_t i = 0; i < bundle->plan.masked_count; ++i) length += std::strlen(bundle->plan.masked[i]);
  for (size_t i = 0; i < bundle->plan.read_only_count; ++i) length += std::strlen(bundle->plan.read_only[i]);
  for (size_t i = 0; i < bundle->plan.sysctl_count; ++i) length += std::strlen(bundle->plan.sysctls[i].value);
  Require(length <= (kMaxBundleOptions + 2 * kMaxBundlePaths + kMaxBundleSysctls) * kMaxJobText);
}

void CheckJob(std::string_view text) {
  // On the heap and of this very size, so that a read beyond it is seen.
  const auto bytes = std::make_unique<char[]>(text.size());
  std::memcpy(bytes.get(), text.data(), text.size());
  const auto job = std::make_unique<Job>();
  if (!JobReader(bytes.get(), text.size()).Read(*job))
    return;
  Require(job->working_dir[0] == '/' && std::strlen(job->hostname) < kMaxJobText);
  Require(job->head.file_count <= kMaxJobFiles && job->head.volume_count <= kMaxJobVolumes);
  size_t sum = 0;
  for (size_t i = 0; i < job->head.file_count; ++i) {
    Require(std::strchr(job->files[i].name, '/') == nullptr);
    for (size_t at = 0; at < job->files[i].size; ++at) sum += static_cast<unsigned char>(job->files[i].text[at]);
  }
  for (size_t i = 0; i < job->head.volume_count; ++i) Require(job->targets[i][0] == '/');
  for (size_t i = 0; i < job->head.device_count; ++i) {
    Require(std::strlen(job->device_names[i]) <= kMaxDeviceName);
    for (size_t at = 0, size = 0; at < job->devices[i].size; at += size) {
      size = RequestSize(job->requests[i], job->devices[i].size, at);
      Require(size > kRouteDevice || (size > kAddressDevice && size <= job->devices[i].size - at));
    }
  }
  Require(sum <= 255 * text.size() * kMaxJobFiles);
  if (job->head.bundle != 0)
    CheckBundle(bytes.get(), text.size(), *job);
}

// The host's view of a process, whatever a guest says of it: within its bounds, or over.
void CheckProcess(std::string_view text) {
  size_t output = 0;
  GuestProcess process(
      {.send = [](FrameType, uint8_t, std::string_view) {},
       .fail = [](std::string_view did) { throw gantry::Error(gantry::ErrorKind::kFailed, std::string(did)); },
       .failed = [](const gantry::runner::Report&) {},
       .output = [&](uint8_t, std::string_view bytes) { output += bytes.size(); }});
  const auto reader = std::make_unique<FrameReader>(GuestMaySend);
  while (!text.empty()) {
    size_t room = 0;
    char* into = reader->Room(room);
    const size_t count = std::min(room, text.size());
    std::memcpy(into, text.data(), count);
    reader->Took(count);
    text.remove_prefix(count);
    Frame frame;
    try {
      while (reader->Next(frame) == FrameReader::Result::kFrame) {
        if (frame.type == FrameType::kHello)
          continue;  // of the channel
        const bool over = process.status().has_value();
        process.Take(frame);
        Require(!over && output <= kOutputWindow && process.room() <= kMaxCredit);
        Require(process.accounts().passwd.size() <= kMaxAccountBytes &&
                process.accounts().group.size() <= kMaxAccountBytes);
      }
    } catch (const gantry::Error&) {
      return;
    }
    if (room == 0)
      return;
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  for (const FrameRule rule : {GuestMaySend, HostMaySend}) Require(Read(rule, text, size) == Read(rule, text, 5));
  CheckProcess(text);
  CheckJob(text);
  return 0;
}
