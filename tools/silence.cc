#include "tools/silence.h"

#include "libimage/base/error.h"

namespace gantry::tools {

Silence::Silence(int terminal) : terminal_(terminal) {
  if (tcgetattr(terminal_, &before_) < 0)
    ThrowErrno("look at the terminal");
  termios silent = before_;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  silent.c_lflag |= ECHONL;
  if (tcsetattr(terminal_, TCSAFLUSH, &silent) < 0)
    ThrowErrno("silence the terminal");
}

// Not TCSAFLUSH: the answer to the next question may have been typed.
Silence::~Silence() { tcsetattr(terminal_, TCSADRAIN, &before_); }

}  // namespace gantry::tools
