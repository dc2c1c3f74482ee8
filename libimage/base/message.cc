#include "libimage/base/message.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "libimage/base/ascii.h"
#include "libimage/base/fd.h"

namespace gantry {
namespace {

constexpr size_t kPieceBytes = 65536;

void AppendNumber(std::string& out, uint32_t n) { out.append(reinterpret_cast<const char*>(&n), sizeof n); }

[[noreturn]] void ThrowBroken(std::string_view who) {
  throw Error(ErrorKind::kFailed, std::string(who) + " does not keep to its protocol");
}

// By errno: the other side ended, and had not read all that came.
bool EndedUnheard() { return errno == ECONNRESET; }

class Reader {
 public:
  Reader(int fd, const MessageBounds& bounds) : fd_(fd), bounds_(bounds), room_(bounds.bytes) {}

  std::optional<Message> Read() {
    Message message;
    if (!Begin(message.kind))
      return std::nullopt;
    const uint32_t count = Number();
    if (count > bounds_.fields)
      ThrowBroken(bounds_.who);
    for (uint32_t i = 0; i < count; ++i) message.fields.push_back(Field());
    return message;
  }

 private:
  // False at the end of the stream.
  bool Begin(char& kind) const {
    ssize_t got = 0;
    do {
      got = read(fd_, &kind, 1);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && !EndedUnheard())
      ThrowErrno("read " + std::string(bounds_.who));
    return got > 0;
  }

  void Fill(std::span<std::byte> into) const {
    if (ReadFull(fd_, into, bounds_.who) != into.size())
      ThrowBroken(bounds_.who);
  }

  uint32_t Number() const {
    uint32_t n = 0;
    Fill(std::as_writable_bytes(std::span(&n, 1)));
    return n;
  }

  std::string Field() {
    const uint32_t size = Number();
    if (size > room_)
      ThrowBroken(bounds_.who);
    room_ -= size;
    std::string field(size, '\0');
    Fill(std::as_writable_bytes(std::span(field)));
    return field;
  }

  int fd_;
  const MessageBounds& bounds_;
  size_t room_;
};

// The error of the three fields of SendError.
Error ParseError(const std::vector<std::string>& fields, std::string_view who) {
  const auto kind = fields.size() == 3 ? ParseDecimal<int>(fields[0]) : std::nullopt;
  if (!kind || *kind < static_cast<int>(ErrorKind::kFailed) || *kind > static_cast<int>(ErrorKind::kUnsupported))
    ThrowBroken(who);
  return {static_cast<ErrorKind>(*kind), fields[1], fields[2]};
}

}  // namespace

void SendMessage(int fd, const Message& message) {
  std::string out(1, message.kind);
  AppendNumber(out, static_cast<uint32_t>(message.fields.size()));
  for (const std::string& field : message.fields) {
    AppendNumber(out, static_cast<uint32_t>(field.size()));
    out += field;
  }
  WriteFull(fd, AsBytes(out), "a message to another process of this program");
}

void SendError(int fd, const Error& error) noexcept {
  try {
    SendMessage(fd, {kErrorMessage, {std::to_string(static_cast<int>(error.kind())), error.message(), error.hint()}});
  } catch (const std::exception&) {
    // The other process is gone, or there is no memory left: the exit code has to do.
  }
}

std::optional<Message> ReceiveMessage(int fd, const MessageBounds& bounds) {
  std::optional<Message> message = Reader(fd, bounds).Read();
  if (message && message->kind == kErrorMessage)
    throw ParseError(message->fields, bounds.who);
  return message;
}

bool MessageBuffer::Fill(int fd) {
  char piece[kPieceBytes];
  const ssize_t got = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR)
      return true;
    if (EndedUnheard())
      return false;
    ThrowErrno("hear " + std::string(bounds_.who));
  }
  bytes_.append(piece, static_cast<size_t>(got));
  return got > 0;
}

std::optional<Message> MessageBuffer::Next() {
  size_t at = 1, room = bounds_.bytes;
  const auto number = [&]() -> std::optional<uint32_t> {
    uint32_t n = 0;
    if (bytes_.size() < at + sizeof n)
      return std::nullopt;
    std::memcpy(&n, bytes_.data() + at, sizeof n);
    at += sizeof n;
    return n;
  };
  const auto count = number();
  if (!count)
    return std::nullopt;
  if (*count > bounds_.fields)
    ThrowBroken(bounds_.who);
  std::vector<std::string_view> fields;
  for (uint32_t i = 0; i < *count; ++i) {
    const auto size = number();
    if (size && *size > room)
      ThrowBroken(bounds_.who);
    if (!size || bytes_.size() - at < *size)
      return std::nullopt;
    fields.push_back(std::string_view(bytes_).substr(at, *size));
    room -= *size;
    at += *size;
  }
  Message message{bytes_[0], {fields.begin(), fields.end()}};
  bytes_.erase(0, at);
  if (message.kind == kErrorMessage)
    throw ParseError(message.fields, bounds_.who);
  return message;
}

int ReportErrors(int fd, const std::function<void()>& work) {
  try {
    work();
    return 0;
  } catch (const Error& error) {
    SendError(fd, error);
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    SendError(fd, Error(ErrorKind::kFailed, error.what()));
    return static_cast<int>(ErrorKind::kFailed);
  }
}

}  // namespace gantry
