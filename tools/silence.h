// A terminal that does not show what is typed.
#pragma once

#include <termios.h>

namespace gantry::tools {

// Nothing that is typed is shown while this lives, but for the end of a line; afterwards the terminal is as it was.
// To be made before the question is written: what was typed before that is dropped, so that it is no part of an answer.
class Silence {
 public:
  explicit Silence(int terminal);  // borrowed; kFailed when it is none
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence();

 private:
  int terminal_;
  termios before_{};
};

}  // namespace gantry::tools
