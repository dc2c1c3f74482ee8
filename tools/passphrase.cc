#include "tools/passphrase.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "tools/silence.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxPassphraseBytes = 4096;

// One line, byte by byte: what follows it is not ours to read.
sign::SecretBytes ReadLine(int fd, const std::string& what) {
  sign::SecretBytes line(kMaxPassphraseBytes);
  size_t size = 0;
  while (true) {
    const ssize_t got = read(fd, line.data() + size, 1);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      ThrowErrno("read the passphrase of " + what);
    }
    if (got == 0 || line.view()[size] == '\n') {
      break;
    }
    if (++size == kMaxPassphraseBytes) {
      throw Error(ErrorKind::kUsage, "the passphrase is over " + std::to_string(kMaxPassphraseBytes) + " bytes");
    }
  }
  if (size > 0 && line.view()[size - 1] == '\r') {
    --size;
  }
  line.Shrink(size);
  return line;
}

sign::SecretBytes Ask(int terminal, const std::string& question, const std::string& what) {
  const Silence silence(terminal);
  WriteFull(terminal, AsBytes(question), "the terminal");
  return ReadLine(terminal, what);
}

sign::SecretBytes AskOnTerminal(int terminal, const std::string& what, bool anew) {
  sign::SecretBytes first = Ask(terminal, "passphrase of " + what + ": ", what);
  if (anew && Ask(terminal, "the same again: ", what).view() != first.view()) {
    throw Error(ErrorKind::kUsage, "the two passphrases differ");
  }
  return first;
}

sign::SecretBytes Read(const PassphraseSource& source, const char* variable, const std::string& what, bool anew) {
  if (source.file == "-") {
    return ReadLine(STDIN_FILENO, what);
  }
  if (!source.file.empty()) {
    return ReadLine(OpenFile(source.file, O_RDONLY).get(), what);
  }
  if (const char* text = std::getenv(variable); text != nullptr) {
    return sign::SecretBytes(std::string_view(text));
  }
  if (isatty(STDIN_FILENO) == 0) {
    return ReadLine(STDIN_FILENO, what);
  }
  return AskOnTerminal(OpenFile("/dev/tty", O_RDWR | O_NOCTTY).get(), what, anew);
}

}  // namespace

sign::SecretBytes ReadPassphrase(const PassphraseSource& source, const std::string& what, bool anew) {
  return Read(source, "COSIGN_PASSWORD", what, anew);
}

sign::SecretBytes ReadPin(const PassphraseSource& source) {
  return Read(source, "COSIGN_PKCS11_PIN", "the token", false);
}

}  // namespace gantry::tools
