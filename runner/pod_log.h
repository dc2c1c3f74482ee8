// What an app of a detached pod writes, kept in files of bounded size, unless it goes to the journal (journal.h).
//
// APP.log and the older APP.log.1, APP.log.2... in the pod's directory, in the form that Kubernetes reads (CRI): a line
// for each line, "TIME stdout F text", where P in place of F says that the line goes on in the next.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/dir.h"

namespace gantry::runner {

constexpr size_t kMaxLogLine = 16 * 1024;
constexpr uint64_t kDefaultLogBytes = 10 * 1024 * 1024;
constexpr unsigned kDefaultLogFiles = 3;

enum class Stream { kOutput, kError };

enum class LogDriver { kFile, kJournal, kNone };
constexpr std::array<std::string_view, 3> kLogDrivers = {"file", "journald", "none"};

struct LogLimits {
  uint64_t bytes = kDefaultLogBytes;  // of one file
  unsigned files = kDefaultLogFiles;  // the current one among them
};

// Where the output of an app goes, line by line.
class AppLog {
 public:
  virtual ~AppLog() = default;

  // Bytes as they come. What is no whole line yet waits; what cannot be kept loses lines, never the app.
  void Write(Stream stream, std::string_view bytes);
  void Flush();  // what waits, as a line of its own

 private:
  virtual void WriteLine(Stream stream, std::string_view text, bool whole) = 0;
  std::map<Stream, std::string> waiting_;
};

// Nowhere.
class NoLog : public AppLog {
  void WriteLine(Stream, std::string_view, bool) override {}
};

class LogWriter : public AppLog {
 public:
  // `dir` must outlive this.
  LogWriter(const Dir& dir, std::string app, LogLimits limits);

 private:
  void WriteLine(Stream stream, std::string_view text, bool whole) override;
  void Rotate();
  const Dir& dir_;
  std::string app_;
  LogLimits limits_;
  UniqueFd file_;
  uint64_t size_ = 0;
};

struct LogLine {
  std::string_view time;
  Stream stream = Stream::kOutput;
  bool whole = true;  // ends with the end of a line
  std::string_view text;
};

// nullopt for what LogWriter does not write.
std::optional<LogLine> ParseLogLine(std::string_view line);

class LogReader {
 public:
  LogReader(const Dir& dir, std::string app);

  // Hands on the lines that are there and were not handed on before, the oldest first. False when there were none.
  bool Read(const std::function<void(const LogLine&)>& line);

 private:
  bool ReadFile(int fd, const std::function<void(const LogLine&)>& line);
  const Dir& dir_;
  std::string app_;
  UniqueFd current_;
  std::string waiting_;  // the beginning of a line
};

}  // namespace gantry::runner
