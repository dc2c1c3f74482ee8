// What a long operation tells about itself. Libraries report; tools/tool_main draws bars on a terminal and plain lines
// elsewhere, always on stderr. Thread-safe: several workers report to one Progress.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry {

class Progress {
 public:
  virtual ~Progress() = default;

  // Starts one line; `total` in bytes, 0 when unknown. Returns the task for the other calls.
  virtual int Begin(std::string label, uint64_t total) = 0;
  virtual void Advance(int task, uint64_t bytes) = 0;
  // Ends the line with `note` ("done", "already here").
  virtual void End(int task, std::string_view note) = 0;
};

// A Progress that says nothing. Lives for ever.
Progress& SilentProgress();

}  // namespace gantry
