#include "runner/vm/guest_process.h"

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "runner/vm/guest_channel.h"

namespace gantry::runner::vm {

static_assert(sizeof(Report) == kReportBytes);

void GuestProcess::SetStreams(std::function<void(uint8_t, std::string_view)> output,
                              std::function<void()> room_changed) {
  around_.output = std::move(output);
  around_.room_changed = std::move(room_changed);
}

void GuestProcess::Broken() { around_.fail("does not keep to the protocol"); }

void GuestProcess::Take(const Frame& frame) {
  if (frame.type == FrameType::kProblem) {
    std::string text = Quoted({frame.payload, frame.size});
    text = text.substr(1, text.size() - 2);
    if (frame.stream == 1)
      throw Error(ErrorKind::kCorrupt, text, "choose --user by number");
    around_.fail("gave up: " + text);
  }
  if (status_)
    Broken();
  if (!has_root_) {
    TakeEarly(frame);
    return;
  }
  switch (frame.type) {
    case FrameType::kOutput:
      TakeOutput(frame);
      return;
    case FrameType::kReport:
      if (const auto report = frame.As<Report>(); !started_ && report.kind == Report::kFailed)
        around_.failed(report);
      return;
    case FrameType::kCreated:
      created_ = true;
      return;
    case FrameType::kStarted:
      started_ = true;
      return;
    case FrameType::kCredit:
      credit_ = static_cast<uint32_t>(std::min<uint64_t>(uint64_t{credit_} + frame.As<uint32_t>(), kMaxCredit));
      around_.room_changed();
      return;
    case FrameType::kInputClosed:
      takes_input_ = false;
      around_.room_changed();
      return;
    case FrameType::kExit:
      status_ = frame.As<int32_t>();
      return;
    default:
      Broken();
  }
}

// Before the container is there.
void GuestProcess::TakeEarly(const Frame& frame) {
  std::string* const file = frame.type == FrameType::kPasswd  ? &accounts_.passwd
                            : frame.type == FrameType::kGroup ? &accounts_.group
                                                              : nullptr;
  if (file != nullptr && frame.size <= kMaxAccountFileBytes - file->size()) {
    file->append(frame.payload, frame.size);
  } else if (frame.type == FrameType::kReport) {
    if (const auto report = frame.As<Report>(); report.kind == Report::kFailed)
      around_.failed(report);
  } else if (frame.type == FrameType::kRoot) {
    has_root_ = true;
  } else {
    Broken();
  }
}

void GuestProcess::TakeOutput(const Frame& frame) {
  if (frame.size > kOutputWindow - unread_)
    Broken();
  unread_ += frame.size;
  around_.output(frame.stream, {frame.payload, frame.size});
}

void GuestProcess::SendBlob(FrameType type, std::string_view bytes) {
  if (bytes.size() > kMaxBlobBytes)
    throw Error(ErrorKind::kUnsupported, "what the virtual machine is to be told is longer than 16 MiB",
                "are the arguments and the environment meant to be so long?");
  for (size_t at = 0; at < bytes.size(); at += kMaxFrameBytes) around_.send(type, 0, bytes.substr(at, kMaxFrameBytes));
  around_.send(type, 0, {});
}

void GuestProcess::Start() { around_.send(FrameType::kStart, 0, {}); }

void GuestProcess::Input(std::string_view bytes) {
  credit_ -= static_cast<uint32_t>(bytes.size());
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kMaxFrameBytes)))
    around_.send(FrameType::kInput, 0, bytes.substr(0, kMaxFrameBytes));
}

void GuestProcess::EndInput() {
  takes_input_ = false;
  around_.send(FrameType::kInputEnd, 0, {});
}

void GuestProcess::Signal(int32_t number) { around_.send(FrameType::kSignal, 0, BytesOf(number)); }

void GuestProcess::Resize(uint16_t rows, uint16_t columns) {
  around_.send(FrameType::kResize, 0, BytesOf(WindowSize{rows, columns}));
}

void GuestProcess::Taken(size_t bytes) {
  unread_ -= bytes;
  const auto count = static_cast<uint32_t>(bytes);
  if (bytes > 0)
    around_.send(FrameType::kTaken, 0, BytesOf(count));
}

void GuestProcess::OutputClosed(uint8_t stream) { around_.send(FrameType::kOutputClosed, stream, {}); }

}  // namespace gantry::runner::vm
