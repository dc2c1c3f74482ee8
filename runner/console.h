// The caller's terminal while a container has one of its own: raw, copied both ways, put back whatever happens.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/fd.h"
#include "runner/raw_terminal.h"

namespace gantry::runner {

class Console {
 public:
  // `master` is the container's end of its terminal. With `input`, descriptor 0 is read; when it is a terminal, it goes
  // raw until this is destroyed, and its window size is taken over.
  Console(UniqueFd master, bool input);
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  int master() const { return master_.get(); }
  // Whether there is room to read more input.
  bool wants_input() const { return input_open_ && pending_.empty(); }
  bool wants_to_write() const { return !pending_.empty(); }

  void Resize() const;      // takes over the window's size
  void ReadInput();         // descriptor 0 is readable
  void WriteToContainer();  // the master is writable
  bool CopyOutput();        // the master is readable; false when nothing more will come
  void DrainOutput();       // the container has ended: what is left of its output

 private:
  UniqueFd master_;
  bool input_open_ = false;
  std::string pending_;  // input that the container has not taken yet
  std::optional<RawTerminal> raw_;
};

}  // namespace gantry::runner
