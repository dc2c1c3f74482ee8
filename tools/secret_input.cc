#include "tools/secret_input.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::tools {
namespace {

// What is typed is not seen while this lives.
class Silence {
 public:
  explicit Silence(int terminal) : terminal_(terminal) {
    if (tcgetattr(terminal_, &before_) < 0)
      ThrowErrno("ask the terminal");
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    silent.c_lflag |= ECHONL;
    if (tcsetattr(terminal_, TCSAFLUSH, &silent) < 0)
      ThrowErrno("silence the terminal");
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() { tcsetattr(terminal_, TCSAFLUSH, &before_); }

 private:
  int terminal_;
  termios before_{};
};

std::string ReadLineFrom(int terminal) {
  std::string line;
  char c = 0;
  while (ReadFull(terminal, std::as_writable_bytes(std::span(&c, 1)), "the terminal") == 1 && c != '\n') {
    if (line.size() == kMaxSecretBytes)
      throw Error(ErrorKind::kUsage, "what was typed is too long");
    line += c;
  }
  return line;
}

}  // namespace

std::string ReadLine(const std::string& prompt, Echo echo) {
  const UniqueFd terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) {
    throw Error(ErrorKind::kFailed, "there is no terminal to ask on",
                "give --username and --password-stdin, with the password on standard input");
  }
  WriteFull(terminal.get(), AsBytes(prompt), "the terminal");
  if (echo == Echo::kOn)
    return ReadLineFrom(terminal.get());
  const Silence silence(terminal.get());
  return ReadLineFrom(terminal.get());
}

std::string ReadSecretFromStdin() {
  std::string secret = ReadAll(STDIN_FILENO, kMaxSecretBytes, "the password on standard input");
  if (secret.ends_with('\n'))
    secret.pop_back();
  if (secret.ends_with('\r'))
    secret.pop_back();
  return secret;
}

}  // namespace gantry::tools
