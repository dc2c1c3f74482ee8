#include "tools/secret_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "tools/silence.h"

namespace gantry::tools {
namespace {

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
  std::optional<Silence> silence;
  if (echo == Echo::kOff)
    silence.emplace(terminal.get());
  WriteFull(terminal.get(), AsBytes(prompt), "the terminal");
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
