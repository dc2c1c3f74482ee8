#include "runner/raw_terminal.h"

#include <unistd.h>

namespace gantry::runner {

RawTerminal::RawTerminal() {
  termios now{};
  if (tcgetattr(STDIN_FILENO, &now) < 0)
    return;
  before_ = now;
  cfmakeraw(&now);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
}

RawTerminal::~RawTerminal() {
  if (before_)
    tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
}

std::optional<winsize> CallersWindow() {
  winsize size{};
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
      return size;
  }
  return std::nullopt;
}

}  // namespace gantry::runner
