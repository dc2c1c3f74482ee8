#include "runner/journal.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr timeval kSendTime = {1, 0};
constexpr size_t kShortId = 12;

// The form for any bytes: name, a newline, the size in 8 bytes of which the lowest is first, the value, a newline.
void AppendField(std::string& out, std::string_view name, std::string_view value) {
  out.append(name) += '\n';
  for (unsigned byte = 0; byte < 8; ++byte) out += static_cast<char>(uint64_t{value.size()} >> (8 * byte) & 0xFF);
  out.append(value) += '\n';
}

}  // namespace

JournalWriter::JournalWriter(const std::string& pod, const std::string& app, std::string socket)
    : socket_path_(std::move(socket)) {
  std::string digits = pod;
  std::erase(digits, '-');
  fields_ = "SYSLOG_IDENTIFIER=" + app + "\nCONTAINER_NAME=" + app + "\nCONTAINER_ID=" + digits.substr(0, kShortId) +
            "\nCONTAINER_ID_FULL=" + digits + "\nGANTRY_POD=" + pod + "\nGANTRY_APP=" + app + "\n";
  if (!Connect())
    throw Error(ErrorKind::kUnsupported, "there is no journal at " + socket_path_,
                "leave --log-driver=journald out, or run where systemd-journald does");
}

bool JournalWriter::Connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
  socket_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_ || socket_path_.size() >= sizeof address.sun_path)
    return false;
  // A journal that hangs loses lines, but stops no app for ever.
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTime, sizeof kSendTime);
  return connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

void JournalWriter::WriteLine(Stream stream, std::string_view text, bool whole) {
  std::string entry = fields_ + (stream == Stream::kOutput ? "PRIORITY=6\n" : "PRIORITY=3\n");
  if (!whole)
    entry += "CONTAINER_PARTIAL_MESSAGE=true\n";
  AppendField(entry, "MESSAGE", text);
  const auto write = [&] { return send(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL) >= 0; };
  // The journal was started anew.
  if (!write() && (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET) && Connect())
    write();
}

std::unique_ptr<AppLog> OpenAppLog(const Pod& pod, const std::string& app, LogLimits limits) {
  switch (pod.plan().log) {
    case LogDriver::kJournal:
      return std::make_unique<JournalWriter>(pod.uuid(), app);
    case LogDriver::kNone:
      return std::make_unique<NoLog>();
    default:
      return std::make_unique<LogWriter>(pod.dir(), app, limits);
  }
}

}  // namespace gantry::runner
