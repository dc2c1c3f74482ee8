// The caller's terminal: raw while somebody else looks after the lines, and put back whatever happens.
#pragma once

#include <sys/ioctl.h>
#include <termios.h>

#include <optional>

namespace gantry::runner {

class RawTerminal {
 public:
  RawTerminal();  // descriptor 0 goes raw, if it is a terminal
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();

 private:
  std::optional<termios> before_;
};

// Of the window that one of descriptors 0 to 2 is; nullopt when none is.
std::optional<winsize> CallersWindow();

}  // namespace gantry::runner
