// What the runner and the guest's init say to each other over one virtio-serial port, in frames.
//
// A frame is a header of 8 bytes and at most kMaxFrameBytes of payload; numbers as the processor has them, for both
// sides run on the same one. Each frame is about one process of the guest: the first numbers are the applications',
// whose last end is that of the machine, the others were entered. An application's journey, which begins with the
// first's:
//
//   guest  kHello                    once: init runs; before it, only the console tells what goes on
//   host   kJob... kJob(empty)       the job (job.h), in pieces; not before the root image was checked
//   guest  kPasswd... kGroup... kRoot   the root is mounted; the image's account files, in pieces
//   host   kParams... kParams(empty) InitParams (protocol.h), in pieces
//   guest  kReport...                what the container's child and its init reported (protocol.h)
//   guest  kStarted                  the application was executed, or a kReport said why not
//   both   kInput, kInputEnd, kSignal, kResize, kOutputClosed, kTaken; kOutput, kCredit, kInputClosed
//   guest  kExit                     the wait status; all output came before it. Nothing of the process follows
//   guest  kProblem                  instead of any of these: why it cannot go on. Nothing of the process follows
//
// For a bundle's process (job_bundle.h) kRoot says that the container is there, with no account files before it. When
// its parameters have it wait, as `gantry-oci create` does, kCreated comes after they were found good, and kStart lets
// it go on.
//
// A process that is entered begins, once the applications have been started, with kEnter in place of all before
// kPasswd; the rest is the same. A problem of an application is the end of the machine.
//
// Bytes of streams are sent only as far as the other side has room for: input as kCredit allows, output within a window
// of kOutputWindow that kTaken opens again. So nothing waits behind bytes that nobody reads, and nothing has to be held
// without a bound.
// Both sides take the other for hostile: each type has its bounds, and what breaks them ends the conversation.
// Freestanding: the guest's init has no library of ours.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace gantry::runner::vm {

constexpr uint32_t kProtocolVersion = 4;
constexpr const char kPortName[] = "gantry.0";
constexpr size_t kMaxFrameBytes = 32 * 1024;
constexpr size_t kMaxBlobBytes = 16 * 1024 * 1024;    // of a job or of parameters, all pieces
constexpr size_t kMaxAccountBytes = 4 * 1024 * 1024;  // of an account file, all pieces
constexpr uint32_t kMaxCredit = 1024 * 1024;          // of input on its way
constexpr uint32_t kOutputWindow = 256 * 1024;        // of output on its way, of one process
constexpr uint16_t kMaxApps = 8;                      // of one guest: the processes of these numbers
constexpr uint16_t kMaxProcesses = 16;                // of one guest that are spoken with at a time
constexpr size_t kMaxProblemBytes = 512;

enum class FrameType : uint8_t {
  // from the host
  kJob = 1,
  kParams,
  kInput,
  kInputEnd,
  kSignal,        // int32_t
  kResize,        // WindowSize
  kOutputClosed,  // stream 1 or 2: nobody reads it any more
  kTaken,         // uint32_t: so many bytes of output were read
  kEnter,         // EnterRequest
  kStart,
  // from the guest
  kHello = 32,  // uint32_t: kProtocolVersion
  kPasswd,
  kGroup,
  kRoot,
  kReport,  // Report
  kStarted,
  kOutput,  // stream 1 or 2
  kCredit,  // uint32_t: so many more bytes of input are welcome
  kInputClosed,
  kExit,     // int32_t, as waitpid gives it
  kProblem,  // text; stream 1: the image is at fault
  kCreated,
};

struct WindowSize {
  uint16_t rows = 0;
  uint16_t columns = 0;
};

// A process in the container of an application.
struct EnterRequest {
  uint32_t app = 0;
  uint32_t terminal = 0;
  uint32_t interactive = 0;
  uint32_t reserved = 0;
  uint64_t capabilities = 0;  // of the init that makes it
};

struct FrameHeader {
  uint32_t size = 0;  // of the payload
  FrameType type = FrameType::kJob;
  uint8_t stream = 0;
  uint16_t process = 0;
};
static_assert(sizeof(FrameHeader) == 8);

struct Frame {
  FrameType type = FrameType::kJob;
  uint8_t stream = 0;
  uint16_t process = 0;
  const char* payload = nullptr;
  size_t size = 0;

  // For a frame whose type says that its payload is a T.
  template <typename T>
  T As() const {
    T out;
    memcpy(&out, payload, sizeof out);
    return out;
  }
};

using FrameRule = bool (*)(const FrameHeader&);

inline bool HostMaySend(const FrameHeader& header) {
  if (header.process >= kMaxProcesses)
    return false;
  if (header.type == FrameType::kOutputClosed)
    return (header.stream == 1 || header.stream == 2) && header.size == 0;
  if (header.stream != 0)
    return false;
  switch (header.type) {
    case FrameType::kJob:
      return header.process < kMaxApps && header.size <= kMaxFrameBytes;
    case FrameType::kParams:
      return header.size <= kMaxFrameBytes;
    case FrameType::kInput:
      return header.size > 0 && header.size <= kMaxFrameBytes;
    case FrameType::kInputEnd:
    case FrameType::kStart:
      return header.size == 0;
    case FrameType::kSignal:
    case FrameType::kTaken:
      return header.size == sizeof(uint32_t);
    case FrameType::kEnter:
      return header.process != 0 && header.size == sizeof(EnterRequest);
    case FrameType::kResize:
      return header.size == sizeof(WindowSize);
    default:
      return false;
  }
}

constexpr size_t kReportBytes = 208;  // sizeof(Report); protocol.h is checked against it where both are known

inline bool GuestMaySend(const FrameHeader& header) {
  if (header.process >= kMaxProcesses)
    return false;
  if (header.type == FrameType::kOutput)
    return (header.stream == 1 || header.stream == 2) && header.size > 0 && header.size <= kMaxFrameBytes;
  if (header.type == FrameType::kProblem)
    return header.stream <= 1 && header.size > 0 && header.size <= kMaxProblemBytes;
  if (header.stream != 0)
    return false;
  switch (header.type) {
    case FrameType::kHello:
      return header.process == 0 && header.size == sizeof(uint32_t);
    case FrameType::kCredit:
    case FrameType::kExit:
      return header.size == sizeof(uint32_t);
    case FrameType::kPasswd:
    case FrameType::kGroup:
      return header.size > 0 && header.size <= kMaxFrameBytes;
    case FrameType::kReport:
      return header.size == kReportBytes;
    case FrameType::kRoot:
    case FrameType::kCreated:
    case FrameType::kStarted:
    case FrameType::kInputClosed:
      return header.size == 0;
    default:
      return false;
  }
}

// Puts frames together from whatever pieces a read gives. Large: not for the stack.
class FrameReader {
 public:
  enum class Result { kNone, kFrame, kBroken };

  explicit FrameReader(FrameRule rule) : rule_(rule) {}

  // Where the next bytes may go. Never empty once Next has said kNone.
  char* Room(size_t& size) {
    memmove(buffer_, buffer_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    size = sizeof buffer_ - end_;
    return buffer_ + end_;
  }
  void Took(size_t size) { end_ += size; }

  // The payload is valid until the next call of Room. After kBroken nothing of the stream can be trusted.
  Result Next(Frame& out) {
    FrameHeader header;
    if (end_ - begin_ < sizeof header)
      return Result::kNone;
    memcpy(&header, buffer_ + begin_, sizeof header);
    if (!rule_(header))
      return Result::kBroken;
    if (end_ - begin_ - sizeof header < header.size)
      return Result::kNone;
    out = {header.type, header.stream, header.process, buffer_ + begin_ + sizeof header, header.size};
    begin_ += sizeof header + header.size;
    return Result::kFrame;
  }

 private:
  FrameRule rule_;
  size_t begin_ = 0;
  size_t end_ = 0;
  char buffer_[2 * (sizeof(FrameHeader) + kMaxFrameBytes)];
};

}  // namespace gantry::runner::vm
