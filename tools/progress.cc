#include "tools/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(5);
constexpr double kRateMemorySeconds = 3;
constexpr size_t kMaxLabel = 40;

struct Task {
  std::string label;
  uint64_t total = 0;
  uint64_t done = 0;
  Clock::time_point began;
  // The rate is a moving average, sampled when the task is drawn.
  Clock::time_point sampled;
  uint64_t sampled_done = 0;
  double rate = 0;
};

// A label may carry a remote name; nothing but printable ASCII reaches the terminal, where one byte is one column.
std::string Printable(std::string_view text, size_t limit) {
  std::string safe;
  for (const char c : text.substr(0, limit)) {
    safe += c >= ' ' && c <= '~' ? c : '?';
  }
  return safe;
}

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

void Sample(Task& task, Clock::time_point now) {
  const double elapsed = std::chrono::duration<double>(now - task.sampled).count();
  if (elapsed < 0.05) {
    return;
  }
  const double recent = static_cast<double>(task.done - task.sampled_done) / elapsed;
  // Nearly 1 - exp(-elapsed / memory), for which every program would load another library.
  const double weight = task.rate == 0 ? 1 : elapsed / (elapsed + kRateMemorySeconds);
  task.rate += weight * (recent - task.rate);
  task.sampled = now;
  task.sampled_done = task.done;
}

// "12.0 MiB of 27.3 MiB, 8.1 MiB/s, 0:02 left", as far as it is known.
std::string Numbers(const Task& task) {
  std::string text = FormatBytes(task.done);
  if (task.total != 0) {
    text += " of " + FormatBytes(task.total);
  }
  if (task.rate >= 1) {
    text += ", " + FormatBytes(static_cast<uint64_t>(task.rate)) + "/s";
    const double left = task.total > task.done ? static_cast<double>(task.total - task.done) / task.rate : 0;
    if (left > 0 && left < 360000) {
      const std::chrono::duration<double> exact(left);
      text += ", " + FormatDuration(std::chrono::ceil<std::chrono::seconds>(exact)) + " left";
    }
  }
  return text;
}

int Percent(const Task& task) {
  const double share = static_cast<double>(task.done) / static_cast<double>(task.total);
  return static_cast<int>(std::min(share, 1.0) * 100);
}

std::string Ended(const Task& task, std::string_view note) {
  std::string text = task.label + ": " + Printable(note, kMaxLabel);
  if (task.done != 0) {
    text += ", " + FormatBytes(task.done);
  }
  return text;
}

// What both kinds share: the tasks, in the order of their beginning, under one lock.
class Tasks : public Progress {
 public:
  explicit Tasks(ProgressScreen screen) : screen_(std::move(screen)), drawn_at_(screen_.now()) {}

  int Begin(std::string label, uint64_t total) override {
    const std::lock_guard lock(mutex_);
    const auto now = screen_.now();
    tasks_[++last_id_] = {Printable(label, kMaxLabel), total, 0, now, now, 0, 0};
    Changed(now);
    return last_id_;
  }

  void Advance(int id, uint64_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (const auto task = tasks_.find(id); task != tasks_.end()) {
      task->second.done += bytes;
      Changed(screen_.now());
    }
  }

  void End(int id, std::string_view note) override {
    const std::lock_guard lock(mutex_);
    const auto task = tasks_.find(id);
    if (task == tasks_.end()) {
      return;
    }
    const std::string text = Ended(task->second, note);
    tasks_.erase(task);
    PrintEnded(text);
  }

 protected:
  // Called with the lock held.
  virtual void Changed(Clock::time_point now) = 0;
  virtual void PrintEnded(const std::string& text) = 0;

  std::mutex mutex_;
  ProgressScreen screen_;
  Clock::time_point drawn_at_;
  std::map<int, Task> tasks_;

 private:
  int last_id_ = 0;
};

class Plain : public Tasks {
 public:
  using Tasks::Tasks;

 private:
  void Changed(Clock::time_point now) override {
    if (now - drawn_at_ < kPlainInterval) {
      return;
    }
    drawn_at_ = now;
    std::string text;
    for (auto& [id, task] : tasks_) {
      Sample(task, now);
      text += task.label + ": " + (task.total != 0 ? std::to_string(Percent(task)) + "%, " : "") + Numbers(task) + "\n";
    }
    screen_.write(text);
  }

  void PrintEnded(const std::string& text) override { screen_.write(text + "\n"); }
};

class Terminal;
std::mutex active_mutex;
Terminal* active = nullptr;  // guarded by active_mutex

class Terminal : public Tasks {
 public:
  explicit Terminal(ProgressScreen screen) : Tasks(std::move(screen)) {
    const std::lock_guard lock(active_mutex);
    active = this;
  }

  ~Terminal() override {
    {
      const std::lock_guard lock(active_mutex);
      active = active == this ? nullptr : active;
    }
    // What never ended stays as it was last seen: an error follows that says why.
    const std::lock_guard lock(mutex_);
    Draw(screen_.now(), "");
  }

  void PrintAbove(std::string_view text) {
    const std::lock_guard lock(mutex_);
    Draw(screen_.now(), text);
  }

 private:
  void Changed(Clock::time_point now) override {
    if (now - drawn_at_ >= kRedraw) {
      Draw(now, "");
    }
  }

  void PrintEnded(const std::string& text) override {
    Draw(screen_.now(), text.substr(0, Columns(screen_.size())) + "\n");
  }

  static size_t Columns(ProgressScreen::Size size) { return static_cast<size_t>(std::max(size.columns - 1, 20)); }

  // One write: back over the lines of the last drawing, `above` in their place, then the lines of now.
  void Draw(Clock::time_point now, std::string_view above) {
    const ProgressScreen::Size size = screen_.size();
    std::string out;
    if (lines_ != 0) {
      out = "\033[" + std::to_string(lines_) + "A\r\033[J";
    }
    out += above;
    const size_t most = static_cast<size_t>(std::max(size.rows - 2, 1));
    size_t label_width = 0;
    for (const auto& [id, task] : tasks_) {
      label_width = std::max(label_width, task.label.size());
    }
    lines_ = 0;
    for (auto& [id, task] : tasks_) {
      Sample(task, now);
      if (lines_ == most) {
        continue;
      }
      const bool last_and_more = lines_ + 1 == most && tasks_.size() > most;
      const std::string more = "and " + std::to_string(tasks_.size() - lines_) + " more";
      out += (last_and_more ? more : Line(task, label_width, Columns(size))) + "\n";
      ++lines_;
    }
    drawn_at_ = now;
    if (!out.empty()) {
      screen_.write(out);
    }
  }

  // The bar takes what label and numbers leave, and goes first when the screen is narrow.
  static std::string Line(const Task& task, size_t label_width, size_t columns) {
    const std::string label = Padded(task.label, label_width);
    const std::string numbers = Padded(Numbers(task), 42);
    std::string bar;
    if (task.total != 0 && columns > label.size() + numbers.size() + 20) {
      const size_t width = std::min<size_t>(columns - label.size() - numbers.size() - 10, 40);
      const size_t full = width * static_cast<size_t>(Percent(task)) / 100;
      std::array<char, 8> percent{};
      std::snprintf(percent.data(), percent.size(), "%3d%%", Percent(task));
      bar = "[" + std::string(full, '#') + std::string(width - full, '.') + "] " + percent.data() + "  ";
    }
    return (label + "  " + bar + numbers).substr(0, columns);
  }

  size_t lines_ = 0;  // of the last drawing, above the cursor
};

void WriteStderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return;  // progress that nobody can see is not worth a failure
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
}

class Deferred : public Progress {
 public:
  Deferred(Progress& inner, std::function<bool()> ready) : inner_(inner), ready_(std::move(ready)) {}
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() override {
    if (ready_() && std::uncaught_exceptions() == 0)
      Tell();
  }

  int Begin(std::string label, uint64_t total) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({std::move(label), total});
    TellIfReady();
    return static_cast<int>(tasks_.size() - 1);
  }
  void Advance(int task, uint64_t bytes) override {
    const std::lock_guard lock(mutex_);
    tasks_.at(static_cast<size_t>(task)).done += bytes;
    TellIfReady();
  }
  void End(int task, std::string_view note) override {
    const std::lock_guard lock(mutex_);
    tasks_.at(static_cast<size_t>(task)).note = note;
    TellIfReady();
  }

 private:
  struct Reported {
    std::string label;
    uint64_t total = 0;
    uint64_t done = 0;  // not told yet
    std::optional<std::string> note = std::nullopt;
    std::optional<int> task = std::nullopt;  // inner_'s
    bool ended = false;
  };

  void TellIfReady() {
    if (ready_())
      Tell();
  }
  void Tell() {
    for (Reported& one : tasks_) {
      if (!one.task)
        one.task = inner_.Begin(one.label, one.total);
      if (one.done != 0)
        inner_.Advance(*one.task, std::exchange(one.done, 0));
      if (one.note && !std::exchange(one.ended, true))
        inner_.End(*one.task, *one.note);
    }
  }

  std::mutex mutex_;
  Progress& inner_;
  std::function<bool()> ready_;
  std::vector<Reported> tasks_;
};

class Quiet : public Progress {
 public:
  int Begin(std::string, uint64_t) override { return 0; }
  void Advance(int, uint64_t) override {}
  void End(int, std::string_view) override {}
};

bool StderrIsCapableTerminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

}  // namespace

ProgressScreen StderrScreen() {
  const auto size = [] {
    winsize window{};
    ProgressScreen::Size found;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
      found = {window.ws_col, window.ws_row};
    }
    return found;
  };
  return {WriteStderr, Clock::now, size};
}

std::unique_ptr<Progress> TerminalProgress(ProgressScreen screen) {
  return std::make_unique<Terminal>(std::move(screen));
}

std::unique_ptr<Progress> PlainProgress(ProgressScreen screen) { return std::make_unique<Plain>(std::move(screen)); }

std::unique_ptr<Progress> DeferredProgress(Progress& inner, std::function<bool()> ready) {
  return std::make_unique<Deferred>(inner, std::move(ready));
}

void PrintBesideProgress(std::string_view text) {
  const std::lock_guard lock(active_mutex);
  if (active != nullptr) {
    active->PrintAbove(text);
  } else {
    WriteStderr(text);
  }
}

std::unique_ptr<Progress> MakeProgress(const CommonOptions& options) {
  if (options.quiet) {
    return std::make_unique<Quiet>();
  }
  return StderrIsCapableTerminal() ? TerminalProgress(StderrScreen()) : PlainProgress(StderrScreen());
}

std::string FormatBytes(uint64_t bytes) {
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1000) {
    return std::to_string(bytes) + " B";
  }
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), value < 99.95 ? "%.1f %s" : "%.0f %s", value, kUnits.at(unit));
  return text.data();
}

std::string FormatDuration(std::chrono::seconds time) {
  const int64_t all = std::max<int64_t>(time.count(), 0);
  std::array<char, 48> text{};
  if (all < 3600) {
    std::snprintf(text.data(), text.size(), "%d:%02d", static_cast<int>(all / 60), static_cast<int>(all % 60));
  } else {
    std::snprintf(text.data(), text.size(), "%lld:%02d:%02d", static_cast<long long>(all / 3600),
                  static_cast<int>(all / 60 % 60), static_cast<int>(all % 60));
  }
  return text.data();
}

}  // namespace gantry::tools
