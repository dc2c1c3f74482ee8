// How a tool shows progress: bars on a terminal, plain lines elsewhere. tool_main.h chooses; this is what it chooses
// from, apart so that tests can hold the clock and read what is drawn.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libimage/base/progress.h"

namespace gantry::tools {

// What a drawn Progress needs of the world.
struct ProgressScreen {
  struct Size {
    int columns = 80;
    int rows = 24;
  };
  std::function<void(std::string_view)> write;
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<Size()> size;  // asked at every drawing: windows are resized
};

// stderr, the steady clock, and the window size of stderr.
ProgressScreen StderrScreen();

// One line a task that is redrawn in place at most ten times a second: label, bar, share, bytes, rate, time left. Ended
// tasks scroll up with their note. Never wider than the screen, never higher; labels are made safe to print. No thread
// of its own: the callers' reports are what makes it draw. While one lives, PrintBesideProgress keeps its lines whole.
std::unique_ptr<Progress> TerminalProgress(ProgressScreen screen);

// A line when a task ends, and one for every running task each five seconds.
std::unique_ptr<Progress> PlainProgress(ProgressScreen screen);

// Tells `inner`, which is borrowed, nothing before `ready` says that it may be told, and then all that was reported; at
// the latest when it goes, but nothing more when that is because of an exception. For a program beside another one that
// draws on the same screen.
std::unique_ptr<Progress> DeferredProgress(Progress& inner, std::function<bool()> ready);

// Writes `text` (whole lines) to stderr, above the bars when there are any.
void PrintBesideProgress(std::string_view text);

// "0 B", "999 B", "1.0 KiB", "27.3 MiB": at most four significant characters and a unit.
std::string FormatBytes(uint64_t bytes);

// "0:07", "12:34", "1:02:03".
std::string FormatDuration(std::chrono::seconds time);

}  // namespace gantry::tools
