#include "runner/pod_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/time_text.h"

namespace gantry::runner {
namespace {

constexpr unsigned kMostFiles = 100;

RelPath FileName(const std::string& app, unsigned age) {
  return RelPath::Parse(app + ".log" + (age == 0 ? "" : "." + std::to_string(age)));
}

bool SameFile(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

}  // namespace

LogWriter::LogWriter(const Dir& dir, std::string app, LogLimits limits)
    : dir_(dir), app_(std::move(app)), limits_(limits) {
  file_ = dir_.OpenBeneath(FileName(app_, 0), O_WRONLY | O_CREAT | O_APPEND, 0600);
  struct stat status {};
  if (fstat(file_.get(), &status) == 0)
    size_ = static_cast<uint64_t>(status.st_size);
}

void LogWriter::Rotate() {
  for (unsigned age = limits_.files; age-- > 0;) {
    if (!dir_.Exists(FileName(app_, age)))
      continue;
    if (age + 1 >= limits_.files)
      dir_.RemoveFile(FileName(app_, age));
    else
      dir_.Rename(FileName(app_, age), FileName(app_, age + 1));
  }
  file_ = dir_.OpenBeneath(FileName(app_, 0), O_WRONLY | O_CREAT | O_APPEND, 0600);
  size_ = 0;
}

void LogWriter::WriteLine(Stream stream, std::string_view text, bool whole) {
  std::string line = NowText();
  line += stream == Stream::kOutput ? " stdout " : " stderr ";
  line += whole ? "F " : "P ";
  line += text;
  line += '\n';
  if (size_ > 0 && size_ + line.size() > limits_.bytes)
    Rotate();
  // In one call, so that readers see whole lines; a full disk takes none of it.
  const ssize_t written = write(file_.get(), line.data(), line.size());
  size_ += written > 0 ? static_cast<uint64_t>(written) : 0;
}

void AppLog::Write(Stream stream, std::string_view bytes) {
  std::string& waiting = waiting_[stream];
  waiting += bytes;
  std::string_view rest = waiting;
  for (;;) {
    const size_t end = rest.find('\n');
    const bool whole = end != std::string_view::npos && end <= kMaxLogLine;
    if (!whole && rest.size() <= kMaxLogLine)
      break;
    const size_t size = whole ? end : kMaxLogLine;
    WriteLine(stream, rest.substr(0, size), whole);
    rest.remove_prefix(size + (whole ? 1 : 0));
  }
  waiting = std::string(rest);
}

void AppLog::Flush() {
  for (auto& [stream, waiting] : waiting_) {
    if (!waiting.empty())
      WriteLine(stream, std::exchange(waiting, {}), false);
  }
}

std::optional<LogLine> ParseLogLine(std::string_view line) {
  LogLine out;
  const auto word = [&]() {
    const size_t end = std::min(line.find(' '), line.size());
    const std::string_view found = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    return found;
  };
  out.time = word();
  const std::string_view stream = word();
  const std::string_view tag = word();
  if ((stream != "stdout" && stream != "stderr") || (tag != "F" && tag != "P"))
    return std::nullopt;
  out.stream = stream == "stdout" ? Stream::kOutput : Stream::kError;
  out.whole = tag == "F";
  out.text = line;
  return out;
}

LogReader::LogReader(const Dir& dir, std::string app) : dir_(dir), app_(std::move(app)) {}

bool LogReader::ReadFile(int fd, const std::function<void(const LogLine&)>& line) {
  bool any = false;
  std::array<char, 64 * 1024> buffer{};
  for (ssize_t size = 0; (size = read(fd, buffer.data(), buffer.size())) > 0;) {
    waiting_.append(buffer.data(), static_cast<size_t>(size));
    size_t begin = 0;
    for (size_t end = 0; (end = waiting_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const auto parsed = ParseLogLine(std::string_view(waiting_).substr(begin, end - begin));
      if (parsed)
        line(*parsed);
      any = true;
    }
    waiting_.erase(0, begin);
  }
  return any;
}

bool LogReader::Read(const std::function<void(const LogLine&)>& line) {
  bool any = false;
  if (!current_) {
    for (unsigned age = kMostFiles; age > 0; --age) {
      if (const auto old = dir_.TryOpenBeneath(FileName(app_, age), O_RDONLY | O_NOFOLLOW))
        any = ReadFile(old->get(), line) || any;
    }
  }
  for (;;) {
    struct stat ours {};
    if (current_) {
      any = ReadFile(current_.get(), line) || any;
      fstat(current_.get(), &ours);
    }
    const auto now = dir_.Stat(FileName(app_, 0));
    if (!now || (current_ && SameFile(*now, ours)))
      return any;
    // It was rotated after the last look; what was written to it before that look is read.
    if (current_)
      any = ReadFile(current_.get(), line) || any;
    auto next = dir_.TryOpenBeneath(FileName(app_, 0), O_RDONLY | O_NOFOLLOW);
    if (!next)
      return any;
    current_ = std::move(*next);
  }
}

}  // namespace gantry::runner
